"""The states of random generators: kept, compared, and set again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minirnn.core import Layer

__all__ = ["check_state", "generator_states", "random_generators", "set_generator_states"]

_OF_NUMPY = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


def random_generators(model: Layer) -> dict[str, np.random.Generator]:
    """Return the random generators that a model's layers hold, by their dotted names."""
    return {
        f"{name}.{attribute}".lstrip("."): value
        for name, layer in model.named_layers()
        for attribute, value in vars(layer).items()
        if isinstance(value, np.random.Generator)
    }


def generator_states(generators: Mapping[str, np.random.Generator]) -> dict[str, Any]:
    """Return the state of each generator, as a tree."""
    return {name: dict(one.bit_generator.state) for name, one in generators.items()}


def set_generator_states(
    generators: Mapping[str, np.random.Generator], states: Mapping[str, Any]
) -> None:
    """Give each generator its state, where there is one.

    Raises
    ------
    ValueError
        If a state is that of another kind of generator, or of none.
    """
    for name, generator in generators.items():
        if name not in states:
            continue
        kind = type(generator.bit_generator).__name__
        if states[name]["bit_generator"] != kind:
            raise ValueError(
                f"the generator {name} was a {states[name]['bit_generator']}, now it is a {kind}"
            )
        check_state(states[name])
        generator.bit_generator.state = states[name]


def check_state(state: Mapping[str, Any]) -> None:
    """Raise unless a generator of NumPy's could be in this state.

    NumPy accepts some positions beyond the end of a state's array, and then reads there.
    """
    kind = state["bit_generator"]
    if kind not in _OF_NUMPY:
        return  # a generator of the user's own checks its state itself
    bits = getattr(np.random, kind)(0)
    inner = state["state"]
    if not 0 <= inner.get("pos", 0) <= 624 or not 0 <= state.get("buffer_pos", 0) <= 4:
        raise ValueError(f"a {kind} cannot be in the state of the file")
    bits.state = state
    if not _same(bits.state, state):
        raise ValueError(f"a {kind} cannot be in the state of the file")


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return set(one) == set(two) and all(_same(one[key], two[key]) for key in one)
    return bool(np.array_equal(one, two))
