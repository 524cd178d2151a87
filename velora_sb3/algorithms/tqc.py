"""Recurrent TQC."""

from sb3_contrib import TQC

from velora_sb3.algorithms.recurrent_off_policy import RecurrentOffPolicyMixin


class RecurrentTQC(RecurrentOffPolicyMixin, TQC):  # type: ignore[misc]  # SB3 has defaults in train() that are never used
    """TQC whose agent remembers.

    Arguments as in :class:`~velora_sb3.algorithms.recurrent_off_policy.RecurrentOffPolicyMixin`.
    """

    def _setup_model(self) -> None:
        super()._setup_model()
        dropped, quantiles = self.top_quantiles_to_drop_per_net, self.critic.n_quantiles
        if dropped >= quantiles:
            raise ValueError(
                f"top_quantiles_to_drop_per_net={dropped} leaves none of n_quantiles={quantiles}: drop fewer, or give "
                "policy_kwargs more"
            )
