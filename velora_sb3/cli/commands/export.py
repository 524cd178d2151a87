"""``velora-sb3 export``: a trained policy as an ONNX file or C source."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velora_sb3.cli.options import add_gym_packages, check_output

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from velora_sb3._normalization import ObservationStatistics
    from velora_sb3.cli.saved_model import SavedModel

DESCRIPTION = """\
Write a trained policy as an ONNX file or C source: one step with an explicit state. It takes observations as the
environment gives them, normalizes them if needed, and returns actions in the environment's units. The result is
compared with the model over 1,000 steps.
A checkpoint is loaded without opening a pickle; model.zip contains one, which can run arbitrary code when it is loaded:
only load models from people you trust.
"""
TARGETS = ("onnx", "c")


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("export", help="export a policy to ONNX or C", description=DESCRIPTION)
    parser.add_argument(
        "model", metavar="RUN", help="a run directory, a directory of SaveCheckpoints, a checkpoint, or a model.zip"
    )
    parser.add_argument("--to", required=True, metavar="TARGET", help=f"{' or '.join(TARGETS)}")
    parser.add_argument("--out", type=Path, help="output directory (default: onnx or c in the run directory)")
    parser.add_argument("--best", action="store_true", help="export best_model.zip of a run, not model.zip")
    parser.add_argument("--algo", help="algorithm, if there is no config.json beside the zip")
    parser.add_argument(
        "--normalization",
        type=Path,
        metavar="FILE",
        help="statistics of VecNormalize, written by ObservationStatistics.save (default: normalization.json beside "
        "the model, or the checkpoint's); none for no normalization",
    )
    add_gym_packages(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export."""
    import json

    import torch

    from velora_sb3.checkpoints import CheckpointError
    from velora_sb3.cli.errors import UserError, reason, unknown
    from velora_sb3.cli.experiment.environments import import_packages
    from velora_sb3.cli.saved_model import find_model
    from velora_sb3.export import export_c, export_onnx

    exporters = {"onnx": export_onnx, "c": export_c}
    if args.to not in exporters:
        raise unknown("target", args.to, exporters)
    import_packages(args.gym_packages)
    torch.set_num_threads(1)
    path = Path(args.model).absolute()
    saved = find_model(path, args.best)
    out = args.out or (path if path.is_dir() else path.parent) / args.to
    check_output("--out", out, directory=True)
    try:
        model, statistics = _load(saved, args)
        folder = exporters[args.to](
            model, out, vec_normalize=statistics, observation_space=_environment_space(saved, model, args.gym_packages)
        )
    except (CheckpointError, ImportError, ValueError, TypeError, OSError) as error:
        raise UserError(reason(error)) from error
    report = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
    print(f"{os.path.relpath(folder)}: {', '.join(sorted(file.name for file in folder.iterdir()))}")
    if report["reference"] is None:
        print(f"not compared with the model: {report['reason']}")
        return 0
    print(
        f"compared with {report['reference']} over {report['compared']:,} steps of {report['episodes']} episodes: "
        f"largest difference {report['largest_difference']:.1e}"
    )
    for part, name in (("weight", "weights"), ("state", "state"), ("stack", "stack")):
        if f"{part}_bytes" in report:
            print(f"{name}: {report[f'{part}_bytes']:,} bytes")
    return 0


def _load(saved: SavedModel, args: argparse.Namespace) -> tuple[BaseAlgorithm, ObservationStatistics | bool | None]:
    """The model and the statistics beside it, from the checkpoint if there is one: it holds no pickle."""
    from velora_sb3._normalization import ObservationStatistics, misses_normalization
    from velora_sb3.cli.errors import UserError
    from velora_sb3.cli.saved_model import SAFE_NORMALIZATION

    directory = saved.path.parent
    stated = args.normalization not in (None, Path("none"))
    given = ObservationStatistics.load(args.normalization) if stated else None
    if saved.has_checkpoint:
        return saved.load_checkpoint(), False if args.normalization == Path("none") else given
    algo = args.algo or (saved.config and saved.config.algo)
    if not algo:
        raise UserError(f"no config.json beside {os.path.relpath(saved.path)} names the algorithm: pass --algo")
    if args.normalization is None and (directory / SAFE_NORMALIZATION).is_file():
        given = ObservationStatistics.load(directory / SAFE_NORMALIZATION)
    pickled = [] if args.normalization is not None else _pickled_statistics(saved.path)
    if given is None and pickled:
        raise UserError(
            f"{os.path.relpath(pickled[0])} is a pickle, which can run arbitrary code, and the policy needs its "
            "statistics: in Python, write them with "
            f"velora_sb3.export.ObservationStatistics.of(vec_normalize).save({SAFE_NORMALIZATION!r}), or export a "
            "checkpoint of save_checkpoint; if this model needs none, pass --normalization none"
        )
    model = saved.load(algo, "cpu")
    if given is None and args.normalization is None and misses_normalization(model):
        raise UserError(
            f"{os.path.relpath(saved.path)} was trained under VecNormalize and does not contain its statistics: pass "
            "--normalization FILE, or --normalization none if it did not normalize observations"
        )
    return model, False if args.normalization == Path("none") else given


def _pickled_statistics(model: Path) -> list[Path]:
    """Files of ``VecNormalize.save`` near a model: beside it, or where RL Zoo has them."""
    places = (model.parent, model.with_suffix(""))
    patterns = ("*vecnormalize*.pkl", "*vec_normalize*.pkl")
    return [file for place in places for pattern in patterns for file in sorted(place.glob(pattern))]


def _environment_space(saved: SavedModel, model: BaseAlgorithm, packages: list[str]) -> Any:
    """The environment's own space, where it matters: for images, whose channels the policy has first."""
    from gymnasium import spaces

    from velora_sb3.cli.experiment.environments import import_packages, open_env

    seen = model.observation_space
    parts = seen.spaces.values() if isinstance(seen, spaces.Dict) else [seen]
    if saved.config is None or not saved.config.env or all(len(part.shape or ()) != 3 for part in parts):
        return None
    import_packages(packages or saved.config.gym_packages)
    env = open_env(saved.config.env)
    try:
        return env.observation_space
    finally:
        env.close()
