"""Does VecNormalize leave the timespans alone?"""

from __future__ import annotations

from velora_sb3.policies.algorithm_check import building_algorithm


def check_normalization(policy_class: type, timespans_key: str) -> None:
    """Raise ``ValueError`` if the timespans of the environment are normalized.

    Some normalized timespans are negative, which a cell refuses, but only once one comes; others are wrong and pass.
    So the environment of the algorithm that builds the policy is looked at beforehand.

    Args:
        policy_class: The policy being built.
        timespans_key: Key of the timespans in a Dict observation.

    Raises:
        ValueError: With the arguments to write.
    """
    algorithm = building_algorithm(policy_class)
    normalize = None if algorithm is None else algorithm.get_vec_normalize_env()
    if normalize is None or not normalize.norm_obs or timespans_key not in (normalize.norm_obs_keys or ()):
        return
    others = [key for key in normalize.norm_obs_keys or () if key != timespans_key]
    raise ValueError(
        f"VecNormalize normalizes {timespans_key!r}, the time since the last observation, which the cell needs as it "
        f"is: write VecNormalize(env, norm_obs_keys={others}), and the same for an evaluation environment"
    )
