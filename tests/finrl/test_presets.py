import pytest

from tests.finrl.markets import market
from velora_sb3.finrl import MODELS, DRLAgent, memory_efficient_config, small_policy, stable_config


def test_only_what_the_algorithm_takes():
    assert memory_efficient_config("ppo") == {"n_steps": 512, "batch_size": 32}
    assert memory_efficient_config("sac") == {
        "buffer_size": 10_000,
        "batch_size": 32,
        "learning_starts": 100,
        "train_freq": (4, "step"),
    }
    assert memory_efficient_config("a2c") == {}  # 5 steps by itself
    assert memory_efficient_config("dqn")["train_freq"] == (4, "step")
    assert stable_config("recurrent_ppo") == {
        "learning_rate": 3e-5,
        "clip_range": 0.1,
        "ent_coef": 0.001,
        "max_grad_norm": 0.5,
        "vf_coef": 0.25,
    }
    assert stable_config("sac") == {"learning_rate": 3e-5}  # its ent_coef is tuned while training
    assert stable_config("ars") == memory_efficient_config("ars") == {}


@pytest.mark.parametrize("name", [name for name in MODELS if "maskable" not in name and "dqn" not in name])
@pytest.mark.parametrize("preset", [memory_efficient_config, stable_config])
def test_every_algorithm_takes_them(name, preset):
    given = preset(name)
    model = DRLAgent(market()).get_model(name, policy_kwargs={"units": 4}, model_kwargs=given, verbose=0)
    given.pop("train_freq", None), given.pop("clip_range", None)
    assert {key: getattr(model, key) for key in given} == given


def test_small_policy_serves_liquid_and_other_policies():
    for policy in ("LiquidPolicy", "MlpPolicy"):
        model = DRLAgent(market()).get_model("ppo", policy, small_policy(), verbose=0)
        assert [layer.out_features for layer in list(model.policy.mlp_extractor.policy_net)[::2]] == [64, 64]
    small_policy()["net_arch"].append(1)
    assert small_policy()["net_arch"] == [64, 64]
