"""Options of the command line: integers, and options that are declared as fields of a dataclass."""

from __future__ import annotations

import math
import os
from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction, Namespace
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from velora_sb3._validation import suggestion
from velora_sb3.cli.errors import UserError
from velora_sb3.cli.structured_text import has_type, read_mapping, type_names, union_members, whole


def integer(least: float = -math.inf, below: float = math.inf) -> Callable[[str], int]:
    """An argparse type for an integer within limits, written as ``20000``, ``20_000`` or ``2e4``."""

    def parse(text: str) -> int:
        try:
            value = float(text)
            number = int(value)
        except (ValueError, OverflowError):
            value, number = math.nan, 0
        if number != value:
            raise ArgumentTypeError(f"{text!r} is not an integer")
        if problem := _out_of_range(number, least, below):
            raise ArgumentTypeError(f"{problem}, got {text}")
        return number

    return parse


positive = integer(1)
seed = integer(0, below=2**31)  # leaves room below numpy's limit of 2**32 for derived seeds


def option(help: str, *, default: Any = MISSING, default_factory: Any = MISSING, **metadata: Any) -> Any:
    """A dataclass field that is an option of the command line.

    Args:
        help: The option's help. ``{default}`` in it is replaced by the default.
        default: The field's default. argparse itself stores None for an option that was not given.
        default_factory: The field's factory of defaults.
        **metadata: ``metavar`` and ``choices`` for argparse; ``least`` and ``below``, the limits of an integer;
            ``group``, the title of the section of ``--help``.
    """
    made: Any = field(default=default, default_factory=default_factory, metadata={"help": help, **metadata})
    return made


def add_gym_packages(parser: ArgumentParser) -> None:
    """Add ``--gym-packages``."""
    parser.add_argument(
        "--gym-packages", nargs="+", default=[], metavar="PACKAGE", help="packages to import that register environments"
    )


def add_options(parser: ArgumentParser, dataclass: type[Any]) -> None:
    """Add an option for each field of a dataclass that :func:`option` made."""
    groups: dict[str | None, Any] = {None: parser}
    for one, kinds in _options(dataclass):
        group = one.metadata.get("group")
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        arguments = {key: one.metadata[key] for key in ("metavar", "choices") if key in one.metadata}
        if bool in kinds:
            arguments["action"] = BooleanOptionalAction
        elif list in kinds:
            arguments["nargs"] = "+"
        elif float in kinds:
            arguments["type"] = float
        elif int in kinds:
            arguments["type"] = integer(*_limits(one))
        groups[group].add_argument(_flag(one), help=one.metadata["help"].format(default=one.default), **arguments)


def given_options(args: Namespace, dataclass: type[Any]) -> dict[str, Any]:
    """The values of the options that were given, by field; mappings are read from text or a file."""
    given = {}
    for one, kinds in _options(dataclass):
        value = getattr(args, one.name)
        if value is not None:
            given[one.name] = read_mapping(value, _flag(one)) if dict in kinds else value
    return given


def check_values(
    values: Mapping[str, Any], dataclass: type[Any], where: object, kind: str = "run configuration"
) -> dict[str, Any]:
    """The values of a JSON or YAML file; raises ``UserError`` unless they fit the fields of a dataclass."""
    known, hints = {one.name: one for one in fields(dataclass)}, get_type_hints(dataclass)
    for name, one in known.items():
        if name not in values and one.default is MISSING and one.default_factory is MISSING:
            raise UserError(f"{where} is not a {kind}: {name!r} is missing")
    checked = {}
    for name, value in values.items():
        if name not in known:
            raise UserError(f"{where}: unknown entry {name!r}: {suggestion(name, known)}choose from {', '.join(known)}")
        kinds = union_members(hints[name])
        value = checked[name] = whole(value, kinds)
        if not any(has_type(value, kind) for kind in kinds):
            raise UserError(f"{where}: {name} must be {type_names(kinds)}, got {value!r}")
        choices = known[name].metadata.get("choices", (value,))
        if value is not None and value not in choices:
            raise UserError(f"{where}: {name} must be one of {', '.join(choices)}, got {value!r}")
        if isinstance(value, int) and (problem := _out_of_range(value, *_limits(known[name]))):
            raise UserError(f"{where}: {name} {problem}, got {value}")
    return checked


def check_output(option: str, path: Path, directory: bool = False) -> None:
    """Raise ``UserError`` unless a file, or a directory, can be written. Creates nothing."""
    try:
        exists = path.exists()
        if exists and path.is_dir() != directory:
            raise UserError(f"{option} {path}: is {'a file' if directory else 'a directory'}: choose another path")
        nearest = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
        if not exists and not nearest.is_dir():
            raise UserError(f"{option} {path}: {nearest} is not a directory: choose another path")
        if not os.access(nearest, os.W_OK):
            raise UserError(f"{option} {path}: {nearest} is not writable: choose another path")
    except OSError as error:  # such as a name that is too long
        raise UserError(f"{option} {path}: {error.strerror or error}") from error


def _options(dataclass: type[Any]) -> list[tuple[Field[Any], set[Any]]]:
    """The fields that are options, and the types of each, without their parameters."""
    hints = get_type_hints(dataclass)
    options = [one for one in fields(dataclass) if "help" in one.metadata]
    return [(one, {getattr(kind, "__origin__", kind) for kind in union_members(hints[one.name])}) for one in options]


def _flag(one: Field[Any]) -> str:
    return f"--{one.name.replace('_', '-')}"


def _limits(one: Field[Any]) -> tuple[float, float]:
    return one.metadata.get("least", -math.inf), one.metadata.get("below", math.inf)


def _out_of_range(number: int, least: float, below: float) -> str | None:
    if number < least:
        return f"must be at least {least}"
    return None if number < below else f"must be below {below}"
