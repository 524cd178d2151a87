"""sb3-contrib's LSTM policies, without its Python loop over time."""

from __future__ import annotations

import numpy as np
import torch
from sb3_contrib.common.recurrent.policies import (
    RecurrentActorCriticCnnPolicy,
    RecurrentActorCriticPolicy,
    RecurrentMultiInputActorCriticPolicy,
)
from torch import nn

Pair = tuple[torch.Tensor, torch.Tensor]


class PackedLstmMixin(RecurrentActorCriticPolicy):
    """Unrolls the LSTM over sequences in which episodes start with one call of it: the same numbers, faster.

    sb3-contrib calls the LSTM for one step after another as soon as an episode starts anywhere in a batch.
    """

    @staticmethod
    def _process_sequence(  # type: ignore[override]  # sb3-contrib's annotation lacks the state's second half
        features: torch.Tensor, lstm_states: Pair, episode_starts: torch.Tensor, lstm: nn.LSTM
    ) -> tuple[torch.Tensor, Pair]:
        """Unroll over sequences in sb3-contrib's layout ``(B * T, F)``."""
        n_seq = lstm_states[0].shape[1]
        starts = episode_starts.reshape(n_seq, -1) != 0
        if starts.shape[1] == 1:
            hidden, cell = (torch.where(starts, 0, state) for state in lstm_states)
            outputs, states = lstm(features.unsqueeze(0), (hidden, cell))
            return outputs[0], states
        sequences = Sequences(starts.cpu().numpy())
        packed = nn.utils.rnn.PackedSequence(features[sequences.rows], sequences.batch_sizes)
        fresh, column = starts.flatten()[sequences.first].unsqueeze(-1), sequences.first // starts.shape[1]
        hidden, cell = (torch.where(fresh, 0, state[:, column]) for state in lstm_states)
        outputs, (hidden, cell) = lstm(packed, (hidden, cell))
        return outputs.data[sequences.places], (hidden[:, sequences.last], cell[:, sequences.last])


class Sequences:
    """The sequences between episode starts in a batch, in the order of torch's ``PackedSequence``: longest first.

    Args:
        starts: ``(B, T)``, true where an episode starts; its elements are counted as rows ``b * T + t``.

    Attributes:
        rows: Row of each element of the packed data.
        places: Where each row is in the packed data.
        batch_sizes: Sequences that have a first, a second, ... step.
        first: Row of the first step of each sequence.
        last: The sequence that ends each of the ``B`` columns.
    """

    def __init__(self, starts: np.ndarray) -> None:
        begins = starts.copy()
        begins[:, 0] = True
        first = np.flatnonzero(begins)
        lengths = np.diff(first, append=begins.size)
        order = np.argsort(-lengths, kind="stable")
        steps = np.arange(lengths[order[0]])[:, None]
        alive = steps < lengths[order]  # (longest, sequences)
        self.rows = (first[order] + steps)[alive]
        self.places = np.empty_like(self.rows)
        self.places[self.rows] = np.arange(len(self.rows))
        self.batch_sizes = torch.as_tensor(alive.sum(1))
        self.first = first[order]
        ranks = np.empty_like(order)
        ranks[order] = np.arange(len(order))
        self.last = ranks[begins.sum(1).cumsum() - 1]


class LstmActorCriticPolicy(PackedLstmMixin):
    """sb3-contrib's ``MlpLstmPolicy``, faster; takes the same arguments."""


class LstmActorCriticCnnPolicy(PackedLstmMixin, RecurrentActorCriticCnnPolicy):
    """sb3-contrib's ``CnnLstmPolicy``, faster; takes the same arguments."""


class LstmMultiInputActorCriticPolicy(PackedLstmMixin, RecurrentMultiInputActorCriticPolicy):
    """sb3-contrib's ``MultiInputLstmPolicy``, faster; takes the same arguments."""
