import warnings
from io import BytesIO

import numpy as np
import pytest
from gymnasium import spaces
from sb3_contrib import QRDQN, TQC, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import DDPG, DQN, PPO, SAC, TD3, HerReplayBuffer
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.save_util import save_to_pkl
from stable_baselines3.common.vec_env import DummyVecEnv

from tests.algorithms.recurrent import ALGORITHMS, make_env, make_model
from tests.compat.algorithms import BOX, DISCRETE, OBSERVATIONS, RandomEnv
from tests.compat.algorithms import make_model as make_any_model
from velora_sb3 import RecurrentDQN, RecurrentMaskablePPO, RecurrentQRDQN, RecurrentSAC, RecurrentTQC, StatefulPredictor
from velora_sb3.memory import SequenceReplayBuffer


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimize_memory_usage": True}, "leave out optimize_memory_usage"),
        ({"replay_buffer_class": HerReplayBuffer}, "cannot use HerReplayBuffer .hindsight replay"),
        ({"replay_buffer_class": NStepReplayBuffer}, "cannot use NStepReplayBuffer"),
        (
            {"replay_buffer_kwargs": {"sequence_length": 9}},
            "sequence_length: pass to Recurrent.*, not in replay_buffer_kwargs",
        ),
        ({"replay_buffer_kwargs": {"n_steps": 3, "gamma": 0.9}}, "gamma and n_steps: pass to Recurrent"),
        ({"n_steps": 0}, "n_steps must be an integer of at least 1, got 0"),
        ({"n_steps": None}, "n_steps must be an integer of at least 1, got None"),
        ({"sequence_length": 0}, "sequence_length must be an integer of at least 1"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(algorithm, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_model(algorithm, **arguments)


def test_a_policy_that_does_not_remember_is_refused():
    with pytest.raises(
        TypeError, match="SACPolicy is not a policy for RecurrentSAC: use .*LiquidSACPolicy, or the alias"
    ):
        RecurrentSAC("MlpPolicy", "Pendulum-v1")


def test_a_buffer_smaller_than_a_window_is_refused_before_learning():
    with pytest.raises(ValueError, match="buffer_size=6 holds 6 steps .* fewer than a window of 7:"):
        make_model(RecurrentSAC, buffer_size=6, sequence_length=4, burn_in_length=3)


def test_an_algorithm_without_memory_refuses_a_policy_that_remembers(tmp_path):
    with pytest.raises(ValueError, match="SAC has no memory between steps.*: use RecurrentSAC"):
        SAC("LiquidPolicy", "Pendulum-v1", policy_kwargs={"recurrent": True})
    make_model(RecurrentSAC).save(tmp_path / "model")
    with pytest.raises(ValueError, match="such as RecurrentSAC"):
        SAC.load(tmp_path / "model")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_model_without_memory_is_not_loaded_as_one_that_remembers(algorithm, tmp_path):
    reactive = {f"Recurrent{base.__name__}": base for base in (DDPG, TD3, SAC, TQC, DQN, QRDQN)}[algorithm.__name__]
    make_any_model(reactive).save(tmp_path / "model")
    with pytest.raises(ValueError, match=f"without memory: load it with {reactive.__name__}"):
        algorithm.load(tmp_path / "model")


def test_a_tqc_that_drops_every_quantile_is_refused():
    with pytest.raises(ValueError, match="top_quantiles_to_drop_per_net=2 leaves none of n_quantiles=2: drop fewer"):
        make_model(RecurrentTQC, policy_kwargs={"n_quantiles": 2})


def test_actions_that_do_not_count_from_zero_are_refused():
    env = RandomEnv(OBSERVATIONS["vector"], spaces.Discrete(3, start=1))
    with pytest.raises(ValueError, match="number actions from 0, but .* starts at 1"):
        RecurrentDQN("LiquidPolicy", env)


@pytest.mark.parametrize("algorithm", [SAC, TD3, CrossQ, RecurrentSAC, RecurrentTQC])
def test_actions_without_a_range_are_refused(algorithm):
    actions = spaces.Box(np.float32([-1, 0]), np.float32([1, 0]))
    env = RandomEnv(OBSERVATIONS["vector"], actions)
    with pytest.raises(ValueError, match=f"{algorithm.__name__} scales actions to .*, but low equals high in Box"):
        algorithm("LiquidPolicy", env, buffer_size=100)
    PPO("LiquidPolicy", env, n_steps=8, batch_size=8).learn(8)  # it clips them


@pytest.mark.parametrize("actions", [spaces.Discrete(3, start=5), spaces.MultiDiscrete([2, 3], start=[0, 25])])
@pytest.mark.parametrize("policy", ["LiquidPolicy", "MlpLstmPolicy"])
def test_masked_actions_that_do_not_count_from_zero_are_refused(actions, policy):
    env = RandomEnv(OBSERVATIONS["vector"], actions)
    with pytest.raises(ValueError, match="number actions from 0, but .* starts at .*: wrap .*TransformAction"):
        RecurrentMaskablePPO(policy, env)
    if policy == "LiquidPolicy":
        for algorithm in (PPO, MaskablePPO, RecurrentPPO):
            with pytest.raises(ValueError, match="number actions from 0"):
                algorithm(policy, env)


OTHER_SPACES = {
    "a number": spaces.Box(-1, 1, ()),
    "a number in a dict": spaces.Dict({"number": spaces.Box(-1, 1, ()), "vector": spaces.Box(-1, 1, (2,))}),
    "MultiDiscrete": spaces.MultiDiscrete([3, 4]),
    "a table": spaces.Box(-1, 1, (5, 5)),
    "a dict of tables": spaces.Dict({"a": spaces.Box(-1, 1, (5, 2)), "b": spaces.Box(-1, 1, (5, 3))}),
    "a small image": spaces.Box(0, 255, (7, 7, 3), np.uint8),
    "a small image in a dict": spaces.Dict({"image": spaces.Box(0, 255, (7, 7, 3), np.uint8)}),
}


@pytest.mark.parametrize("space", OTHER_SPACES)
@pytest.mark.parametrize("algorithm", [RecurrentSAC, RecurrentDQN, RecurrentPPO, PPO, SAC])
def test_observations_of_every_shape_are_learned_from(algorithm, space):
    if algorithm is SAC and "number" in space:
        pytest.skip("SB3's ReplayBuffer cannot sample numbers")
    env = RandomEnv(OTHER_SPACES[space], BOX if algorithm in (RecurrentSAC, SAC) else DISCRETE)
    make = make_model if algorithm in ALGORITHMS else make_any_model
    model = make(algorithm, env).learn(40)
    assert evaluate_policy(model, model.get_env(), n_eval_episodes=2, warn=False) is not None


def test_lengths_given_at_load_are_those_of_the_windows(tmp_path):
    model = make_model(RecurrentSAC).learn(20)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    loaded = RecurrentSAC.load(tmp_path / "model", env=model.get_env(), sequence_length=6, burn_in_length=2, n_steps=4)
    for _ in range(2):
        assert loaded.replay_buffer.window_length == 8
        assert loaded.replay_buffer.n_steps == 4
        loaded.load_replay_buffer(tmp_path / "buffer")
    loaded.learn(10, reset_num_timesteps=False)


def test_settings_changed_between_two_learns_and_another_buffer_count():
    model, one_step = make_model(RecurrentDQN, n_steps=3).learn(20), make_model(RecurrentDQN).learn(20)
    model.gamma, model.replay_buffer = 0.5, one_step.replay_buffer
    model.learn(10, reset_num_timesteps=False)
    assert (model.replay_buffer.n_steps, model.replay_buffer.gamma) == (3, 0.5)
    assert set(model.replay_buffer.sample(40).discounts.flatten().tolist()) == {0.5, 0.25, 0.125}


def test_a_buffer_class_with_its_own_arguments_has_n_step_returns_too():
    class Mine(SequenceReplayBuffer):
        def __init__(self, *spaces, device, n_envs, optimize_memory_usage, sequence_length, burn_in_length):
            super().__init__(*spaces, device, n_envs, False, True, sequence_length, burn_in_length)

    model = make_model(RecurrentDQN, n_steps=3, replay_buffer_class=Mine).learn(20)
    assert model.replay_buffer.n_steps == 3


def test_an_unknown_argument_is_named():
    with pytest.raises(TypeError, match="unexpected keyword argument 'seqence_length'"):
        RecurrentSAC("LiquidPolicy", "Pendulum-v1", seqence_length=3)


def test_a_buffer_of_the_user_s_own_is_welcome():
    class Mine(SequenceReplayBuffer):
        pass

    assert isinstance(make_model(RecurrentSAC, replay_buffer_class=Mine).replay_buffer, Mine)


def test_the_user_s_policy_kwargs_are_left_as_they_are():
    given = {"units": 8}
    RecurrentSAC("LiquidPolicy", "Pendulum-v1", policy_kwargs=given, buffer_size=64)
    assert given == {"units": 8}


def test_batch_size_counts_windows(monkeypatch):
    model, rows = make_model(RecurrentSAC, batch_size=5, sequence_length=4), []
    sample = model.replay_buffer.sample
    monkeypatch.setattr(model.replay_buffer, "sample", lambda count, env=None: rows.append(count) or sample(count, env))
    model.learn(15)
    assert set(rows) == {20}


@pytest.mark.parametrize("algorithm", [RecurrentSAC, RecurrentDQN, RecurrentPPO, RecurrentMaskablePPO])
def test_calls_that_forget_the_state_are_warned_of_once(algorithm):
    small = make_model if algorithm in ALGORITHMS else make_any_model
    model = small(algorithm)
    observation = model.observation_space.sample()[None]
    model.predict(observation)
    with pytest.warns(UserWarning, match="this policy is recurrent.*StatefulPredictor"):
        model.predict(observation)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(observation)
        predictor = StatefulPredictor(model)
        for _ in range(3):
            predictor.predict(observation)
        for _ in range(3):
            model.predict(observation)
        evaluating = small(algorithm)
        evaluate_policy(evaluating, evaluating.get_env(), 3)


def test_what_reset_returns_is_no_observation():
    model = make_model(RecurrentSAC)
    with pytest.raises(ValueError, match="takes an observation, got a tuple"):
        model.predict(make_env(RecurrentSAC).reset())


def test_crossq_says_why_it_cannot_remember():
    with pytest.raises(ValueError, match="CrossQ has no recurrent form: it normalizes over batches"):
        CrossQ("LiquidPolicy", "Pendulum-v1", policy_kwargs={"recurrent": True})


def test_a_loaded_buffer_s_last_episodes_do_not_go_on_unless_told_so(tmp_path):
    model = make_model(RecurrentSAC).learn(16)  # episodes of 7 steps, two more into the third
    model.save_replay_buffer(tmp_path / "buffer")
    model.load_replay_buffer(tmp_path / "buffer")
    last = model.replay_buffer.pos - 1
    assert model.replay_buffer.dones[last] == model.replay_buffer.timeouts[last] == 1
    model.load_replay_buffer(tmp_path / "buffer", truncate_last_traj=False)
    assert model.replay_buffer.dones[last] == model.replay_buffer.timeouts[last] == 0


def test_a_buffer_of_single_transitions_is_refused(tmp_path):
    SAC("MlpPolicy", make_env(RecurrentSAC), buffer_size=300).save_replay_buffer(tmp_path / "buffer")
    model = make_model(RecurrentSAC)
    with pytest.raises(ValueError, match="RecurrentSAC samples windows, .* holds a ReplayBuffer"):
        model.load_replay_buffer(tmp_path / "buffer")
    model.learn(20)  # nothing is lost


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            lambda: DummyVecEnv([lambda: make_env(RecurrentSAC)] * 2),
            "with environments: 1, but this model has environments: 2",
        ),
        (
            lambda: RandomEnv(OBSERVATIONS["vector"], spaces.Box(-5, 5, BOX.shape)),
            r"with actions in Box.* actions in Box\(-5",
        ),
        (lambda: RandomEnv(spaces.Box(-9, 9, (4,)), BOX), r"with observations in Box.* observations in Box\(-9"),
    ],
)
def test_a_buffer_of_other_environments_is_refused(env, message, tmp_path):
    make_model(RecurrentSAC).learn(20).save_replay_buffer(tmp_path / "buffer")
    model = make_model(RecurrentSAC, env())
    with pytest.raises(ValueError, match=message):
        model.load_replay_buffer(tmp_path / "buffer")
    model.learn(20)  # nothing is lost


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_loading_takes_the_policy_s_arguments_as_they_were_given(algorithm, tmp_path):
    def given():
        more = {"n_quantiles": 5} if algorithm is RecurrentQRDQN else {}
        return {"units": 8, "readout_units": 8, "net_arch": [8], **more}

    model = make_model(algorithm)
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", policy_kwargs=given())
    assert loaded.policy_kwargs == model.policy_kwargs and loaded.policy.recurrent
    archive = BytesIO()
    model.save(archive)
    assert algorithm.load(archive, policy_kwargs=given()).policy.recurrent
    replaced = algorithm.load(tmp_path / "model", custom_objects={"policy_kwargs": given(), "learning_rate": 0.5})
    assert replaced.policy_kwargs == model.policy_kwargs and replaced.learning_rate == 0.5
    with pytest.raises(ValueError, match="policy kwargs do not equal"):
        algorithm.load(tmp_path / "model", policy_kwargs={**given(), "units": 9})


def test_what_is_no_buffer_at_all_leaves_the_model_s_own(tmp_path):
    save_to_pkl(tmp_path / "buffer.pkl", {"no": "buffer"})
    model = make_model(RecurrentSAC)
    with pytest.raises(AssertionError, match="must inherit from ReplayBuffer"):  # SB3's own
        model.load_replay_buffer(tmp_path / "buffer.pkl")
    model.learn(20)


def test_a_state_of_another_policy_is_explained():
    model = make_model(RecurrentSAC, policy_kwargs={"cell": "lrc"})
    observation = np.zeros((2, 4), dtype=np.float32)
    with pytest.raises(ValueError, match=r"two arrays of shapes \(2, 8\) \(memory\) and \(2, 2\) \(previous action\)"):
        model.predict(observation, (np.zeros((1, 8)), np.zeros((1, 2))), np.zeros(2))


def test_the_environment_stays_as_it_is():
    env = make_env(RecurrentSAC)
    assert make_model(RecurrentSAC, env).get_env().envs[0].unwrapped is env
