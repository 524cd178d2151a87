import pytest

from velora_sb3.callbacks.hooks.running_episode import EnvRunner, RunningEpisode


def episode(steps, history):
    one = RunningEpisode(3, 1, False, history)
    one.start("o0", {"i": 0})
    for step in range(1, steps + 1):
        one.add(f"o{step}", f"a{step}", float(step), {"i": step}, sum(range(step + 1)), step)
    return one


def test_return_length_and_the_latest_step():
    one = episode(4, 1)
    assert (one.get_return(), len(one), one.id_, one.env_index) == (10.0, 4, "train-3", 1)
    assert (one.get_observations(-1), one.get_observations(-2)) == ("o4", "o3")
    assert (one.get_actions(-1), one.get_rewards(-1), one.get_infos(-1)) == ("a4", 4.0, {"i": 4})


def test_indices_count_from_the_start_of_the_episode():
    one = episode(5, 3)
    assert one.get_observations() == ["o2", "o3", "o4", "o5"]
    assert one.get_observations(2) == "o2"
    assert one.get_observations([2, -1]) == ["o2", "o5"]
    assert one.get_observations(slice(-2, None)) == ["o4", "o5"]
    assert one.get_rewards(slice(2, 4)) == [3.0, 4.0]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (6, "observation 6 is out of range"),
        (-7, "observation -7 is out of range"),
        (0, "pass a larger history"),
        (-3, "pass a larger history"),
    ],
)
def test_what_is_not_kept_says_so(index, message):
    with pytest.raises(IndexError, match=message):
        episode(5, 1).get_observations(index)


def test_memory_is_bounded():
    one = episode(1000, 7)
    kept = [len(one.get_observations()), len(one.get_infos()), len(one.get_actions()), len(one.get_rewards())]
    assert kept == [8, 8, 7, 7]


def test_one_without_steps_is_there():
    one = RunningEpisode(1, 0, True, 1)
    assert one and not len(one) and not one.is_done and one.get_observations() == []
    assert one.id_ == "eval-1"


def test_its_state_has_the_users_data():
    before = episode(3, 1)
    before.custom_data["angles"] = [1.0]
    after = RunningEpisode(3, 1, False, 1)
    after.load_state_dict(before.state_dict())
    assert after.is_at(3, 6.0) and after.custom_data == {"angles": [1.0]}
    assert not after.is_at(2, 6.0) and not after.is_at(3, 5.0)


def test_the_runner_answers_as_rllibs():
    class Env:
        num_envs = 2

    runner = EnvRunner(Env(), None, True)
    assert runner.config.in_evaluation and runner.num_envs == 2 and runner.worker_index == 0
