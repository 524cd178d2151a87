"""A Q-network with one of our cells as an RLModule."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from ray.rllib.algorithms.dqn.dqn_learner import QF_NEXT_PREDS, QF_PREDS, QF_TARGET_NEXT_PREDS
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI, QNetAPI, TargetNetworkAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.utils.schedules.scheduler import Scheduler
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import create_mlp
from torch import nn

from velora_sb3.memory import CellConfig
from velora_sb3.memory.encoder import TimedEncoder
from velora_sb3.policies.recurrent_actor_critic import CellSlot
from velora_sb3.rllib.actor_critic import merge_time, unroll_slot
from velora_sb3.rllib.settings import CELL_SETTINGS, check_actions, check_observations, read_settings

NETWORK_SETTINGS = (*CELL_SETTINGS, "activation_fn", "net_arch", "timespans_key")
FROM_RLLIB = ("double_q", "dueling", "epsilon", "num_atoms", "std_init", "v_max", "v_min")  # DQNConfig adds them
MAX_SINGLE_STEPS = 50  # updates


class QNetwork(nn.Module):
    """Encoder, cell, layers, and Q-values of every action.

    Args:
        observation_space: The space of observations.
        n_actions: Number of actions.
        settings: Those of ``model_config``.
    """

    def __init__(self, observation_space: spaces.Space[Any], n_actions: int, settings: dict[str, Any]) -> None:
        super().__init__()
        self.observation_space = observation_space
        self.encoder = TimedEncoder(observation_space, settings.get("timespans_key", "timespans"))
        timed = self.encoder.timed
        cell_settings = {name: settings[name] for name in CELL_SETTINGS if name in settings}
        cell = CellConfig(**cell_settings).build(self.encoder.features_dim - int(timed), timed)
        self.slot = CellSlot(cell, timed)
        widths = list(settings.get("net_arch", [64]))
        self.layers = nn.Sequential(*create_mlp(cell.output_size, -1, widths, settings.get("activation_fn", nn.ReLU)))
        width = widths[-1] if widths else cell.output_size
        self.advantage = nn.Linear(width, n_actions)
        self.value = nn.Linear(width, 1) if settings.get("dueling", True) else None

    def forward(self, observations: Any, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Observations ``(B, T, ...)`` and a state ``(B, S)`` to Q-values ``(B, T, n)`` and the last state."""
        features = self.encoder(preprocess_obs(merge_time(observations), self.observation_space))
        outputs, state = unroll_slot(self.slot, features.unflatten(0, (len(state), -1)), state)
        latent = self.layers(outputs)
        values: torch.Tensor = self.advantage(latent)
        if self.value is not None:
            values = values - values.mean(dim=-1, keepdim=True) + self.value(latent)
        return values, state


class LiquidDQNModule(TorchRLModule, QNetAPI, TargetNetworkAPI, InferenceOnlyAPI):  # type: ignore[misc]  # as in PPO's
    """A recurrent Q-network as an RLModule, for RLlib's DQN, with double Q-learning and dueling as DQN's config says.

    ``model_config`` takes ``max_seq_len`` (at least 2), every field of :class:`velora_sb3.memory.CellConfig`,
    ``net_arch``, ``activation_fn`` and ``timespans_key``. DQN's replay reads ``max_seq_len`` from the configuration,
    so it belongs in ``config.rl_module(model_config=...)``. What else DQN needs for sequences:
    ``config.training(num_atoms=1, n_step=1, replay_buffer_config={"type": "EpisodeReplayBuffer"})``.

    Raises:
        ValueError: If ``model_config`` has an unknown key or a wrong value, actions are not Discrete, or ``num_atoms``
            is not 1; after fifty updates, if the replay buffer has only sampled single steps.
    """

    def setup(self) -> None:
        """Build the network."""
        check_actions(self.action_space, spaces.Discrete)
        check_observations(self.observation_space)
        self.model_config: dict[str, Any] = read_settings(self.model_config, NETWORK_SETTINGS, FROM_RLLIB)
        settings = self.model_config
        if settings["max_seq_len"] < 2:
            raise ValueError(f"max_seq_len must be at least 2 for DQN, got {settings['max_seq_len']}")
        if settings.get("num_atoms", 1) != 1:
            raise ValueError(
                f"num_atoms must be 1, got {settings['num_atoms']}: RLlib's distributional loss takes no sequences; "
                "pass num_atoms=1 to DQNConfig.training()"
            )
        self._epsilon = Scheduler(fixed_value_or_schedule=settings.get("epsilon", 0.0), framework="torch")
        self._has_sequences, self._single_steps = False, 0
        self.q_network = QNetwork(self.observation_space, int(self.action_space.n), settings)

    def get_initial_state(self) -> dict[str, np.ndarray]:
        """The zero state ``(state_size,)``."""
        return {"cell": np.zeros(2 * self.q_network.slot.hidden_size, dtype=np.float32)}

    def get_non_inference_attributes(self) -> list[str]:
        """What environment runners do without."""
        return ["_target"]

    def make_target_networks(self) -> None:
        """Copy the network."""
        self._target = make_target_network(self.q_network)

    def get_target_network_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """The network and its target."""
        return [(self.q_network, self._target)]

    def compute_q_values(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Q-values ``(B, T, n)``, and the state after the last step."""
        return self._q_values(self.q_network, batch)

    def forward_target(self, batch: dict[str, Any]) -> dict[str, Any]:
        """As ``compute_q_values``, of the target network."""
        return self._q_values(self._target, batch)

    @staticmethod
    def _q_values(network: nn.Module, batch: dict[str, Any]) -> dict[str, Any]:
        values, state = network(batch[Columns.OBS], batch[Columns.STATE_IN]["cell"])
        return {QF_PREDS: values, Columns.STATE_OUT: {"cell": state}}

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Greedy actions ``(B, T)``."""
        outputs = self.compute_q_values(batch)
        return {Columns.ACTIONS: outputs[QF_PREDS].argmax(dim=-1), Columns.STATE_OUT: outputs[Columns.STATE_OUT]}

    def _forward_exploration(self, batch: dict[str, Any], t: int = 0, **kwargs: Any) -> dict[str, Any]:
        """Greedy actions, or random ones with the probability of epsilon at step ``t``."""
        with torch.no_grad():
            outputs = self._forward(batch)
        greedy = outputs[Columns.ACTIONS]
        explores = torch.rand(greedy.shape, device=greedy.device) < self._epsilon.update(t)
        outputs[Columns.ACTIONS] = torch.where(explores, torch.randint_like(greedy, int(self.action_space.n)), greedy)
        return outputs

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Q-values of the observations, and for the next ones those of the network and of its target."""
        if not self._has_sequences:
            self._look_for_sequences(batch)
        following = {Columns.OBS: batch[Columns.NEXT_OBS], Columns.STATE_IN: batch[Columns.NEXT_STATE_IN]}
        outputs = self.compute_q_values(batch)
        with torch.no_grad():
            outputs[QF_TARGET_NEXT_PREDS] = self.forward_target(following)[QF_PREDS]
            if self.model_config.get("double_q", True):
                outputs[QF_NEXT_PREDS] = self.compute_q_values(following)[QF_PREDS]
        return outputs

    def _look_for_sequences(self, batch: dict[str, Any]) -> None:
        """Raise ``ValueError`` if the replay goes on sampling single steps.

        A few such batches are right: RLlib restores no replay buffer, so training goes on with the first new step.
        """
        mask = batch.get(Columns.LOSS_MASK)
        self._has_sequences = mask is None or bool(mask[:, 1:].any())
        ended = batch.get(Columns.TERMINATEDS)
        if self._has_sequences or (ended is not None and bool(ended[:, 0].all())):  # episodes of one step
            return
        self._single_steps += 1
        if self._single_steps == MAX_SINGLE_STEPS:
            raise ValueError(
                "the replay buffer samples single steps: pass max_seq_len in config.rl_module(model_config=...), where "
                "DQN's replay reads it, and not in RLModuleSpec; RLlib's multi-agent replay has no sequences"
            )
