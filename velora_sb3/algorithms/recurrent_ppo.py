"""sb3-contrib's RecurrentPPO with minibatches of whole columns."""

from __future__ import annotations

import math
import warnings
from typing import Any, ClassVar

import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO as ContribRecurrentPPO
from sb3_contrib.common.recurrent.policies import (
    RecurrentActorCriticCnnPolicy,
    RecurrentActorCriticPolicy,
    RecurrentMultiInputActorCriticPolicy,
)
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule

from velora_sb3._validation import check_integer
from velora_sb3.memory import ColumnDictRolloutBuffer, ColumnRolloutBuffer
from velora_sb3.policies import (
    ALIAS,
    LiquidRecurrentActorCriticPolicy,
    LstmActorCriticCnnPolicy,
    LstmActorCriticPolicy,
    LstmMultiInputActorCriticPolicy,
)
from velora_sb3.policies.mixin import use_fused_adam

# sb3-contrib's policies, also of models that its class saved, and the same ones without a Python loop over time.
FASTER: dict[type[BasePolicy], type[BasePolicy]] = {
    RecurrentActorCriticPolicy: LstmActorCriticPolicy,
    RecurrentActorCriticCnnPolicy: LstmActorCriticCnnPolicy,
    RecurrentMultiInputActorCriticPolicy: LstmMultiInputActorCriticPolicy,
}


class RecurrentPPO(ContribRecurrentPPO):
    """sb3-contrib's RecurrentPPO, several times as fast: its minibatches are whole columns of the rollout.

    A column is ``sequence_length`` consecutive steps of one environment. sb3-contrib cuts every minibatch into
    episodes and pads them; here the policy resets its state where an episode starts. Collection and ``train()`` are
    sb3-contrib's, and so are the losses of a minibatch of everything. Models that its RecurrentPPO saved can be loaded.

    Takes its arguments, of which three have a meaning of their own or are new. ``policy`` is ``"LiquidPolicy"``,
    ``"MlpLstmPolicy"``, ``"CnnLstmPolicy"``, ``"MultiInputLstmPolicy"`` or a class.

    Args:
        policy: The policy.
        env: The environment, or its id.
        learning_rate: Learning rate, or a schedule of it.
        n_steps: Steps of each environment in a rollout.
        batch_size: Transitions of a minibatch, rounded to whole columns; None for one minibatch of everything.
        sequence_length: Steps of a column, through which gradients flow; it divides ``n_steps``. None for the whole
            rollout, or the divisor of ``n_steps`` nearest to ``batch_size`` if that is smaller.
        buffer_device: Device that keeps the rollout while it is learned from; None for the model's.

    Raises:
        TypeError: If the policy is not recurrent.
        ValueError: If a size is not a positive integer, ``sequence_length`` does not divide ``n_steps``, or a
            minibatch has a single transition, of which advantages cannot be normalized.

    Warns:
        UserWarning: If ``batch_size`` had to be rounded.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpLstmPolicy": LstmActorCriticPolicy,
        "CnnLstmPolicy": LstmActorCriticCnnPolicy,
        "MultiInputLstmPolicy": LstmMultiInputActorCriticPolicy,
        ALIAS: LiquidRecurrentActorCriticPolicy,
    }
    policy_base: ClassVar[type[BasePolicy]] = RecurrentActorCriticPolicy  # what every policy derives from
    buffer_classes: ClassVar[tuple[type, type]] = (ColumnRolloutBuffer, ColumnDictRolloutBuffer)

    def __init__(
        self,
        policy: str | type[RecurrentActorCriticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 128,
        batch_size: int | None = 128,
        n_epochs: int = 10,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        clip_range: float | Schedule = 0.2,
        clip_range_vf: float | Schedule | None = None,
        normalize_advantage: bool = True,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        use_sde: bool = False,
        sde_sample_freq: int = -1,
        target_kl: float | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
        *,
        sequence_length: int | None = None,
        buffer_device: str | None = None,
    ) -> None:
        self.sequence_length, self.buffer_device = sequence_length, buffer_device
        super().__init__(
            policy, env,
            learning_rate=learning_rate, n_steps=n_steps, batch_size=batch_size, n_epochs=n_epochs, gamma=gamma,
            gae_lambda=gae_lambda, clip_range=clip_range, clip_range_vf=clip_range_vf,
            normalize_advantage=normalize_advantage, ent_coef=ent_coef, vf_coef=vf_coef, max_grad_norm=max_grad_norm,
            use_sde=use_sde, sde_sample_freq=sde_sample_freq, target_kl=target_kl, stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log, policy_kwargs=policy_kwargs, verbose=verbose, seed=seed, device=device,
            _init_setup_model=_init_setup_model,
        )  # fmt: skip
        if _init_setup_model:
            self._check_minibatches()

    def _check_minibatches(self) -> None:
        """Raise ``ValueError`` for a minibatch of one transition: sb3-contrib's normalization makes NaN of it."""
        buffer: Any = self.rollout_buffer
        sizes = {columns * buffer.sequence_length for columns in buffer.split(self.batch_size)}
        if self.normalize_advantage and 1 in sizes:
            raise ValueError(
                f"batch_size={self.batch_size} leaves a minibatch of 1 in the {self.n_steps * self.n_envs} transitions "
                "of a rollout, but normalize_advantage=True needs at least 2: increase batch_size or n_steps, or pass "
                "normalize_advantage=False"
            )

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        self._check_minibatches()  # a loaded model may have been given another number of environments
        return super()._setup_learn(*args, **kwargs)

    def _setup_model(self) -> None:
        n_steps = check_integer("n_steps", self.n_steps)
        for name in ("batch_size", "sequence_length"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name))
        if not issubclass(self.policy_class, self.policy_base):
            raise TypeError(
                f"{self.policy_class.__name__} is not a policy for {type(self).__name__}: use "
                f"velora_sb3.policies.{self.policy_aliases[ALIAS].__name__}, or one of the aliases "
                f"{', '.join(map(repr, self.policy_aliases))}"
            )
        self.policy_class = FASTER.get(self.policy_class, self.policy_class)
        length = self.sequence_length
        if length is None:
            length = n_steps if self.batch_size is None else nearest_divisor(n_steps, self.batch_size)
        super()._setup_model()
        use_fused_adam(self.policy)
        padded: Any = self.rollout_buffer  # RecurrentPPO takes no class for it
        buffer_class: Any = self.buffer_classes[isinstance(self.observation_space, spaces.Dict)]
        self.rollout_buffer = buffer = buffer_class(
            n_steps, self.observation_space, self.action_space, padded.hidden_state_shape, self.device,
            gae_lambda=self.gae_lambda, gamma=self.gamma, n_envs=self.n_envs, sequence_length=length,
            storage_device=self.buffer_device,
        )  # fmt: skip
        sizes = {columns * length for columns in buffer.split(self.batch_size)}
        if self.batch_size is not None and sizes != {min(self.batch_size, n_steps * self.n_envs)}:
            warnings.warn(
                f"batch_size={self.batch_size} is rounded to whole columns of {length} steps: minibatches have "
                f"{' or '.join(map(str, sorted(sizes)))} of the {n_steps * self.n_envs} transitions of a rollout",
                stacklevel=3,
            )


def nearest_divisor(number: int, target: int) -> int:
    """The divisor that differs from the target by the smallest factor."""
    divisors = (divisor for divisor in range(1, number + 1) if number % divisor == 0)
    return min(divisors, key=lambda divisor: abs(math.log(divisor / target)))
