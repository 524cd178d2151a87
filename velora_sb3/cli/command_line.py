"""The parser of ``velora-sb3``, and what all subcommands share: one-line errors and exit codes."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from velora_sb3 import __version__
from velora_sb3._signals import on_signals, raise_stopped, signal_of, unmasked_signals
from velora_sb3._validation import suggestion
from velora_sb3.cli.commands import (
    algos,
    benchmark,
    doctor,
    evaluate,
    export,
    plot,
    pull,
    push,
    report,
    resume,
    sweep,
    train,
)
from velora_sb3.cli.errors import UserError, reason
from velora_sb3.cli.output import ForgivingStream

FAILURE, USER_ERROR = 1, 2


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but an unknown option is an error here, where the similar ones are known."""
        namespace, rest = super().parse_known_args(args, namespace)
        if rest:
            option = next((word for word in rest if word.startswith("-")), "").partition("=")[0]
            hint = suggestion(option, self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(rest)}{f': {hint.strip()}' if hint else ''}")
        return namespace, rest

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise UserError(f"{message} (see {self.prog} --help)")


def build_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands."""
    parser = OneLineParser(
        prog="velora-sb3", description="Liquid neural networks for Stable-Baselines3: train, evaluate, inspect."
    )
    parser.add_argument("--version", action="version", version=f"velora-sb3 {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=OneLineParser)
    for module in (train, resume, evaluate, plot, report, export, push, pull, sweep, benchmark, algos, doctor):
        module.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: The arguments; None for those of the process.

    Returns:
        The exit code: 0, 1 (something does not work), 2 (invalid request), 128 and the number of a signal (interrupted;
        130 by Ctrl-C).
    """
    stdout = sys.stdout
    sys.stdout = ForgivingStream(stdout)
    try:
        args = build_parser().parse_args(argv)
        if (here := str(Path.cwd())) not in sys.path:
            sys.path.append(here)  # for modules of the user's, which `python -m` finds and a console script does not
        with on_signals(raise_stopped), unmasked_signals():
            code: int = args.run(args)
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"velora-sb3: error: {error}", file=sys.stderr)
        return USER_ERROR
    except OSError as error:
        print(f"velora-sb3: error: {UserError(reason(error))}", file=sys.stderr)
        return USER_ERROR if error.errno == errno.ENAMETOOLONG else FAILURE
    except KeyboardInterrupt as error:
        print("velora-sb3: interrupted", file=sys.stderr)
        return 128 + signal_of(error)
    finally:
        sys.stdout = stdout
