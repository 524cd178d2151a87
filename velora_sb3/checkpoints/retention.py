"""Which checkpoints are there, which is the newest or the best, and which may go."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from pathlib import Path

from velora_sb3.checkpoints.directories import clear_leftovers, recover, remove_directory, wait_for_disk
from velora_sb3.checkpoints.format.errors import CheckpointError
from velora_sb3.checkpoints.format.files import MANIFEST, Manifest
from velora_sb3.checkpoints.format.reading import check_files, check_sizes, read_manifest

MODES = ("max", "min")


def list_checkpoints(directory: str | Path) -> list[Manifest]:
    """The checkpoints in a directory, in those below it, and in those below these.

    Args:
        directory: A run's directory, or the one that holds its checkpoints, or a checkpoint.

    Returns:
        Their manifests, the newest first. Unfinished ones are left out; sizes and contents are not checked.
    """
    wait_for_disk()
    directory = Path(directory)
    found = []
    for parent in [directory, *(path for path in directory.glob("*") if path.is_dir())]:
        recover(parent)
    for pattern in (MANIFEST, f"*/{MANIFEST}", f"*/*/{MANIFEST}"):
        for file in directory.glob(pattern):
            if any(part.startswith(".") for part in file.relative_to(directory).parts):
                continue
            try:
                found.append(read_manifest(file.parent))
            except CheckpointError:
                continue
    return sorted(found, key=lambda manifest: (manifest.created, manifest.timesteps), reverse=True)


def newest_checkpoint(directory: str | Path) -> Path:
    """The newest checkpoint that is whole: every file is held to its size and SHA-256.

    Args:
        directory: Where to look, see :func:`list_checkpoints`.

    Returns:
        Its directory. A damaged one is passed over, with a warning that names the file.

    Raises:
        CheckpointError: If there is none.
    """
    for manifest in list_checkpoints(directory):
        try:
            check_files(manifest)
        except CheckpointError as error:
            warnings.warn(f"a damaged checkpoint is passed over: {error}", stacklevel=2)
            continue
        return manifest.path
    raise CheckpointError(f"there is no checkpoint in {directory}: a checkpoint is a directory that holds {MANIFEST}")


def best_checkpoints(directory: str | Path, n: int, monitor: str, mode: str = "max") -> list[Path]:
    """The best checkpoints by something that was measured when they were saved.

    Args:
        directory: Where to look, see :func:`list_checkpoints`.
        n: How many.
        monitor: Name of the metric, such as ``"rollout/ep_rew_mean"`` or ``"eval/mean_reward"``.
        mode: ``"max"`` if more is better, ``"min"`` if less is.

    Returns:
        Their directories, the best first; of equals the newer first.

    Raises:
        CheckpointError: If there are checkpoints, and none has the metric.
        ValueError: For an unknown mode.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    found = list_checkpoints(directory)
    measured = [one for one in found if not math.isnan(one.metrics.get(monitor, math.nan))]
    if found and not measured:
        known = sorted({name for manifest in found for name in manifest.metrics})
        raise CheckpointError(
            f"no checkpoint in {directory} has {monitor!r}; they have {', '.join(known) or 'nothing'}"
        )
    ranked = sorted(measured, key=lambda manifest: manifest.metrics[monitor], reverse=mode == "max")
    return [manifest.path for manifest in ranked[:n]]


def keep_last(directory: str | Path, n: int, *, spare: Iterable[Path] = ()) -> list[Path]:
    """Remove all checkpoints but the newest.

    Args:
        directory: Where they are, see :func:`list_checkpoints`.
        n: How many stay, at least 1.
        spare: Others that stay, such as :func:`best_checkpoints`.

    Returns:
        What was removed. Nothing, if the newest is not whole.
    """
    _check_number(n)
    return _remove_all_but(directory, [manifest.path for manifest in list_checkpoints(directory)[:n]], spare)


def keep_best(
    directory: str | Path, n: int, monitor: str, mode: str = "max", *, spare: Iterable[Path] = ()
) -> list[Path]:
    """Remove all checkpoints but the best and the newest one, which a run goes on from.

    Args:
        directory: Where they are, see :func:`list_checkpoints`.
        n: How many stay, at least 1.
        monitor: Name of the metric, see :func:`best_checkpoints`.
        mode: ``"max"`` if more is better, ``"min"`` if less is.
        spare: Others that stay.

    Returns:
        What was removed. Nothing, if the newest is not whole.
    """
    _check_number(n)
    return _remove_all_but(directory, best_checkpoints(directory, n, monitor, mode), spare)


def _remove_all_but(directory: str | Path, kept: list[Path], spare: Iterable[Path]) -> list[Path]:
    found = list_checkpoints(directory)
    if not found:
        return []
    try:
        check_sizes(found[0])
    except CheckpointError as error:
        warnings.warn(f"no checkpoint is removed, as the newest is not whole: {error}", stacklevel=3)
        return []
    stay = {path.resolve() for path in [*kept, *spare, found[0].path]}
    removed = [manifest.path for manifest in found if manifest.path.resolve() not in stay]
    for path in removed:
        remove_directory(path)
        clear_leftovers(path.parent)
    return removed


def _check_number(n: int) -> None:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n must be a whole number of at least 1, got {n!r}")
