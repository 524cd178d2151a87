"""Windows from a stored state give what the whole run since its first step gives, in every network."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from tests.algorithms.recurrent import ALGORITHMS, CONTINUOUS, make_env, make_model, noisy
from tests.algorithms.test_collection import StopAt
from tests.algorithms.test_learning import every_memory_learned, weights
from velora_sb3 import RecurrentDQN, RecurrentSAC, RecurrentTD3

STEPS, ENOUGH, TOO_FEW = 40, 50, 23  # episodes have 7 steps
NETWORKS = ("actor", "actor_target", "critic", "critic_target", "q_net", "q_net_target", "quantile_net")


def untrained(algorithm, n_envs=1, capacity=ENOUGH, observations="vector", **more):
    """A model that acts by itself with noise, and whose weights stay as they are."""
    env = DummyVecEnv([lambda: make_env(algorithm, observations)] * n_envs)
    exploring = noisy(algorithm) or {"exploration_initial_eps": 0.5, "exploration_final_eps": 0.5}
    settings = {"learning_starts": 0, "gradient_steps": 0, "buffer_size": capacity * n_envs, **exploring, **more}
    return make_model(algorithm, env, **settings)


def rows(observations):
    """Each observation as a key."""
    parts = list(observations.values()) if isinstance(observations, dict) else [observations]
    return [row.tobytes() for row in np.concatenate([part.flatten(1).numpy() for part in parts], axis=1)]


def oldest(buffer):
    return rows(torch.as_tensor(buffer.observations[buffer.pos]))


def features(model, windows):
    """By observation: the features of it and of what followed, in every network; and the windows they are from."""
    sample = model.replay_buffer.sample(windows * model.sequence_length)
    batch = sample.observations
    found = []
    with torch.no_grad():
        for name in NETWORKS:
            network = getattr(model.policy, name, None)
            if network is not None:
                views = (batch, sample.next_observations)
                found += [network.extract_features(view, network.features_extractor) for view in views]
    keys = rows(batch.observations)
    return keys[batch.burn_in * windows :], torch.cat(found, dim=1), batch, keys[:windows]


def assert_windows_are_parts_of_the_whole(model, whole, windows=200):
    n_envs, steps = whole.replay_buffer.n_envs, whole.replay_buffer.size()
    whole.sequence_length = whole.replay_buffer.sequence_length = steps
    keys, values, _, _ = features(whole, 8 * n_envs)
    expected = dict(zip(keys, values, strict=True))
    assert len(expected) == steps * n_envs

    keys, values, batch, first = features(model, windows)
    buffer = model.replay_buffer
    unknown = oldest(buffer) if buffer.full else []  # their past is overwritten
    known = [index for index, key in enumerate(keys) if first[index % windows] not in unknown]
    assert len(known) > 0.8 * len(keys)
    torch.testing.assert_close(values[known], torch.stack([expected[keys[index]] for index in known]))
    assert len({keys[index] for index in known}) > 0.5 * min(steps, buffer.buffer_size) * n_envs
    in_mid_episode = ~batch.episode_starts[0]
    assert in_mid_episode.any()
    assert (batch.stored_state[in_mid_episode].abs().amax(dim=1) > 1e-3).all()


@pytest.mark.parametrize("burn_in_length", [0, 2])
@pytest.mark.parametrize("capacity", [ENOUGH, TOO_FEW], ids=["all", "wrapped around"])
@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_windows_go_on_from_where_the_memories_were(algorithm, n_envs, capacity, burn_in_length):
    settings = {"stored_state": True, "burn_in_length": burn_in_length}
    model = untrained(algorithm, n_envs, capacity, **settings).learn(STEPS * n_envs)
    assert_windows_are_parts_of_the_whole(model, untrained(algorithm, n_envs).learn(STEPS * n_envs))


@pytest.mark.parametrize(
    "liquid",
    [{"cell": "ltc"}, {"wiring": "ncp", "units": 12}, {"mixed_memory": False}, {"share_features_extractor": True}],
    ids=lambda liquid: " ".join(map(str, liquid)),
)
@pytest.mark.parametrize("algorithm", CONTINUOUS)
def test_every_cell_and_a_memory_shared_by_actor_and_critic(algorithm, liquid):
    model = untrained(algorithm, stored_state=True, policy_kwargs=liquid).learn(STEPS)
    assert_windows_are_parts_of_the_whole(model, untrained(algorithm, policy_kwargs=liquid).learn(STEPS))


@pytest.mark.parametrize("observations", ["dict", "timespans", "image"])
@pytest.mark.parametrize("algorithm", [RecurrentSAC, RecurrentDQN])
def test_every_observation(algorithm, observations):
    model = untrained(algorithm, observations=observations, stored_state=True).learn(STEPS)
    whole = untrained(algorithm, observations=observations).learn(STEPS)
    assert_windows_are_parts_of_the_whole(model, whole)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "run",
    [
        lambda model: model.learn(18).learn(22, reset_num_timesteps=False),
        lambda model: model.learn(18).learn(22),
        lambda model: model.learn(40, callback=StopAt(14)).learn(22, reset_num_timesteps=False),
    ],
    ids=["going on", "from the start", "after a callback stopped it"],
)
def test_learn_called_again(algorithm, run):
    random = {"learning_starts": 10_000}
    assert_windows_are_parts_of_the_whole(
        run(untrained(algorithm, stored_state=True, **random)), run(untrained(algorithm, **random))
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_buffer_loaded_by_another_model(algorithm, tmp_path):
    def run(stored_state):
        first = untrained(algorithm, capacity=60, stored_state=stored_state).learn(18)
        first.save(tmp_path / "model")
        first.save_replay_buffer(tmp_path / "buffer")
        env = DummyVecEnv([lambda: make_env(algorithm)])
        second = algorithm.load(tmp_path / "model", env=env)
        second.set_random_seed(1)
        second.load_replay_buffer(tmp_path / "buffer")
        return second.learn(22, reset_num_timesteps=False)

    model = run(stored_state=True)
    assert model.stored_state
    assert_windows_are_parts_of_the_whole(model, run(stored_state=False))


class Remember(BaseCallback):
    """Keeps the acting network's memory after each observation."""

    def __init__(self):
        super().__init__()
        self.memories = []

    def _on_step(self):
        self.memories.append(self.model._collection.acting[0])
        return True


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_stored_is_what_acting_remembered_also_while_the_network_learns(algorithm):
    env = VecNormalize(DummyVecEnv([lambda: make_env(algorithm)] * 3))
    model, remember = make_model(algorithm, env, stored_state=True, burn_in_length=2), Remember()
    before = weights(model)
    model.learn(3 * STEPS, callback=remember)
    assert every_memory_learned(before, model)
    stored, size = model.replay_buffer.states[:STEPS], remember.memories[0].shape[1]
    assert np.all(stored[0] == 0)
    running = model.replay_buffer.dones[: STEPS - 1, :, None] == 0
    np.testing.assert_array_equal(stored[1:, :, :size], np.stack(remember.memories)[:-1] * running)
    others = 0 if algorithm not in CONTINUOUS else size
    assert stored.shape[-1] == size + others
    assert np.abs(stored).reshape(-1, stored.shape[-1]).max(axis=0).min() > 1e-3


def test_a_window_that_begins_at_the_oldest_step_starts_from_zero():
    model = untrained(RecurrentTD3, capacity=TOO_FEW, stored_state=True).learn(STEPS)
    _, _, batch, first = features(model, 200)
    fresh = torch.tensor([key in oldest(model.replay_buffer) for key in first])
    assert fresh.any()
    assert (batch.stored_state[fresh] != 0).any()
    assert batch.episode_starts[0][fresh].all()


def test_off_nothing_is_stored_and_no_memory_steps_but_the_acting_one(monkeypatch):
    model = make_model(RecurrentSAC)
    monkeypatch.setattr(type(model.policy), "step_memories", None)
    model.learn(STEPS)
    assert model.replay_buffer.states is None
    assert model.replay_buffer.sample(8).observations.stored_state is None


def test_a_buffer_without_states_or_with_others_is_refused(tmp_path):
    make_model(RecurrentSAC).learn(12).save_replay_buffer(tmp_path / "without")
    make_model(RecurrentSAC, stored_state=True).learn(12).save_replay_buffer(tmp_path / "with")
    with pytest.raises(ValueError, match="needs a state of width 32 with each transition, but the replay buffer has 0"):
        make_model(RecurrentSAC, stored_state=True).load_replay_buffer(tmp_path / "without")
    larger = make_model(RecurrentSAC, stored_state=True, policy_kwargs={"units": 9})
    with pytest.raises(ValueError, match="needs a state of width 36 .* has 32: load one saved with stored_state=True"):
        larger.load_replay_buffer(tmp_path / "with")
    assert larger.replay_buffer.states.shape[-1] == 36  # its own is still there
    plain = make_model(RecurrentSAC)
    plain.load_replay_buffer(tmp_path / "with")
    assert plain.replay_buffer.states is None


def test_a_choice_at_load_holds_for_a_new_buffer(tmp_path):
    model = make_model(RecurrentSAC).learn(12)
    model.save(tmp_path / "model")
    loaded = RecurrentSAC.load(tmp_path / "model", env=model.get_env(), stored_state=True).learn(STEPS)
    assert loaded.replay_buffer.sample(8).observations.stored_state.shape == (2, 32)


def test_what_is_no_choice_is_refused():
    with pytest.raises(ValueError, match="stored_state must be True or False, got 'yes'"):
        make_model(RecurrentSAC, stored_state="yes")
