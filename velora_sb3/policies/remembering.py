"""What all liquid policies that remember share: a warning for those who call them as if they did not."""

from __future__ import annotations

import warnings
from typing import Any

from velora_sb3.policies.mixin import LiquidPolicyMixin


class RememberingPolicyMixin(LiquidPolicyMixin):
    """A liquid policy for which ``predict`` again and again with neither state nor episode start is a mistake."""

    _forgetful_calls = 0
    _warned = False

    def _warn_if_forgetful(self, state: Any, episode_start: Any) -> None:
        """Warn at the second such call in a row, once in the policy's life."""
        self._forgetful_calls = self._forgetful_calls + 1 if state is None and episode_start is None else 0
        if self._forgetful_calls == 2 and not self._warned:
            self._warned = True
            warnings.warn(
                "predict() is called again with neither state nor episode_start: this policy remembers, and each such "
                "call starts from nothing. Pass on the state that predict() returns, or use "
                "velora_sb3.StatefulPredictor(model)",
                stacklevel=4,
            )
