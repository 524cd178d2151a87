import pytest

from velora_sb3.cli.errors import UserError
from velora_sb3.cli.structured_text import read_mapping


@pytest.mark.parametrize("text", ['{"units": 32, "mode": "pure"}', "{units: 32, mode: pure}", "units: 32\nmode: pure"])
def test_json_and_yaml_say_the_same(text):
    assert read_mapping(text, "--policy-kwargs") == {"units": 32, "mode": "pure"}


@pytest.mark.parametrize("text", ['{"lr": 1e-3}', "lr: 1e-3", "lr: 1.0e-3", "lr: !!float 1e-3", "lr: 0.001"])
def test_powers_of_ten_are_numbers(text):
    assert read_mapping(text, "--hyperparams") == {"lr": 0.001}


def test_words_with_digits_stay_words():
    assert read_mapping("lr: lin_1e-3", "--hyperparams") == {"lr": "lin_1e-3"}


@pytest.mark.parametrize("name", ["kwargs.json", "kwargs.yml", "kwargs.yaml", "kwargs"])
def test_files(name, tmp_path):
    (tmp_path / name).write_text('{"units": 8}')
    assert read_mapping(str(tmp_path / name), "--policy-kwargs") == {"units": 8}


def test_a_text_may_be_longer_than_a_path():
    name = "ä" * 200  # bytes count, and there are two of each
    assert read_mapping(f"{{{name}: 1}}", "--policy-kwargs") == {name: 1}


@pytest.mark.parametrize("text", ["", "{}"])
def test_nothing_is_an_empty_mapping(text):
    assert read_mapping(text, "--policy-kwargs") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"units": 3', "malformed JSON or YAML in line 1"),
        ("[1, 2]", "expected a mapping"),
        ("units", "expected a mapping"),
        ("{1: 2}", "names must be strings, got 1"),
        ("!!python/object/apply:os.getcwd []", "malformed"),
        ("settings: {day: 2024-01-01}", "2024-01-01 is read as a date: put it in quotes"),
        ("units: 8\nmode: pure\nunits: 16", "--policy-kwargs: 'units' is set twice"),
        ('{"units": 8, "units": 16}', "'units' is set twice"),
        ("search: {gamma: 1, gamma: 2}", "'gamma' is set twice"),
        ("missing.yml", "cannot read missing.yml: No such file"),
    ],
)
def test_mistakes(text, said):
    with pytest.raises(UserError, match=said):
        read_mapping(text, "--policy-kwargs")


def test_anchors_may_be_overridden():
    text = "base: &base {units: 8, mode: pure}\nmine: {<<: *base, units: 16}"
    assert read_mapping(text, "--policy-kwargs")["mine"] == {"units": 16, "mode": "pure"}


def test_a_malformed_json_file_names_the_file(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1,}')
    with pytest.raises(UserError, match=r"x\.json: malformed JSON: .* line 1"):
        read_mapping(str(tmp_path / "x.json"), "--hyperparams")
