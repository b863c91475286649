"""The contract of a metric."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from minirnn.testing.arrays import copied, equal, part, same
from minirnn.testing.findings import out_of_order
from minirnn.testing.losses import padding
from minirnn.testing.report import Advice
from minirnn.testing.subject import TargetSubject, importable

__all__ = ["METRIC"]


def _after(s: TargetSubject, *updates: tuple[Any, Any]) -> Any:
    """Return a fresh metric after these updates, or after that with all there is."""
    metric = s.made()
    for prediction, target in updates or ((s.prediction, s.target),):
        metric.update(prediction, target)
    return metric


def attributes(s: TargetSubject) -> Iterator[str]:
    """Look at name, higher_is_better and value."""
    metric = _after(s)
    if not isinstance(getattr(metric, "name", None), str) or metric.name == "metric":
        yield "it has no name of its own: set name = '...', under which a History has it"
    higher = getattr(metric, "higher_is_better", "nothing")
    if higher not in (True, False, None):
        yield "higher_is_better should be True or False: EarlyStopping and Checkpoint ask for it"
    elif higher is None:
        yield Advice(
            "higher_is_better is not set: without it, EarlyStopping and Checkpoint need mode="
        )
    if callable(metric.value):
        yield "value is a method, and should be a property: write @property above def value"
    elif not same(metric.value, metric.value):
        yield "value is another number when it is read again: reading should change nothing"


def streaming(s: TargetSubject) -> Iterator[str]:
    """Give it everything at once, and then the same in two batches, the first of them of one."""
    rows = [slice(None, 1), slice(1, None)] if len(s.prediction) > 1 else [slice(None)]
    parts = _after(s, *(part((s.prediction, s.target), one) for one in rows))
    full = _after(s)
    if not same(full.value, parts.value):
        yield (
            f"two batches of unequal size give {parts.value}, all at once gives {full.value}: add "
            f"up sums and counts, not averages of batches"
        )


def reset(s: TargetSubject) -> Iterator[str]:
    """Reset it, and read it before any update."""
    metric = _after(s, (0.5 * s.prediction[::-1], s.target))
    before = metric.value
    fresh = _after(s)
    if not same(before, metric.value):
        yield "two metrics of the class share what they count: keep it on self, not on the class"
        return
    for one in (fresh, metric):
        one.reset()
        one.update(s.prediction, s.target)
    if not same(metric.value, fresh.value):
        yield "after reset() it still counts what came before"
    metric.reset()
    accepted = "value before any update is {}: raise a RuntimeError, there is nothing to show"
    yield from out_of_order(lambda: metric.value, "value before any update", accepted)


def in_place(s: TargetSubject) -> Iterator[str]:
    """Look whether update changes what it is given."""
    given = copied((s.prediction, s.target))
    _after(s, given)
    if not equal(given, (s.prediction, s.target)):
        yield "update changes the prediction or the target in place: work on a copy"


def state_dict(s: TargetSubject) -> Iterator[str]:
    """Save in the middle, and go on in another one."""
    metric, other = _after(s), s.made()
    if not hasattr(metric, "state_dict") or not hasattr(metric, "load_state_dict"):
        yield (
            "it has no state_dict() and load_state_dict(state): a training that is saved inside an "
            "epoch needs them; the base class Metric has both"
        )
        return
    other.load_state_dict(metric.state_dict())
    for one in (metric, other):
        one.update(*s.others())
    if not equal(metric.value, other.value):
        yield (
            "load_state_dict(state_dict()) loses something: the two go on with other values. Write "
            "measure, and Metric adds up and saves; or write both methods for sums of your own"
        )
    # A lambda that a metric was given cannot be pickled, which is not the metric's fault.
    functions = [one for one in vars(metric).values() if isinstance(one, FunctionType)]
    if importable(type(metric)) and all(map(importable, functions)):
        again = pickle.loads(pickle.dumps(metric))
        if not equal(metric.value, again.value):
            yield "a pickled copy has another value"


METRIC = [attributes, streaming, reset, padding, in_place, state_dict]
