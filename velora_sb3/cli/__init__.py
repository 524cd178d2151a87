"""The command line ``velora-sb3``, one file per subcommand."""

from velora_sb3.cli.command_line import main

__all__ = ["main"]
