"""The contract of a loss, and what it shares with a metric."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from minirnn.gradcheck.arrays import mapped
from minirnn.testing.arrays import equal, part, same
from minirnn.testing.findings import first_wrong_gradients, out_of_order, refused
from minirnn.testing.report import Advice, NotApplicableError
from minirnn.testing.subject import TargetSubject

__all__ = ["LOSS", "padding"]


def gradients(s: TargetSubject) -> Iterator[str]:
    """Compare the gradient with central differences, with and without a mask."""
    both = s.prediction, s.target
    variants: list[tuple[str, tuple[Any, ...], Any]] = [
        ("", both, None),
        ("a batch of one", part(both, slice(1)), None),
    ]
    if s.has_time and _takes_mask(s.thing.forward):
        variants.append(("masked", s.padded(s.masked(), 0), s.masked()))
    for text in first_wrong_gradients(s.thing, variants):
        yield text.replace("the gradient on input", "the gradient on the prediction")


def _takes_mask(method: Callable[..., Any]) -> bool:
    found = inspect.signature(method).parameters.values()
    return any(p.name == "mask" or p.kind is p.VAR_KEYWORD for p in found)


def number(s: TargetSubject) -> Iterator[str]:
    """Look at what forward returns, and at the kind of the gradient."""
    loss = s.made()
    value = loss.forward(s.prediction, s.target)
    if not isinstance(value, float):
        yield f"forward should return a float, and returns {type(value).__name__}: float(...)"
    grad = loss.backward()
    twice = mapped((s.prediction, s.target), lambda array: np.concatenate([array, array]))
    double = s.made().forward(*twice)
    if not same(value, double):
        yield (
            f"the batch has the loss {float(value):.6g}, and twice the same rows "
            f"{float(double):.6g}: return the mean over the positions, not their sum"
        )
    if np.shape(grad) != s.prediction.shape:
        yield f"backward should return the shape {s.prediction.shape}, got {np.shape(grad)}"
    loss.forward(s.prediction.astype(np.float32), s.target)
    if np.asarray(loss.backward()).dtype != np.float32:
        yield Advice(
            "for a float32 prediction, backward gives float64, which every layer casts back: keep "
            "the prediction's dtype (a NumPy integer such as mask.sum() makes float64; int(...))"
        )


def padding(s: TargetSubject) -> Iterator[str]:
    """Put anything into the padding, and take the valid positions alone."""
    mask, name = s.masked(), "forward" if s.is_loss else "update"
    if not _takes_mask(getattr(s.thing, name)):
        yield (
            f"{name} takes no mask, so a Trainer cannot hand one on: write {name}(self, "
            f"prediction, target, mask=None), and average over the positions where it is True"
        )
        return
    one, two = (s.results(*s.padded(mask, filling), mask=mask) for filling in (0.5, np.nan))
    if not equal(one, two):
        yield (
            "what stands in the padding has an influence: take prediction[mask], target[mask], or "
            "replace it first, np.where(mask[..., None], prediction, 0) (a product with 0 keeps "
            "NaN)"
        )
    everywhere = s.results(s.prediction, s.target, mask=np.ones_like(mask))
    if not same(everywhere[0], s.results(s.prediction, s.target)[0]):
        yield "a mask that is True everywhere gives another value than no mask"
    if not s.is_loss:
        return
    if np.any(np.asarray(one[1])[~mask]):
        yield "backward gives masked positions a gradient that is not zero"
    alone = s.made().forward(s.prediction[mask], s.target[mask])
    if not same(alone, one[0]):
        yield (
            f"with a mask the loss is {float(one[0]):.6g}, over the valid positions alone "
            f"{float(alone):.6g}: it should be their mean, so divide by mask.sum()"
        )


def order_of_calls(s: TargetSubject) -> Iterator[str]:
    """Call backward before forward, and forward on other numbers in between."""
    accepted = "backward before forward is accepted: raise a RuntimeError that says so"
    yield from out_of_order(s.made().backward, "backward before forward", accepted)
    _, expected = s.results(s.prediction, s.target)
    loss = s.made()
    loss.forward(*s.others())
    loss.forward(s.prediction, s.target)
    first = loss.backward()
    if not same(expected, first):
        yield "an earlier forward changes what backward gives: it belongs to the latest"
    if not same(first, loss.backward()):
        yield "a second backward after one forward gives other numbers: leave what forward kept"
    kept = np.copy(first)
    loss.forward(*s.others())
    loss.backward()
    if not equal(kept, first):
        yield "the gradient of a call is changed by the next one: return a new array each time"


def broadcasting(s: TargetSubject) -> Iterator[str]:
    """Give a target of another shape: nothing may be broadcast in silence."""
    if not isinstance(s.target, np.ndarray) or s.target.shape != s.prediction.shape:
        raise NotApplicableError("the target does not have the prediction's shape")
    for what, target in (
        ("without its last axis", s.target[..., 0]),
        ("with one feature only", s.target[..., :1]),
    ):
        if target.shape != s.target.shape:
            text = f"a target {what}, {target.shape} for {s.prediction.shape},"
            yield from refused(partial(s.made().forward, s.prediction, target), text, list)


LOSS = [gradients, number, padding, order_of_calls, broadcasting]
