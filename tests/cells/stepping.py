"""The slow, obvious way to run a cell over time; the yardstick of every kernel."""

import torch


def run_step_by_step(cell, inputs, state=None, episode_starts=None, timespans=None):
    """Outputs (T, B, O) and last state of a cell called one step at a time, reset by hand."""
    state = torch.zeros(inputs.shape[1], cell.state_size) if state is None else state
    outputs = []
    for t, step_inputs in enumerate(inputs):
        if episode_starts is not None:
            state = torch.where(episode_starts[t].bool().unsqueeze(-1), torch.zeros_like(state), state)
        output, state = cell(step_inputs, state, None if timespans is None else timespans[t])
        outputs.append(output)
    return torch.stack(outputs), state


def gradients(cell, inputs, outputs):
    """Gradients of an arbitrary scalar of the outputs by inputs and parameters."""
    weights = torch.linspace(-1, 1, outputs.numel()).view_as(outputs)
    used = [parameter for parameter in cell.parameters() if parameter.requires_grad]
    return torch.autograd.grad((outputs * weights).sum(), [inputs, *used], allow_unused=True)


def squared_gradient(function, inputs, *rest):
    """Gradient by the inputs of the outputs' sum of squares, to differentiate again."""
    (gradient,) = torch.autograd.grad(function(inputs, *rest).square().sum(), inputs, create_graph=True)
    return gradient
