"""The Triton kernels against the plain forms: in Triton's interpreter on a CPU, and compiled on a GPU."""

import os
import subprocess
import sys
from functools import partial
from importlib.util import find_spec

import pytest
import torch
from ncps.wirings import AutoNCP, FullyConnected
from torch.func import functional_call

from tests.cells.stepping import squared_gradient
from velora_sb3.cells import LTCCell
from velora_sb3.cells.kernels import cfc, gpu, lrc, mixed_memory

INTERPRETING = os.environ.get("TRITON_INTERPRET") == "1"
T, F = 3, 3

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed (the extra gpu)")


@pytest.mark.skipif(INTERPRETING, reason="this is the test that starts the interpreter")
def test_in_the_interpreter():
    """In a process of its own: Triton interprets everything or nothing, from its import on."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.fixture(params=["cpu", "cuda"], ids=["interpreter", "cuda"])
def device(request, monkeypatch):
    if request.param == "cpu" and not INTERPRETING:
        pytest.skip("runs with TRITON_INTERPRET=1")
    if request.param == "cuda" and (INTERPRETING or not torch.cuda.is_available()):
        pytest.skip("no GPU")
    monkeypatch.setattr(gpu, "DEVICES", [request.param])
    return request.param


def gated(blocks, batch, units, timed, resets, state):
    """What the kernels of CfC and LRC take, random."""
    shapes = [(T, batch, F), (batch, units), (blocks * units, F), (blocks * units, units), (blocks * units,)]
    tensors = [torch.randn(shape) * 0.5 for shape in shapes]
    starts = torch.rand(T, batch, 1) < 0.3 if resets else None
    return [tensors[0], tensors[1] if state else None, *tensors[2:], starts, torch.rand(T, batch, 1) if timed else None]


def values_and_gradients(function, arguments):
    """The outputs, and the gradients of everything that can have one."""
    given = [
        argument.clone().requires_grad_() if argument is not None and argument.is_floating_point() else argument
        for argument in arguments
    ]
    outputs = function(*given)
    weights = torch.linspace(-1, 2, outputs.numel(), device=outputs.device).view_as(outputs)
    wanted = [argument for argument in given if argument is not None and argument.requires_grad]
    return [outputs.detach(), *torch.autograd.grad((outputs * weights).sum(), wanted)]


def check(kernel, plain, arguments, device):
    """The kernel gives what the plain form gives."""
    arguments = [None if argument is None else argument.to(device) for argument in arguments]
    found = values_and_gradients(kernel, arguments)
    expected = values_and_gradients(plain, arguments)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5 * max(1, float(other.abs().max())), rtol=0)


def kernel_and_plain(mode):
    if mode == "lrc":
        return lrc.lrc_sequence, lrc._plain
    return (lambda *given: cfc.cfc_sequence(*given, mode)), (lambda *given: cfc._plain(mode, *given, None, None))


@pytest.mark.parametrize("mode", ["default", "no_gate", "lrc"])
@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
@pytest.mark.parametrize("resets", [False, True], ids=["one episode", "resets"])
def test_gated(device, mode, timed, resets):
    """Two programs, the second with three rows; units that are no power of two."""
    blocks = 4 if timed and mode != "lrc" else 3
    check(*kernel_and_plain(mode), gated(blocks, 19, 20, timed, resets, state=timed), device)


@pytest.mark.parametrize("mode", ["default", "no_gate", "lrc"])
def test_a_reset_forgets_nan(device, mode):
    kernel, _ = kernel_and_plain(mode)
    arguments = gated(3, 3, 5, timed=False, resets=True, state=True)
    arguments[1][1] = torch.nan
    arguments[5][0] = True
    outputs = kernel(*(None if argument is None else argument.to(device) for argument in arguments))
    assert torch.isfinite(outputs).all()


@pytest.mark.parametrize("mode", ["default", "lrc"])
def test_gradients_in_another_layout(device, mode):
    kernel, plain = kernel_and_plain(mode)

    def swapped(function):
        return lambda *given: function(*given).transpose(0, 1)

    check(swapped(kernel), swapped(plain), gated(3, 3, 5, timed=False, resets=False, state=False), device)


@pytest.mark.parametrize("mode", ["default", "lrc"])
def test_second_derivatives_take_the_plain_form(device, mode):
    kernel, plain = kernel_and_plain(mode)
    arguments = gated(3, 3, 5, False, False, False)
    found, expected = (
        values_and_gradients(partial(squared_gradient, function), arguments) for function in (kernel, plain)
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mode", ["default", "lrc"])
@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
def test_weights_that_do_not_fit_at_once(device, monkeypatch, mode, timed):
    monkeypatch.setattr(gpu, "shared_memory", lambda device: 16 * 1024)
    blocks = 4 if timed and mode != "lrc" else 3
    assert not gpu.fits(device, blocks, 20)
    check(*kernel_and_plain(mode), gated(blocks, 3, 20, timed, resets=True, state=True), device)


@pytest.mark.parametrize("mode", ["default", "no_gate"])
@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
@pytest.mark.parametrize("resident", [False, True], ids=["weights loaded", "weights resident"])
def test_mixed_memory(device, monkeypatch, mode, timed, resident):
    if not resident:
        monkeypatch.setattr(gpu, "shared_memory", lambda device: 16 * 1024)
    batch, units = (19, 5) if timed else (3, 20)
    inputs, _, *cfc_weights, starts, timespans = gated(4 if timed else 3, batch, units, timed, True, False)
    _, _, *lstm, _, _ = gated(4, batch, units, False, False, False)
    state = torch.randn(batch, 2 * units) if timed else None
    arguments = [inputs, state, *lstm, *cfc_weights, starts, timespans]

    def kernel(*given):
        return mixed_memory.mixed_memory_sequence(*given, mode)

    check(kernel, partial(mixed_memory._plain, mode), arguments, device)


def test_mixed_memory_forgets_nan(device):
    inputs, _, *weights, starts, _ = gated(3, 3, 5, False, True, False)
    _, _, *lstm, _, _ = gated(4, 3, 5, False, False, False)
    starts[0] = True
    arguments = [inputs, torch.full((3, 10), torch.nan), *lstm, *weights, starts]
    outputs = mixed_memory.mixed_memory_sequence(*(one.to(device) for one in arguments), None, "default")
    assert torch.isfinite(outputs).all()


WIRINGS = {"ncp": lambda: AutoNCP(8, 2), "dense": lambda: FullyConnected(5)}


def ltc_and_loop(wiring, device):
    """The sequence of an LTC as a function of tensors alone, in Triton and as a loop, and its parameters."""
    cell = LTCCell(wiring, F, ode_unfolds=2).to(device)
    names, parameters = zip(*cell.named_parameters(), strict=True)

    def run(inputs, state, starts, timespans, *parameters):
        given = dict(zip(names, parameters, strict=True))
        return functional_call(
            Sequence(cell), {f"cell.{name}": value for name, value in given.items()}, (inputs, state, starts, timespans)
        )

    def loop(*given):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gpu, "DEVICES", [])
            return run(*given)

    return run, loop, [parameter.detach() for parameter in parameters]


class Sequence(torch.nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, *given):
        return torch.cat(self.cell.sequence(*given), -1)


@pytest.mark.parametrize("kind", WIRINGS)
@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
def test_ltc(device, monkeypatch, kind, timed):
    from velora_sb3.cells.kernels.gpu import ltc

    if timed:
        monkeypatch.setattr(ltc, "PROGRAMS", 2)  # of which one has two rows
        monkeypatch.setattr(ltc, "MOST_FEATURES", 2)  # two blocks of inputs
    run, loop, parameters = ltc_and_loop(WIRINGS[kind](), device)
    inputs, *_ = gated(3, 3, 5, False, False, False)
    state = torch.randn(3, parameters[0].numel()) if timed else None
    starts = torch.rand(T, 3, 1) < 0.3 if kind == "ncp" else None
    check(run, loop, [inputs, state, starts, torch.rand(T, 3, 1) if timed else None, *parameters], device)


def test_ltc_without_gradients_and_step_by_step(device):
    cell, inputs = LTCCell(AutoNCP(8, 2), F, ode_unfolds=2).to(device), torch.randn(T, 3, F, device=device)
    expected = torch.cat(cell.sequence(inputs, None, None, None), -1)
    with torch.no_grad():
        torch.testing.assert_close(torch.cat(cell.sequence(inputs, None, None, None), -1), expected, atol=1e-6, rtol=0)
    state = None
    for t in range(T):
        output, state = cell(inputs[t], state)
        torch.testing.assert_close(torch.cat([output, state], -1), expected[t], atol=1e-6, rtol=0)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the interpreter's numpy
def test_infinite_inputs_of_an_ltc(device):
    """They open or close their synapses, and are nothing to units without one."""
    cell = LTCCell(AutoNCP(8, 2), F, ode_unfolds=2).to(device)
    inputs = torch.full((T, 2, F), torch.inf, device=device).requires_grad_()
    outputs, _ = cell.sequence(inputs, None, None, None)
    assert torch.isfinite(outputs).all()


def test_an_ltc_without_inputs(device):
    cell = LTCCell(FullyConnected(3), 0, ode_unfolds=2).to(device)
    outputs, _ = cell.sequence(torch.zeros(T, 2, 0, device=device), None, None, None)
    (gradient,) = torch.autograd.grad(outputs.sum(), cell.gleak)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "DEVICES", [])
        expected, _ = cell.sequence(torch.zeros(T, 2, 0, device=device), None, None, None)
    torch.testing.assert_close(outputs, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), cell.gleak)[0], atol=1e-5, rtol=0)


def test_inputs_of_another_type(device):
    cell = LTCCell(AutoNCP(8, 2), F).to(device)
    with pytest.raises(TypeError, match="expected torch.float32 tensors on .*, got torch.float64"):
        cell.sequence(torch.randn(T, 3, F, device=device).double(), None, None, None)


def test_ltc_forgets_nan(device):
    run, _, parameters = ltc_and_loop(AutoNCP(8, 2), device)
    starts = torch.tensor([True, False, True]).view(T, 1, 1).expand(T, 3, 1).to(device)
    state = torch.full((3, 8), torch.nan, device=device)
    assert torch.isfinite(run(torch.randn(T, 3, F, device=device), state, starts, None, *parameters)).all()


@pytest.mark.skipif(INTERPRETING, reason="interprets instead of compiling")
@pytest.mark.parametrize("kind", ["cfc", "lrc", "mixed memory", "ltc"])
def test_compiling_without_a_gpu(kind, monkeypatch):
    """A GPU's compiler finds errors that the interpreter lets pass; what the kernels would write stays unwritten."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    compiled = []

    def compile_it(kernel, *arguments, grid, warmup, **constants):
        options = {name: constants.pop(name) for name in ("num_warps", "num_stages", "enable_fp_fusion")}
        types = {torch.float32: "*fp32", torch.uint8: "*u8"}
        named = dict(zip(kernel.arg_names, arguments, strict=False))
        signature = {name: types[value.dtype] if hasattr(value, "dtype") else "i32" for name, value in named.items()}
        places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
        source = ASTSource(kernel, {**signature, **dict.fromkeys(constants, "constexpr")}, places)
        compiled.append(triton.compile(source, target=GPUTarget("cuda", 80, 32), options=options).name)

    monkeypatch.setattr(triton.JITFunction, "run", compile_it)
    monkeypatch.setattr(gpu, "DEVICES", ["cpu"])
    if kind == "ltc":
        from velora_sb3.cells.kernels.gpu import ltc

        monkeypatch.setattr(ltc, "MOST_FEATURES", 2)  # two blocks of inputs
        run, _, parameters = ltc_and_loop(AutoNCP(8, 2), "cpu")
        tensors = [torch.randn(T, 3, F), None, torch.zeros(T, 3, 1, dtype=torch.bool), torch.rand(T, 3, 1), *parameters]
        values_and_gradients(run, tensors)
    else:
        inputs, state, *weights, starts, timespans = gated(4, 3, 20, timed=True, resets=True, state=True)
        if kind == "cfc":
            run, tensors = kernel_and_plain("default")[0], [inputs, state, *weights, starts, timespans]
        elif kind == "lrc":
            run, tensors = kernel_and_plain("lrc")[0], gated(3, 3, 20, timed=True, resets=True, state=True)
        else:
            _, _, *lstm, _, _ = gated(4, 3, 20, False, False, False)
            run = partial(mixed_memory.mixed_memory_sequence, mode="default")
            tensors = [inputs, torch.cat([state, state], -1), *lstm, *weights, starts, timespans]
        values_and_gradients(run, tensors)
    assert compiled == {"ltc": ["_sensory_forward", "_forward", "_backward", "_sensory_backward"]}.get(
        kind, ["_forward", "_backward"]
    )


def test_what_is_supported(device):
    inputs = torch.zeros(2, 3, 4, device=device)
    assert gpu.supports(inputs, 64, 8)
    assert not gpu.supports(inputs, 1024, 8)
    assert not gpu.supports(inputs.double(), 8, 8)
    assert not gpu.supports(inputs[:, :0], 8, 8)
    assert not gpu.supports(inputs, 8, 2**31)
