"""JSON and YAML, as a file or as text on the command line, and the types of their values."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from velora_sb3.cli.errors import UserError

SUFFIXES = (".json", ".yaml", ".yml")


def read_mapping(argument: str, option: str) -> dict[str, Any]:
    """Read a mapping of names to values, from text or from a file."""
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
            f"{where}: expected a mapping such as '{{\"units\": 32}}', or a .json or .yaml file, got {value!r}"
        )
    for name in value:
        if not isinstance(name, str):
            raise UserError(f"{where}: names must be strings, got {name!r}")
    try:
        json.dumps(value, default=_refuse)
    except TypeError as error:
        raise UserError(f"{where}: {error}") from error
    return value


def _refuse(value: Any) -> NoReturn:
    raise TypeError(f"{value} is read as a {type(value).__name__}: put it in quotes if it is text")


def union_members(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the annotation alone."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(kind for member in typing.get_args(annotation) for kind in union_members(member))
    return (annotation,)


def whole(value: Any, kinds: Iterable[Any]) -> Any:
    """The value; as an integer if only that fits: 1e6 is a float in JSON and YAML."""
    fits = type(value) is float and value.is_integer() and int in kinds and float not in kinds
    return int(value) if fits else value


def has_type(value: Any, kind: Any) -> bool:
    """Whether a value of a JSON or YAML file has a type; integers are numbers, and lists are tuples too."""
    if kind is Any:
        return True
    if kind is float or kind is int:
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    origin, members = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is tuple:
        return (
            isinstance(value, list | tuple)
            and len(value) == len(members)
            and all(has_type(item, member) for item, member in zip(value, members, strict=True))
        )
    if origin is list and members:
        return isinstance(value, list) and all(has_type(item, members[0]) for item in value)
    return origin in (bool, str, dict, list, type(None)) and isinstance(value, origin)


def type_names(kinds: Iterable[Any]) -> str:
    """Types in words, joined by "or"; those that no file can hold are left out."""
    return " or ".join(name for name in map(_type_name, kinds) if name)


def _type_name(kind: Any) -> str:
    origin, members = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is tuple:
        return "[" + ", ".join(_type_name(member) for member in members) + "]"
    names = {
        int: "an integer", float: "a number", bool: "true or false", str: "a string", dict: "a mapping",
        list: "a list", type(None): "null",
    }  # fmt: skip
    return names.get(origin, "")


def _is_path(argument: str) -> bool:
    with suppress(OSError):  # too long for a path
        return argument.endswith(SUFFIXES) or Path(argument).is_file()
    return False


def _check_unique(names: list[Any], where: str) -> None:
    """JSON and YAML would use the last value without a word."""
    twice = [name for name in names if isinstance(name, str) and names.count(name) > 1]
    if twice:
        raise UserError(f"{where}: {twice[0]!r} is set twice: remove one of them")


def _parse(text: str, where: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _check_unique([name for name, _ in pairs], where)
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)  # first: YAML 1.1 reads JSON's 1e-3 as a string
    except json.JSONDecodeError as error:
        if where.endswith(".json"):
            raise UserError(f"{where}: malformed JSON: {error}") from error

    import yaml

    class Loader(yaml.SafeLoader):
        """PyYAML's safe loader, but 1e-3 is a number, and a name that comes twice is an error."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            _check_unique([name.value for name, _ in node.value], where)  # before anchors are merged
            return super().construct_mapping(node, deep)

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
