import gymnasium as gym
import numpy as np
import pytest
import torch
from ncps.wirings import AutoNCP
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DDPG, PPO
from torch.nn.utils import prune

import velora_sb3
from velora_sb3.cells import CfC
from velora_sb3.memory import make_cell
from velora_sb3.plotting import wiring_graph
from velora_sb3.plotting.acting_cell import find_cell
from velora_sb3.plotting.figures import BLUE, ORANGE
from velora_sb3.plotting.synapses import read_network

assert velora_sb3


def built(units=16, inputs=3):
    wiring = AutoNCP(units, 4, seed=1)
    wiring.build(inputs)
    return wiring


def lines(figure):
    """Colours and widths of the synapses."""
    from matplotlib.colors import to_hex

    (collection,) = [found for found in figure.axes[0].collections if len(found.get_paths()) > 1]
    return [to_hex(color).upper() for color in collection.get_edgecolors()], collection.get_linewidths()


def headings(figure):
    return [text.get_text() for text in figure.axes[0].texts if "\n" in text.get_text()]


def test_layers_and_polarities_are_the_wirings():
    wiring = built()
    figure = wiring_graph(wiring, title="a wiring")
    assert headings(figure) == ["sensory\n3", "inter\n8", "command\n4", "motor\n4"]
    colors, _ = lines(figure)
    matrices = (wiring.sensory_adjacency_matrix, wiring.adjacency_matrix)
    assert colors.count(BLUE) == sum(int((matrix > 0).sum()) for matrix in matrices)
    assert colors.count(ORANGE) == sum(int((matrix < 0).sum()) for matrix in matrices)
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["excitatory", "inhibitory"]


@pytest.mark.parametrize("kind", ["cfc", "lrc"])
def test_synapses_that_are_pruned_are_not_drawn(kind):
    cell = make_cell(4, kind, units=16, wiring="ncp")
    first = cell.layers[0]
    mask = torch.ones_like(first.weight_ih)
    before = len(read_network(cell).synapses)
    mask[:, 1] = 0
    gone = int(np.count_nonzero(cell.wiring.sensory_adjacency_matrix[1]))
    prune.custom_from_mask(first, "weight_ih", mask)
    network = read_network(cell)
    assert len(network.synapses) == before - gone and gone > 0
    assert -2 not in network.synapses
    assert len(lines(wiring_graph(cell))[0]) == before - gone


def test_an_ltcs_synapses_are_what_it_has_learned():
    cell = make_cell(3, "ltc", units=16, wiring="ncp")
    with torch.no_grad():
        cell.erev.fill_(1.0)
        cell.erev[cell.recurrent.count] = -1.0  # the first sensory synapse
        cell.w[-1] = 50.0
    network = read_network(cell)
    assert network.synapses[0].tolist() == [-1, int(np.nonzero(cell.wiring.sensory_adjacency_matrix)[1][0])]
    assert (network.strengths < 0).tolist() == [True] + [False] * (cell.synapse_count - 1)
    assert network.strengths.max() == pytest.approx(50)
    colors, widths = lines(wiring_graph(cell))
    assert colors.count(ORANGE) == 1
    assert np.argmax(widths) == np.argmax(network.strengths)


@pytest.mark.parametrize("mode", ["default", "no_gate", "pure"])
def test_a_cfcs_synapses_are_how_the_next_state_depends_on_them(mode):
    cell = make_cell(3, "cfc", units=16, wiring="ncp", mode=mode)
    network = read_network(cell)
    first = cell.layers[0]
    with torch.no_grad():  # around zero, with the gate half open
        first.bias.zero_()
        gate = slice(2 * first.hidden_size, None)
        if mode != "pure":
            first.weight_ih[gate] = 0
        else:
            first.w_tau.zero_()  # no decay: exp(-|f|) is 1 around zero
    sensitivity = torch.autograd.functional.jacobian(lambda seen: first(seen[None])[0][0], torch.full((3,), 1e-6))
    inter = cell.wiring.get_neurons_of_layer(0)
    for (source, target), strength in zip(network.synapses, network.strengths, strict=True):
        if source < 0:
            assert strength == pytest.approx(float(sensitivity[inter.index(target), -1 - source]), abs=1e-4)
    drawn = {(int(source), int(target)) for source, target in network.synapses}
    matrix = cell.wiring.sensory_adjacency_matrix
    assert {pair for pair in drawn if pair[0] < 0} == {(-1 - int(i), int(j)) for i, j in np.argwhere(matrix)}


def test_64_units_stay_within_the_picture():
    figure = wiring_graph(make_cell(20, "cfc", units=64, wiring="ncp"), title="large")
    figure.canvas.draw()
    axes = figure.axes[0]
    points = np.concatenate([found.get_offsets() for found in axes.collections if len(found.get_paths()) == 1])
    assert len(points) == 84
    low, high = axes.get_ylim()
    assert low < points[:, 1].min()
    assert points[:, 1].max() < high
    gaps = [np.diff(np.sort(points[points[:, 0] == column][:, 1])).min() for column in range(4)]
    pixels_of_one = axes.transData.transform([[0, 1], [0, 0]])
    assert min(gaps) * abs(pixels_of_one[0, 1] - pixels_of_one[1, 1]) > 12  # neurons do not touch


@pytest.mark.parametrize(("kind", "wiring"), [("ltc", None), ("ltc", "random"), ("cfc", "random")])
def test_one_layer_is_a_matrix(kind, wiring):
    cell = make_cell(3, kind, units=12, wiring=wiring)
    figure = wiring_graph(cell)
    shown = figure.axes[0].images[0].get_array()
    assert shown.shape == (15, 12)
    existing = ~np.ma.getmaskarray(np.ma.masked_invalid(shown))
    np.testing.assert_array_equal(existing[:3], cell.wiring.sensory_adjacency_matrix != 0)
    units = np.ones((12, 12), bool) if kind == "cfc" else cell.wiring.adjacency_matrix != 0
    np.testing.assert_array_equal(existing[3:], units)
    figure.canvas.draw()
    label = figure.axes[0].yaxis.label.get_window_extent()
    assert label.y0 >= 0
    assert label.y1 <= figure.bbox.height


def test_models_show_the_network_that_acts():
    liquid = {"units": 8, "wiring": "ncp"}
    ddpg = DDPG("LiquidPolicy", "Pendulum-v1", policy_kwargs=dict(liquid), device="cpu")
    assert find_cell(ddpg) is ddpg.actor.features_extractor.cell
    recurrent = RecurrentPPO("LiquidPolicy", "Pendulum-v1", policy_kwargs=dict(liquid), device="cpu")
    assert find_cell(recurrent) is recurrent.policy.lstm_actor.cell
    assert headings(wiring_graph(recurrent))[-1] == "motor\n2"
    mixed = make_cell(3, "cfc", units=8, wiring="ncp", mixed_memory=True)
    assert "LSTM" in wiring_graph(mixed).get_supxlabel()
    assert headings(wiring_graph(CfC(3, AutoNCP(8, 2))))[0] == "sensory\n3"


def test_names_of_inputs():
    figure = wiring_graph(built(), inputs=["cos", "sin", "torque"])
    assert {"cos", "sin", "torque"} <= {text.get_text() for text in figure.axes[0].texts}
    with pytest.raises(ValueError, match="3 inputs, got 1 names"):
        wiring_graph(built(), inputs=["cos"])


@pytest.mark.parametrize(
    ("what", "error", "said"),
    [
        (lambda: make_cell(3, "cfc", units=8), ValueError, "this CfC is dense, .* wiring='ncp'"),
        (lambda: PPO("MlpPolicy", "CartPole-v1", device="cpu"), ValueError, "ActorCriticPolicy has no liquid cell"),
        (lambda: AutoNCP(8, 2), ValueError, "is not built yet: call wiring.build"),
        (lambda: gym.spaces.Discrete(2), TypeError, "got Discrete"),
    ],
)
def test_what_has_no_wiring(what, error, said):
    with pytest.raises(error, match=said):
        wiring_graph(what())
