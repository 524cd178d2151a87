"""Weights from before mixed memory became the default say how to load them."""

import pytest
import torch
from sb3_contrib import RecurrentPPO

from velora_sb3 import RecurrentSAC


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [(RecurrentPPO, {"n_steps": 8, "batch_size": 8}), (RecurrentSAC, {"buffer_size": 64})],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_model_of_a_cfc_alone_that_does_not_say_so_can_be_loaded(tmp_path, algorithm, settings):
    kwargs = {"units": 4, "mixed_memory": False}
    model = algorithm("LiquidPolicy", "Pendulum-v1", policy_kwargs=kwargs, device="cpu", **settings)
    alone = model.policy_kwargs
    model.policy_kwargs = {name: value for name, value in alone.items() if name != "mixed_memory"}
    model.save(tmp_path / "model")
    with pytest.raises(RuntimeError, match="of a cell without mixed memory"):
        algorithm.load(tmp_path / "model", device="cpu")
    loaded = algorithm.load(tmp_path / "model", device="cpu", custom_objects={"policy_kwargs": alone})
    for one, other in zip(model.policy.parameters(), loaded.policy.parameters(), strict=True):
        torch.testing.assert_close(one, other)
