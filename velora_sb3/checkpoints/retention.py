"""Finding checkpoints, and removing all but the newest or the best."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from pathlib import Path

from velora_sb3._validation import check_choice, check_integer
from velora_sb3.checkpoints.directories import clear_leftovers, recover, remove_directory, wait_for_disk
from velora_sb3.checkpoints.format.errors import CheckpointError
from velora_sb3.checkpoints.format.files import MANIFEST, Manifest
from velora_sb3.checkpoints.format.reading import check_files, check_sizes, read_manifest

MODES = ("max", "min")
RUN = "checkpoints/saves"  # where velora-sb3 train and make_callbacks keep a run's checkpoints
PATTERNS = (MANIFEST, f"*/{MANIFEST}", f"*/*/{MANIFEST}", f"{RUN}/*/{MANIFEST}")


def list_checkpoints(directory: str | Path) -> list[Manifest]:
    """List the checkpoints in a directory, up to two levels below it or in its ``checkpoints/saves``.

    Args:
        directory: The directory of a run, of its checkpoints, or of one checkpoint.

    Returns:
        Their manifests, newest first, whatever the clock said: the one written last. Checkpoints of other versions
        and those with a damaged manifest are left out, with a warning; the other files are not checked.
    """
    found, errors = _find(Path(directory))
    for error in errors:
        warnings.warn(f"skipped a checkpoint: {error}", stacklevel=2)
    return found


def _find(directory: Path) -> tuple[list[Manifest], list[CheckpointError]]:
    """The checkpoints, newest first, and why others cannot be read."""
    wait_for_disk()
    found, errors = [], []
    for parent in [directory, *directory.glob("*"), directory / RUN]:
        if parent.is_dir():
            recover(parent)
    for pattern in PATTERNS:
        for file in directory.glob(pattern):
            if any(part.startswith(".") for part in file.relative_to(directory).parts):
                continue
            try:
                found.append(read_manifest(file.parent))
            except CheckpointError as error:
                if file.exists():  # not removed meanwhile
                    errors.append(error)
    return sorted(found, key=lambda one: (one.number, one.timesteps, one.created), reverse=True), errors


def newest_checkpoint(directory: str | Path) -> Path:
    """The newest undamaged checkpoint: every file matches its size and SHA-256.

    Args:
        directory: Where to look, see :func:`list_checkpoints`.

    Returns:
        Its directory. A damaged checkpoint is skipped, with a warning that names the file.

    Raises:
        CheckpointError: If there is none.
    """
    found, errors = _find(Path(directory))
    for manifest in found:
        try:
            check_files(manifest)
        except CheckpointError as error:
            warnings.warn(f"skipped a damaged checkpoint: {error}", stacklevel=2)
            continue
        return manifest.path
    if errors and not found:
        raise errors[0]
    raise CheckpointError(f"there is no checkpoint in {directory}: a checkpoint is a directory that holds {MANIFEST}")


def best_checkpoints(directory: str | Path, n: int, monitor: str, mode: str = "max") -> list[Path]:
    """The best checkpoints by a metric that was saved with them.

    Args:
        directory: Where to look, see :func:`list_checkpoints`.
        n: How many.
        monitor: Name of the metric, such as ``"rollout/ep_rew_mean"`` or ``"eval/mean_reward"``.
        mode: ``"max"`` if higher is better, ``"min"`` if lower is.

    Returns:
        Their directories, best first; of equals the newer first.

    Raises:
        CheckpointError: If there are checkpoints, but none has the metric.
        ValueError: If ``mode`` is unknown.
    """
    check_choice("mode", mode, MODES)
    found = list_checkpoints(directory)
    measured = [one for one in found if not math.isnan(one.metrics.get(monitor, math.nan))]
    if found and not measured:
        known = sorted({name for manifest in found for name in manifest.metrics})
        raise CheckpointError(
            f"no checkpoint in {directory} has the metric {monitor!r}; available: {', '.join(known) or 'none'}"
        )
    ranked = sorted(measured, key=lambda manifest: manifest.metrics[monitor], reverse=mode == "max")
    return [manifest.path for manifest in ranked[:n]]


def keep_last(directory: str | Path, n: int, *, spare: Iterable[Path] = ()) -> list[Path]:
    """Remove all checkpoints but the ``n`` newest.

    Args:
        directory: Where to look, see :func:`list_checkpoints`.
        n: How many to keep, at least 1.
        spare: Further checkpoints to keep, such as :func:`best_checkpoints`.

    Returns:
        The removed directories. Nothing is removed if the newest checkpoint is incomplete.
    """
    check_integer("n", n)
    return _remove_all_but(directory, [manifest.path for manifest in list_checkpoints(directory)[:n]], spare)


def keep_best(
    directory: str | Path, n: int, monitor: str, mode: str = "max", *, spare: Iterable[Path] = ()
) -> list[Path]:
    """Remove all checkpoints but the ``n`` best and the newest, from which a run resumes.

    Args:
        directory: Where to look, see :func:`list_checkpoints`.
        n: How many to keep, at least 1.
        monitor: Name of the metric, see :func:`best_checkpoints`.
        mode: ``"max"`` if higher is better, ``"min"`` if lower is.
        spare: Further checkpoints to keep.

    Returns:
        The removed directories. Nothing is removed if the newest checkpoint is incomplete.
    """
    check_integer("n", n)
    return _remove_all_but(directory, best_checkpoints(directory, n, monitor, mode), spare)


def _remove_all_but(directory: str | Path, kept: list[Path], spare: Iterable[Path]) -> list[Path]:
    found = list_checkpoints(directory)
    if not found:
        return []
    try:
        check_sizes(found[0])
    except CheckpointError as error:
        warnings.warn(f"no checkpoint is removed, because the newest is incomplete: {error}", stacklevel=3)
        return []
    stay = {path.resolve() for path in [*kept, *spare, found[0].path]}
    removed = [manifest.path for manifest in found if manifest.path.resolve() not in stay]
    for path in removed:
        remove_directory(path)
        clear_leftovers(path.parent)
    return removed
