"""A logger that the user set with ``set_logger``: SB3 does not store it, and truncates its files where it makes it."""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import (
    CSVOutputFormat,
    HumanOutputFormat,
    JSONOutputFormat,
    KVWriter,
    Logger,
    TensorBoardOutputFormat,
)

from velora_sb3.checkpoints.format.errors import CheckpointError

# SB3's formats and their files in the logger's folder.
FILES = {"log": "log.txt", "json": "progress.json", "csv": "progress.csv"}
KINDS: dict[type[Any], str] = {HumanOutputFormat: "log", JSONOutputFormat: "json", CSVOutputFormat: "csv"}
FORMATS = ("stdout", "tensorboard", *FILES)
REMEDY = "pass logger= to resume_training to log there"


def capture_logger(model: BaseAlgorithm) -> dict[str, Any] | None:
    """The logger's folder, SB3's formats in it, and the names of other outputs; None for SB3's own logger."""
    if not model._custom_logger:
        return None
    folder = None if model.logger.dir is None else Path(model.logger.dir).resolve()
    formats, others = [], []
    for output in model.logger.output_formats:
        if (kind := _format_of(output, folder)) is not None:
            formats.append(kind)
        elif not isinstance(output, BaseCallback) and not type(output).__module__.startswith("velora_sb3."):
            others.append(type(output).__name__)  # ours belong to callbacks, which add them again
    return {"folder": None if folder is None else str(folder), "formats": formats, "others": others}


def restore_logger(model: BaseAlgorithm, saved: dict[str, Any]) -> None:
    """Continue the files of a logger. Only files that are there are continued; none is made."""
    outputs: list[KVWriter] = []
    folder = Path(saved["folder"] or "")
    for kind in saved["formats"]:
        if kind not in FORMATS:
            raise CheckpointError(f"it names a log format {kind!r}, expected one of {', '.join(FORMATS)}")
        try:
            outputs.append(_continued(kind, folder))
        except (OSError, ImportError, AssertionError) as error:  # SB3 asserts that TensorBoard is installed
            warnings.warn(f"the logger's {kind} output in {folder} is not continued: {error}; {REMEDY}", stacklevel=3)
    model.set_logger(Logger(saved["folder"], outputs))


def warn_of_missing_outputs(model: BaseAlgorithm, saved: dict[str, Any]) -> None:
    """Name the outputs of the user's own that neither :func:`restore_logger` nor a callback added again."""
    present = Counter(type(output).__name__ for output in model.logger.output_formats)
    missing = Counter(str(name) for name in saved["others"]) - present
    if missing:
        names = ", ".join(missing.elements())
        warnings.warn(f"the run's logger also wrote to {names}, which is not restored: {REMEDY}", stacklevel=3)


def _format_of(output: KVWriter, folder: Path | None) -> str | None:
    """SB3's name of an output, if its file is where SB3 puts it."""
    if type(output) is HumanOutputFormat and output.file in (sys.stdout, sys.__stdout__):
        return "stdout"
    if folder is None:
        return None
    if type(output) is TensorBoardOutputFormat:
        return "tensorboard" if Path(output.writer.log_dir).resolve() == folder else None
    kind = KINDS.get(type(output))
    name = getattr(getattr(output, "file", None), "name", None)
    is_there = kind is not None and isinstance(name, str) and Path(name).resolve() == folder / FILES[kind]
    return kind if is_there else None


def _continued(kind: str, folder: Path) -> Any:
    """An output of SB3's that appends to its file."""
    if kind == "stdout":
        return HumanOutputFormat(sys.stdout)
    if not folder.is_absolute() or not folder.is_dir():
        raise FileNotFoundError(f"there is no directory {folder}")
    if kind == "tensorboard":
        return TensorBoardOutputFormat(str(folder))
    file = (folder / FILES[kind]).open("r+")  # CSVOutputFormat reads its file where a column is added
    header = file.readline().rstrip("\n")
    if not file.read().endswith("\n") and header:
        file.write("\n")  # the last row was cut by a kill
    output: Any = {name: made for made, name in KINDS.items()}[kind](os.devnull)
    output.file.close()
    output.file = file
    if isinstance(output, CSVOutputFormat):
        output.keys = header.split(output.separator) if header else []
    return output
