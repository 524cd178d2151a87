"""A check that VecNormalize does not normalize the timespans."""

from __future__ import annotations

from stable_baselines3.common.base_class import BaseAlgorithm

from velora_sb3._normalization import observation_normalizer


def check_normalization(algorithm: BaseAlgorithm, timespans_key: str) -> None:
    """Check that the environment of an algorithm does not normalize the timespans.

    A negative timespan raises an error only once a cell sees one; the others are silently wrong.

    Args:
        algorithm: The algorithm.
        timespans_key: Key of the timespans in a Dict observation.

    Raises:
        ValueError: If they are normalized, with the argument that leaves them out.
    """
    normalize = observation_normalizer(algorithm.get_env())
    if normalize is None or not normalize.norm_obs or timespans_key not in (normalize.norm_obs_keys or ()):
        return
    others = [key for key in normalize.norm_obs_keys or () if key != timespans_key]
    raise ValueError(
        f"VecNormalize normalizes {timespans_key!r}, the time since the last observation, and the cell needs the raw "
        f"value: write VecNormalize(env, norm_obs_keys={others}), and the same for an evaluation environment"
    )
