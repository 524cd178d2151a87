"""The timespans of an observation drive the clock of the cell that acts, for every kind of memory.

Each action is computed a second time, by stepping the model's own cell by hand.
"""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation
from sb3_contrib import TQC, RecurrentPPO
from stable_baselines3 import DDPG, DQN, PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack

from tests.algorithms import recurrent
from tests.compat.algorithms import ACTIONS, BOX, DISCRETE, OBSERVATIONS, RandomEnv, make_env, make_model
from velora_sb3 import RecurrentDDPG, RecurrentDQN, RecurrentQRDQN, RecurrentSAC, RecurrentTD3, RecurrentTQC
from velora_sb3.envs import IrregularSampling
from velora_sb3.memory.actions import encode_actions

N, T = 8, 3  # as many environments as the models have units, where ncps mixes up the timespans
CELLS = [{}, {"cell": "ltc"}, {"wiring": "ncp", "units": 12}, {"cell": "lrc"}, {"cell": "gru"}, {"cell": "lstm"}]
HOLD = [0.4, 0.2, 0.4]


def random_observations(*leading, key="vector"):
    """Observations ``(..., 3)`` and timespans ``(..., 1)``, all of them different."""
    generator = np.random.default_rng(0)
    return {
        key: generator.uniform(-1, 1, (*leading, 3)).astype(np.float32),
        "timespans": generator.uniform(0.1, 5, (*leading, 1)).astype(np.float32),
    }


def doubled(observations):
    return {**observations, "timespans": 2 * observations["timespans"]}


def stepped(extractor, frames, timespans):
    """The cell's output after frames ``(N, T, 3)`` with timespans ``(N, T)``, one environment at a time."""
    outputs = []
    for rows, times in zip(torch.as_tensor(frames), torch.as_tensor(timespans), strict=True):
        state = None
        for row, time in zip(rows, times, strict=True):
            output, state = extractor.cell(row.unsqueeze(0), state, time.reshape(1))
        outputs.append(output)
    return torch.cat(outputs)


@torch.no_grad()
def heads(model, features):
    """What SB3's heads make of features: mean actions, Q-values, or the parameters of the distribution."""
    policy = model.policy
    if isinstance(model, DQN):
        return policy.q_net.q_net(features)
    if isinstance(model, SAC | TQC):
        return policy.actor.mu(policy.actor.latent_pi(features))
    if isinstance(model, DDPG):
        return policy.actor.mu(features)
    return policy.action_net(policy.mlp_extractor.forward_actor(features))


@torch.no_grad()
def network(model, observations):
    """The same from the policy, given observations."""
    tensors, _ = model.policy.obs_to_tensor(observations)
    if isinstance(model, DQN):
        return model.policy.q_net(tensors)
    if isinstance(model, SAC | TQC):
        return model.policy.actor.get_action_dist_params(tensors)[0]
    if isinstance(model, DDPG):
        return model.policy.actor(tensors)
    return model.policy.get_distribution(tensors).distribution.mean


def acting_extractor(model):
    actor = getattr(model.policy, "actor", None) or getattr(model.policy, "q_net", None) or model.policy
    return actor.features_extractor


@pytest.mark.parametrize("cell", CELLS, ids=str)
@pytest.mark.parametrize("algorithm", [PPO, SAC, TQC, DDPG, DQN])
def test_reactive(algorithm, cell):
    model = make_model(algorithm, make_env(algorithm, "timespans"), cell, learning_rate=1e-3)
    observations = random_observations(N)
    expected = stepped(acting_extractor(model), observations["vector"][:, None], observations["timespans"])
    torch.testing.assert_close(network(model, observations), heads(model, expected))
    assert not torch.allclose(network(model, doubled(observations)), network(model, observations), atol=1e-5)


@pytest.mark.parametrize("cell", CELLS, ids=str)
@pytest.mark.parametrize("algorithm", [PPO, SAC, TQC, DDPG, DQN])
def test_windowed(algorithm, cell):
    env = FrameStackObservation(IrregularSampling(RandomEnv(OBSERVATIONS["vector"], ACTIONS[algorithm][0]), HOLD), T)
    model = make_model(algorithm, env, cell)
    observations = random_observations(N, T, key="observation")
    observations["observation"] = np.concatenate([observations["observation"]] * 2, axis=-1)[..., :4]
    expected = stepped(acting_extractor(model), observations["observation"], observations["timespans"][..., 0])
    torch.testing.assert_close(network(model, observations), heads(model, expected))
    assert not torch.allclose(network(model, doubled(observations)), network(model, observations), atol=1e-5)


@pytest.mark.parametrize("algorithm", [PPO, SAC, DQN])
def test_windowed_by_vec_frame_stack(algorithm):
    inner = DummyVecEnv([lambda: IrregularSampling(RandomEnv(OBSERVATIONS["vector"], ACTIONS[algorithm][0]), HOLD)] * N)
    env = VecFrameStack(inner, n_stack=T)
    model = make_model(algorithm, env, {"n_stack": T})
    env.seed(0)
    observations = env.reset()
    frames = [newest(observations)]
    while len(frames) < T:
        observations, _, dones, _ = env.step(np.array([env.action_space.sample() for _ in range(N)]))
        assert not dones.any()
        frames.append(newest(observations))
    seen = {key: np.stack([frame[key] for frame in frames], axis=1) for key in frames[0]}
    assert len(np.unique(seen["timespans"])) > 1
    expected = stepped(acting_extractor(model), seen["observation"], seen["timespans"][..., 0])
    torch.testing.assert_close(network(model, observations), heads(model, expected))


def newest(stacked):
    """The newest of the frames that VecFrameStack puts side by side."""
    return {"observation": stacked["observation"][:, -4:], "timespans": stacked["timespans"][:, -1:]}


@pytest.mark.parametrize("cell", CELLS, ids=str)
@pytest.mark.parametrize(
    "algorithm", [RecurrentSAC, RecurrentTQC, RecurrentTD3, RecurrentDDPG, RecurrentDQN, RecurrentQRDQN]
)
def test_recurrent_off_policy(algorithm, cell):
    actions = DISCRETE if algorithm in (RecurrentDQN, RecurrentQRDQN) else BOX
    model = recurrent.make_model(algorithm, RandomEnv(OBSERVATIONS["timespans"], actions), cell)
    extractor = recurrent.acting_extractor(model)
    observations = random_observations(T, N)
    state, memory, starts = None, None, np.ones(N)
    previous = torch.zeros(N, extractor.previous_action_size)
    for vector, timespans in zip(observations["vector"], observations["timespans"], strict=True):
        chosen, state = model.predict({"vector": vector, "timespans": timespans}, state, starts, deterministic=True)
        inputs = torch.cat([torch.as_tensor(vector), previous], dim=-1)
        with torch.no_grad():
            steps = [  # one environment at a time
                extractor.cell(inputs[n : n + 1], None if memory is None else memory[n : n + 1], torch.tensor(time))
                for n, time in enumerate(timespans)
            ]
            output, memory = (torch.cat(parts) for parts in zip(*steps, strict=True))
            features = torch.relu(extractor.readout(torch.cat([inputs, output], dim=-1)))
        np.testing.assert_allclose(state[0], memory, atol=1e-6)
        expected = act_by_heads(model, features)
        np.testing.assert_allclose(chosen, expected.reshape(chosen.shape), atol=1e-5)
        previous = torch.as_tensor(state[1])
        scaled = model.policy.scale_action(chosen) if actions is BOX else chosen
        np.testing.assert_allclose(state[1], encode_actions(torch.as_tensor(scaled), actions), atol=1e-6)
        starts = np.zeros(N)

    first = {key: values[0] for key, values in observations.items()}
    (soon, soon_state), (late, late_state) = (
        model.predict(seen, None, np.ones(N), True) for seen in (first, doubled(first))
    )
    assert not np.allclose(soon_state[0], late_state[0], atol=1e-3)
    assert actions is DISCRETE or not np.allclose(soon, late, atol=1e-5)


@torch.no_grad()
def act_by_heads(model, features):
    policy = model.policy
    if isinstance(model, RecurrentDQN):
        return policy.q_net.q_net(features).argmax(dim=1).numpy()
    if isinstance(model, RecurrentQRDQN):
        quantiles = policy.quantile_net.quantile_net(features).view(N, policy.quantile_net.n_quantiles, -1)
        return quantiles.mean(dim=1).argmax(dim=1).numpy()
    if isinstance(model, RecurrentSAC | RecurrentTQC):
        squashed = torch.tanh(policy.actor.mu(policy.actor.latent_pi(features)))
    else:
        squashed = policy.actor.mu(features)
    return policy.unscale_action(squashed.numpy())


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_recurrent_on_policy(cell):
    model = make_model(RecurrentPPO, RandomEnv(OBSERVATIONS["timespans"], BOX), cell)
    observations = random_observations(T, N)
    slot = model.policy.lstm_actor.cell
    state, memory, starts = None, None, np.ones(N)
    for vector, timespans in zip(observations["vector"], observations["timespans"], strict=True):
        before = state
        seen = {"vector": vector, "timespans": timespans}
        chosen, state = model.predict(seen, before, starts, deterministic=True)
        with torch.no_grad():
            steps = [
                slot(
                    torch.as_tensor(vector[n : n + 1]),
                    None if memory is None else memory[n : n + 1],
                    torch.tensor(time),
                )
                for n, time in enumerate(timespans)
            ]
            output, memory = (torch.cat(parts) for parts in zip(*steps, strict=True))
            expected = heads(model, output)
        np.testing.assert_allclose(np.concatenate([state[0][0], state[1][0]], axis=-1), memory, atol=1e-6)
        np.testing.assert_allclose(chosen, expected, atol=1e-6)
        late, _ = model.predict(doubled(seen), before, starts, deterministic=True)
        assert not np.allclose(late, chosen, atol=1e-6)
        starts = np.zeros(N)


def test_the_policy_can_be_told_another_key():
    space = spaces.Dict({"vector": spaces.Box(-1, 1, (3,)), "age": spaces.Box(0, 5, (1,))})
    clock = make_model(PPO, RandomEnv(space, BOX), {"timespans_key": "age"})
    beside = make_model(PPO, RandomEnv(space, BOX))
    assert acting_extractor(clock).cell.input_size == 3
    assert acting_extractor(beside).cell.input_size == 4  # no clock: one more input
