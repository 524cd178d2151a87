import numpy as np
import pytest
from ncps.wirings import AutoNCP, FullyConnected, Random

from velora_sb3.cells import make_wiring


@pytest.mark.parametrize(("name", "kind"), [("ncp", AutoNCP), ("fully_connected", FullyConnected), ("random", Random)])
def test_names_stand_for_ncps_wirings(name, kind):
    wiring = make_wiring(name, 16)
    assert isinstance(wiring, kind)
    assert wiring.units == 16


def test_the_seed_decides_the_wiring():
    def synapses(seed):
        wiring = make_wiring("ncp", 32, seed=seed)
        wiring.build(4)
        return wiring.adjacency_matrix

    assert np.array_equal(synapses(1), synapses(1))
    assert not np.array_equal(synapses(1), synapses(2))


def test_sparsity_is_the_share_of_synapses_left_out():
    assert make_wiring("random", 20, sparsity_level=0.75).synapse_count == 100


def test_a_live_wiring_is_copied():
    wiring = AutoNCP(12, 3)
    copied = make_wiring(wiring, 64)
    copied.build(4)
    assert not wiring.is_built()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("npc", 16), "wiring must be one of 'ncp', 'fully_connected', 'random'"),
        (("ncp", 4), "at least 5 units .* got units=4"),
        (
            ("ncp", 16, 0.95),
            "sparsity_level of an NCP wiring must be .* at least 0.1 and at most 0.9, got 0.95",
        ),
        (("random", 16, 1.0), "sparsity_level of a random wiring must be a finite number at least 0 and below 1"),
        (("ncp", 0), "units must be an integer of at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_wiring(*arguments)


def test_five_units_are_enough_for_an_ncp():
    make_wiring("ncp", 5).build(3)


def test_something_else_than_a_wiring_is_a_type_error():
    with pytest.raises(TypeError, match="must be None, one of 'ncp'.*got 3"):
        make_wiring(3, 16)
