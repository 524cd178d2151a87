"""A policy as an ONNX file."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from velora_sb3._atomic import write_json, write_text
from velora_sb3._normalization import ObservationStatistics, resolve_statistics
from velora_sb3._optional import require
from velora_sb3._validation import check_bool
from velora_sb3.export import onnx_policy
from velora_sb3.export.contract import PARITY, export_directory, write_contract
from velora_sb3.export.onnx_policy import OnnxPolicy
from velora_sb3.export.parity import check_parity
from velora_sb3.export.step import PolicyStep, make_step

OPSET = 17
EXAMPLE = '''\
"""Run the policy in this folder: pip install numpy onnxruntime."""

from pathlib import Path

import numpy as np
from onnx_policy import OnnxPolicy

policy = OnnxPolicy(Path(__file__).parent)
observation = {observation}

for episode in range(2):
    policy.reset()  # at the start of every episode
    for step in range(3):
        action = policy.predict(observation)
        print(episode, step, action)
'''


def export_onnx(
    model: BaseAlgorithm,
    directory: str | Path,
    *,
    vec_normalize: VecNormalize | ObservationStatistics | bool | None = None,
    deterministic: bool = True,
    observation_space: spaces.Space[Any] | None = None,
) -> Path:
    """Write a policy as ``policy.onnx``: one step, with an explicit state.

    ================= ========================================================================================
    file              contents
    ================= ========================================================================================
    ``policy.onnx``   the step: ``observation``, ``state_in``, ``episode_start``, ``timespans``, ``action_masks``
                      (those that the policy uses) to ``action`` and ``state_out``
    ``policy.json``   names, shapes and types, order of Dict keys, action space, normalization, versions, SHA-256
    ``onnx_policy.py`` :class:`OnnxPolicy`, which needs numpy and onnxruntime only
    ``example.py``    runs it
    ``parity.json``   the comparison with ``model.predict`` over 1,000 steps
    ================= ========================================================================================

    Observations go in as the environment gives them: the statistics of ``VecNormalize``, one-hot encoding, the order
    of an image's channels and its scale are inside. Actions come out in the environment's units. The batch size is
    free.

    Args:
        model: A model of SB3, sb3-contrib or this package.
        directory: A new folder, or an earlier export, which is replaced.
        vec_normalize: The ``VecNormalize`` that the model was trained under, or its ``ObservationStatistics``; None
            for that of the model's environment, if any. False for observations that are normalized already.
        deterministic: Whether to take the most likely action. Otherwise the file has one more input, ``noise``, and
            samples the action with it; not for gSDE, nor for policies without a distribution.
        observation_space: The environment's, for a model without an environment. It matters for images: the policy has
            channels first, whatever the environment has.

    Returns:
        The folder.

    Raises:
        ValueError: If a part of the policy cannot be exported, the folder holds something else, or the file does not
            act as the model does.
        TypeError: If the policy's family is unknown.
        ImportError: If the extra ``onnx`` is not installed.
    """
    require("onnx", "export_onnx")
    deterministic = check_bool("deterministic", deterministic)
    statistics = resolve_statistics(model, vec_normalize)
    step = make_step(model, statistics, observation_space, deterministic)
    with export_directory(directory) as folder:
        _write_onnx(step, folder / "policy.onnx")
        shutil.copyfile(onnx_policy.__file__, folder / "onnx_policy.py")
        write_text(folder / "example.py", EXAMPLE.format(observation=_example_observation(step)))
        details = {"opset": OPSET}
        write_contract(folder, "onnx", model, step, statistics, details)  # OnnxPolicy reads it
        policy = OnnxPolicy(folder)
        neutral = None if deterministic else np.zeros if step.action.continuous else _halves

        def act(observation: Any, starts: Any, masks: Any) -> Any:
            noise = None if neutral is None else neutral((len(starts), step.noise_width))
            try:
                return policy.predict(observation, episode_start=starts, action_masks=masks, noise=noise)
            except Exception as error:
                if not type(error).__module__.startswith("onnxruntime"):
                    raise
                raise ValueError(
                    f"the exported policy fails for {len(starts)} observations: {error}; a layer or cell of your own "
                    "may fix the batch size when it is traced: use x.shape[0] instead of len(x)"
                ) from error

        write_json(folder / PARITY, check_parity(model, step, statistics, act))
        write_contract(folder, "onnx", model, step, statistics, details, ("onnx", "onnxruntime"))
    return Path(directory)


def _halves(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Noise that leaves the most likely choice the largest."""
    return np.full(shape, 0.5)


def _write_onnx(step: PolicyStep, path: Path) -> None:
    import onnx

    names = [*step.input_names, *step.output_names]
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter that is based on torch.export fails on SB3's own policies.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            step,
            step.example_inputs(),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=step.input_names,
            output_names=step.output_names,
            dynamic_axes={name: {0: "batch"} for name in names},
        )
    onnx.checker.check_model(str(path), full_check=True)


def _example_observation(step: PolicyStep) -> str:
    """Python text of an observation of zeros; of ones where it is time."""
    entries = {entry.key: (entry.shape, entry.dtype.name) for entry in step.entries}
    if "" in entries:
        return "np.zeros({}, np.{})  # yours".format(*entries[""])
    times = {entry.key for entry in step.entries if entry.name == "timespans"}
    lines = [
        f"    {key!r}: np.{'ones' if key in times else 'zeros'}({shape}, np.{kind}),"
        for key, (shape, kind) in entries.items()
    ]
    return "\n".join(["{  # yours", *lines, "}"])
