import pytest

from velora_sb3.callbacks.hooks.signatures import HOOKS, fit

GIVEN = dict.fromkeys(HOOKS["on_train_result"], 1)


def test_a_function_gets_what_it_names():
    assert fit("on_train_result", lambda result: result)(**GIVEN) == 1
    assert fit("on_train_result", lambda *, result, extra=2: (result, extra))(**GIVEN) == (1, 2)
    assert fit("on_train_result", lambda: "none")(**GIVEN) == "none"
    assert fit("on_train_result", lambda result, **kwargs: sorted(kwargs))(**GIVEN) == ["algorithm", "metrics_logger"]


@pytest.mark.parametrize("function", [lambda episode: 0, lambda episode, **kwargs: 0, lambda episode, /: 0])
def test_what_it_asks_for_in_vain_is_told_at_once(function):
    with pytest.raises(TypeError, match="requires episode; available, by keyword: algorithm, metrics_logger, result"):
        fit("on_train_result", function)
