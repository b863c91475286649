"""Where in an epoch a run is, and how a resumed run gets there again.

The order of the batches was drawn at the epoch's beginning; the numbers drawn since then belong to
later batches and to dropout. So two states of each generator are kept, that at the beginning of the
epoch and that of now: to go on, the first is restored, the batches that are done are drawn again
and passed over, and then the second is set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from minirnn import checks
from minirnn.errors import CheckpointError
from minirnn.training.generators import check_state, generator_states, set_generator_states
from minirnn.training.inputs import count_of

if TYPE_CHECKING:
    from minirnn.training.trainer import Trainer

__all__ = ["Position"]


class Position:
    """Where in an epoch a run is.

    Attributes
    ----------
    inside : bool
        Whether an epoch has begun and not ended.
    start : dict
        The states of the batches' generators when it began.
    now : dict or None
        After a resume, the states of the batches' generators to go on from.
    count : int or None
        How many batches the epoch has, where that is known.
    event : tuple (str, int) or None
        An event during which the run was saved, and how many callbacks had been called by then.
    """

    def __init__(self) -> None:
        self.inside = False
        self.start: dict[str, Any] = {}
        self.now: dict[str, Any] | None = None
        self.count: int | None = None
        self.event: tuple[str, int] | None = None
        self._batches: Any = None

    def begin_epoch(self, trainer: Trainer, batches: Any) -> None:
        """Note the generators' states before the first batch is drawn."""
        self.inside, self._batches, self.count = True, batches, count_of(batches)
        generators = self.generators(trainer)
        if self.now is not None:  # the first epoch after a resume between two epochs
            set_generator_states({k: g for k, g in generators.items() if k != "trainer"}, self.now)
            self.now = None
        self.start = generator_states(generators)

    def skip(self, trainer: Trainer, batches: Any) -> Iterator[Any]:
        """Draw the epoch's order again, and return an iterator over the batches not yet done."""
        self._batches = batches
        if self.now is None:
            raise RuntimeError("Trainer: there is no epoch to go on with")
        now, count = self.now, count_of(batches)
        if count is not None and self.count is not None and count != self.count:
            raise CheckpointError(
                f"the saved run was inside an epoch of {self.count} batches, and here are {count}: "
                f"is it other data, or another batch_size?"
            )
        set_generator_states(self.generators(trainer), self.start)
        source: Iterator[Any] = iter(batches)
        skipped = sum(1 for _ in islice(source, trainer.batch))
        if skipped < trainer.batch:
            raise CheckpointError(
                f"the saved run was {trainer.batch} batches into its epoch, and these batches are "
                f"only {skipped}: is it other data, or another batch_size?"
            )
        set_generator_states(self.generators(trainer), now)
        self.now = None
        return source

    def generators(self, trainer: Trainer) -> dict[str, np.random.Generator]:
        """Return the generators that the batches are drawn with."""
        found = {"trainer": trainer.rng}
        own = getattr(self._batches, "rng", None)
        if isinstance(own, np.random.Generator):
            found["batches"] = own
        return found

    def state_dict(self, trainer: Trainer) -> dict[str, Any]:
        """Return the position as a tree."""
        now = self.now if self.now is not None else generator_states(self.generators(trainer))
        return {
            "inside": self.inside,
            "start": self.start,
            "now": now,
            "count": self.count,
            "event": None if self.event is None else list(self.event),
        }

    def load_state_dict(self, tree: Mapping[str, Any]) -> None:
        """Take over the position; `skip` will go there."""
        self.inside = checks.flag("checkpoint", "inside", tree["inside"])
        self.start, self.now = dict(tree["start"]), dict(tree["now"])
        for state in (*self.start.values(), *self.now.values()):
            check_state(state)
        self.count = None
        if tree["count"] is not None:
            self.count = checks.positive_int("checkpoint", "count", tree["count"], zero=True)
        if tree["event"] is not None:
            event, called = tree["event"]
            events = ("on_epoch_begin", "on_batch_end", "on_epoch_end")
            self.event = (
                checks.choice("checkpoint", "event", event, events),
                checks.positive_int("checkpoint", "event", called, zero=True),
            )
