"""The liquid network in front of SB3's heads, and its settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from velora_sb3._validation import check_bool, check_integer
from velora_sb3.cells import unroll, unroll_states
from velora_sb3.cells._checks import check_inputs, check_timespans
from velora_sb3.cells.kernels.plain_form import autocasts
from velora_sb3.memory.cell_config import WHOSE, CellConfig
from velora_sb3.memory.encoder import make_encoder
from velora_sb3.memory.frames import TIMESPANS_KEY, Observation, read_frames
from velora_sb3.memory.inputs import SequenceBatch, StepInput, Unrolled


@dataclass(frozen=True, kw_only=True)
class ExtractorConfig(CellConfig):
    """The settings of a liquid policy in plain values: those of the cell and of the layers around it.

    Attributes:
        history: Whether a two-dimensional Box ``(T, F)`` is a history of ``T`` frames; False flattens it. A recurrent
            policy always does.
        n_stack: ``VecFrameStack``'s ``n_stack``, if the environment is wrapped in one.
        timespans_key: Key of the time since the last observation in a Dict observation; it goes to the cell's clock,
            not to its inputs.
        encoder_units: Width of a ReLU layer between encoder and cell; None for no such layer.
        readout_units: Width of a ReLU layer that sees the cell's input and output; None for the output alone.
    """

    history: bool = True
    n_stack: int | None = None
    timespans_key: str = TIMESPANS_KEY
    encoder_units: int | None = None
    readout_units: int | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        check_bool("history", self.history)
        for name in ("encoder_units", "readout_units"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name))


class LiquidExtractor(BaseFeaturesExtractor):
    """A features extractor for SB3: an encoder and a liquid cell, whose output feeds SB3's heads.

    ====================================  ==========================================================
    observation                           what happens
    ====================================  ==========================================================
    one observation                       one step from the zero state: no memory
    a history ``(T, F)``, or stacked by   an unroll over the ``T`` frames, oldest first; the output
    ``VecFrameStack`` (``n_stack=T``)     after the newest
    with a recurrent algorithm            one step from the last state while acting; an unroll over
                                          windows from the replay buffer while learning
    ====================================  ==========================================================

    Images of at least 36 x 36 pixels pass through SB3's ``NatureCNN`` first, Dict observations through its
    ``CombinedExtractor``; everything else goes straight to the cell, flattened.

    Args:
        observation_space: The space that the policy sees.
        encoder_class: Your own features extractor for one observation, before the cell.
        encoder_kwargs: Its keyword arguments.
        normalized_image: Whether images are scaled to [0, 1] already, as in SB3's ``NatureCNN``.
        previous_action_size: Width of the encoded previous action next to the observation; 0 for none. The recurrent
            algorithms set it.
        reactive_initialization: ``initialization`` of a cell that takes a single step, unless ``settings`` name one;
            None for ``ncps``.
        mixed_memory_by_default: Whether a CfC without wiring, backbone or ``pure`` mode has mixed memory, unless
            ``settings`` say.
        **settings: The fields of :class:`ExtractorConfig`: ``cell``, ``units``, ``wiring``, ``n_stack``, ...

    Raises:
        ValueError: If the observation space or a setting cannot be used.
        TypeError: If a setting is unknown.
    """

    stored_part = slice(None)  # its columns of a stored state; RecurrentPolicyMixin._assign_stored_parts sets them

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        *,
        encoder_class: type[BaseFeaturesExtractor] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        normalized_image: bool = False,
        previous_action_size: int = 0,
        reactive_initialization: str | None = None,
        mixed_memory_by_default: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(observation_space, features_dim=1)  # set below, once the network is built
        config = ExtractorConfig(**settings)
        if mixed_memory_by_default and "mixed_memory" not in settings and config.is_plain_cfc:
            config = replace(config, mixed_memory=True)
        if previous_action_size and config.n_stack is not None:
            raise ValueError("a recurrent algorithm takes one observation at a time, not a history: leave out n_stack")
        history = config.history and not previous_action_size
        self.frames = read_frames(observation_space, config.n_stack, config.timespans_key, history)
        self.encoder = make_encoder(self.frames.space, encoder_class, encoder_kwargs, normalized_image)
        self.flat = type(self.encoder) is FlattenExtractor
        # Then features and running statistics depend on which rows are encoded together.
        self.normalizes_batches = any(isinstance(module, _BatchNorm) for module in self.encoder.modules())
        width = int(self.encoder.features_dim)  # numpy's, if a user's extractor multiplies a shape
        self.dense: nn.Linear | None = None
        if config.encoder_units is not None:
            self.dense = nn.Linear(width, config.encoder_units)
            width = config.encoder_units
        self.previous_action_size = previous_action_size
        width += previous_action_size
        takes_steps = bool(previous_action_size) or self.frames.steps is not None
        if config.initialization is None and config.cell in WHOSE["initialization"]:
            config = replace(config, initialization="orthogonal" if takes_steps else reactive_initialization)
        self.cell = config.build(width, timed=self.frames.timespans_key is not None)
        self._features_dim = self.cell.output_size
        self.readout: nn.Linear | None = None
        if config.readout_units is not None:
            self.readout = nn.Linear(width + self.cell.output_size, config.readout_units)
            self._features_dim = config.readout_units

    def forward(self, observations: Observation | StepInput | SequenceBatch) -> torch.Tensor:
        """Features of observations, histories, one step of acting, or windows from the replay buffer.

        Args:
            observations: ``(N, F)``, ``(N, T, F)``, images ``(N, C, H, W)``, or a dict of them; or a
                :class:`StepInput` of ``N`` environments, or a :class:`SequenceBatch` of ``L * B`` training steps.

        Returns:
            Features ``(N, features_dim)``, or ``(L * B, features_dim)``, time before batch.
        """
        if isinstance(observations, SequenceBatch):
            return self._next_features(observations) if observations.is_next else self._window_features(observations)
        if isinstance(observations, StepInput):  # a recurrent algorithm acts
            inputs, timespans = self._inputs(observations.observations, observations.previous_actions)
            outputs, observations.next_state = self._step(inputs, observations.state, timespans)
            return self._read(inputs, outputs)
        inputs, timespans = self._inputs(observations, None)
        if self.frames.steps is None:  # reactive
            outputs, _ = self._step(inputs, None, timespans)
            return self._read(inputs, outputs)
        history = inputs.view(self.frames.steps, -1, inputs.shape[-1])  # (T, N, F)
        every_output, _ = unroll(self.cell, history, timespans=timespans)
        return self._read(history[-1], every_output[-1])

    def _step(
        self, inputs: torch.Tensor, state: torch.Tensor | None, timespans: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The cell's step, without the call of a module."""
        if autocasts(inputs):
            outputs: tuple[torch.Tensor, torch.Tensor] = self.cell(inputs, state, timespans)
            return outputs
        check_inputs(inputs, 2, self.cell.input_size)
        check_timespans(timespans, (inputs.shape[0],))
        timed = None if timespans is None else timespans.unsqueeze(-1)
        return self.cell.step(self.cell.prepare(timed is not None), inputs, state, timed)

    def _inputs(
        self, observations: Observation, previous_actions: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The cell's inputs ``(N, F)``, encoded observations and previous actions, and its timespans, if any."""
        frames, timespans = self.frames.split(observations)
        plain = self.flat and isinstance(frames, torch.Tensor)  # the common case, without two module calls
        inputs: torch.Tensor = frames.flatten(1) if plain else self.encoder(frames)  # type: ignore[union-attr]
        if self.dense is not None:
            inputs = torch.relu(self.dense(inputs))
        if self.previous_action_size:
            if previous_actions is None:  # no action yet
                previous_actions = inputs.new_zeros(inputs.shape[0], self.previous_action_size)
            inputs = torch.cat([inputs, previous_actions], dim=-1)
        return inputs, timespans

    def _window_features(self, batch: SequenceBatch) -> torch.Tensor:
        """Features of the training steps ``(L * B, D)``."""
        unrolled = self._unroll(batch)
        batch.cache.store(self, unrolled)
        return self._read(unrolled.inputs.flatten(0, 1), unrolled.outputs.flatten(0, 1))

    def _next_features(self, batch: SequenceBatch) -> torch.Tensor:
        """Features of the observations after the steps, or after their n-step returns.

        Most are the next step's observations, and so are their features; the others take a step from the state there.
        """
        unrolled = None if torch.is_grad_enabled() else batch.cache.load(self)
        inputs, outputs, states = self._unroll(batch) if unrolled is None else unrolled
        apart, observations = batch.apart, batch.next_observations
        if self.normalizes_batches:
            apart, observations = None, batch.every_next_observation()
        rows = slice(None) if apart is None else apart
        following, timespans = self._inputs(observations, batch.actions[rows])
        found, _ = self.cell(following, states.flatten(0, 1)[rows], timespans)
        if apart is not None:
            found = outputs.roll(-1, 0).flatten(0, 1).index_copy(0, apart, found)
            if self.readout is not None:
                following = inputs.roll(-1, 0).flatten(0, 1).index_copy(0, apart, following)
        features = self._read(following, found)
        return features if batch.bootstrap_index is None else features[batch.bootstrap_index]

    def _unroll(self, batch: SequenceBatch) -> Unrolled:
        steps, windows = batch.episode_starts.shape
        inputs, timespans = self._inputs(batch.observations, batch.previous_actions.flatten(0, 1))
        inputs = inputs.view(steps, windows, -1)
        timespans = None if timespans is None else timespans.view(steps, windows)
        state = None if batch.stored_state is None else batch.stored_state[:, self.stored_part]
        if batch.burn_in:
            warm_up = slice(batch.burn_in)
            with torch.no_grad():
                _, state = unroll(
                    self.cell,
                    inputs[warm_up],
                    state,
                    episode_starts=batch.episode_starts[warm_up],
                    timespans=None if timespans is None else timespans[warm_up],
                )
        learned = slice(batch.burn_in, None)
        outputs, states = unroll_states(
            self.cell,
            inputs[learned],
            state,
            episode_starts=batch.episode_starts[learned],
            timespans=None if timespans is None else timespans[learned],
        )
        return Unrolled(inputs[learned], outputs, states)

    def _read(self, inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        if self.readout is None:
            return outputs
        return torch.relu(self.readout(torch.cat([inputs, outputs], dim=-1)))
