"""Where in an epoch a run is, how a resumed run gets there again, and the random generators.

The order of the batches was drawn at the epoch's beginning; the numbers drawn since then belong to
later batches and to dropout. So two states of each generator are kept, that at the beginning of the
epoch and that of now: to go on, the first is restored, the batches that are done are drawn again
and passed over, and then the second is set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer
from minirnn.errors import CheckpointError
from minirnn.training.inputs import count_of

OF_THE_RUN = ("trainer", "batches")
"""Names of the generators that are not the model's: they are drawn from between steps."""

_OF_NUMPY = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
_EVENTS = ("on_epoch_begin", "on_batch_end", "on_epoch_end")


class Position:
    """Where in an epoch a run is, and all `generators` that it draws from, by name."""

    def __init__(self, generators: Mapping[str, np.random.Generator]) -> None:
        self.generators = dict(generators)
        self.inside = False  # whether an epoch has begun and not ended
        self.start: dict[str, Any] = {}  # the states of the generators when it began
        self.count: int | None = None  # of its batches, where that is known
        # An event during which the run was saved, and how many callbacks had been called by then.
        self.event: tuple[str, int] | None = None
        self._file: dict[str, Any] = {}  # all states in the file, until the resumed run goes on

    def begin_fit(self, batches: Any) -> None:
        """Take in the batches' own generator, their attribute `rng`, as it was in the file."""
        own = getattr(batches, "rng", None)
        if isinstance(own, np.random.Generator):
            self.generators["batches"] = own
            set_generator_states({"batches": own}, self._file)

    def begin_epoch(self, batches: Any) -> None:
        """Note the generators' states before the first batch is drawn."""
        self.inside, self.count, self._file = True, count_of(batches), {}
        self.start = generator_states(self.generators)

    def skip(self, batches: Any, done: int) -> Iterator[Any]:
        """Draw the epoch's order again, and return an iterator over the batches not yet done."""
        now = generator_states(self.generators)
        set_generator_states(self.generators, self.start)
        source: Iterator[Any] = iter(batches)
        skipped = sum(1 for _ in islice(source, done))
        count = count_of(batches)
        if skipped < done or (None not in (count, self.count) and count != self.count):
            raise CheckpointError(
                f"the saved run was {done} batches into an epoch of {self.count or 'some'}, and "
                f"here are {count or skipped}: is it other data, or another batch_size?"
            )
        set_generator_states(self.generators, now)
        self._file = {}
        return source

    def state_dict(self) -> dict[str, Any]:
        """Return the position as a tree."""
        return {
            "inside": self.inside,
            "start": self.start,
            "now": self._file | generator_states(self.generators),
            "count": self.count,
            "event": None if self.event is None else list(self.event),
        }

    def load_state_dict(self, tree: Mapping[str, Any]) -> None:
        """Take over the position, and what the generators are to go on from."""
        self.inside = checks.flag("checkpoint", "inside", tree["inside"])
        self.start, self._file = dict(tree["start"]), dict(tree["now"])
        for state in (*self.start.values(), *self._file.values()):
            _check_state(state)
        set_generator_states(self.generators, self._file)
        if tree["count"] is not None:
            self.count = checks.positive_int("checkpoint", "count", tree["count"], least=0)
        if tree["event"] is not None:
            event, called = tree["event"]
            self.event = (
                checks.choice("checkpoint", "event", event, _EVENTS),
                checks.positive_int("checkpoint", "event", called, least=0),
            )


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
    """Give each generator its state, where there is one; ValueError for that of another kind."""
    for name, generator in generators.items():
        if name not in states:
            continue
        kind, before = type(generator.bit_generator).__name__, states[name]["bit_generator"]
        if before != kind:
            raise ValueError(f"the generator {name} was a {before}, now it is a {kind}")
        generator.bit_generator.state = states[name]


def _check_state(state: Mapping[str, Any]) -> None:
    """Raise unless a generator of NumPy's could be in this state.

    NumPy accepts some positions beyond the end of a state's array, and then reads there.
    """
    kind = state["bit_generator"]
    if kind not in _OF_NUMPY:
        return  # a generator of the user's own checks its state itself
    bits = getattr(np.random, kind)(0)
    inner = state["state"]
    if 0 <= inner.get("pos", 0) <= 624 and 0 <= state.get("buffer_pos", 0) <= 4:
        bits.state = state
        if _same(bits.state, state):
            return
    raise ValueError(f"a {kind} cannot be in the state of the file")


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return set(one) == set(two) and all(_same(one[key], two[key]) for key in one)
    return bool(np.array_equal(one, two))
