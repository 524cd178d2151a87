import pytest

pytest.importorskip("ray")
from velora_sb3.cli.errors import UserError
from velora_sb3.cli.sweep.sweep_file import read_sweep

FILE = """
algo: ppo
env: CartPole-v1
steps: 2000
policy_kwargs: {units: 8}
search:
  learning_rate: {loguniform: [1e-4, 1e-2]}
  policy_kwargs: {mode: {choice: [default, pure]}}
trials: 4
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "sweep.yaml").write_text(text)
        return read_sweep(tmp_path / "sweep.yaml")

    return read


def test_what_is_not_given_is_as_velora_sb3_train_has_it(read):
    sweep = read(FILE + "seeds: 2\nseed: 5\ntime_limit: 90m\n")
    assert sweep.run.n_envs == 8 and sweep.run.hyperparams["n_steps"] == 32  # the defaults of PPO on CartPole
    assert sweep.run.eval_freq == 1000
    assert (sweep.seeds, sweep.time_limit, sweep.resources) == ([5, 6], 5400, {"cpu": 1, "gpu": 0})


def test_drawn_values_reach_the_run(read):
    sweep = read(FILE)
    config = sweep.config(sweep.settings({"learning_rate": 1e-3, "policy_kwargs.mode": "pure"}), seed=7)
    assert config.hyperparams["learning_rate"] == 1e-3
    assert config.policy_kwargs == {"units": 8, "mode": "pure"}
    assert config.seed == 7
    assert "mode" not in sweep.run.policy_kwargs


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (FILE.replace("algo: ppo\n", ""), "is not a sweep: 'algo' is missing"),
        (FILE.replace("trials", "trails"), "'trials' is missing"),
        (FILE + "seedz: 3", "unknown entry 'seedz': did you mean"),
        (FILE + "scheduler: ahsa", "scheduler must be one of none, asha, pbt, got 'ahsa'"),
        (FILE + "searcher: tpe", "searcher must be one of random, optuna, got 'tpe'"),
        (FILE + "seeds: 0", "seeds must be at least 1, got 0"),
        (FILE + "resources: {gpus: 1}", "unknown key of resources 'gpus': did you mean 'gpu'? choose from cpu, gpu"),
        (FILE + "resources: {cpu: 0}", "resources.cpu must be a number above 0, got 0"),
        (FILE + "time_limit: soon", "number of seconds, or a duration such as 90m, 2h or 1d, got 'soon'"),
        (FILE + "eval_freq: 5000", "eval_freq must be at most steps, 2000, got 5000"),
        (FILE.replace("learning_rate", "lerning_rate"), "search.lerning_rate 0.0001: unknown hyperparameter of PPO"),
        (FILE.replace("search:", "search:\n  gamma: {choice: [0.9]}\n  seed: {int: [0, 5]}"),
         ": search.seed 0: seed is not a hyperparameter: set it with key seed"),
        (FILE + "hyperparams: {n_envs: 2}", ": n_envs is not a hyperparameter: set it with key n_envs"),
        (FILE + "hyperparams: {policy_kwargs: {}}", "set it with key policy_kwargs"),
        (FILE + "device: nope", ": key device nope: torch has no such device"),
        (FILE.replace("trials", "  gamma: {choice: [2, 0.9]}\ntrials"), ": search.gamma 2: hyperparameter gamma"),
        (FILE.replace("pure", "puer"), "search.policy_kwargs.mode 'puer': PPO on CartPole-v1: mode must be one of"),
        (FILE.replace("loguniform", "log"), "search.learning_rate must be one of uniform, loguniform, int, choice"),
        (FILE.replace("1e-4", "2"), "search.learning_rate: the lowest value must be below the highest"),
        (FILE.replace("units: 8", "mode: pure"), "policy_kwargs.mode is in search and has the fixed value 'pure'"),
        (FILE.replace("CartPole-v1", "CartPool-v1"), "unknown env 'CartPool-v1': did you mean 'CartPole-v1'"),
        (FILE.replace("ppo", "ppoo"), "'ppoo': did you mean"),
        (
            FILE.replace("  learning_rate: {loguniform: [1e-4, 1e-2]}\n", "") + "scheduler: pbt",
            "perturbs running models",
        ),
        (FILE + "scheduler: pbt\nsearcher: optuna", "scheduler pbt needs searcher random, got optuna"),
        (FILE.replace("trials: 4", "trials: 1") + "scheduler: pbt", "trials must be at least 2, got 1"),
        ("search: [", "malformed JSON or YAML"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_the_key_and_the_choices(text, told, read):
    with pytest.raises(UserError) as error:
        read(text)
    assert told in str(error.value)
    assert "sweep.yaml" in str(error.value)
