"""The liquid policies of RecurrentPPO and RecurrentMaskablePPO: liquid cells in place of LSTMs."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from torch import nn

from velora_sb3._validation import check_bool
from velora_sb3.cells import LiquidCell, unroll
from velora_sb3.memory import CellConfig
from velora_sb3.memory.encoder import TimedEncoder
from velora_sb3.policies.mixin import pass_on_to_encoder
from velora_sb3.policies.recurrent_lstm import Pair
from velora_sb3.policies.recurrent_maskable import RecurrentMaskableActorCriticPolicy
from velora_sb3.policies.stateful import StatefulPolicyMixin, check_pair

CELL_ARGUMENTS = tuple(field.name for field in fields(CellConfig))


class CellSlot(nn.Module):
    """A liquid cell where sb3-contrib expects an LSTM of one layer.

    sb3-contrib carries a pair ``(h, c)``, each of shape ``(1, B, hidden_size)``. The cell's state tensor is split in
    half for it, so nothing is stored twice. With ``skip`` the outputs are the cell's inputs and its outputs.
    """

    num_layers = 1

    def __init__(self, cell: LiquidCell, timed: bool, skip: bool = False) -> None:
        super().__init__()
        self.cell = cell
        self.timed, self.skip = timed, skip
        self.output_size = cell.output_size + (cell.input_size if skip else 0)
        self.input_size = cell.input_size + int(timed)
        self.hidden_size = (cell.state_size + 1) // 2

    def forward(self, features: torch.Tensor, pair: Pair, episode_starts: torch.Tensor) -> tuple[torch.Tensor, Pair]:
        """Unroll the cell.

        Args:
            features: ``(T, B, input_size)``.
            pair: The two halves of the state, each ``(1, B, hidden_size)``.
            episode_starts: ``(T, B)``.

        Returns:
            Outputs ``(T, B, output_size)`` and the two halves of the last state.
        """
        timespans = None
        if self.timed:
            features, timespans = features[..., :-1], features[..., -1]
        state = torch.cat([pair[0][0], pair[1][0]], dim=-1)
        if self.cell.state_size % 2:
            state = state[:, :-1]
        outputs, state = unroll(self.cell, features, state, episode_starts=episode_starts, timespans=timespans)
        if self.cell.state_size % 2:
            state = nn.functional.pad(state, (0, 1))
        first, second = state.unsqueeze(0).split(self.hidden_size, dim=-1)
        if self.skip:
            outputs = torch.cat([features, outputs], dim=-1)
        return outputs, (first.contiguous(), second.contiguous())


class TimelessLinear(nn.Linear):
    """A linear layer for a critic without a memory, which ignores the time since the last observation.

    Differs from torch's ``Linear``: features after the first ``in_features`` are ignored.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(N, in_features)``, or one more with the timespan, to ``(N, out_features)``."""
        return super().forward(features[..., : self.in_features])


class LiquidRecurrentMixin(StatefulPolicyMixin, RecurrentActorCriticPolicy):
    """A mixin for sb3-contrib's recurrent policy classes that replaces their LSTMs by liquid cells."""

    liquid_arguments = (*CELL_ARGUMENTS, "skip_connection", "timespans_key")

    def __init__(self, observation_space: Any, action_space: Any, lr_schedule: Any, **kwargs: Any) -> None:
        if kwargs.get("n_lstm_layers", 1) != 1 or kwargs.get("lstm_kwargs"):
            raise ValueError(
                "a liquid policy has one cell instead of LSTM layers: leave out n_lstm_layers and lstm_kwargs"
            )
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)
        self.lstm_actor: Any = self._make_slot()
        if self.enable_critic_lstm:
            self.lstm_critic: Any = self._make_slot()
        elif self.critic is not None:
            self.critic = TimelessLinear(self.lstm_actor.cell.input_size, self.lstm_output_dim)
        self.lstm_hidden_state_shape = (1, 1, self.lstm_actor.hidden_size)
        make_optimizer: Any = self.optimizer_class
        self.optimizer = make_optimizer(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)
        self._finish_optimizers()

    def _to_sb3(self, arguments: dict[str, Any]) -> dict[str, Any]:
        units = arguments.pop("lstm_hidden_size", None)
        self._cell_arguments = {name: arguments.pop(name) for name in CELL_ARGUMENTS if name in arguments}
        self._skip_connection = check_bool("skip_connection", arguments.pop("skip_connection", False))
        if units is not None:
            self._cell_arguments.setdefault("units", units)
        if self.mixed_memory_by_default and CellConfig(**self._cell_arguments).is_plain_cfc:
            self._cell_arguments.setdefault("mixed_memory", True)
        encoder_class = arguments.pop("features_extractor_class", TimedEncoder)
        encoder_kwargs = dict(arguments.pop("features_extractor_kwargs", {}))
        if not issubclass(encoder_class, TimedEncoder):
            encoder_kwargs = {"encoder_class": encoder_class, "encoder_kwargs": encoder_kwargs}
            encoder_class = TimedEncoder
        pass_on_to_encoder(encoder_class, encoder_kwargs)
        if "timespans_key" in arguments:
            encoder_kwargs["timespans_key"] = arguments.pop("timespans_key")
        if arguments.get("normalize_images") is False:
            encoder_kwargs["normalized_image"] = True
        return {
            **arguments,
            "features_extractor_class": encoder_class,
            "features_extractor_kwargs": encoder_kwargs,
            "lstm_hidden_size": 1,  # of the LSTMs that sb3-contrib makes and that are replaced
        }

    def _build_mlp_extractor(self) -> None:
        self.lstm_output_dim = self._make_slot().output_size
        super()._build_mlp_extractor()

    def _make_slot(self) -> CellSlot:
        encoder: Any = self.features_extractor
        timed = bool(encoder.timed)
        cell = CellConfig(**self._cell_arguments).build(self.features_dim - int(timed), timed)
        return CellSlot(cell, timed, self._skip_connection).to(self.device)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, *args: Any, **kwargs: Any
    ) -> tuple[Any, Any]:
        """sb3-contrib's; checks the state, and warns once of calls without one."""
        self._warn_if_stateless(state, episode_start)
        check_pair(self, observation, state, episode_start)
        return super().predict(observation, state, episode_start, *args, **kwargs)

    def evaluate_actions(self, obs: Any, actions: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """sb3-contrib's, which passes MultiBinary actions as int8, for which torch has no log-likelihood."""
        actions = actions if actions.dtype == torch.long else actions.float()
        return super().evaluate_actions(obs, actions, *args, **kwargs)

    @staticmethod
    def _process_sequence(  # type: ignore[override]  # a cell in place of the LSTM
        features: torch.Tensor,
        lstm_states: Pair,
        episode_starts: torch.Tensor,
        lstm: CellSlot,
    ) -> tuple[torch.Tensor, Pair]:
        """Unroll the cell over sequences in sb3-contrib's layout ``(B * T, F)``."""
        n_seq = lstm_states[0].shape[1]
        sequence = features.reshape(n_seq, -1, lstm.input_size).swapaxes(0, 1)
        outputs, states = lstm(sequence, lstm_states, episode_starts.reshape(n_seq, -1).swapaxes(0, 1))
        return outputs.swapaxes(0, 1).flatten(0, 1), states


class LiquidRecurrentActorCriticPolicy(LiquidRecurrentMixin):
    """sb3-contrib's ``RecurrentActorCriticPolicy`` with liquid cells in its LSTM slots, for RecurrentPPO.

    Takes every argument of ``RecurrentActorCriticPolicy`` and of :class:`velora_sb3.memory.CellConfig`;
    ``lstm_hidden_size`` is another name for ``units``, and ``mixed_memory`` is True by default for a CfC without
    wiring, backbone or ``pure`` mode. With ``skip_connection=True`` the heads see the cell's inputs, too.
    """


class LiquidRecurrentMaskableActorCriticPolicy(  # type: ignore[misc]  # a cell in place of the LSTM
    LiquidRecurrentMixin, RecurrentMaskableActorCriticPolicy
):
    """``LiquidRecurrentActorCriticPolicy`` with action masks, for RecurrentMaskablePPO; takes the same arguments."""
