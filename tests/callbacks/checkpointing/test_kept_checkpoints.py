import pytest

from velora_sb3.callbacks.checkpointing.kept_checkpoints import KeptCheckpoints


def left(tmp_path, scores, spare=None, keep_last=None, ranked=True, mode="max", save_top_k=1, save_last=True):
    """The names that stand after checkpoints with these scores were written, one after the other."""
    kept = KeptCheckpoints(keep_last, ranked, mode, save_top_k, save_last)
    for number, score in enumerate(scores):
        path = tmp_path / str(number)
        path.mkdir()
        kept.add(path, score)
        for other in kept.others(path if number == spare else None):
            kept.remove(other)
    there = sorted(path.name for path in tmp_path.iterdir())
    assert sorted(path.name for path in kept.paths) == there
    return "".join(there)


@pytest.mark.parametrize(
    ("expected", "settings"),
    [
        ("012345", {"ranked": False}),
        ("45", {"ranked": False, "keep_last": 2}),
        ("25", {}),
        ("2", {"save_last": False}),
        ("235", {"save_top_k": 2}),
        ("345", {"keep_last": 2, "save_top_k": 1, "mode": "min", "save_last": False}),
        ("35", {"mode": "min"}),
        ("15", {"save_last": False, "mode": "min", "save_top_k": 2}),
    ],
)
def test_which_stay(tmp_path, expected, settings):
    scores = [3.0, 2.5, 9.0, 8.0 if settings.get("mode", "max") == "max" else 1.0, 4.0, 2.0]
    if expected == "15":
        scores = [3.0, 1.0, 9.0, 8.0, 4.0, 2.0]
    assert left(tmp_path, scores, **settings) == expected


def test_of_equals_the_newer_stays(tmp_path):
    assert left(tmp_path, [1.0, 5.0, 5.0, 2.0], save_last=False) == "2"


def test_one_without_a_score_is_worse_than_all_others(tmp_path):
    assert left(tmp_path, [None, -7.0, None, float("nan")], save_last=False) == "1"


def test_without_any_scores_the_newest_stay(tmp_path):
    assert left(tmp_path, [None] * 4, save_top_k=2, save_last=False) == "23"


def test_one_may_be_spared(tmp_path):
    assert left(tmp_path, [5.0, 1.0], spare=1, save_last=False) == "01"


def test_of_the_same_name_there_is_one_with_the_new_score(tmp_path):
    kept = KeptCheckpoints(None, True, "max", 1, False)
    for name, score in (("a", 5.0), ("b", 3.0), ("a", 1.0)):
        (tmp_path / name).mkdir(exist_ok=True)
        kept.add(tmp_path / name, score)
    assert [path.name for path in kept.paths] == ["b", "a"]
    assert [path.name for path in kept.others(None)] == ["a"]


def test_what_the_user_has_removed_is_forgotten(tmp_path):
    kept = KeptCheckpoints(1, False, "max", 1, True)
    for name in "ab":
        kept.add(tmp_path / name, None)
    kept.remove(tmp_path / "a")
    assert [path.name for path in kept.paths] == ["b"]


def test_a_state_goes_on_with_what_is_there_and_what_is_being_written(tmp_path):
    kept = KeptCheckpoints(2, True, "max", 1, True)
    for name in "abc":
        (tmp_path / name).mkdir()
        kept.add(tmp_path / name, float(ord(name)))
    state = kept.state(tmp_path / "d", 1.0)
    (tmp_path / "b").rmdir()
    (tmp_path / "d").mkdir()
    other = KeptCheckpoints(2, True, "max", 1, True)
    other.load(state, tmp_path)
    assert other.state(None, None) == [["a", 97.0], ["c", 99.0], ["d", 1.0]]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"keep_last": 0}, "keep_last must be an integer of at least 1, got 0"),
        ({"keep_last": True}, "keep_last must be"),
        ({"save_top_k": -1}, "save_top_k must be an integer of at least 1, got -1"),
        ({"mode": "best"}, "mode must be one of 'max', 'min', got 'best'"),
    ],
)
def test_arguments_out_of_range(settings, told):
    whole = {"keep_last": None, "ranked": True, "mode": "max", "save_top_k": 1, "save_last": True, **settings}
    with pytest.raises(ValueError, match=told):
        KeptCheckpoints(**whole)
