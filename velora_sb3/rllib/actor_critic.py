"""The policy of ``RecurrentPPO`` as an RLModule."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule

from velora_sb3.policies import LiquidRecurrentActorCriticPolicy
from velora_sb3.rllib.settings import CELL_SETTINGS, check_actions, check_observations, read_settings

POLICY_SETTINGS = (
    *CELL_SETTINGS,
    "activation_fn",
    "enable_critic_lstm",
    "features_extractor_class",
    "features_extractor_kwargs",
    "log_std_init",
    "net_arch",
    "normalize_images",
    "ortho_init",
    "share_features_extractor",
    "shared_lstm",
    "skip_connection",
    "timespans_key",
)
FROM_RLLIB = ("vf_share_layers",)  # PPO, APPO and IMPALA add it for their default modules

State = dict[str, torch.Tensor]


class LiquidRLModule(TorchRLModule, ValueFunctionAPI):  # type: ignore[misc]  # RLlib has no type information
    """The policy of :class:`velora_sb3.RecurrentPPO` as an RLModule, for RLlib's PPO.

    ::

        config = PPOConfig().environment("CartPole-v1").rl_module(
            rl_module_spec=RLModuleSpec(
                module_class=LiquidRLModule,
                model_config={"cell": "cfc", "units": 64, "max_seq_len": 20},
            )
        )

    ``model_config`` takes ``max_seq_len``, every field of :class:`velora_sb3.memory.CellConfig`, and of the arguments
    of ``LiquidPolicy`` those on network and features: ``net_arch``, ``activation_fn``, ``ortho_init``,
    ``log_std_init``, ``shared_lstm``, ``enable_critic_lstm``, ``share_features_extractor``,
    ``features_extractor_class``, ``features_extractor_kwargs``, ``normalize_images``, ``skip_connection``,
    ``timespans_key``.

    Actions are Discrete, or a Box with one dimension. RLlib's connectors give each sequence of up to ``max_seq_len``
    steps the state that the rollout had at its first step, the zero state where an episode starts, and pad the last
    sequence of an episode, which RLlib masks in the loss.

    Attributes:
        policy: The policy, a :class:`velora_sb3.policies.LiquidRecurrentActorCriticPolicy`.

    Raises:
        ValueError: If ``model_config`` has an unknown key or a wrong value, or the spaces are others; at the first
            update, if a sequence is longer than a minibatch.
    """

    policy: LiquidRecurrentActorCriticPolicy

    def setup(self) -> None:
        """Build the policy."""
        check_actions(self.action_space, spaces.Discrete, spaces.Box)
        check_observations(self.observation_space)
        self.model_config: dict[str, Any] = read_settings(self.model_config, POLICY_SETTINGS, FROM_RLLIB)
        arguments = {name: self.model_config[name] for name in POLICY_SETTINGS if name in self.model_config}
        self.policy = LiquidRecurrentActorCriticPolicy(
            self.observation_space, self.action_space, lambda _: 0.0, **arguments
        )
        del self.policy.optimizer  # RLlib's learner has its own
        self._slots: dict[str, Any] = {"actor": "lstm_actor"}
        if self.policy.lstm_critic is not None:
            self._slots["critic"] = "lstm_critic"

    def get_initial_state(self) -> dict[str, np.ndarray]:
        """The zero state ``(state_size,)`` of the actor's cell, and of the critic's if it has one."""
        return {
            name: np.zeros(2 * getattr(self.policy, slot).hidden_size, dtype=np.float32)
            for name, slot in self._slots.items()
        }

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Inputs of the action distribution ``(B, T, n)``, and the states after the last step."""
        return self._outputs(batch)[0]

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """As ``_forward``, with the critic's features, from which ``compute_values`` goes on."""
        outputs, latent_vf = self._outputs(batch)
        return {**outputs, Columns.EMBEDDINGS: self.policy.mlp_extractor.forward_critic(latent_vf)}

    def compute_values(self, batch: dict[str, Any], embeddings: torch.Tensor | None = None) -> torch.Tensor:
        """Values of a batch's observations.

        Args:
            batch: Observations ``(B, T, ...)`` and the states before them.
            embeddings: The critic's features, if ``forward_train`` has computed them.

        Returns:
            Values ``(B, T)``.
        """
        if embeddings is None:
            name = "critic" if "critic" in self._slots else "actor"
            _, features = self._features(batch)
            critic = self.policy.critic
            latent_vf = self._unroll(name, features, batch)[0] if critic is None else critic(features)
            embeddings = self.policy.mlp_extractor.forward_critic(latent_vf)
        values: torch.Tensor = self.policy.value_net(embeddings)
        return values.squeeze(-1)

    def _outputs(self, batch: dict[str, Any]) -> tuple[dict[str, Any], torch.Tensor]:
        """The outputs of a forward pass, and what the critic's layers take ``(B, T, F)``."""
        policy = self.policy
        features, vf_features = self._features(batch)
        latent_pi, state = self._unroll("actor", features, batch)
        states = {"actor": state}
        if "critic" in self._slots:
            latent_vf, states["critic"] = self._unroll("critic", vf_features, batch)
        else:
            latent_vf = latent_pi.detach() if policy.critic is None else policy.critic(vf_features)
        inputs = policy.action_net(policy.mlp_extractor.forward_actor(latent_pi))
        if isinstance(self.action_space, spaces.Box):
            inputs = torch.cat([inputs, policy.log_std.expand_as(inputs)], dim=-1)
        return {Columns.ACTION_DIST_INPUTS: inputs, Columns.STATE_OUT: states}, latent_vf

    def _features(self, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Features of the actor and of the critic ``(B, T, F)``."""
        if Columns.OBS not in batch:
            raise ValueError(
                "RLlib made a minibatch without any sequence: minibatch_size must be at least max_seq_len "
                f"({self.model_config['max_seq_len']})"
            )
        observations = batch[Columns.OBS]
        sizes = (observations if torch.is_tensor(observations) else next(iter(observations.values()))).shape[:2]
        features: Any = self.policy.extract_features(merge_time(observations))
        pair = (features, features) if torch.is_tensor(features) else features
        return pair[0].unflatten(0, sizes), pair[1].unflatten(0, sizes)

    def _unroll(self, name: str, features: torch.Tensor, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs ``(B, T, F)`` of one of the cells, and its last state ``(B, S)``."""
        return unroll_slot(getattr(self.policy, self._slots[name]), features, batch[Columns.STATE_IN][name])


def merge_time(observations: Any) -> Any:
    """Observations ``(B, T, ...)``, or a dict of them, as ``(B * T, ...)``."""
    if torch.is_tensor(observations):
        return observations.flatten(0, 1)
    return {key: value.flatten(0, 1) for key, value in observations.items()}


def unroll_slot(slot: Any, features: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Unroll a policy's cell in RLlib's layout: features ``(B, T, F)``, a state ``(B, S)`` in one piece."""
    first, second = state.unsqueeze(0).chunk(2, dim=-1)
    outputs, pair = slot(features.transpose(0, 1), (first, second), None)
    return outputs.transpose(0, 1), torch.cat(pair, dim=-1).squeeze(0)
