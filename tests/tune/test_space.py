import pytest

from velora_sb3.tune.space import Range, parse_space


def space(mapping):
    return dict(parse_space(mapping))


def test_names_are_joined_by_dots_below_policy_kwargs():
    found = space({"gamma": {"uniform": [0.9, 1]}, "policy_kwargs": {"units": {"int": [8, 64]}}})
    assert found == {"gamma": Range("uniform", (0.9, 1.0)), "policy_kwargs.units": Range("int", (8, 64))}


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({"gamma": 0.9}, "gamma must be one of uniform, loguniform, int, choice with its values, .* got 0.9"),
        ({"gamma": {"unifrom": [0, 1]}}, "gamma must be one of uniform, .* got the keys unifrom"),
        ({"gamma": {"uniform": [0]}}, r"gamma: uniform needs two numbers \[lowest, highest\], got \[0\]"),
        ({"gamma": {"uniform": [1, 0]}}, "gamma: the lowest value must be below the highest"),
        ({"gamma": {"loguniform": [0, 1]}}, "gamma: loguniform needs values above 0"),
        ({"gamma": {"choice": []}}, "gamma: choice needs a list"),
        ({"n_steps": {"int": [1.5, 3]}}, "n_steps: int needs two integers"),
        ({"policy_kwargs": {"units": 3}}, "policy_kwargs.units must be one of"),
    ],
)
def test_a_mistake_names_the_key_and_what_it_may_be(mapping, told):
    with pytest.raises(ValueError, match=told):
        space(mapping)


def test_drawn_values_are_those_of_the_file():
    assert Range("choice", ([64], [64, 64])).value("[64, 64]") == [64, 64]
    assert Range("choice", (0.1, "lin_0.1")).value("lin_0.1") == "lin_0.1"
    assert Range("int", (1, 5)).value(7.2) == 5
    assert Range("uniform", (0.9, 1.0)).value(0.5) == 0.9


@pytest.mark.parametrize(
    ("one", "value", "expected"),
    [
        (Range("loguniform", (1e-4, 1e-2)), 1e-3, {0.8e-3, 1.25e-3}),
        (Range("loguniform", (1e-4, 1e-2)), 1e-2, {0.8e-2, 1e-2}),
        (Range("int", (1, 3)), 2, {1, 3}),
        (Range("uniform", (0.0, 1.0)), 0.5, {0.3, 0.7}),
    ],
)
def test_perturbed_values_are_near_and_within_the_limits(one, value, expected):
    assert {round(one.perturbed(value), 10) for _ in range(50)} == expected
