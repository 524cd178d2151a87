"""Windows from the replay buffer give what stepping through the episodes gives."""

import copy
from dataclasses import replace

import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from velora_sb3.memory import LiquidExtractor, SequenceBatch, StepInput
from velora_sb3.memory.inputs import Unrolled

T, B, F, A = 7, 3, 4, 2

pytestmark = pytest.mark.usefixtures("float64")

CELLS = [
    {"units": 6},
    {"units": 6, "readout_units": 5, "encoder_units": 3},
    {"units": 12, "wiring": "ncp"},
    {"units": 6, "cell": "ltc"},
    {"units": 6, "mixed_memory": True},
    {"units": 6, "backbone_units": 8},
]


@pytest.fixture(params=CELLS, ids=lambda cell: " ".join(map(str, cell)))
def extractor(request):
    return LiquidExtractor(spaces.Box(-1, 1, (F,)), previous_action_size=A, **request.param)


def make_batch(burn_in=0):
    starts = torch.rand(T, B) < 0.25
    previous = torch.randn(T, B, A) * ~starts.unsqueeze(-1)
    learned = (T - burn_in) * B
    return SequenceBatch(
        torch.randn(T * B, F), previous, starts, torch.randn(learned, F), torch.randn(learned, A), burn_in
    )


def make_batch_that_goes_on(burn_in=0):
    """A batch in which most next observations are the next step's, and the same batch with only the others."""
    batch = make_batch(burn_in)
    observations, following, actions = (
        rows.view(-1, B, rows.shape[-1]) for rows in (batch.observations, batch.next_observations, batch.actions)
    )
    goes_on = ~batch.episode_starts[burn_in + 1 :] & (torch.rand(T - burn_in - 1, B) < 0.7)
    following[:-1][goes_on] = observations[burn_in + 1 :][goes_on]
    actions[:-1][goes_on] = batch.previous_actions[burn_in + 1 :][goes_on]
    apart = torch.cat([~goes_on, torch.ones(1, B, dtype=torch.bool)]).flatten().nonzero().flatten()
    assert B < len(apart) < len(batch.actions)
    return batch, replace(batch, apart=apart, next_observations=batch.next_observations[apart])


def step_through(extractor, batch):
    """Features and memory of each step, one at a time, reset by hand."""
    observations, state = batch.observations.view(T, B, F), torch.zeros(B, extractor.cell.state_size)
    features, states = [], []
    for t in range(T):
        state = state * ~batch.episode_starts[t].unsqueeze(-1)
        step = StepInput(observations[t], state, batch.previous_actions[t])
        features.append(extractor(step))
        state = step.next_state
        states.append(state)
    return torch.stack(features), torch.stack(states)


@pytest.mark.parametrize("burn_in", [0, 3])
def test_features_are_those_of_stepping(extractor, burn_in):
    batch = make_batch(burn_in)
    expected, _ = step_through(extractor, batch)
    torch.testing.assert_close(extractor(batch), expected[burn_in:].flatten(0, 1), atol=1e-12, rtol=0)


@pytest.mark.parametrize("burn_in", [0, 3])
def test_features_of_next_observations_are_those_of_one_more_step_also_at_episode_ends(extractor, burn_in):
    batch = make_batch(burn_in)
    _, states = step_through(extractor, batch)
    more = StepInput(batch.next_observations, states[burn_in:].flatten(0, 1), batch.actions)
    torch.testing.assert_close(extractor(batch.next_view()), extractor(more), atol=1e-12, rtol=0)


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("burn_in", [0, 3])
def test_what_the_next_step_observes_takes_no_step_of_its_own(extractor, burn_in, gradients):
    batch, lean = make_batch_that_goes_on(burn_in)
    found = []
    with torch.set_grad_enabled(gradients):
        for given in (batch, lean):
            extractor.zero_grad()
            features = extractor(given.next_view())
            if gradients:
                (features * torch.linspace(-1, 2, features.numel()).view_as(features)).sum().backward()
            found.append([features, *(parameter.grad for parameter in extractor.parameters() if gradients)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=0)


@pytest.mark.parametrize("training", [True, False])
def test_an_encoder_that_normalizes_batches_sees_every_next_observation(training):
    class Encoder(BaseFeaturesExtractor):
        def __init__(self, space):
            super().__init__(space, F)
            self.norm = torch.nn.BatchNorm1d(F)

        def forward(self, observations):
            return self.norm(observations)

    extractor = LiquidExtractor(spaces.Box(-1, 1, (F,)), previous_action_size=A, encoder_class=Encoder).train(training)
    (batch, lean), twin = make_batch_that_goes_on(2), copy.deepcopy(extractor)
    expected = twin(batch.next_view())
    torch.testing.assert_close(extractor(lean.next_view()), expected, atol=0, rtol=0)
    assert torch.equal(extractor.encoder.norm.running_mean, twin.encoder.norm.running_mean)


def test_features_after_an_n_step_return_are_those_of_its_last_step(extractor):
    batch = make_batch()
    index = torch.randint(T * B, (T * B,), generator=torch.Generator().manual_seed(0))
    expected = extractor(batch.next_view())[index]
    later = replace(batch, bootstrap_index=index)
    torch.testing.assert_close(extractor(later.next_view()), expected, atol=0, rtol=0)
    torch.testing.assert_close(extractor(later), extractor(batch), atol=0, rtol=0)


@pytest.mark.parametrize("burn_in", [0, 2])
def test_a_window_from_a_stored_state_is_the_rest_of_the_whole(extractor, burn_in):
    whole, cut = make_batch(), 3
    whole.episode_starts[cut:] = False
    whole.episode_starts[cut, 0] = True  # a state stored where an episode starts is not used
    whole.episode_starts[-1, 1] = True
    expected, states = step_through(extractor, whole)

    def rest(flat, start):
        return flat.view(T, B, -1)[start:].flatten(0, 1)

    other = torch.full((B, 2), 9.0)  # another network's
    window = SequenceBatch(
        rest(whole.observations, cut),
        whole.previous_actions[cut:],
        whole.episode_starts[cut:],
        rest(whole.next_observations, cut + burn_in),
        rest(whole.actions, cut + burn_in),
        burn_in,
        stored_state=torch.cat([other, states[cut - 1].detach(), other], dim=1),
    )
    extractor.stored_part = slice(2, -2)
    torch.testing.assert_close(extractor(window), expected[cut + burn_in :].flatten(0, 1), atol=1e-12, rtol=0)
    following = rest(extractor(whole.next_view()), cut + burn_in)
    torch.testing.assert_close(extractor(window.next_view()), following, atol=1e-12, rtol=0)
    from_zero = extractor(replace(window, stored_state=None)).view(T - cut - burn_in, B, -1)
    assert not torch.allclose(from_zero[0, 1:], expected[cut + burn_in, 1:])


def test_the_burn_in_gets_no_gradient(extractor):
    batch = make_batch(burn_in=3)
    batch.previous_actions.requires_grad_()
    extractor(batch).sum().backward()
    assert torch.all(batch.previous_actions.grad[:3] == 0)
    assert not torch.all(batch.previous_actions.grad[3:] == 0)


def test_states_unrolled_once_serve_both_views_until_the_network_changes(extractor, monkeypatch):
    batch, unrolls = make_batch(), []
    unroll = extractor._unroll
    monkeypatch.setattr(extractor, "_unroll", lambda given: unrolls.append(1) or unroll(given))
    extractor(batch)
    with torch.no_grad():
        first = extractor(batch.next_view())
        assert len(unrolls) == 1
    optimizer = torch.optim.Adam(extractor.parameters(), lr=0.1, fused=True)  # as the policies have it
    extractor(batch).sum().backward()
    optimizer.step()
    with torch.no_grad():
        second = extractor(batch.next_view())
    assert len(unrolls) == 3
    assert not torch.allclose(first, second)
    with torch.no_grad():
        for parameter in extractor.parameters():
            parameter.data.mul_(0.5)  # as SB3's polyak_update does
        third = extractor(batch.next_view())
    assert not torch.allclose(second, third)


def test_a_two_dimensional_box_is_flattened_and_a_stack_is_refused():
    extractor = LiquidExtractor(spaces.Box(-1, 1, (5, F)), previous_action_size=A)
    assert extractor.cell.input_size == 5 * F + A
    with pytest.raises(ValueError, match="one observation at a time, not a history: leave out n_stack"):
        LiquidExtractor(spaces.Box(-1, 1, (6,)), n_stack=3, previous_action_size=A)
    timed = spaces.Dict({"vector": spaces.Box(-1, 1, (5, F)), "timespans": spaces.Box(0, 1, (5,))})
    with pytest.raises(ValueError, match="takes one observation at a time: remove the frame stack"):
        LiquidExtractor(timed, previous_action_size=A)


def test_a_step_from_an_episode_s_start_is_the_reactive_step(extractor):
    observations = torch.randn(B, F)
    step = StepInput(observations, torch.zeros(B, extractor.cell.state_size), torch.zeros(B, A))
    torch.testing.assert_close(extractor(step), extractor(observations))


def test_timespans_reach_the_cell_in_windows_and_steps():
    space = spaces.Dict({"position": spaces.Box(-1, 1, (F,)), "timespans": spaces.Box(0, 9, (1,))})
    extractor = LiquidExtractor(space, units=6, previous_action_size=A)
    batch = make_batch()

    def timed(observations, count):
        return {"position": observations, "timespans": torch.rand(count, 1)}

    batch = SequenceBatch(
        timed(batch.observations, T * B),
        batch.previous_actions,
        torch.zeros(T, B, dtype=torch.bool),
        timed(batch.next_observations, T * B),
        batch.actions,
        0,
    )
    features = extractor(batch).view(T, B, -1)
    state, states = torch.zeros(B, 6), []
    for t in range(T):
        here = {key: values.view(T, B, -1)[t] for key, values in batch.observations.items()}
        step = StepInput(here, state, batch.previous_actions[t])
        torch.testing.assert_close(extractor(step), features[t])
        state = step.next_state
        states.append(state)
    step_states = torch.stack(states)
    timed_ahead = StepInput(batch.next_observations, step_states.flatten(0, 1), batch.actions)
    torch.testing.assert_close(extractor(batch.next_view()), extractor(timed_ahead))
    warm = SequenceBatch(
        batch.observations,
        batch.previous_actions,
        batch.episode_starts,
        {key: values[2 * B :] for key, values in batch.next_observations.items()},
        batch.actions[2 * B :],
        2,
    )
    torch.testing.assert_close(extractor(warm).view(T - 2, B, -1), features[2:])
    torch.testing.assert_close(extractor(warm.next_view()), extractor(timed_ahead)[2 * B :])
    slower = {**batch.observations, "timespans": 2 * batch.observations["timespans"]}
    changed = SequenceBatch(
        slower, batch.previous_actions, batch.episode_starts, batch.next_observations, batch.actions, 0
    )
    assert not torch.allclose(extractor(changed).view(T, B, -1), features)


@pytest.mark.parametrize("part", ["dense", "cell", "readout"])
def test_states_are_unrolled_again_whichever_weights_have_changed(part):
    extractor = LiquidExtractor(spaces.Box(-1, 1, (F,)), previous_action_size=A, encoder_units=5, readout_units=5)
    batch = make_batch()
    unrolled = Unrolled(torch.zeros(T, B, F), torch.ones(T, B, 64), torch.zeros(T, B, extractor.cell.state_size))
    batch.cache.store(extractor, unrolled)
    loaded = batch.next_view().cache.load(extractor)
    assert all(torch.equal(one, other) for one, other in zip(loaded, unrolled, strict=True))
    assert batch.cache.load(LiquidExtractor(spaces.Box(-1, 1, (F,)))) is None
    next(getattr(extractor, part).parameters()).data[0, 0] += 1  # as SB3's polyak_update does
    assert batch.cache.load(extractor) is None
