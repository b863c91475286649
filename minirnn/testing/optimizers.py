"""The contract of an optimizer."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from minirnn.core import Parameter
from minirnn.testing.arrays import changed, equal, same
from minirnn.testing.findings import refused
from minirnn.testing.report import NotApplicableError
from minirnn.typing import Array


class OptimizerSubject:
    """An optimizer, or the class of one, and copies of it over parameters of their own."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing
        if isinstance(thing, type):
            rng = np.random.default_rng(0)
            weights = Parameter(rng.standard_normal((3, 4)))
            bias = Parameter(rng.standard_normal(4), decay=False)
            self.thing = thing([weights, bias], 0.01)

    def made(self, *seeds: int, **settings: Any) -> Any:
        """Return a copy with these settings, after a step with random gradients for each seed."""
        optimizer = copy.deepcopy(self.thing)
        optimizer.zero_grad()
        for name, value in settings.items():
            setattr(optimizer, name, value)
        self.steps(optimizer, *seeds)
        return optimizer

    def fill(self, optimizer: Any, seed: int) -> list[Array]:
        """Give every parameter a random gradient, and return them."""
        rng = np.random.default_rng(seed)
        for parameter in optimizer.parameters:
            parameter.grad = rng.standard_normal(parameter.shape)
        return [parameter.grad.copy() for parameter in optimizer.parameters]

    def steps(self, optimizer: Any, *seeds: int) -> None:
        """Take a step with random gradients for each seed."""
        for seed in seeds:
            self.fill(optimizer, seed)
            optimizer.step()


def values_of(optimizer: Any) -> list[Array]:
    """Return copies of the values of all parameters."""
    return [parameter.value.copy() for parameter in optimizer.parameters]


def updates(s: OptimizerSubject) -> Iterator[str]:
    """Take a step, and look whether every parameter moves, downhill, and every slot with it."""
    optimizer = s.made()
    grads, before = s.fill(optimizer, 1), values_of(optimizer)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            optimizer.step()
    except ValueError as error:
        yield (
            f"a step raises {type(error).__name__}: {error}. The gradient is read-only: write "
            f"new = grad * ..., not grad *= ..."
        )
        return
    yield from (str(warning.message) for warning in warned)
    after = values_of(optimizer)
    for k, (old, new) in enumerate(zip(before, after, strict=True)):
        if equal(old, new):
            yield f"a step leaves parameter {k} {old.shape} as it was, although it has a gradient"
    uphill = sum(float(np.vdot(b - a, g)) for a, b, g in zip(before, after, grads, strict=True))
    if uphill > 0:
        yield "the first step goes uphill: the gradient is to be subtracted, value -= ..."


def zero_gradient(s: OptimizerSubject) -> Iterator[str]:
    """Take a first step with a gradient of zeros."""
    optimizer = s.made(weight_decay=0.0)
    before = values_of(optimizer)
    optimizer.step()
    after = values_of(optimizer)
    if not all(np.isfinite(array).all() for array in after):
        yield (
            "a gradient of zeros makes values NaN or infinite: divide by (root + epsilon), with a "
            "small epsilon"
        )
    elif not same(before, after):
        yield "a first step with a gradient of zeros moves the parameters"


def resume(s: OptimizerSubject) -> Iterator[str]:
    """Stop after three steps, load the state into another one, and go on with both."""
    optimizer, other = s.made(1, 2, 3), s.made()
    state = optimizer.state_dict()
    frozen = copy.deepcopy(state)
    for mine, theirs in zip(other.parameters, optimizer.parameters, strict=True):
        mine.value = theirs.value
    other.load_state_dict(state)
    s.steps(optimizer, 4, 5)
    s.steps(other, 4, 5)
    if not equal(values_of(optimizer), values_of(other)):
        yield (
            "after load_state_dict(state_dict()) it goes on with other values: keep what a step "
            "leaves for the next in slots[...], not on self"
        )
    if not equal(frozen, state):
        yield "later steps change what state_dict returned: return copies"


def refused_states(s: OptimizerSubject) -> Iterator[str]:
    """Load the state of another optimizer: refused, and nothing changed."""
    optimizer = s.made(1)
    before = copy.deepcopy(optimizer.state_dict())
    foreign = copy.deepcopy(before) | {"optimizer": "Somebody"}
    for what, state in (("another class", foreign), ("nothing in it", {}), ("no dictionary", 3)):
        load = partial(optimizer.load_state_dict, state)
        text = f"load_state_dict of a state with {what}"
        yield from refused(load, text, lambda: changed(before, optimizer.state_dict()), str)


def clipping(s: OptimizerSubject) -> Iterator[str]:
    """Clip the norm of the gradient, and compare with a gradient that is small enough."""
    if not hasattr(s.thing, "clip_norm"):
        raise NotApplicableError("it has no clip_norm")
    clipped = s.made(1, clip_norm=0.5, clip_value=None)
    small = s.made(clip_norm=None, clip_value=None)
    grads = s.fill(small, 1)
    norm = np.sqrt(sum(float((grad.astype(float) ** 2).sum()) for grad in grads))
    for parameter, grad in zip(small.parameters, grads, strict=True):
        parameter.grad = grad * (0.5 / norm)
    small.step()
    if not same(values_of(clipped), values_of(small)):
        yield (
            "clip_norm=0.5 gives another step than a gradient of norm 0.5: use the gradient that "
            "update is given, it is clipped already"
        )


def weight_decay(s: OptimizerSubject) -> Iterator[str]:
    """Decay the weights, with a gradient of zeros; parameters with decay=False stay."""
    if not hasattr(s.thing, "weight_decay"):
        raise NotApplicableError("it has no weight_decay")
    optimizer = s.made(weight_decay=0.1)
    before = values_of(optimizer)
    optimizer.step()
    for k, (old, parameter) in enumerate(zip(before, optimizer.parameters, strict=True)):
        moved = not equal(old, parameter.value)
        if moved and not parameter.decay:
            yield f"weight decay moves parameter {k} {old.shape}, which has decay=False"
        if not moved and parameter.decay and np.any(old):
            yield f"weight decay leaves parameter {k} {old.shape} as it was"


def schedule(s: OptimizerSubject) -> Iterator[str]:
    """Give a schedule in the place of the rate."""
    asked: list[int] = []

    def rate(step: int) -> float:
        asked.append(step)
        return 0.01 / (step + 1)

    s.made(1, 2, 3, learning_rate=rate)
    if sorted(set(asked)) != [0, 1, 2]:
        yield f"three steps ask the schedule for the steps {asked}: it should be asked for 0, 1, 2"
    still = s.made(1, learning_rate=lambda step: 0.0, weight_decay=0.0)
    if not same(values_of(s.made()), values_of(still)):
        yield "with a learning rate of 0 the parameters move: use the rate that update is given"


OPTIMIZER = [
    updates,
    zero_gradient,
    resume,
    refused_states,
    clipping,
    weight_decay,
    schedule,
]
