"""Users' editors and type checkers know what is what."""

import inspect
from pathlib import Path

import pytest

import velora_sb3.callbacks
from velora_sb3.callbacks import RecordMetrics

CALLBACKS = [*(getattr(velora_sb3.callbacks, name) for name in velora_sb3.callbacks.__all__), RecordMetrics]


def test_the_package_says_that_it_is_typed():
    assert (Path(velora_sb3.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("callback", CALLBACKS, ids=lambda callback: callback.__name__)
def test_callbacks_are_annotated(callback):
    """Every method of ours that a user may call or override, with all its arguments."""
    ours = [base for base in callback.__mro__ if base.__module__.startswith("velora_sb3")]
    methods = [method for base in ours for method in vars(base).values() if inspect.isfunction(method)]
    assert methods
    for method in methods:
        signature = inspect.signature(method)
        arguments = list(signature.parameters.values())[1:]  # without self
        missing = [argument.name for argument in arguments if argument.annotation is inspect.Parameter.empty]
        assert not missing, f"{method.__qualname__}: {missing}"
        assert signature.return_annotation is not inspect.Signature.empty, method.__qualname__
