"""Callbacks that note what their hooks are told."""

from stable_baselines3 import DQN, PPO, SAC

from tests.callbacks.hooks.numbered_env import at
from tests.callbacks.runs import make_model
from velora_sb3.callbacks import EpisodeCallback

EPISODES = ("created", "start", "step", "end")


class Told(EpisodeCallback):
    """Notes every hook, in ``told``, as hook, evaluation or not, env, episode and step of the latest observation."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.told, self.returns, self.results = [], [], []

    def on_algorithm_init(self, *, algorithm, **kwargs):
        self.told.append("init")

    def on_environment_created(self, *, env, env_runner, **kwargs):
        self.told.append(("env", env_runner.config.in_evaluation))

    def on_checkpoint_loaded(self, *, algorithm, **kwargs):
        self.told.append("loaded")

    def on_episode_created(self, *, episode, env_index, **kwargs):
        assert episode.get_observations() == []
        self.told.append(("created", episode.in_evaluation, env_index))

    def on_episode_start(self, *, episode, **kwargs):
        assert len(episode) == 0 and episode.get_infos(0) == episode.get_infos(-1)
        assert episode.get_infos(0)["at"] == at(episode.get_observations(0))[1:]
        self._note("start", episode, **kwargs)

    def on_episode_step(self, *, episode, **kwargs):
        number, _, step = at(episode.get_observations(-1))
        assert episode.get_infos(-1)["at"][1] == step == len(episode)
        assert episode.get_rewards(-1) == 100.0 * number + step
        self._note("step", episode, **kwargs)

    def on_episode_end(self, *, episode, **kwargs):
        _, number, _ = at(episode.get_observations(-1))
        assert episode.is_done and episode.is_truncated == (number % 2 == 1)
        self._note("end", episode, **kwargs)
        self.returns.append((episode.in_evaluation, episode.env_index, episode.get_return(), len(episode)))

    def on_sample_end(self, *, samples, env_runner, **kwargs):
        self.told.append(("sampled", env_runner.in_evaluation, [at(one.get_observations(-1)) for one in samples]))

    def on_train_result(self, *, result, **kwargs):
        self.told.append("result")
        self.results.append(result)

    def on_evaluate_start(self, **kwargs):
        self.told.append("evaluate")

    def on_evaluate_end(self, *, evaluation_metrics, **kwargs):
        self.told.append(("evaluated", evaluation_metrics["env_runners"]))

    def _note(self, hook, episode, *, env_index, env_runner, **kwargs):
        assert env_runner.config.in_evaluation == episode.in_evaluation
        assert env_index == episode.env_index == at(episode.get_observations(-1))[0]
        self.told.append((hook, episode.in_evaluation, *at(episode.get_observations(-1))))

    def lives(self, env=None, in_evaluation=False):
        """What was told of episodes, in an environment."""
        told = [one for one in self.told if isinstance(one, tuple) and one[0] in EPISODES and one[1] == in_evaluation]
        return [(one[0], *one[2:]) for one in told if env is None or one[2] == env]


def life(env, episode, length, until=None):
    """All that is to be told of an episode, ``until`` a step."""
    steps = [("step", env, episode, step) for step in range(1, (until or length) + 1)]
    end = [] if until else [("end", env, episode, length)]
    return [("created", env), ("start", env, episode, 0), *steps, *end]


def model_of(algorithm, env, **settings):
    small = {PPO: {"n_steps": 6, "batch_size": 6, "n_epochs": 1}, SAC: {"train_freq": 3}, DQN: {"train_freq": 3}}
    more = {**small[algorithm], **settings}
    if isinstance(env.observation_space, dict) or hasattr(env.observation_space, "spaces"):
        return algorithm("MultiInputPolicy", env, seed=0, device="cpu", policy_kwargs={"net_arch": [4]}, **more)
    return make_model(algorithm, env, **more)
