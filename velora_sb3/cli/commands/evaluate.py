"""``velora-sb3 evaluate``: the returns of a trained model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velora_sb3.cli.options import positive, seed

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

DESCRIPTION = """\
Run a trained model and print its returns. A recurrent model keeps its state within each episode.
model.zip contains a pickle, which can run arbitrary code when it is loaded: only load models from people you trust.
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "evaluate",
        help="evaluate a trained model (only load models from people you trust)",
        description=DESCRIPTION,
    )
    parser.add_argument("model", metavar="RUN_OR_ZIP", help="a run directory, or a model.zip")
    parser.add_argument("--env", help="Gymnasium id (default: the run's)")
    parser.add_argument("--algo", help="algorithm, if there is no config.json beside the zip")
    parser.add_argument("--episodes", type=positive, default=20, help="number of episodes (default: 20)")
    parser.add_argument(
        "--seed", type=seed, default=0, help="seed of the environment and of sampled actions (default: 0)"
    )
    parser.add_argument(
        "--stochastic", action="store_true", help="sample actions instead of taking the most likely one"
    )
    parser.add_argument(
        "--gym-packages", nargs="+", default=[], metavar="PACKAGE", help="packages to import that register environments"
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda")
    parser.add_argument("--threads", type=positive, default=1, help="number of torch threads (default: 1)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate."""
    import torch
    from rich.console import Console
    from stable_baselines3.common.utils import check_for_correct_spaces, set_random_seed

    from velora_sb3.cli.algorithms import check_masks
    from velora_sb3.cli.errors import UserError, reason
    from velora_sb3.cli.experiment.build_model import check_device
    from velora_sb3.cli.experiment.config import CONFIG_FILE, load_config
    from velora_sb3.cli.experiment.environments import import_packages, open_env, open_vec_env
    from velora_sb3.cli.experiment.evaluation import evaluate_model
    from velora_sb3.cli.tables import add_returns, plain_table, print_line

    path = Path(args.model)
    zip_path = path / "model.zip" if path.is_dir() else path
    if not zip_path.is_file():
        raise UserError(f"{path} contains no model.zip" if path.is_dir() else f"no such file or directory: {path}")
    config = load_config(zip_path.parent) if (zip_path.parent / CONFIG_FILE).is_file() else None
    algo, env_id = args.algo or (config and config.algo), args.env or (config and config.env)
    missing = [option for option, value in (("--algo", algo), ("--env", env_id)) if not value]
    if not algo or not env_id:
        raise UserError(f"no {CONFIG_FILE} beside {zip_path}: pass {' and '.join(missing)}")

    torch.set_num_threads(args.threads)
    check_device(args.device)
    import_packages(args.gym_packages or (config.gym_packages if config else []))
    open_env(env_id).close()
    model = load_model(zip_path, algo, args.device)
    env = open_vec_env(env_id, 1, args.seed)
    try:
        check_for_correct_spaces(model._wrap_env(env, verbose=0), model.observation_space, model.action_space)
    except ValueError as error:
        raise UserError(f"the model does not fit {env_id}: {reason(error)}") from error
    check_masks(type(model), env, env_id)
    set_random_seed(args.seed)
    returns, lengths = evaluate_model(model, env, args.episodes, deterministic=not args.stochastic)
    env.close()

    console = Console()
    print_line(console, f"{algo} on {env_id}, {'stochastic' if args.stochastic else 'deterministic'}, {zip_path}")
    table = plain_table("", "")
    table.show_header = False
    add_returns(table, returns, lengths)
    console.print(table)
    return 0


def load_model(path: Path, algo: str, device: str = "auto") -> BaseAlgorithm:
    """Load a model for inference, without a replay buffer."""
    import zipfile

    from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

    from velora_sb3.cli.algorithms import find_algorithm
    from velora_sb3.cli.errors import UserError, reason

    name, algorithm = find_algorithm(algo)
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is not a zip file")
    small: dict[str, Any] = {"buffer_size": 1} if issubclass(algorithm, OffPolicyAlgorithm) else {}
    try:
        return algorithm.load(path, device=device, **small)
    except Exception as error:  # unpickling another class or version may raise anything
        raise UserError(f"cannot load {path} as a {name} model: {type(error).__name__}: {reason(error)}") from error
