"""The contract of a metric."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import numpy as np

from minirnn.testing.arrays import copied, equal, part, same
from minirnn.testing.calls import out_of_order
from minirnn.testing.losses import takes_mask
from minirnn.testing.report import Advice, ContractReport, run
from minirnn.testing.subject import TargetSubject, importable

__all__ = ["check_metric"]


def check_metric(metric: Any, inputs: tuple[Any, ...], mask: Any) -> ContractReport:
    """Check the contract of a metric."""
    return run(metric, TargetSubject(metric, inputs, mask), METRIC_CHECKS)


def _after(s: TargetSubject, *updates: tuple[Any, Any], **mask: Any) -> Any:
    """Return a fresh metric after these updates."""
    metric = s.made()
    for prediction, target in updates or ((s.prediction, s.target),):
        metric.update(prediction, target, **mask)
    return metric


def attributes(s: TargetSubject) -> Iterator[str]:
    """Look at name, higher_is_better and value."""
    metric = _after(s)
    if not isinstance(getattr(metric, "name", None), str) or metric.name == "metric":
        yield "it has no name of its own: set name = '...', under which a History has it"
    if getattr(metric, "higher_is_better", "nothing") not in (True, False, None):
        yield "higher_is_better should be True or False: EarlyStopping and Checkpoint ask for it"
    elif getattr(metric, "higher_is_better", None) is None:
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


def resetting(s: TargetSubject) -> Iterator[str]:
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


def padding(s: TargetSubject) -> Iterator[str]:
    """Put anything into the padding, and take the valid positions alone."""
    mask = s.masked()
    if not takes_mask(s.thing.update):
        yield "update takes no mask: write update(self, prediction, target, mask=None)"
        return
    clean, dirty = (_after(s, s.padded(mask, filling), mask=mask) for filling in (0.5, np.nan))
    if not equal(clean.value, dirty.value):
        yield "what stands in the padding has an influence: take prediction[mask], target[mask]"
    if not same(_after(s, mask=np.ones_like(mask)).value, _after(s).value):
        yield "a mask that is True everywhere gives another value than no mask"


def untouched(s: TargetSubject) -> Iterator[str]:
    """Look whether update changes what it is given."""
    given = copied((s.prediction, s.target))
    _after(s, given)
    if not equal(given, (s.prediction, s.target)):
        yield "update changes the prediction or the target in place: work on a copy"


def saved_state(s: TargetSubject) -> Iterator[str]:
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


METRIC_CHECKS: dict[str, Callable[[TargetSubject], Iterator[str]]] = {
    "attributes": attributes,
    "streaming": streaming,
    "reset": resetting,
    "padding": padding,
    "in place": untouched,
    "state_dict": saved_state,
}
