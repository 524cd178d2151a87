"""Cells where PyTorch records or transforms operations, and under autocast: the numbers stay the same."""

import copy

import pytest
import torch
from ncps.wirings import AutoNCP
from torch.autograd import forward_ad
from torch.autograd.functional import hessian, jacobian
from torch.func import functional_call, grad, jvp, stack_module_state, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from velora_sb3.cells import LRC, LTC, CfC, GRUCell, LSTMCell
from velora_sb3.cells.sequence_module import SequenceModule

B, T, F = 2, 5, 3

# torch's own: its functions call others that are deprecated
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def of_torch(kind):
    return SequenceModule(kind(F, 8, timed=True), return_sequences=True, batch_first=True, mixed_memory=False)


MAKERS = {
    "dense": lambda: CfC(F, 8, backbone_layers=0),
    "no_gate": lambda: CfC(F, 8, mode="no_gate", backbone_layers=0),
    "pure": lambda: CfC(F, 8, mode="pure", backbone_layers=0),
    "backbone": lambda: CfC(F, 8),
    "mixed": lambda: CfC(F, 8, backbone_layers=0, mixed_memory=True),
    "wired": lambda: CfC(F, AutoNCP(10, 2)),
    "ltc": lambda: LTC(F, AutoNCP(10, 2)),
    "ltc dense": lambda: LTC(F, 8),
    "lrc": lambda: LRC(F, 8),
    "lrc euler": lambda: LRC(F, 8, solver="euler"),
    "lrc wired": lambda: LRC(F, AutoNCP(10, 2)),
    "lrc mixed": lambda: LRC(F, 8, mixed_memory=True),
    "gru": lambda: of_torch(GRUCell),
    "lstm": lambda: of_torch(LSTMCell),
}


@pytest.fixture(params=MAKERS)
def network(request):
    network = MAKERS[request.param]().eval()
    network.make = MAKERS[request.param]
    return network


def sequence(network, batch=B):
    """Inputs, state, timespans and episode starts."""
    starts = torch.zeros(batch, T, dtype=torch.bool)
    starts[torch.arange(batch), torch.randint(T, (batch,))] = True
    return torch.randn(batch, T, F), torch.randn(batch, network.state_size), torch.rand(batch, T) + 0.1, starts


def assert_same(ours, expected):
    torch.testing.assert_close(ours, expected, atol=2e-5, rtol=1e-4)


def test_traced(network):
    traced = torch.jit.trace(network, sequence(network), check_trace=False)
    given = sequence(network, batch=4)
    assert_same(traced(*given), network(*given))
    for arguments in ((torch.randn(B, F),), (torch.randn(B, F), torch.randn(B, network.state_size), torch.rand(B))):
        step = torch.jit.trace(network.cell, arguments, check_trace=False)
        other = [torch.rand(4, *value.shape[1:]) for value in arguments]
        assert_same(step(*other), network.cell(*other))


def test_exported_and_recorded(network):
    given = sequence(network)
    for strict in (False, True):
        exported = torch.export.export(network, sequence(network), strict=strict).module()
        assert_same(exported(*given), network(*given))
    recorded = make_fx(lambda inputs: network(inputs)[0])(torch.randn(B, T, F))
    assert_same(recorded(given[0]), network(given[0])[0])


def test_vmap(network):
    many = [sequence(network) for _ in range(3)]
    outputs = vmap(lambda *given: network(*given)[0])(*(torch.stack(part) for part in zip(*many, strict=True)))
    for ours, given in zip(outputs, many, strict=True):
        assert_same(ours, network(*given)[0])
    first = torch.randn(3, B, F)
    assert_same(vmap(lambda inputs: network.cell(inputs)[0])(first)[1], network.cell(first[1])[0])


def test_gradients_of_each_sample_and_ensembles(network):
    inputs, parameters = torch.randn(3, T, F), dict(network.named_parameters())

    def loss(parameters, sample):
        return functional_call(network, parameters, (sample,))[0].square().sum()

    of_each = vmap(grad(loss), (None, 0))(parameters, inputs)
    expected = torch.autograd.grad(loss(parameters, inputs[1]), list(parameters.values()), allow_unused=True)
    for ours, theirs in zip(of_each.values(), expected, strict=True):
        assert_same(ours[1], torch.zeros_like(ours[1]) if theirs is None else theirs)

    members = [network, network.make().eval()]
    outputs = vmap(lambda *weights: functional_call(network, weights, (inputs,))[0])(*stack_module_state(members))
    for ours, member in zip(outputs, members, strict=True):
        assert_same(ours, member(inputs)[0])


def test_forward_mode(network):
    inputs = torch.randn(B, T, F)
    outputs, tangents = jvp(lambda inputs: network(inputs)[0], (inputs,), (torch.ones_like(inputs),))
    assert_same(outputs, network(inputs)[0])
    with forward_ad.dual_level():
        dual, _ = network(forward_ad.make_dual(inputs, torch.ones_like(inputs)))
        assert_same(forward_ad.unpack_dual(dual).tangent, tangents)


def test_batches_of_gradients(network):
    inputs, *rest = sequence(network)
    first = torch.randn(B, F)
    functions = (lambda x: network(x, *rest)[0], inputs), (lambda x: network.cell(x)[0], first)
    for function, point in functions:
        one_by_one = jacobian(function, point)
        assert_same(jacobian(function, point, vectorize=True), one_by_one)
        outputs = function(point.requires_grad_())
        rows = torch.eye(outputs.numel()).view(-1, *outputs.shape)
        of_rows = vmap(lambda row, o=outputs, x=point: torch.autograd.grad(o, x, row, retain_graph=True)[0])(rows)
        assert_same(of_rows.view(*outputs.shape, *point.shape), one_by_one)

    def loss(inputs):
        return network(inputs, *rest)[0].square().sum()

    assert_same(hessian(loss, inputs, vectorize=True), hessian(loss, inputs))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_in_the_precision_of_the_weights(network, dtype):
    given = sequence(network)
    with torch.no_grad():
        expected, state = network(*given)
    with torch.autocast("cpu", dtype=dtype):
        outputs, last = network(*given)
        rounded, _ = network(given[0].to(dtype), last.detach().to(dtype))
        step, _ = network.cell(given[0][:, 0].to(dtype), last)
    assert_same((outputs, last), (expected, state))
    assert step.dtype == rounded.dtype == torch.float32
    (outputs.sum() + rounded.sum() + step.sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_shapes_without_values(network):
    given = sequence(network)
    outputs, state = copy.deepcopy(network).to("meta")(*(value.to("meta") for value in given))
    expected, last = network(*given)
    assert outputs.is_meta and (outputs.shape, state.shape) == (expected.shape, last.shape)
