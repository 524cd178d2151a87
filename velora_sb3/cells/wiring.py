"""Wirings by name, for plain keyword arguments."""

from __future__ import annotations

import copy

from ncps.wirings import AutoNCP, FullyConnected, Random, Wiring

from velora_sb3._validation import check_choice, check_integer, check_number

WIRINGS = ("ncp", "fully_connected", "random")


def make_wiring(name: str | Wiring, units: int, sparsity_level: float = 0.5, seed: int | None = None) -> Wiring:
    """Make an ncps wiring, not yet built.

    A quarter of the units of an NCP are motor neurons, which are its outputs; in the other wirings every unit is one.

    Args:
        name: ``ncp`` (ncps's ``AutoNCP``), ``fully_connected`` or ``random``; or a wiring, which is copied.
        units: Number of neurons; ignored with a live wiring.
        sparsity_level: Share of synapses left out: in [0.1, 0.9] for ``ncp``, in [0, 1) for ``random``.
        seed: Seed of the wiring; None for ncps's own.

    Returns:
        The wiring.

    Raises:
        ValueError: If the name is unknown, the sparsity out of range, or the units too few for the wiring.
        TypeError: If ``name`` is neither a string nor a wiring.
    """
    if isinstance(name, Wiring):
        return copy.deepcopy(name)
    if not isinstance(name, str):
        raise TypeError(f"wiring must be None, one of {', '.join(map(repr, WIRINGS))} or a Wiring, got {name!r}")
    check_choice("wiring", name, WIRINGS)
    units = check_integer("units", units)
    if name == "fully_connected":
        return FullyConnected(units) if seed is None else FullyConnected(units, erev_init_seed=seed)
    if name == "random":
        check_number("sparsity_level of a random wiring", sparsity_level, least=0, below=1)
        seeds = {} if seed is None else {"random_seed": seed}
        return Random(units, sparsity_level=sparsity_level, **seeds)
    if units < 5:
        raise ValueError(f"an NCP wiring needs at least 5 units (inter, command and motor neurons), got units={units}")
    check_number("sparsity_level of an NCP wiring", sparsity_level, least=0.1, most=0.9)
    seeds = {} if seed is None else {"seed": seed}
    return AutoNCP(units, max(1, units // 4), sparsity_level=sparsity_level, **seeds)


def built_copy(wiring: Wiring, input_size: int | None) -> Wiring:
    """A copy of a wiring, built for a number of inputs (None if it is built already).

    The user's own wiring is not changed, so it serves any number of networks. A built one is not built again: ncps
    would add a second set of synapses.
    """
    if not isinstance(wiring, Wiring):
        raise TypeError(f"wiring must be an ncps.wirings.Wiring, got {type(wiring).__name__}")
    if wiring.is_built():
        if input_size is not None and wiring.input_dim != input_size:
            raise ValueError(
                f"the wiring is built for {wiring.input_dim} inputs, got {input_size}: pass one that is not built yet"
            )
        return copy.deepcopy(wiring)
    if input_size is None:
        raise ValueError("the wiring has no number of inputs: pass it here, or call wiring.build(input_size) first")
    copied = copy.deepcopy(wiring)
    copied.build(input_size)
    return copied
