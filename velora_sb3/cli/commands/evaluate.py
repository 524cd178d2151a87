"""``velora-sb3 evaluate``: the returns of a trained model."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from velora_sb3.cli.options import add_gym_packages, positive, seed

DESCRIPTION = """\
Run a trained model and print its returns. A recurrent model keeps its state within each episode. By default, this runs
the model at the end of training, in the same episodes as the final evaluation.
model.zip contains a pickle, which can run arbitrary code when it is loaded: only load models from people you trust.
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "evaluate",
        help="evaluate a trained model (only load models from people you trust)",
        description=DESCRIPTION,
    )
    parser.add_argument(
        "model",
        metavar="RUN_OR_ZIP",
        help="directory of a run, of SaveCheckpoints or of pull, or a model.zip",
    )
    parser.add_argument("--best", action="store_true", help="evaluate best_model.zip of a run, not model.zip")
    parser.add_argument("--env", help="Gymnasium id (default: the run's)")
    parser.add_argument("--algo", help="algorithm, if there is no config.json beside the zip")
    parser.add_argument("--episodes", type=positive, default=20, help="number of episodes (default: 20)")
    parser.add_argument(
        "--seed",
        type=seed,
        help="seed of the environment and of sampled actions (default: that of the run's final evaluation, else 0)",
    )
    parser.add_argument(
        "--stochastic", action="store_true", help="sample actions instead of taking the most likely one"
    )
    add_gym_packages(parser)
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda")
    parser.add_argument("--threads", type=positive, default=1, help="number of torch threads (default: 1)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate."""
    import torch
    from rich.console import Console
    from stable_baselines3.common.utils import set_random_seed

    from velora_sb3.cli.algorithms import check_masks
    from velora_sb3.cli.errors import UserError
    from velora_sb3.cli.experiment.build_model import check_device
    from velora_sb3.cli.experiment.config import CONFIG_FILE
    from velora_sb3.cli.experiment.environments import check_spaces, import_packages, open_env, open_vec_env
    from velora_sb3.cli.experiment.evaluation import evaluate_model
    from velora_sb3.cli.saved_model import BEST_MODEL, MODEL, find_model
    from velora_sb3.cli.tables import add_returns, plain_table, print_line, warnings_as_lines
    from velora_sb3.hub.evaluation import evaluation_env

    saved = find_model(Path(args.model).absolute(), args.best)
    config, shown = saved.config, os.path.relpath(saved.path if saved.path.is_file() else saved.path.parent)
    algo, env_id = args.algo or (config and config.algo), args.env or (config and config.env)
    missing = [option for option, value in (("--algo", algo), ("--env", env_id)) if not value]
    if not algo or not env_id:
        raise UserError(f"no {CONFIG_FILE} beside {shown} names them: pass {' and '.join(missing)}")
    seed = saved.evaluation_seed if args.seed is None else args.seed

    torch.set_num_threads(args.threads)
    check_device(args.device)
    import_packages(args.gym_packages or (config.gym_packages if config else []))
    open_env(env_id).close()
    model = saved.load(algo, args.device)
    env = saved.load_normalization(env_id) or open_vec_env(env_id, 1, seed)
    env.seed(seed)
    check_spaces(model, env, env_id)
    check_masks(type(model), env, env_id)
    set_random_seed(seed)
    console = Console()
    with evaluation_env(model, env) as normalized, warnings_as_lines(console):
        returns, lengths = evaluate_model(model, normalized, args.episodes, deterministic=not args.stochastic)
    env.close()

    how = "stochastic" if args.stochastic else "deterministic"
    print_line(console, f"{algo} on {env_id}, {how}, seed {seed}, {shown} of step {model.num_timesteps:,}")
    if not args.best and saved.path.name == MODEL and saved.path.with_name(BEST_MODEL).is_file():
        print_line(console, f"{BEST_MODEL} had the best evaluation during training: --best evaluates it instead")
    table = plain_table("", "")
    table.show_header = False
    add_returns(table, returns, lengths)
    console.print(table)
    return 0
