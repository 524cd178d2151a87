"""PPO with a memory and with action masks."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import numpy as np
from gymnasium import spaces
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3.algorithms.recurrent_ppo import RecurrentPPO
from velora_sb3.memory import RecurrentMaskableDictRolloutBuffer, RecurrentMaskableRolloutBuffer
from velora_sb3.memory.actions import check_action_start
from velora_sb3.policies import (
    ALIAS,
    LiquidRecurrentMaskableActorCriticPolicy,
    RecurrentMaskableActorCriticCnnPolicy,
    RecurrentMaskableActorCriticPolicy,
    RecurrentMaskableMultiInputActorCriticPolicy,
)
from velora_sb3.policies.stateful import count

State = tuple[np.ndarray, ...]
Self = TypeVar("Self", bound="RecurrentMaskablePPO")


class _MaskableActions(OnPolicyAlgorithm):
    """Between RecurrentPPO and SB3: excludes Box actions, which have no masks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["supported_action_spaces"] = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
        super().__init__(*args, **kwargs)


class RecurrentMaskablePPO(RecurrentPPO, _MaskableActions):
    """RecurrentPPO with the action masks of sb3-contrib's MaskablePPO.

    Collection, ``train()`` and action distributions are sb3-contrib's. As with MaskablePPO, the environment
    provides masks by a method ``action_masks()``, its own or that of sb3-contrib's ``ActionMasker``.

    Takes RecurrentPPO's arguments. ``policy`` is ``"LiquidPolicy"``, ``"MlpLstmPolicy"``, ``"CnnLstmPolicy"``,
    ``"MultiInputLstmPolicy"`` or a class; actions are Discrete, MultiDiscrete or MultiBinary.

    Raises:
        TypeError: If the policy does not support masks.
        ValueError: If actions do not count from 0. In ``learn``, if the environment has no masks, or masks that do not
            fit its actions.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpLstmPolicy": RecurrentMaskableActorCriticPolicy,
        "CnnLstmPolicy": RecurrentMaskableActorCriticCnnPolicy,
        "MultiInputLstmPolicy": RecurrentMaskableMultiInputActorCriticPolicy,
        ALIAS: LiquidRecurrentMaskableActorCriticPolicy,
    }
    policy_base = RecurrentMaskableActorCriticPolicy
    buffer_classes = (RecurrentMaskableRolloutBuffer, RecurrentMaskableDictRolloutBuffer)
    _use_masking = True
    _predicted_state: State | None = None

    def _setup_model(self) -> None:
        check_action_start(self.action_space)
        super()._setup_model()

    def learn(
        self: Self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "RecurrentMaskablePPO",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
        *,
        use_masking: bool = True,
    ) -> Self:
        """Train.

        Args:
            total_timesteps: Timesteps to train for.
            callback: A callback, or several.
            log_interval: Iterations between log entries.
            tb_log_name: Name of the run for TensorBoard.
            reset_num_timesteps: Whether to count timesteps from zero.
            progress_bar: Whether to show SB3's progress bar.
            use_masking: Whether to use the environment's masks; without them every action is allowed.

        Returns:
            The model.
        """
        self._use_masking = use_masking
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)

    def collect_rollouts(self, env: VecEnv, callback: BaseCallback, rollout_buffer: Any, n_rollout_steps: int) -> bool:
        """RecurrentPPO's; the masks of each step go to the policy and into the buffer.

        Args:
            env: The environments.
            callback: Called at each step.
            rollout_buffer: The buffer to fill.
            n_rollout_steps: Steps of each environment.

        Returns:
            False if the callback stopped the training.
        """
        if not self._use_masking:
            return super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)
        if not is_masking_supported(env):
            raise ValueError(
                "the environment has no action_masks(): wrap it in sb3-contrib's ActionMasker, or call "
                "learn(use_masking=False)"
            )

        masked = -1  # the last step whose masks are stored

        def mask_actions(_policy: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            nonlocal masked
            if masked != rollout_buffer.pos:  # else a callback calls it, after the environments' step
                rollout_buffer.store_masks(get_action_masks(env))
                masked = rollout_buffer.pos
            return args, {**kwargs, "action_masks": rollout_buffer.action_masks[masked]}

        # RecurrentPPO calls the policy once for each step, right before it steps the environments.
        hook = self.policy.register_forward_pre_hook(mask_actions, with_kwargs=True)
        try:
            return super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)
        finally:
            hook.remove()

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: State | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, State | None]:
        """Act.

        sb3-contrib's ``evaluate_policy`` with masks, and so ``MaskableEvalCallback``, passes episode starts and no
        state. Then the memory continues from the state that the last call returned.

        Args:
            observation: One observation or a batch.
            state: The state that the last call returned; None is the zero state, unless ``episode_start`` is given.
            episode_start: ``(N,)``, true where an episode starts: the state is reset there.
            deterministic: Whether to take the most likely action or to sample.
            action_masks: ``(N, D)``, true where an action is allowed; None allows every action.

        Returns:
            The action and the state for the next call.
        """
        last = self._predicted_state
        if (
            state is None
            and episode_start is not None
            and last is not None
            and last[0].shape[1] == count(episode_start)
        ):
            state = last
        policy: Any = self.policy
        action, self._predicted_state = policy.predict(
            observation, state, episode_start, deterministic, action_masks=action_masks
        )
        return action, self._predicted_state

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_predicted_state"]
