import json

import pytest

from velora_sb3.cli.errors import UserError
from velora_sb3.cli.experiment.config import RunConfig, load_config


def test_what_is_saved_is_loaded(tmp_path):
    config = RunConfig("ddpg", "Pendulum-v1", 100, 3, policy_kwargs={"units": 8}, hyperparams={"gamma": 0.9})
    config.save(tmp_path)
    assert load_config(tmp_path) == config
    assert load_config(tmp_path / "config.json") == config
    assert {"python", "torch", "stable-baselines3", "sb3-contrib", "gymnasium", "velora-sb3"} <= set(config.versions)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"algo": None}, "algo must be a string, got None"),
        ({"steps": "many"}, "steps must be an integer"),
        ({"steps": True}, "steps must be an integer"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"sed": 1}, "unknown entry 'sed': did you mean 'seed'"),
    ],
)
def test_mistakes(change, said, tmp_path):
    values = {"algo": "ddpg", "env": "Pendulum-v1", "steps": 1, "seed": 0, **change}
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=said):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"), [("{", "malformed JSON"), ("[]", "expected a JSON object, got list"), ("{}", "'algo' is missing")]
)
def test_other_files(text, said, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=said):
        load_config(tmp_path)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="cannot read .*config.json: No such file"):
        load_config(tmp_path)
