"""Files that a run writes while it trains. A full disk does not end the run: what does not fit is kept and retried."""

from __future__ import annotations

import csv
import errno
import io
import os
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import DISABLED, KVWriter, Logger

from velora_sb3._atomic import atomic_write
from velora_sb3._signals import postponed_signals
from velora_sb3.checkpoints.state.callbacks import Transient


class RunFile:
    """A file of a run.

    Attributes:
        path: Its path.
        problem: Why its contents are not on the disk; None if they are.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None

    def retry(self) -> None:
        """Write what is pending. The first failure warns; training continues."""
        try:
            self._write_pending()
        except OSError as error:
            failed_before, self.problem = self.problem is not None, error.strerror or str(error)
            if not failed_before:
                warnings.warn(
                    f"{self.path.name} cannot be written ({self.problem}); training continues, and the write is "
                    "retried",
                    RuntimeWarning,
                    stacklevel=3,
                )
        else:
            self.problem = None

    def _write_pending(self) -> None:
        raise NotImplementedError


class WholeFile(RunFile):
    """A file that is replaced as a whole, atomically."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._pending: bytes | None = None

    def write(self, content: bytes) -> None:
        """Write new contents."""
        self._pending = content
        self.retry()

    def _write_pending(self) -> None:
        if self._pending is not None:
            with atomic_write(self.path) as partial:
                partial.write_bytes(self._pending)
            self._pending = None


class CsvFile(RunFile):
    """A CSV file that grows by rows, which a resumed run continues."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        super().__init__(path)
        self._columns = columns
        self._pending: list[Sequence[object]] = []

    def start(self, timestep: int) -> list[list[str]]:
        """Start the file. A resumed run keeps the rows up to its timestep and writes the later ones again."""
        kept: list[list[str]] = []
        if timestep > 0 and self.path.exists():
            with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
                rows = csv.reader(file)
                complete = (row for row in rows if len(row) == len(self._columns) and row[0].isdigit())
                kept = [row for row in complete if int(row[0]) <= timestep]
        with atomic_write(self.path) as partial:
            partial.write_bytes(_as_csv([self._columns, *kept]))
        return kept

    def append(self, row: Sequence[object]) -> None:
        """Append a row."""
        self._pending.append(row)
        self.retry()

    def _write_pending(self) -> None:
        content = _as_csv(self._pending)
        with self.path.open("ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                if file.write(content) < len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                with suppress(OSError):
                    file.truncate(size)  # half a row would break the file
                raise
        self._pending.clear()


class RemoveFiles(Transient):
    """Removes files when training starts, once everything that can fail before it has succeeded."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self._paths = paths

    def _on_training_start(self) -> None:
        for path in self._paths:
            path.unlink(missing_ok=True)

    def _on_step(self) -> bool:
        return True


class TolerateLogErrors(Transient):
    """Replaces SB3's logger, which ends training where an output fails, as ``progress.csv`` does on a full disk."""

    def _on_training_start(self) -> None:
        self.model._logger = TolerantLogger(self.logger)  # set_logger() would also keep it for the next learn()

    def _on_step(self) -> bool:
        return True


class TolerantLogger(Logger):
    """A logger whose outputs may fail: the first failure of each warns, and training continues.

    Args:
        logger: The logger that it stands for.
    """

    def __init__(self, logger: Logger) -> None:
        vars(self).update(vars(logger))
        self._failed: set[str] = set()

    def dump(self, step: int = 0) -> None:
        """As SB3's."""
        if self.level == DISABLED:
            return
        for output in self.output_formats:
            try:
                if isinstance(output, KVWriter):
                    output.write(self.name_to_value, self.name_to_excluded, step)
            except OSError as error:
                name = type(output).__name__
                if name not in self._failed:
                    self._failed.add(name)
                    text = f"SB3's {name} cannot write ({error.strerror or error}); training continues"
                    warnings.warn(text, RuntimeWarning, stacklevel=2)
        for values in (self.name_to_value, self.name_to_count, self.name_to_excluded):
            values.clear()


@postponed_signals()
def as_zip(model: BaseAlgorithm) -> bytes:
    """A model as the contents of SB3's zip file."""
    archive = io.BytesIO()  # SB3 leaves a file open if the disk is full
    model.save(archive)
    return archive.getvalue()


def _as_csv(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
