import pytest

from velora_sb3.tune.results import FAILED, FINISHED, STOPPED, Inheritance, Results


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path / "sweep.db")


def test_the_best_finished_trial_comes_first(results):
    known = ["a", "b", "c", "d"]
    for trial in known:
        results.start(trial, {"gamma": 0.9}, known)
    for trial, score in {"a": 10.0, "b": 30.0, "c": 20.0}.items():
        results.evaluate(trial, 100, {0: score - 1, 1: score + 1}, 5.0, final=False)
    assert results.end("a", FINISHED) == (1, 10.0, 100)
    results.end("b", STOPPED)
    results.end("c", FINISHED)
    results.end("d", FAILED, "ValueError: no")
    trials = results.trials()
    assert [trial.id for trial in trials] == ["c", "a", "b", "d"]
    best, last = trials[0], trials[-1]
    assert (best.number, best.score, best.low, best.high) == (3, 20.0, 19.0, 21.0)
    assert best.curve == [(100, [19.0, 21.0])]
    assert (last.score, last.error, last.curve) == (None, "ValueError: no", [])


def test_evaluations_after_a_lost_state_are_forgotten(results):
    results.start("a", {}, ["a"])
    for timesteps in (100, 200, 300):
        results.evaluate("a", timesteps, {0: float(timesteps)}, 1.0, final=False)
    results.evaluate("a", 200, {0: 5.0}, 1.0, final=False)
    assert results.trials()[0].curve == [(100, [100.0]), (200, [5.0])]


def test_the_final_evaluation_is_the_score_and_not_part_of_the_curve(results):
    results.start("a", {}, ["a"])
    results.evaluate("a", 100, {0: 1.0}, 1.0, final=False)
    results.evaluate("a", 100, {0: 2.0}, 1.0, final=True)
    (trial,) = results.trials()
    assert (trial.score, trial.curve) == (2.0, [(100, [1.0])])


def test_not_a_number_is_no_score(results):
    results.start("a", {}, ["a"])
    results.evaluate("a", 100, {0: float("nan")}, 1.0, final=False)
    assert results.trials()[0].score is None


def test_a_trial_that_starts_again_keeps_its_number_and_the_forgotten_ones_go(results):
    results.start("a", {"gamma": 0.9}, ["a"])
    results.start("b", {"gamma": 0.8}, ["b"])
    results.start("b", {"gamma": 0.7}, ["b", "c"])
    results.start("c", {}, ["b", "c"])
    assert [(trial.id, trial.number) for trial in results.trials()] == [("b", 1), ("c", 2)]
    assert results.trials()[0].settings == {"gamma": 0.7}


def test_a_forgotten_trial_leaves_no_lineage(results):
    for trial in ("a", "b", "c"):
        results.start(trial, {}, ["a", "b", "c"])
    kept = Inheritance("b", "c", 100, {}, {})
    for event in (Inheritance("a", "b", 100, {}, {}), Inheritance("c", "a", 100, {}, {}), kept):
        results.inherit(event)
    results.start("b", {}, ["b", "c"])
    assert results.lineage() == [kept]


def test_lineage(results):
    event = Inheritance("a", "b", 100, {"gamma": 0.9}, {"gamma": 0.8})
    results.inherit(event)
    results.inherit(event)
    assert results.lineage() == [event]
