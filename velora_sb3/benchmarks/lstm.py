"""sb3-contrib's LSTM policy without its Python loop over time: the same numbers, faster."""

from __future__ import annotations

from typing import Any

import torch
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from torch import nn

Pair = tuple[torch.Tensor, torch.Tensor]


class LstmPolicy(RecurrentActorCriticPolicy):
    """``MlpLstmPolicy`` whose LSTM processes a whole sequence in one call.

    sb3-contrib calls its LSTM once per time step if an episode starts anywhere in a batch. Its rollout buffer splits
    sequences at episode starts, so in training they occur only at a sequence's first step, where one reset of the
    state is enough. Learning curves are made with this policy; speeds are measured with both.
    """

    @staticmethod
    def _process_sequence(  # type: ignore[override]  # sb3-contrib's annotation lacks the state's second half
        features: torch.Tensor, lstm_states: Pair, episode_starts: torch.Tensor, lstm: nn.LSTM
    ) -> tuple[torch.Tensor, Pair]:
        windows = lstm_states[0].shape[1]
        starts = episode_starts.reshape(windows, -1)
        if starts[:, 1:].any():
            stepwise: Any = RecurrentActorCriticPolicy._process_sequence
            outputs, states = stepwise(features, lstm_states, episode_starts, lstm)
            return outputs, states
        keep = (1 - starts[:, 0]).view(1, windows, 1)
        sequence = features.reshape(windows, -1, lstm.input_size).swapaxes(0, 1)
        outputs, states = lstm(sequence, (keep * lstm_states[0], keep * lstm_states[1]))
        return outputs.transpose(0, 1).flatten(0, 1), states
