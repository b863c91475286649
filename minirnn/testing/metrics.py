"""The contract of a metric."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minirnn.gradcheck.arrays import mapped
from minirnn.testing.arrays import equal, part, same
from minirnn.testing.losses import TargetSubject, takes_mask
from minirnn.testing.report import Advice, ContractReport, NotApplicableError, run
from minirnn.testing.subject import importable

__all__ = ["check_metric"]


def check_metric(metric: Any, inputs: tuple[Any, ...], mask: Any) -> ContractReport:
    """Check the contract of a metric."""
    return run(metric, TargetSubject(metric, inputs, mask), METRIC_CHECKS)


def attributes(s: TargetSubject) -> Iterator[str]:
    """Look at name, higher_is_better and value."""
    metric = s.made()
    if not isinstance(getattr(metric, "name", None), str) or metric.name == "metric":
        yield "it has no name of its own: set name = '...', under which a History has it"
    if getattr(metric, "higher_is_better", "nothing") not in (True, False, None):
        yield "higher_is_better should be True or False: EarlyStopping and Checkpoint ask for it"
    elif getattr(metric, "higher_is_better", None) is None:
        yield Advice(
            "higher_is_better is not set: without it, EarlyStopping and Checkpoint need mode="
        )
    metric.update(s.prediction, s.target)
    if callable(metric.value):
        yield "value is a method, and should be a property: write @property above def value"
    elif not same(metric.value, metric.value):
        yield "value is another number when it is read again: reading should change nothing"


def streaming(s: TargetSubject) -> Iterator[str]:
    """Give it everything at once, and then the same in two batches."""
    full, parts = s.made(), s.made()
    full.update(s.prediction, s.target)
    cut = (len(s.prediction) + 1) // 3 or 1
    for rows in (slice(None, cut), slice(cut, None)):
        batch = part((s.prediction, s.target), rows)
        if len(batch[0]):
            parts.update(*batch)
    if not same(full.value, parts.value):
        yield (
            f"two batches of unequal size give {parts.value}, all at once gives {full.value}: add "
            f"up sums and counts, not averages of batches"
        )


def resetting(s: TargetSubject) -> Iterator[str]:
    """Reset it, and read it before any update."""
    metric, fresh = s.made(), s.made()
    metric.update(0.5 * s.prediction[::-1], s.target)
    before = metric.value
    fresh.update(s.prediction, s.target)
    if not same(before, metric.value):
        yield "two metrics of the class share what they count: keep it on self, not on the class"
        return
    fresh.reset()
    metric.reset()
    metric.update(s.prediction, s.target)
    fresh.update(s.prediction, s.target)
    if not same(metric.value, fresh.value):
        yield "after reset() it still counts what came before"
    metric.reset()
    try:
        value = metric.value
    except RuntimeError:
        return
    except Exception as error:
        yield Advice(f"value before any update raises {type(error).__name__}, not a RuntimeError")
    else:
        yield f"value before any update is {value}: raise a RuntimeError, there is nothing to show"


def padding(s: TargetSubject) -> Iterator[str]:
    """Put anything into the padding, and take the valid positions alone."""
    mask = s.masked()
    if not takes_mask(s.thing.update):
        yield "update takes no mask: write update(self, prediction, target, mask=None)"
        return
    values = []
    for filling in (0.5, np.nan):
        metric = s.made()
        metric.update(*s.padded(mask, filling), mask=mask)
        values.append(metric.value)
    if not equal(*values):
        yield "what stands in the padding has an influence: take prediction[mask], target[mask]"
    full, without = s.made(), s.made()
    full.update(s.prediction, s.target, mask=np.ones_like(mask))
    without.update(s.prediction, s.target)
    if not same(full.value, without.value):
        yield "a mask that is True everywhere gives another value than no mask"


def untouched(s: TargetSubject) -> Iterator[str]:
    """Look whether update changes what it is given."""
    given = s.prediction.copy(), mapped(s.target, np.copy)
    s.made().update(*given)
    if not equal(given, (s.prediction, s.target)):
        yield "update changes the prediction or the target in place: work on a copy"


def saved_state(s: TargetSubject) -> Iterator[str]:
    """Save in the middle, and go on in another one."""
    metric, other = s.made(), s.made()
    if not hasattr(metric, "state_dict") or not hasattr(metric, "load_state_dict"):
        yield (
            "it has no state_dict() and load_state_dict(state): a training that is saved inside an "
            "epoch needs them; the base class Metric has both"
        )
        return
    metric.update(s.prediction, s.target)
    other.load_state_dict(metric.state_dict())
    for one in (metric, other):
        one.update(0.5 * s.prediction[::-1], part(s.target, slice(None, None, -1)))
    if not equal(metric.value, other.value):
        yield (
            "load_state_dict(state_dict()) loses something: the two go on with other values. Write "
            "measure, and Metric adds up and saves; or write both methods for sums of your own"
        )
    if not importable(type(metric)):
        return
    again = pickle.loads(pickle.dumps(metric))
    if not equal(metric.value, again.value):
        yield "a pickled copy has another value"


def several_sizes(s: TargetSubject) -> Iterator[str]:
    """Update with a batch of one."""
    if len(s.prediction) < 2:
        raise NotApplicableError("the prediction is a batch of one")
    metric = s.made()
    metric.update(*part((s.prediction, s.target), slice(1)))
    metric.update(s.prediction, s.target)
    yield from ()


METRIC_CHECKS: dict[str, Callable[[TargetSubject], Iterator[str]]] = {
    "attributes": attributes,
    "streaming": streaming,
    "reset": resetting,
    "padding": padding,
    "in place": untouched,
    "state_dict": saved_state,
    "batch of one": several_sizes,
}
