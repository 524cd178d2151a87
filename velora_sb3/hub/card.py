"""The model card: metadata that the Hub indexes, and how to use the model."""

from __future__ import annotations

import json
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

from velora_sb3.cells import CfCCell, LiquidCell, LRCCell, LTCCell, WiredCfCCell

LIQUID: dict[type[LiquidCell], str] = {CfCCell: "CfC", WiredCfCCell: "CfC", LTCCell: "LTC", LRCCell: "LRC"}

TEXT = """\
---
{metadata}
---

# {algorithm} on {env}

A model of [Stable-Baselines3](https://github.com/DLR-RM/stable-baselines3), trained for {timesteps:,} timesteps and
saved by velora-sb3. {policy}
{results}
## Use

```python
from velora_sb3.hub import load_from_hub

model = load_from_hub("{repo_id}")  # or load_from_hub("{repo_id}", env) to train on
```

Install velora-sb3 with its extra `hub`. Loading opens no pickle: the files are safetensors and JSON. {use}

## Settings

```json
{settings}
```

| package | version |
|---|---|
{versions}
"""
RESULTS = """
## Results

Return over {n_eval_episodes} episodes, deterministic actions: **{mean_reward:.2f} +/- {std_reward:.2f}**.
Each return is in `results.json`.
"""


def model_card(
    model: BaseAlgorithm, repo_id: str, config: dict[str, Any], results: dict[str, Any] | None, files: set[str]
) -> str:
    """The text of ``README.md``."""
    algorithm, env = config["algorithm"]["name"], config["env"].get("id") or config["env"].get("name")
    cells = sorted({name for cell, name in LIQUID.items() if _has(model, cell)})
    policy = f"Its policy is a `{type(model.policy).__name__}`."
    if cells:
        policy += f" Its cells are liquid: {' and '.join(cells)}."
    use = ["`StatefulPredictor(model)` keeps its memory between calls, and normalizes if training did."]
    if "onnx/policy.onnx" in files:
        use.append("`onnx/policy.onnx` runs without torch: see `onnx/example.py`.")
    settings = {key: config[key] for key in ("policy", "policy_kwargs", "hyperparameters", "seed")}
    return TEXT.format(
        metadata=_metadata(algorithm, env, cells, results),
        algorithm=algorithm,
        env=env or "an unnamed environment",
        timesteps=model.num_timesteps,
        policy=policy,
        results="" if results is None else RESULTS.format(**results),
        repo_id=repo_id,
        use=" ".join(use),
        settings=json.dumps(settings, indent=2, ensure_ascii=False),
        versions="\n".join(f"| {name} | {version} |" for name, version in config["versions"].items()),
    )


def _has(model: BaseAlgorithm, cell: type[LiquidCell]) -> bool:
    return any(isinstance(module, cell) for module in model.policy.modules())


def _metadata(algorithm: str, env: str | None, cells: list[str], results: dict[str, Any] | None) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    tags = ["reinforcement-learning", "deep-reinforcement-learning", "stable-baselines3", "velora-sb3", algorithm]
    tags += [env] if env else []
    tags += ["liquid-neural-network", *cells] if cells else []
    evaluated: dict[str, Any] = {}
    if results is not None:
        one = EvalResult(
            task_type="reinforcement-learning",
            task_name="reinforcement-learning",
            dataset_type=env or "unnamed",
            dataset_name=env or "unnamed",
            metric_type="mean_reward",
            metric_name="mean_reward",
            metric_value=f"{results['mean_reward']:.2f} +/- {results['std_reward']:.2f}",
            verified=False,
        )
        evaluated = {"model_name": algorithm, "eval_results": [one]}
    return str(ModelCardData(library_name="stable-baselines3", tags=tags, **evaluated).to_yaml())
