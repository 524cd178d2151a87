"""The observation statistics of a ``VecNormalize``, apart from it and from its pickle."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from velora_sb3._atomic import write_json
from velora_sb3._call_env import vec_layers

Array = np.ndarray[Any, Any]
FORMAT = "velora-sb3 observation statistics"
WHOLE = ""  # the key of an observation that is not a Dict


@dataclass(frozen=True)
class ObservationStatistics:
    """What a ``VecNormalize`` subtracts from observations and divides them by, as plain numbers.

    Attributes:
        mean: Mean of each normalized entry of a Dict observation; of the observation itself under ``""``.
        variance: Their variances, in the same shapes.
        epsilon: Added to the variances.
        clip: Largest absolute value of a normalized observation.
    """

    mean: dict[str, Array]
    variance: dict[str, Array]
    epsilon: float
    clip: float

    @classmethod
    def of(cls, vec_normalize: VecNormalize) -> ObservationStatistics | None:
        """The current statistics of a ``VecNormalize``; None if it does not normalize observations."""
        if not vec_normalize.norm_obs:
            return None
        return cls.from_parts(vec_normalize.obs_rms, vec_normalize.epsilon, vec_normalize.clip_obs)

    @classmethod
    def from_parts(
        cls, obs_rms: RunningMeanStd | Mapping[str, RunningMeanStd], epsilon: float, clip: float
    ) -> ObservationStatistics:
        """The statistics from the attributes of a ``VecNormalize``."""
        by_key = {WHOLE: obs_rms} if isinstance(obs_rms, RunningMeanStd) else obs_rms
        return cls(
            {key: np.array(one.mean, dtype=np.float64) for key, one in by_key.items()},
            {key: np.array(one.var, dtype=np.float64) for key, one in by_key.items()},
            float(epsilon),
            float(clip),
        )

    def normalize_obs(self, observation: Any) -> Any:
        """Normalize an observation, or a batch, as ``VecNormalize.normalize_obs`` does.

        Args:
            observation: An array, a list, or a dict of them.

        Returns:
            The normalized observation, float32; entries without statistics are unchanged.
        """
        if isinstance(observation, dict):
            return {key: self._normalize(key, one) if key in self.mean else one for key, one in observation.items()}
        return self._normalize(WHOLE, observation)

    def _normalize(self, key: str, values: Any) -> Array:
        scaled = (np.asarray(values) - self.mean[key]) / np.sqrt(self.variance[key] + self.epsilon)
        return np.clip(scaled, -self.clip, self.clip).astype(np.float32)

    def as_json(self) -> dict[str, Any]:
        """The statistics in plain lists and numbers."""
        return {
            "format": FORMAT,
            "mean": {key: values.tolist() for key, values in self.mean.items()},
            "variance": {key: values.tolist() for key, values in self.variance.items()},
            "epsilon": self.epsilon,
            "clip": self.clip if math.isfinite(self.clip) else None,  # JSON knows no infinity
        }

    def save(self, path: str | Path) -> None:
        """Write a JSON file; unlike ``VecNormalize.save``, no pickle.

        Args:
            path: The file.
        """
        write_json(Path(path), self.as_json())

    @classmethod
    def load(cls, path: str | Path) -> ObservationStatistics:
        """Read a file that :meth:`save` wrote; nothing in it is run.

        Args:
            path: The file.

        Returns:
            The statistics.

        Raises:
            ValueError: If it is no such file.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"format is {content['format']!r}")
            mean, variance = (
                {str(key): np.array(values, dtype=np.float64) for key, values in content[name].items()}
                for name in ("mean", "variance")
            )
            clip = math.inf if content["clip"] is None else float(content["clip"])
            return cls(mean, variance, float(content["epsilon"]), clip)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{path} holds no observation statistics ({type(error).__name__}: {error}): write them with "
                "ObservationStatistics.of(vec_normalize).save(path)"
            ) from error


def observation_normalizer(env: VecEnv | None) -> VecNormalize | None:
    """The ``VecNormalize`` around environments that normalizes observations, else any; None without.

    SB3's ``get_vec_normalize_env`` returns the outermost, which may normalize nothing but rewards.
    """
    layers = [] if env is None else [one for one in vec_layers(env) if isinstance(one, VecNormalize)]
    return next((one for one in layers if one.norm_obs), layers[0] if layers else None)


# Of models that were loaded, without environments, from where their statistics were saved too. None: not normalized.
_loaded: WeakKeyDictionary[BaseAlgorithm, ObservationStatistics | None] = WeakKeyDictionary()


def keep_with(model: BaseAlgorithm, statistics: ObservationStatistics | None) -> None:
    """Keep the statistics that were saved beside a model, which has no environment to normalize for it."""
    _loaded[model] = statistics


def kept_with(model: Any) -> ObservationStatistics | None:
    """The statistics that were saved beside a model that has no environment; None if there are none."""
    if not isinstance(model, BaseAlgorithm) or model.get_env() is not None:
        return None
    return _loaded.get(model)


def misses_normalization(model: Any) -> bool:
    """Whether a model from a zip file of SB3 was trained under a ``VecNormalize``, which the file does not contain.

    Only on-policy algorithms show it: they keep the first observation from before ``VecNormalize``, and off-policy ones
    keep one without it, too.
    """
    shows = isinstance(model, OnPolicyAlgorithm) and model._last_original_obs is not None
    return shows and model.get_vec_normalize_env() is None and model not in _loaded


def check_statistics(vec_normalize: Any) -> None:
    """Raise ``ValueError`` unless it is what the arguments ``vec_normalize`` of this package take."""
    known = isinstance(vec_normalize, VecNormalize | ObservationStatistics)
    if not (vec_normalize is None or vec_normalize is False or known):
        raise ValueError(
            f"vec_normalize must be a VecNormalize, ObservationStatistics, False or None, got {vec_normalize!r}"
        )


def resolve_statistics(
    model: Any, vec_normalize: VecNormalize | ObservationStatistics | bool | None
) -> ObservationStatistics | None:
    """Of what is given, else of the model's environment or checkpoint; None for False, and if there are none."""
    check_statistics(vec_normalize)
    if vec_normalize is None:
        if misses_normalization(model):
            raise ValueError(
                "the model was trained under VecNormalize, but its zip file does not contain the statistics: pass "
                "vec_normalize=VecNormalize.load(path, env), or vec_normalize=False if observations were not normalized"
            )
        vec_normalize = observation_normalizer(model.get_env()) or kept_with(model)
    if isinstance(vec_normalize, VecNormalize):
        return ObservationStatistics.of(observation_normalizer(vec_normalize) or vec_normalize)
    return None if isinstance(vec_normalize, bool) else vec_normalize
