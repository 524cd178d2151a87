import pytest
from sb3_contrib import ARS, TQC, TRPO, CrossQ, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3

from velora_sb3.callbacks.base.optimizers import optimizers_of

ON_POLICY = [PPO, A2C, TRPO, RecurrentPPO]


@pytest.mark.parametrize(
    ("algorithm", "names"),
    [
        *[(algorithm, {"policy"}) for algorithm in (*ON_POLICY, DQN)],
        *[(algorithm, {"actor", "critic"}) for algorithm in (DDPG, TD3)],
        *[(algorithm, {"actor", "critic", "ent_coef"}) for algorithm in (SAC, TQC, CrossQ)],
        (ARS, set()),
    ],
)
def test_every_optimizer_is_found(algorithm, names):
    policy = {RecurrentPPO: "MlpLstmPolicy", ARS: "LinearPolicy"}.get(algorithm, "MlpPolicy")
    model = algorithm(policy, "CartPole-v1" if algorithm is DQN else "Pendulum-v1", device="cpu")
    found = optimizers_of(model)
    assert set(found) == names
    if names >= {"ent_coef"}:
        assert found["ent_coef"] is model.ent_coef_optimizer and found["critic"] is model.critic.optimizer
    if names == {"policy"}:
        assert found["policy"] is model.policy.optimizer
