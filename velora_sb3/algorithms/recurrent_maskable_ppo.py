"""PPO with a memory and with action masks."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import numpy as np
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3.memory import RecurrentMaskableDictRolloutBuffer, RecurrentMaskableRolloutBuffer
from velora_sb3.policies import (
    ALIAS,
    LiquidRecurrentMaskableActorCriticPolicy,
    RecurrentMaskableActorCriticCnnPolicy,
    RecurrentMaskableActorCriticPolicy,
    RecurrentMaskableMultiInputActorCriticPolicy,
)

State = tuple[np.ndarray, ...]
Self = TypeVar("Self", bound="RecurrentMaskablePPO")


class _MaskableActions(OnPolicyAlgorithm):
    """Between RecurrentPPO and SB3: actions of a Box have no masks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["supported_action_spaces"] = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
        super().__init__(*args, **kwargs)


class RecurrentMaskablePPO(RecurrentPPO, _MaskableActions):
    """sb3-contrib's RecurrentPPO with its MaskablePPO's action masks.

    Data collection, ``train()``, buffers and action distributions are sb3-contrib's own. The environment says what is
    allowed by a method ``action_masks()``, its own or sb3-contrib's ``ActionMasker``'s, as with MaskablePPO.

    Takes RecurrentPPO's arguments. ``policy`` is ``"LiquidPolicy"``, ``"MlpLstmPolicy"``, ``"CnnLstmPolicy"``,
    ``"MultiInputLstmPolicy"`` or a class; actions are Discrete, MultiDiscrete or MultiBinary.

    Raises:
        TypeError: For a policy that knows no masks.
        ValueError: By ``learn``, if the environment has no masks or masks that do not fit its actions.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpLstmPolicy": RecurrentMaskableActorCriticPolicy,
        "CnnLstmPolicy": RecurrentMaskableActorCriticCnnPolicy,
        "MultiInputLstmPolicy": RecurrentMaskableMultiInputActorCriticPolicy,
        ALIAS: LiquidRecurrentMaskableActorCriticPolicy,
    }
    rollout_buffer: RecurrentMaskableRolloutBuffer | RecurrentMaskableDictRolloutBuffer
    _use_masking = True
    _predicted_state: State | None = None

    def _setup_model(self) -> None:
        name, right = type(self).__name__, LiquidRecurrentMaskableActorCriticPolicy.__name__
        if not issubclass(self.policy_class, RecurrentMaskableActorCriticPolicy):
            raise TypeError(
                f"{self.policy_class.__name__} is not a policy for {name}: use velora_sb3.policies.{right}, "
                f"or one of the aliases {', '.join(map(repr, self.policy_aliases))}"
            )
        super()._setup_model()
        buffer_class: Any = RecurrentMaskableRolloutBuffer
        if isinstance(self.observation_space, spaces.Dict):
            buffer_class = RecurrentMaskableDictRolloutBuffer
        unmasked: Any = self.rollout_buffer  # RecurrentPPO takes no class for it
        self.rollout_buffer = buffer_class(
            self.n_steps,
            self.observation_space,
            self.action_space,
            unmasked.hidden_state_shape,
            self.device,
            gae_lambda=self.gae_lambda,
            gamma=self.gamma,
            n_envs=self.n_envs,
        )

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
        """As SB3's.

        Args:
            total_timesteps: Timesteps to train for.
            callback: Called while training.
            log_interval: Iterations between log entries.
            tb_log_name: Name of the run for TensorBoard.
            reset_num_timesteps: Whether to count timesteps from zero.
            progress_bar: Whether to show SB3's progress bar.
            use_masking: Whether to ask the environment for masks; without, all actions are allowed.

        Returns:
            The model.
        """
        self._use_masking = use_masking
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)

    def collect_rollouts(self, env: VecEnv, callback: BaseCallback, rollout_buffer: Any, n_rollout_steps: int) -> bool:
        """As RecurrentPPO's; the masks of each step go to the policy and into the buffer.

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
            raise ValueError("Environment does not support action masking. Consider using ActionMasker wrapper")

        masked = -1  # the last step that has its masks

        def mask_actions(_policy: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            nonlocal masked
            if masked != rollout_buffer.pos:  # else a callback calls the policy, when the environments have moved on
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

        sb3-contrib's ``evaluate_policy`` for masks, and with it ``MaskableEvalCallback``, pass episode starts and no
        state. So where episode starts come without a state, the memory goes on from what the last call returned.

        Args:
            observation: One observation or a batch.
            state: What the last call returned; None is the zero state, unless ``episode_start`` is given.
            episode_start: ``(N,)``, true where an episode starts: the memory starts afresh there.
            deterministic: Whether to take the most likely action or to sample.
            action_masks: ``(N, D)``, true where an action is allowed; None allows everything.

        Returns:
            The action and the state for the next call.
        """
        last = self._predicted_state
        if (
            state is None
            and episode_start is not None
            and last is not None
            and last[0].shape[1] == np.size(episode_start)
        ):
            state = last
        policy: Any = self.policy
        action, self._predicted_state = policy.predict(
            observation, state, episode_start, deterministic, action_masks=action_masks
        )
        return action, self._predicted_state

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_predicted_state"]
