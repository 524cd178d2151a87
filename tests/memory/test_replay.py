import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from velora_sb3.memory import SequenceDictReplayBuffer, SequenceReplayBuffer

VECTOR = spaces.Box(-np.inf, np.inf, (3,))
ACTIONS = spaces.Box(-1, 1, (1,))
EPISODE = 5  # steps; every second one is cut by a time limit


def filled(
    steps, capacity=40, n_envs=2, space=VECTOR, actions=ACTIONS, kind=SequenceReplayBuffer, states=False, **lengths
):
    """A buffer of steps whose observations tell (environment, episode, step within it), rewards the step's number.

    Stored states, if asked for, tell (environment, number).
    """
    buffer = kind(capacity * n_envs, space, actions, "cpu", n_envs=n_envs, **lengths)
    if states:
        buffer.allocate_states(2)
    for number in range(steps):
        episode, t = divmod(number, EPISODE)
        rows = np.array([[env, episode, t] for env in range(n_envs)], dtype=np.float32)
        following = rows + np.array([0, 0, 1], dtype=np.float32)
        ended = t == EPISODE - 1
        infos = [{"TimeLimit.truncated": ended and episode % 2 == 1}] * n_envs
        action = np.full((n_envs, 1), (number % 7) / 10) if actions is ACTIONS else np.full(n_envs, number % 3)
        if isinstance(space, spaces.Dict):
            rows, following = (dict.fromkeys(space.spaces, part) for part in (rows, following))
        if states:
            buffer.states[buffer.pos] = [[env, number] for env in range(n_envs)]
        buffer.add(rows, following, action, np.full(n_envs, number), np.full(n_envs, ended), infos)
    return buffer


def windows(sample, length):
    """Observations and rewards of a sample as (T, B, ...)."""
    observations = sample.observations.observations
    count = sample.observations.episode_starts.shape[1]
    return observations.view(-1, count, observations.shape[-1]), sample.rewards.view(length, count)


@pytest.mark.parametrize("steps", [12, 40, 57], ids=["filling", "full", "wrapped around"])
def test_windows_are_consecutive_steps_of_one_environment(steps):
    sample = filled(steps, sequence_length=8).sample(8 * 200)
    observations, rewards = windows(sample, 8)
    assert torch.all(rewards.diff(dim=0) == 1)
    assert torch.all(observations[..., 0] == observations[0, :, 0])
    assert set(observations[0, :, 0].tolist()) == {0.0, 1.0}
    torch.testing.assert_close(observations[..., 1] * EPISODE + observations[..., 2], rewards)


@pytest.mark.parametrize("steps", [12, 57])
def test_every_stored_step_is_drawn_and_none_that_was_overwritten(steps):
    sample = filled(steps, sequence_length=8).sample(8 * 2000)
    assert set(sample.rewards.flatten().tolist()) == set(range(max(0, steps - 40), steps))


def test_episodes_start_after_ends_and_previous_actions_are_zero_there():
    sample = filled(30, sequence_length=8).sample(8 * 100)
    observations, rewards = windows(sample, 8)
    batch = sample.observations
    torch.testing.assert_close(batch.episode_starts, observations[..., 2] == 0)
    expected = ((rewards - 1) % 7 / 10) * (observations[..., 2] != 0)
    torch.testing.assert_close(batch.previous_actions[..., 0], expected)


def test_the_oldest_step_starts_afresh_as_nothing_is_known_before_it():
    sample = filled(57, sequence_length=8).sample(8 * 2000)
    observations, rewards = windows(sample, 8)
    oldest = rewards == 57 - 40
    assert oldest.any()
    assert torch.all(observations[oldest][:, 2] != 0)  # in mid-episode
    assert torch.all(sample.observations.episode_starts[oldest])
    assert torch.all(sample.observations.previous_actions[oldest] == 0)


def test_rows_are_flattened_time_before_batch_and_belong_together():
    sample = filled(30, sequence_length=4).sample(4 * 50)
    observations, rewards = windows(sample, 4)
    assert sample.actions.shape == (200, 1)
    torch.testing.assert_close(sample.actions, sample.observations.actions)
    torch.testing.assert_close(sample.actions.view(4, 50), rewards % 7 / 10)
    following = sample.observations.every_next_observation().view(4, 50, 3)
    torch.testing.assert_close(following, observations + torch.tensor([0.0, 0.0, 1.0]))
    assert sample.next_observations.is_next
    assert not sample.observations.is_next


@pytest.mark.parametrize("burn_in_length", [0, 3])
@pytest.mark.parametrize("key", [None, "first", "second"])
def test_apart_are_the_rows_whose_next_observation_the_next_step_does_not_show(key, burn_in_length):
    space, kind = VECTOR, SequenceReplayBuffer
    if key is not None:
        space, kind = spaces.Dict({"first": VECTOR, "second": VECTOR}), SequenceDictReplayBuffer
    buffer = filled(30, space=space, kind=kind, sequence_length=4, burn_in_length=burn_in_length)
    before, after = (
        stored if key is None else stored[key] for stored in (buffer.observations, buffer.next_observations)
    )
    after[11] += 0.5  # as of a transition that somebody else has recorded
    after[14] = before[15]  # an episode ends with what the next one begins with
    batch = buffer.sample(4 * 60).observations
    numbers = before[:30, 0, 1] * EPISODE + before[:30, 0, 2]
    assert numbers.tolist() == list(range(30))
    observed = batch.observations if key is None else batch.observations[key]
    number = (observed[:, 1] * EPISODE + observed[:, 2]).view(-1, 60)[burn_in_length:]
    expected = (number % EPISODE == EPISODE - 1) | (number == 11)
    expected[-1] = True
    assert torch.equal(batch.apart, expected.flatten().nonzero().flatten())
    kept, complete = batch.next_observations, batch.every_next_observation()
    assert torch.equal(kept if key is None else kept[key], (complete if key is None else complete[key])[batch.apart])
    assert (number[:-1] == 11).any()
    assert (number[:-1] == 14).any()


def test_of_a_single_step_every_row_is_apart():
    assert filled(30, sequence_length=1).sample(5).observations.apart.tolist() == [0, 1, 2, 3, 4]


def test_ends_by_a_time_limit_bootstrap_as_in_sb3():
    sample = filled(30, sequence_length=4).sample(4 * 200)
    observations, _ = windows(sample, 4)
    ended = observations[..., 2] == EPISODE - 1
    terminated = ended & (observations[..., 1] % 2 == 0)
    torch.testing.assert_close(sample.dones.view(4, -1), terminated.float())


@pytest.mark.parametrize("burn_in_length", [0, 3])
@pytest.mark.parametrize("n_steps", [2, 3, 7])
@pytest.mark.parametrize("steps", [30, 57], ids=["filling", "wrapped around"])
def test_n_step_returns_are_those_of_sb3_s_buffer_and_shorter_at_a_window_s_end(steps, n_steps, burn_in_length):
    length, count, returns = 6, 60, {"gamma": 0.9}
    lengths = {"sequence_length": length, "burn_in_length": burn_in_length}
    sample = filled(steps, n_envs=1, n_steps=n_steps, **lengths, **returns).sample(length * count)
    observations = sample.observations.observations.view(-1, count, 3)[burn_in_length:]
    numbers = (observations[..., 1] * EPISODE + observations[..., 2]).long().numpy()
    batch = sample.next_observations
    following = batch.every_next_observation()[batch.bootstrap_index].view(length, count, 3)
    got = [values.view(length, count, 1) for values in (sample.rewards, sample.dones, sample.discounts)]
    for step in range(length):
        left = min(n_steps, length - step)
        plain = filled(steps, n_envs=1, kind=NStepReplayBuffer, n_steps=left, **returns)
        expected = plain._get_samples(numbers[step] % 40)
        torch.testing.assert_close(following[step], expected.next_observations)
        for ours, theirs in zip(got, (expected.rewards, expected.dones, expected.discounts), strict=True):
            torch.testing.assert_close(ours[step], theirs)
    assert sample.discounts.unique().numel() == min(n_steps, EPISODE)  # of every length


def test_without_n_step_returns_the_next_observation_is_the_next():
    sample = filled(30, sequence_length=4).sample(4)
    assert sample.discounts is None
    assert sample.next_observations.bootstrap_index is None


def test_nan_stays_in_its_episode():
    buffer = filled(20, sequence_length=20, n_steps=3)
    buffer.actions[EPISODE - 1], buffer.rewards[EPISODE] = np.nan, np.nan  # the last of one, the first of the next
    sample = buffer.sample(20)
    assert sample.observations.previous_actions.isfinite().all()
    returns = sample.rewards.flatten()
    assert returns[:EPISODE].isfinite().all()
    assert returns[EPISODE].isnan()


def test_n_step_returns_add_normalized_rewards():
    env = VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")]))
    env.ret_rms.var, env.clip_reward = np.array(4.0), 1000.0
    two_steps = filled(30, n_envs=1, sequence_length=4, n_steps=2, gamma=0.5)
    np.random.seed(0)
    raw = two_steps.sample(4 * 50).rewards
    env.norm_obs = False
    np.random.seed(0)
    torch.testing.assert_close(two_steps.sample(4 * 50, env).rewards, raw / 2, rtol=1e-4, atol=1e-4)


def test_burn_in_comes_before_the_learned_steps():
    sample = filled(30, sequence_length=4, burn_in_length=3).sample(4 * 50)
    batch = sample.observations
    assert batch.burn_in == 3
    assert batch.episode_starts.shape == (7, 50)
    observations = batch.observations.view(7, 50, 3)
    learned = observations[3:, :, 1] * EPISODE + observations[3:, :, 2]
    torch.testing.assert_close(learned, sample.rewards.view(4, 50))


@pytest.mark.parametrize("burn_in_length", [0, 3])
@pytest.mark.parametrize("steps", [12, 40, 57], ids=["filling", "full", "wrapped around"])
def test_windows_start_from_the_state_stored_with_their_first_step_before_any_burn_in(steps, burn_in_length):
    sample = filled(steps, states=True, sequence_length=8, burn_in_length=burn_in_length).sample(8 * 200)
    observations, rewards = windows(sample, 8)
    expected = torch.stack([observations[0, :, 0], rewards[0] - burn_in_length], dim=1)
    torch.testing.assert_close(sample.observations.stored_state, expected)
    assert sample.next_observations.stored_state is sample.observations.stored_state


def test_no_state_is_stored_unless_asked_for():
    assert filled(12, sequence_length=8).sample(8).observations.stored_state is None


def test_cut_episodes_do_not_go_on():
    buffer = filled(12, sequence_length=4)
    buffer.cut_episodes()  # the environments were reset in mid-episode
    last = buffer.pos - 1
    assert np.all(buffer.dones[last] == 1)
    assert np.all(buffer.timeouts[last] == 1)
    ended = filled(10, sequence_length=4)  # a real end stays one
    ended.cut_episodes()
    assert np.array_equal(ended.timeouts, filled(10, sequence_length=4).timeouts)


def test_discrete_actions_are_one_hot_for_the_memory():
    sample = filled(30, actions=spaces.Discrete(3), sequence_length=4).sample(4 * 50)
    assert sample.actions.shape == (200, 1)
    torch.testing.assert_close(sample.observations.actions.argmax(dim=1), sample.actions.flatten().long())
    assert torch.all(sample.observations.actions.sum(dim=1) == 1)


def test_dict_observations():
    space = spaces.Dict({"vector": VECTOR})
    sample = filled(30, space=space, kind=SequenceDictReplayBuffer, sequence_length=4).sample(4 * 50)
    rows = sample.observations.observations["vector"].view(4, 50, 3)
    torch.testing.assert_close(rows[..., 1] * EPISODE + rows[..., 2], sample.rewards.view(4, 50))
    assert sample.observations.every_next_observation()["vector"].shape == (200, 3)


@pytest.mark.parametrize("n_envs", [1, 4])
@pytest.mark.parametrize(
    ("theirs", "ours", "space"),
    [
        (ReplayBuffer, SequenceReplayBuffer, VECTOR),
        (DictReplayBuffer, SequenceDictReplayBuffer, spaces.Dict({"vector": VECTOR})),
    ],
    ids=["box", "dict"],
)
def test_memory_is_that_of_sb3_s_buffer(theirs, ours, space, n_envs):
    def held(value):
        if isinstance(value, np.ndarray):
            return value.nbytes
        return sum(map(held, value.values())) if isinstance(value, dict) else 0

    plain = theirs(10_000, space, ACTIONS, "cpu", n_envs=n_envs)
    sequences = ours(10_000, space, ACTIONS, "cpu", n_envs=n_envs)
    assert held(vars(plain)) > 10_000 * 2 * 3 * 4  # observations are counted
    assert held(vars(sequences)) <= 1.01 * held(vars(plain))
    sequences.allocate_states(64)
    assert held(vars(sequences)) <= 1.01 * (held(vars(plain)) + 10_000 * 64 * 4)


def test_windows_are_normalized_as_sb3_normalizes():
    env = VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")]))
    env.reset()
    for _ in range(20):
        env.step(np.array([env.action_space.sample()]))
    buffers = [kind(30, VECTOR, ACTIONS, "cpu") for kind in (SequenceReplayBuffer, ReplayBuffer)]
    ours, plain = buffers
    ours.sequence_length = 4
    random = np.random.default_rng(0)
    for step in range(30):
        row = [random.normal(size=(1, 3)), random.normal(size=(1, 3)), random.normal(size=(1, 1)), np.array([step])]
        for buffer in buffers:
            buffer.add(*row, np.zeros(1), [{}])
    np.random.seed(0)
    raw = ours.sample(4 * 20).rewards.flatten().long().numpy()  # a step is known by its reward
    np.random.seed(0)
    sample = ours.sample(4 * 20, env)
    expected = plain._get_samples(raw, env)
    torch.testing.assert_close(sample.observations.observations, expected.observations)
    torch.testing.assert_close(sample.observations.every_next_observation(), expected.next_observations)
    torch.testing.assert_close(sample.rewards, expected.rewards)
    assert not torch.allclose(expected.rewards.flatten(), torch.as_tensor(raw, dtype=torch.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sequence_length": 0}, "sequence_length must be an integer of at least 1, got 0"),
        ({"burn_in_length": -1}, "burn_in_length must be an integer of at least 0, got -1"),
        ({"n_steps": 0}, "n_steps must be an integer of at least 1, got 0"),
        ({"optimize_memory_usage": True, "handle_timeout_termination": False}, "leave it out"),
        ({"handle_timeout_termination": False}, "would hide truncations"),
    ],
)
def test_wrong_arguments_are_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        SequenceReplayBuffer(10, VECTOR, ACTIONS, "cpu", **arguments)


def test_too_few_steps_and_odd_batches_are_explained():
    with pytest.raises(ValueError, match="a window needs 8 steps of one environment, but only 7 are stored"):
        filled(7, sequence_length=8).sample(8)
    with pytest.raises(ValueError, match="batch_size must be a multiple of sequence_length=8, got 12"):
        filled(9, sequence_length=8).sample(12)
