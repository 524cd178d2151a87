"""JSON and YAML, as a file or as text on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from velora_sb3.cli.errors import UserError

SUFFIXES = (".json", ".yaml", ".yml")


def read_mapping(argument: str, option: str) -> dict[str, Any]:
    """Read a mapping of names to values."""
    text, where = argument, option
    if _is_path(argument):
        where = f"{option} {argument}"
        try:
            text = Path(argument).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{option}: cannot read {argument}: {getattr(error, 'strerror', None) or error}") from error
    value = _parse(text, where)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UserError(
            f"{where}: expected names and values such as '{{\"units\": 32}}' or a .json or .yaml file, got {value!r}"
        )
    for name in value:
        if not isinstance(name, str):
            raise UserError(f"{where}: {name!r} is not a name")
    return value


def _is_path(argument: str) -> bool:
    if argument.endswith(SUFFIXES):
        return True
    return "\n" not in argument and len(argument) < 256 and Path(argument).is_file()


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)  # first, as YAML 1.1 reads JSON's 1e-3 as a string
    except json.JSONDecodeError as error:
        if where.endswith(".json"):
            raise UserError(f"{where}: malformed JSON: {error}") from error

    import yaml

    class Loader(yaml.SafeLoader):
        """PyYAML's safe loader, with 1e-3 a number."""

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )
    try:
        return yaml.load(text, Loader=Loader)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error)
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise UserError(f"{where}: malformed JSON or YAML{place}: {problem}") from error
