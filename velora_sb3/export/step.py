"""A policy as one step with an explicit state: what every export is made of."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.ars.policies import ARSPolicy
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.dqn.policies import DQNPolicy
from torch import nn

from velora_sb3._normalization import ObservationStatistics
from velora_sb3.cells import LiquidCell
from velora_sb3.cells.kernels.lstm import advance
from velora_sb3.export.actions import ActionRule
from velora_sb3.export.observations import TIMESPANS, ObservationEntry, make_entries, raw_observation_space
from velora_sb3.memory import LiquidExtractor, StepInput
from velora_sb3.memory.encoder import TimedEncoder
from velora_sb3.policies.recurrent_actor_critic import CellSlot
from velora_sb3.policies.recurrent_maskable import RecurrentMaskableActorCriticPolicy

STATE_IN, STATE_OUT, EPISODE_START, MASKS, NOISE = "state_in", "state_out", "episode_start", "action_masks", "noise"


class LSTMStep(nn.Module):
    """One step of a ``torch.nn.LSTM`` in ordinary operations; the state is h of every layer, then c of every layer.

    Args:
        lstm: The LSTM.
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        if lstm.bidirectional or lstm.proj_size:
            raise ValueError("lstm_kwargs with bidirectional or proj_size cannot be exported: leave them out")
        self.lstm = lstm
        self.layers, self.hidden = lstm.num_layers, lstm.hidden_size
        self.state_size = 2 * self.layers * self.hidden

    def weights(self, layer: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of the inputs, of the state, and the bias: four gates, in torch's order i, f, g, o."""
        ih, hh = (getattr(self.lstm, f"weight_{name}_l{layer}") for name in ("ih", "hh"))
        if not self.lstm.bias:
            return ih, hh, ih.new_zeros(4 * self.hidden)
        return ih, hh, getattr(self.lstm, f"bias_ih_l{layer}") + getattr(self.lstm, f"bias_hh_l{layer}")

    def forward(
        self, inputs: torch.Tensor, state: torch.Tensor, timespans: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs ``(B, H)`` and the next state ``(B, S)``."""
        parts = state.split(self.hidden, dim=-1)
        hidden, memory = [], []
        for layer in range(self.layers):
            ih, hh, bias = self.weights(layer)
            gates = nn.functional.linear(inputs, ih, bias) + nn.functional.linear(parts[layer], hh)
            inputs, kept = advance(gates, parts[self.layers + layer])
            hidden.append(inputs)
            memory.append(kept)
        return inputs, torch.cat([*hidden, *memory], dim=-1)


class PolicyStep(nn.Module):
    """One step of a policy, on the CPU, with copies of its networks.

    Attributes:
        entries: The tensors of an observation, timespans last.
        extractor: SB3's features extractor; with ``sees_previous`` it contains the cell, and takes a ``StepInput``.
        core: A cell or an LSTM behind the features extractor; None if there is none.
        head: The layers after that.
        action: From their output to an action.
        memory_size: Numbers in the cell's state.
        previous_size: Numbers in the encoded previous action, after them in the state.
    """

    def __init__(
        self,
        entries: Sequence[ObservationEntry],
        extractor: nn.Module,
        core: nn.Module | None,
        head: Sequence[nn.Module],
        action: ActionRule,
        *,
        sees_previous: bool,
        spread: nn.Module | torch.Tensor | None,
        deterministic: bool,
    ) -> None:
        super().__init__()
        self.entries: Any = nn.ModuleList(entries)
        self.extractor: Any = _independent(extractor)
        self.core: Any = None if core is None else _independent(core)
        self.head: Any = nn.Sequential(*(_independent(module) for module in head))
        self.action = action
        self.sees_previous = sees_previous
        self.spread: Any = spread if spread is None or deterministic else _spread(spread)
        self.deterministic = deterministic
        cell: Any = self.extractor.cell if sees_previous else self.core
        self.memory_size = 0 if cell is None else int(cell.state_size)
        self.previous_size = int(self.extractor.previous_action_size) if sees_previous else 0
        self.timed = any(entry.name == TIMESPANS for entry in entries)
        for module in self.modules():
            if isinstance(module, LiquidCell):
                _prepare_once(module, self.timed)

    @property
    def state_size(self) -> int:
        """Numbers in the whole state."""
        return self.memory_size + self.previous_size

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in order."""
        names = [entry.name for entry in self.entries]
        names += [STATE_IN, EPISODE_START] * bool(self.state_size) + [MASKS] * self.action.maskable
        return names + [NOISE] * (not self.deterministic)

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in order."""
        return ["action"] + [STATE_OUT] * bool(self.state_size)

    def example_inputs(self) -> tuple[torch.Tensor, ...]:
        """Inputs of the right shapes and types, a batch of two."""
        batch = 2
        inputs = [torch.as_tensor(np.zeros((batch, *entry.shape), dtype=entry.dtype)) for entry in self.entries]
        if self.state_size:
            inputs += [torch.zeros(batch, self.state_size), torch.zeros(batch, dtype=torch.bool)]
        if self.action.maskable:
            inputs.append(torch.ones(batch, self.action.mask_width, dtype=torch.bool))
        if not self.deterministic:
            inputs.append(torch.full((batch, self.noise_width), 0.5))
        return tuple(inputs)

    @property
    def noise_width(self) -> int:
        """Random numbers that an action needs."""
        return self.action.width if self.action.continuous or self.action.thresholds else self.action.mask_width

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """One step.

        Args:
            *inputs: As in ``input_names``.

        Returns:
            As in ``output_names``.
        """
        given = dict(zip(self.input_names, inputs, strict=True))
        seen: Any = {entry.key: entry(given[entry.name]) for entry in self.entries}
        observation = seen.get("", seen)
        if not self.state_size:
            outputs = self.extractor(observation)
            memory = previous = None
        else:
            state = given[STATE_IN]
            state = torch.where(given[EPISODE_START].unsqueeze(-1), torch.zeros_like(state), state)  # also a NaN
            memory, previous = state.split([self.memory_size, self.previous_size], dim=-1)
            if self.sees_previous:
                step = StepInput(observation, memory, previous)
                outputs, memory = self.extractor(step), step.next_state
            else:
                features, timespans = self.extractor(observation), None
                if isinstance(self.core, CellStep) and self.core.timed:
                    features, timespans = features[:, :-1], features[:, -1:]
                outputs, memory = self.core(features, memory, timespans)
        for module in self.head[:-1]:
            outputs = module(outputs)
        log_std = None
        if self.spread is not None and not self.deterministic:
            log_std = self.spread(outputs) if isinstance(self.spread, nn.Module) else self.spread
        outputs = self.head[-1](outputs)
        action, remembered = self.action(outputs, given.get(MASKS), given.get(NOISE), log_std)
        if memory is None:
            return (action,)
        return action, torch.cat([memory, remembered], dim=-1) if self.previous_size else memory


class CellStep(nn.Module):
    """A liquid cell behind a features extractor, whose last feature is the timespan if it is timed.

    With ``skip`` the outputs are the inputs and the cell's outputs.
    """

    def __init__(self, slot: CellSlot) -> None:
        super().__init__()
        self.cell, self.timed, self.skip = slot.cell, slot.timed, slot.skip
        self.state_size = slot.cell.state_size

    def forward(self, inputs: torch.Tensor, state: torch.Tensor, timespans: torch.Tensor | None) -> Any:
        """Outputs ``(B, O)`` and the next state ``(B, S)``."""
        outputs, state = self.cell.step(self.cell.prepare(self.timed), inputs, state, timespans)
        return torch.cat([inputs, outputs], dim=-1) if self.skip else outputs, state


class _Capped(nn.Module):
    """SAC's layer for the logarithm of the standard deviation, within SAC's bounds."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        return torch.clamp(self.layer(latent), -20, 2)


def _independent(module: nn.Module) -> Any:
    # torch does not copy weights that it prunes or normalizes.
    derived = [value for part in module.modules() for value in vars(part).values() if isinstance(value, torch.Tensor)]
    memo = {id(value): value.detach().cpu() for value in derived}
    copied = copy.deepcopy(module, memo).cpu().eval()
    for parameter in copied.parameters():
        parameter.requires_grad_(False)
    return copied


def _spread(spread: nn.Module | torch.Tensor) -> Any:
    return _independent(spread) if isinstance(spread, nn.Module) else spread.detach().cpu().clone()


def _prepare_once(cell: Any, timed: bool) -> None:
    """Let a cell's step find its weights prepared: masks applied, synapses in tables."""
    prepared = cell.prepare(timed)
    cell.prepare = lambda timed: prepared


def make_step(
    model: Any,
    statistics: ObservationStatistics | None,
    observation_space: spaces.Space[Any] | None = None,
    deterministic: bool = True,
) -> PolicyStep:
    """The step of a model's policy.

    Args:
        model: A model of SB3, sb3-contrib or this package.
        statistics: Statistics that normalize observations, if any.
        observation_space: The environment's, for a model without an environment.
        deterministic: Whether the most likely action is taken.

    Returns:
        The step.

    Raises:
        TypeError: If the policy is none of a known family.
        ValueError: If it has a part that cannot be exported.
    """
    policy: Any = model.policy
    space = policy.action_space
    on_policy = isinstance(policy, ActorCriticPolicy | MaskableActorCriticPolicy)
    core: nn.Module | None = None
    spread: Any = None
    gaussian_sde = False
    if on_policy:
        extractor = policy.pi_features_extractor
        head: list[nn.Module] = [policy.mlp_extractor.policy_net, policy.action_net]
        gaussian_sde = isinstance(policy.action_dist, StateDependentNoiseDistribution)
        squash = bool(policy.squash_output)
        maskable = isinstance(policy, MaskableActorCriticPolicy | RecurrentMaskableActorCriticPolicy)
        rule = ActionRule(space, squash, squash, maskable=maskable)
        spread = getattr(policy, "log_std", None)
        if isinstance(policy, RecurrentActorCriticPolicy):
            lstm: Any = policy.lstm_actor
            core = CellStep(lstm) if isinstance(lstm, CellSlot) else LSTMStep(lstm)
    elif isinstance(policy, DQNPolicy | QRDQNPolicy):
        network: Any = policy.q_net if isinstance(policy, DQNPolicy) else policy.quantile_net
        extractor = network.features_extractor
        quantile = isinstance(policy, QRDQNPolicy)
        head = [network.quantile_net if quantile else network.q_net]
        rule = ActionRule(space, quantiles=network.n_quantiles if quantile else 0)
    elif isinstance(policy, ARSPolicy):
        extractor, head = policy.features_extractor, [policy.action_net]
        rule = ActionRule(space, bool(policy.squash_output))
    elif hasattr(policy, "actor"):
        actor = policy.actor
        extractor = actor.features_extractor
        if hasattr(actor, "latent_pi"):  # SAC, TQC, CrossQ
            head = [actor.latent_pi, actor.mu]
            rule = ActionRule(space, squashed=True, tanh=True)
            gaussian_sde = bool(actor.use_sde)
            spread = None if gaussian_sde else _Capped(actor.log_std)
        else:  # TD3, DDPG
            head = [actor.mu]
            rule = ActionRule(space, squashed=True)
    else:
        raise TypeError(
            f"cannot export a {type(policy).__name__}: it is not a policy of SB3 or sb3-contrib; export a policy "
            "derived from ActorCriticPolicy, SACPolicy, TD3Policy, DQNPolicy, QRDQNPolicy or ARSPolicy"
        )
    sampled = spread is not None if rule.continuous else on_policy
    if not deterministic and (gaussian_sde or not sampled):
        raise ValueError(
            f"deterministic=False needs a policy with a distribution of independent actions, but {type(model).__name__}"
            f" {'explores with gSDE' if gaussian_sde else 'has none'}: leave deterministic out"
        )
    recurrent = isinstance(extractor, LiquidExtractor) and extractor.previous_action_size > 0
    raw = raw_observation_space(model, observation_space)
    key = extractor.frames.timespans_key if isinstance(extractor, LiquidExtractor | TimedEncoder) else None
    entries = make_entries(model, raw, statistics, key)
    return PolicyStep(
        entries, extractor, core, head, rule, sees_previous=recurrent, spread=spread, deterministic=deterministic
    ).eval()
