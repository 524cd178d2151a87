import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from velora_sb3.cells.kernels.cfc_first_step import cfc_first_step
from velora_sb3.cells.kernels.cfc_gates import next_state

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def arguments():
    return [torch.randn(*shape).requires_grad_() for shape in [(5, 4), (9, 4), (9,)]]


def test_gradients_are_those_of_finite_differences(arguments):
    assert gradcheck(cfc_first_step, arguments)


def test_second_derivatives_are_right_too_as_trpo_needs_them(arguments):
    assert gradgradcheck(cfc_first_step, arguments)


def test_the_step_is_that_of_the_equations_with_and_without_gradients(arguments):
    inputs, weight, bias = arguments
    expected = next_state(inputs @ weight.t() + bias, None, "default", None, None)
    torch.testing.assert_close(cfc_first_step(*arguments), expected, atol=1e-14, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(cfc_first_step(*arguments), expected, atol=1e-14, rtol=0)


def test_extreme_inputs_saturate_instead_of_overflowing(arguments):
    _, weight, bias = arguments
    state = cfc_first_step(torch.full((1, 4), 1e30), weight, bias)
    assert torch.all(state.abs() <= 1)
