"""MkDocs hook: the help of every command, on the page of the command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import Any

from velora_sb3.cli.command_line import build_parser

PLACE = "<!-- help -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Insert the help."""
    return markdown.replace(PLACE, "\n\n".join(_sections(build_parser()))) if PLACE in markdown else markdown


def _sections(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The help of each command that has none below it."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in below:
        for command in action.choices.values():
            yield from _sections(command)
    if not below:
        os.environ["COLUMNS"] = "84"  # as wide as the page
        yield f"## {parser.prog}\n\n```text\n{parser.format_help().rstrip()}\n```"
