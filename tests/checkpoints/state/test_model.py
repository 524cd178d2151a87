"""Every algorithm with its own policies and ours comes back: what it was given, how it acts, how it goes on."""

import json
from contextlib import nullcontext

import gymnasium as gym
import numpy as np
import pytest
from ncps.wirings import AutoNCP
from safetensors.torch import load_file
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv
from torch import nn

from tests.algorithms import recurrent
from tests.checkpoints.conftest import small_model
from tests.checkpoints.runs import CASES, assert_equal
from tests.checkpoints.runs import train as train_case
from tests.compat.algorithms import ALGORITHMS, SETTINGS, make_env, make_model, train
from velora_sb3 import load_checkpoint, resume_training, save_checkpoint
from velora_sb3.checkpoints import CheckpointError
from velora_sb3.checkpoints.format.files import POLICY, STATE

# RandomEnv does not expose its state: its episodes are discarded, which is another test's subject.
DISCARDED = pytest.mark.filterwarnings("ignore:the running episode")


def saved(model, path, **more):
    return save_checkpoint(model, path / "checkpoint", **more)


def acts_alike(model, other):
    model.observation_space.seed(0)
    observations = [model.observation_space.sample() for _ in range(5)]
    for observation in observations:
        expected, _ = model.predict(observation, deterministic=True, episode_start=np.ones(1))
        action, _ = other.predict(observation, deterministic=True, episode_start=np.ones(1))
        np.testing.assert_array_equal(action, expected)


def arguments(model):
    """Hyperparameters, as far as they are numbers or text."""
    plain = {name: value for name, value in vars(model).items() if isinstance(value, int | float | str | np.generic)}
    return {name: value for name, value in plain.items() if name != "start_time"}


OWN = {"MlpPolicy": "vector", "CnnPolicy": "image", "MultiInputPolicy": "dict"}
NAMES = {RecurrentPPO: lambda name: name.replace("Policy", "LstmPolicy")}
EVERY = [A2C, DDPG, DQN, PPO, SAC, TD3, QRDQN, TQC, TRPO, MaskablePPO, RecurrentPPO]
POLICIES = [*((algorithm, policy) for algorithm in EVERY for policy in OWN), (ARS, "MlpPolicy"), (CrossQ, "MlpPolicy")]


@DISCARDED
@pytest.mark.parametrize(("algorithm", "policy"), POLICIES)
def test_algorithms_with_their_own_policies(algorithm, policy, tmp_path):
    name = NAMES.get(algorithm, str)(policy)
    small = {"net_arch": [8]} if algorithm is not ARS else {}
    if policy == "CnnPolicy":
        small["features_extractor_kwargs"] = {"features_dim": 8}
    if algorithm is RecurrentPPO:
        small["lstm_hidden_size"] = 8
    env = make_env(algorithm, OWN[policy])
    model = algorithm(name, env, policy_kwargs=small, seed=0, device="cpu", **SETTINGS[algorithm])
    train(model)
    path = saved(model, tmp_path)
    other = load_checkpoint(path, device="cpu")
    assert type(other) is algorithm and type(other.policy) is type(model.policy)
    acts_alike(model, other)
    assert arguments(other) == arguments(model)
    assert_equal(other.get_parameters(), model.get_parameters())
    train(load_checkpoint(path, make_env(algorithm, OWN[policy]), device="cpu"))


@DISCARDED
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: algorithm.__name__)
def test_liquid_policies(algorithm, tmp_path):
    model = train(make_model(algorithm, policy_kwargs={"wiring": AutoNCP(12, 3, seed=5)}))
    other = load_checkpoint(saved(model, tmp_path), make_env(algorithm), device="cpu")
    acts_alike(model, other)
    assert_equal(other.get_parameters(), model.get_parameters())
    train(other)


@DISCARDED
@pytest.mark.parametrize("algorithm", recurrent.ALGORITHMS, ids=lambda algorithm: algorithm.__name__)
def test_recurrent_algorithms(algorithm, tmp_path):
    model = recurrent.make_model(algorithm).learn(40)
    other = load_checkpoint(saved(model, tmp_path), recurrent.make_env(algorithm), device="cpu")
    acts_alike(model, other)
    assert other.replay_buffer.window_length == model.replay_buffer.window_length
    other.learn(20)


def test_what_is_in_the_files(tmp_path):
    """Other programs can read it: the policy's tensors by name, arguments as numbers and text."""
    model = small_model("Pendulum-v1", learning_rate=LinearSchedule(1e-3, 1e-4, 1.0), train_freq=(2, "step")).learn(24)
    path = saved(model, tmp_path)
    assert_equal(dict(sorted(load_file(path / POLICY).items())), dict(sorted(model.policy.state_dict().items())))
    state = json.loads((path / STATE).read_text())
    assert state["algorithm"] == "stable_baselines3.sac.sac.SAC"
    assert state["policy"] == "stable_baselines3.sac.policies.SACPolicy"
    assert state["arguments"]["gamma"] == 0.99
    assert state["arguments"]["train_freq"] == {"$type": "train_freq", "frequency": 2, "unit": "step"}
    assert state["arguments"]["learning_rate"]["class"]["name"] == "stable_baselines3.common.utils.LinearSchedule"
    progress = state["progress"]
    assert progress["num_timesteps"] == 24 and progress["progress_remaining"] == 0.0
    assert progress["learning_rate"] == pytest.approx(1e-4)
    assert state["versions"]["stable-baselines3"].startswith("2.")


def test_a_clip_range_is_a_number_again(tmp_path):
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, clip_range=0.3, clip_range_vf=0.2, device="cpu")
    path = saved(model, tmp_path)
    assert json.loads((path / STATE).read_text())["arguments"]["clip_range"] == 0.3
    assert load_checkpoint(path, "CartPole-v1").clip_range(1.0) == 0.3


@pytest.mark.parametrize("kind", [SubprocVecEnv, DummyVecEnv])
@pytest.mark.parametrize("end", ["closed", "killed"])
def test_the_weights_are_saved_whatever_became_of_the_environments(kind, end, tmp_path):
    settings = {"start_method": "fork"} if kind is SubprocVecEnv else {}
    env = make_vec_env("CartPole-v1", 2, vec_env_cls=kind, vec_env_kwargs=settings)
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=8, device="cpu").learn(16)
    if end == "closed":
        env.close()
    elif kind is SubprocVecEnv:
        for process in env.processes:
            process.kill()
            process.join()
    lost = nullcontext() if kind is DummyVecEnv else pytest.warns(UserWarning, match=f"resumed: .*({end}|has ended)")
    with lost:
        path = saved(model, tmp_path)
    assert_equal(load_checkpoint(path, device="cpu").get_parameters(), model.get_parameters())
    reset = nullcontext() if kind is DummyVecEnv else pytest.warns(UserWarning, match="environments are reset")
    with reset:
        resumed = resume_training(path, make_vec_env("CartPole-v1", 2), total_timesteps=32, device="cpu")
    assert resumed.num_timesteps == 32


def test_hindsight_replay_without_an_environment_predicts(tmp_path):
    case = CASES["DQN, hindsight"]
    model = train_case(case, 40)
    path = saved(model, tmp_path)
    with pytest.warns(UserWarning, match="loaded without its replay buffer, as HerReplayBuffer .*pass env="):
        other = load_checkpoint(path, device="cpu")
    assert_equal(other.get_parameters(), model.get_parameters())
    observation = model.observation_space.sample()
    assert other.predict(observation, deterministic=True)[0] == model.predict(observation, deterministic=True)[0]
    assert load_checkpoint(path, case.env(), device="cpu").replay_buffer.size() == model.replay_buffer.size()


def test_where_tensorboard_logs_may_be_a_path(tmp_path):
    model = small_model(tensorboard_log=tmp_path / "log")
    assert load_checkpoint(saved(model, tmp_path)).tensorboard_log == tmp_path / "log"


def test_only_the_filled_part_of_the_buffer_is_stored(tmp_path):
    model = small_model(buffer_size=100_000).learn(20)
    path = saved(model, tmp_path)
    assert (path / "replay_buffer.safetensors").stat().st_size < 3000
    other = load_checkpoint(path, "CartPole-v1")
    assert other.replay_buffer.observations.shape == (100_000, 1, 4)
    assert_equal(other.replay_buffer.observations, model.replay_buffer.observations)


def test_without_the_buffer(tmp_path):
    path = saved(small_model().learn(20), tmp_path, buffer=False)
    assert load_checkpoint(path, "CartPole-v1").replay_buffer.size() == 0
    with pytest.warns(UserWarning, match="no replay buffer"):
        resumed = resume_training(path, "CartPole-v1", total_timesteps=28, device="cpu")
    assert resumed.num_timesteps == 28


# What is not plain data.


class Scaled(BaseFeaturesExtractor):
    """A user's features extractor."""

    def __init__(self, observation_space, scale=1.0):
        super().__init__(observation_space, int(np.prod(observation_space.shape)))
        self.layer, self.scale = nn.Linear(self.features_dim, self.features_dim), scale

    def forward(self, observations):
        return self.layer(observations) * self.scale


def falling(progress):
    return 1e-3 * progress


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"learning_rate": lambda progress: 1e-3}, "^learning_rate \\(function .*LinearSchedule"),
        ({"learning_rate": falling}, "^learning_rate \\(function falling.*LinearSchedule"),
        (
            {"policy_kwargs": {"net_arch": [4], "activation_fn": lambda: nn.Tanh()}},
            r"^policy_kwargs\['activation_fn'\] \(function .*torch.nn.ReLU",
        ),
    ],
)
def test_what_is_not_plain_data_is_refused_with_its_name_and_the_alternative(settings, told, tmp_path):
    model = small_model(**settings)
    with pytest.raises(CheckpointError, match=f"(?s){told}.*custom_objects"):
        saved(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_or_it_is_passed_again(tmp_path):
    model = small_model(learning_rate=falling).learn(24)
    path = saved(model, tmp_path, custom_objects=["learning_rate"])
    with pytest.raises(CheckpointError, match="saved without learning_rate: pass it as custom_objects"):
        load_checkpoint(path)
    other = load_checkpoint(path, "CartPole-v1", custom_objects={"learning_rate": falling})
    assert other.lr_schedule(0.5) == 5e-4
    acts_alike(model, other)


@DISCARDED
def test_policy_arguments_that_are_passed_again_get_what_sb3_adds(tmp_path):
    kwargs = {"net_arch": [8], "units": 8, "readout_units": 8}
    model = recurrent.make_model(recurrent.RecurrentSAC, policy_kwargs=kwargs).learn(20)
    path = saved(model, tmp_path, custom_objects=["policy_kwargs"])
    other = load_checkpoint(path, custom_objects={"policy_kwargs": kwargs}, device="cpu")
    acts_alike(model, other)
    assert other.policy.recurrent


def test_a_name_that_is_no_argument_is_refused_on_saving_and_warned_of_on_loading(model, tmp_path):
    with pytest.raises(CheckpointError, match="'learning_rte', but a DQN has no such argument"):
        saved(model, tmp_path, custom_objects=["learning_rte"])
    path = saved(model, tmp_path)
    with pytest.warns(UserWarning, match="no effect on clip_range, learning_rte, which DQN does not have"):
        load_checkpoint(path, custom_objects={"learning_rte": 1e-4, "clip_range": 0.2, "lr_schedule": lambda _: 0.0})


def test_an_argument_that_does_not_fit_is_blamed(model, tmp_path):
    path = saved(model, tmp_path)
    with pytest.raises(CheckpointError, match=r"leave out of custom_objects what does not fit it \(policy_kwargs\)"):
        load_checkpoint(path, custom_objects={"policy_kwargs": {"net_arch": [3]}})


def test_a_class_of_one_s_own_must_be_trusted(tmp_path):
    kwargs = {"features_extractor_class": Scaled, "features_extractor_kwargs": {"scale": 2.0}, "net_arch": [4]}
    model = small_model(policy_kwargs=kwargs).learn(20)
    path = saved(model, tmp_path)
    with pytest.raises(CheckpointError, match=r"Scaled', which is not on the list .*trusted=\[Scaled\]"):
        load_checkpoint(path)
    for trusted in (Scaled, f"{__name__}.Scaled"):
        other = load_checkpoint(path, trusted=[trusted])
        acts_alike(model, other)
        assert other.policy.q_net.features_extractor.scale == 2.0


class Quiet(DQN):
    """A user's algorithm."""


def test_an_algorithm_of_one_s_own_must_be_trusted(tmp_path):
    model = Quiet("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": [4]}, buffer_size=50)
    path = saved(model, tmp_path)
    with pytest.raises(CheckpointError, match=r"trusted=\[Quiet\]"):
        load_checkpoint(path)
    assert type(load_checkpoint(path, trusted=[Quiet])) is Quiet


def test_noise_keeps_its_state(tmp_path):
    noise = OrnsteinUhlenbeckActionNoise(np.zeros(1), np.ones(1))
    model = small_model("Pendulum-v1", action_noise=noise).learn(30)
    other = load_checkpoint(saved(model, tmp_path), "Pendulum-v1")
    np.testing.assert_array_equal(other.action_noise.noise_prev, model.action_noise.noise_prev)


def test_an_attribute_that_a_user_adds_comes_back_or_is_named(tmp_path):
    model = small_model()
    model.notes = {"lab": [1, 2]}
    assert load_checkpoint(saved(model, tmp_path)).notes == {"lab": [1, 2]}
    model.notes = object()
    with pytest.raises(CheckpointError, match=r"^notes \(of type object\)"):
        saved(model, tmp_path)


# Environments that do not fit.


def test_as_many_environments_as_the_run_had(model, tmp_path):
    with pytest.raises(CheckpointError, match="the run had 1 environments, got 2"):
        load_checkpoint(saved(model, tmp_path), make_vec_env("CartPole-v1", 2))


def test_other_spaces_are_refused(model, tmp_path):
    with pytest.raises(CheckpointError, match="do not match the run's: Observation spaces do not match"):
        load_checkpoint(saved(model, tmp_path), "MountainCar-v0")


def test_another_environment_of_the_same_spaces_starts_afresh(model, tmp_path):
    with pytest.warns(UserWarning, match="are reset: the environment is Monitor of OrderEnforcing"):
        other = load_checkpoint(saved(model, tmp_path), gym.make("CartPole-v1", max_episode_steps=-1))
    other.learn(8, reset_num_timesteps=False)
    assert other.num_timesteps == 48


def test_no_checkpoint_at_all(tmp_path):
    with pytest.raises(CheckpointError, match="is not a directory"):
        load_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"there is no checkpoint in .* holds manifest\.json"):
        load_checkpoint(tmp_path)
