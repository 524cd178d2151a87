"""An exported policy at work. It needs numpy and onnxruntime, and neither torch nor Stable-Baselines3.

``export_onnx`` copies this file beside ``policy.onnx``: a machine that runs the policy needs nothing but that folder.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np


class OnnxPolicy:
    """A policy from a folder of ``export_onnx``, whose state is kept between calls.

    Call :meth:`reset` when an episode starts. Observations are those of the environment, unnormalized; actions are in
    its units.

    Args:
        directory: The folder, with ``policy.onnx`` and ``policy.json``.
        threads: Threads of onnxruntime; more than one is slower for small networks.

    Raises:
        ValueError: If the folder holds no exported policy, or its files do not belong together.
    """

    def __init__(self, directory: str | Path, threads: int = 1) -> None:
        import onnxruntime  # the file is also importable where only its documentation is read

        directory = Path(directory)
        try:
            self.contract: dict[str, Any] = json.loads((directory / "policy.json").read_text(encoding="utf-8"))
            expected = self.contract["files"]["policy.onnx"]["sha256"]
            model = (directory / "policy.onnx").read_bytes()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{directory} holds no policy in ONNX ({type(error).__name__}: {error}): write one with export_onnx"
            ) from error
        if hashlib.sha256(model).hexdigest() != expected:
            raise ValueError(f"{directory / 'policy.onnx'} is not the file that policy.json describes: export it again")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3  # errors
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        inputs = {entry["name"]: entry for entry in self.contract["inputs"]}
        self._entries = [
            (entry["key"], name, np.dtype(entry["dtype"]), tuple(entry["shape"][1:]))
            for name, entry in inputs.items()
            if "key" in entry
        ]
        self._choices = {name: entry["choices"] for name, entry in inputs.items() if "choices" in entry}
        self._outputs = [entry["name"] for entry in self.contract["outputs"]]
        self._action_type = np.dtype(self.contract["action_space"]["dtype"])
        self._state_size = int(self.contract["state"]["size"])
        self._masks = inputs.get("action_masks", {}).get("shape")
        self._noise = inputs.get("noise", {}).get("shape")
        self._random = np.random.default_rng()
        self.reset()

    def reset(self) -> None:
        """Start an episode: the next :meth:`predict` starts from the zero state."""
        self._state: np.ndarray[Any, Any] | None = None
        self._batch: int | None = None

    @property
    def state(self) -> np.ndarray[Any, Any] | None:
        """The state ``(B, S)`` after the last call: memory, then the previous action; None after a reset."""
        return self._state

    def seed(self, seed: int | None) -> None:
        """Seed the noise of a policy that was exported with ``deterministic=False``."""
        self._random = np.random.default_rng(seed)

    def predict(
        self, observation: Any, *, episode_start: Any = None, action_masks: Any = None, noise: Any = None
    ) -> np.ndarray[Any, Any]:
        """Choose an action and advance the state.

        Args:
            observation: One observation of the environment, or a batch; a dict if the environment's is one, with its
                timespans.
            episode_start: ``(B,)``, true where an episode starts, for environments that do not start together.
            action_masks: ``(B, D)``, true where an action is allowed, for a maskable policy; None allows every action.
            noise: Random numbers ``(B, ...)`` of a policy exported with ``deterministic=False``, as ``policy.json``
                describes them; None draws them.

        Returns:
            The action, in the environment's units; without a batch dimension for one observation.

        Raises:
            ValueError: If the observation does not fit, the batch size changes without :meth:`reset`, or the action is
                NaN, as for a NaN in the observation. Discrete actions do not show that.
        """
        feeds: dict[str, np.ndarray[Any, Any]] = {}
        single, batch = True, 0
        for key, name, kind, shape in self._entries:
            try:
                values = np.asarray(observation[key] if key else observation, dtype=kind)
            except (TypeError, KeyError, IndexError, ValueError) as error:
                keys = [entry[0] for entry in self._entries]
                wanted = f"a dict of {keys}" if key else f"numbers of shape {shape}"
                raise ValueError(f"the observation must be {wanted}: {type(error).__name__}: {error}") from error
            if values.shape == shape:
                values = values[None]
            elif values.shape[1:] == shape and values.ndim == len(shape) + 1:
                single = False
            else:
                raise ValueError(f"{name} must have shape {shape}, or one dimension more, got {values.shape}")
            if name == "timespans" and not (np.isfinite(values) & (values >= 0)).all():
                raise ValueError(f"timespans must be finite and not negative, got {values.tolist()}")
            if (most := self._choices.get(name)) is not None:
                numbers = values.reshape(len(values), len(most))
                if not ((numbers >= 0) & (numbers < most)).all():
                    raise ValueError(f"{name} must be from 0 to below {most}, got {values.tolist()}")
            if batch not in (0, len(values)):
                raise ValueError(f"{name} holds {len(values)} observation(s), but the entries before it hold {batch}")
            feeds[name], batch = values, len(values)
        if self._state_size:
            if self._state is not None and batch != self._batch:
                raise ValueError(
                    f"the state is for {self._batch} environment(s), got {batch} observation(s): call reset() first"
                )
            starts = np.zeros(batch, bool) if episode_start is None else np.asarray(episode_start, bool)
            if starts.size != batch:
                raise ValueError(f"episode_start must have one value for each of {batch} observation(s), got {starts}")
            starts = starts.reshape(batch)
            state = self._state
            feeds["state_in"] = np.zeros((batch, self._state_size), np.float32) if state is None else state
            feeds["episode_start"] = starts
        if self._masks is not None:
            width = self._masks[1]
            masks = np.ones((batch, width), bool) if action_masks is None else np.asarray(action_masks, bool)
            if masks.size != batch * width or masks.shape == (width, batch) != (batch, width):
                raise ValueError(f"action_masks must have shape {(batch, width)}, got {masks.shape}")
            feeds["action_masks"] = masks.reshape(batch, width)
        elif action_masks is not None:
            raise ValueError("this policy takes no action_masks: leave them out")
        if self._noise is not None:
            feeds["noise"] = self._draw(batch) if noise is None else np.asarray(noise, np.float32)
        outputs = self._session.run(self._outputs, feeds)
        action: np.ndarray[Any, Any] = outputs[0]
        if action.dtype.kind == "f" and math.isnan(np.vdot(action, action)):  # faster than isnan and any
            raise ValueError(
                "the action is NaN: check the observation and the policy's weights for NaN and infinity; the state "
                "stays as it was"
            )
        if self._state_size:
            self._state, self._batch = outputs[1], batch
        if action.dtype != self._action_type and self._action_type.kind == "f":
            action = action.astype(self._action_type)
        return action[0] if single else action

    def _draw(self, batch: int) -> np.ndarray[Any, Any]:
        assert self._noise is not None
        size = (batch, *self._noise[1:])
        if self.contract["action_space"]["type"] == "Box":
            return self._random.standard_normal(size, dtype=np.float32)
        return np.clip(self._random.random(size, dtype=np.float32), 1e-7, 1 - 1e-7)
