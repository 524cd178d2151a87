"""Ray Tune: evaluations and exact checkpoints of any SB3 model, and sweeps (extra ``ray``).

Nothing here is imported by ``import velora_sb3``, and Ray only when it is used.
"""

from velora_sb3.tune.learning import learn
from velora_sb3.tune.report import TuneReport

__all__ = ["TuneReport", "learn"]
