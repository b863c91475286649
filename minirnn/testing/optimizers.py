"""The contract of an optimizer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minirnn.testing.arrays import equal, same
from minirnn.testing.report import ContractReport, NotApplicableError, run
from minirnn.testing.subject import OptimizerSubject, values_of

__all__ = ["check_optimizer"]


def check_optimizer(thing: Any) -> ContractReport:
    """Check the contract of an optimizer."""
    subject = OptimizerSubject(thing)
    return run(subject.thing, subject, OPTIMIZER_CHECKS)


def updates(s: OptimizerSubject) -> Iterator[str]:
    """Take a step, and look whether every parameter moves, in its place and downhill."""
    optimizer = s.made()
    grads, before = s.fill(optimizer, 1), values_of(optimizer)
    try:
        optimizer.step()
    except ValueError as error:
        yield (
            f"a step raises {type(error).__name__}: {error}. The gradient is read-only: write "
            f"new = grad * ..., not grad *= ..."
        )
        return
    after = values_of(optimizer)
    if equal(before, after):
        yield (
            "a step changes nothing: update has to write into the array it is given, "
            "value -= learning_rate * grad; `value = value - ...` makes a new one, and what is "
            "returned is not looked at"
        )
        return
    for k, (old, new) in enumerate(zip(before, after, strict=True)):
        if equal(old, new):
            yield f"a step leaves parameter {k} {old.shape} as it was, although it has a gradient"
    uphill = sum(float(np.vdot(b - a, g)) for a, b, g in zip(before, after, grads, strict=True))
    if uphill > 0:
        yield "the first step goes uphill: the gradient is to be subtracted, value -= ..."
    if not equal([parameter.grad for parameter in optimizer.parameters], grads):
        yield "a step changes the gradients: work on a copy, only zero_grad clears them"
    if any(a.dtype != b.dtype for a, b in zip(before, after, strict=True)):
        yield "a step changes the dtype of a parameter"
    kept = [parameter.value for parameter in optimizer.parameters]
    s.fill(optimizer, 2)
    optimizer.step()
    if any(
        not np.shares_memory(a, p.value) for a, p in zip(kept, optimizer.parameters, strict=True)
    ):
        yield "a step gives a parameter new storage: write into the old, value[...] = ..."


def slots_change(s: OptimizerSubject) -> Iterator[str]:
    """Take the same step twice; what is kept in slots has to be changed in place, too."""
    optimizer = s.made()
    for seed in (1, 2, 3):
        s.fill(optimizer, seed)
        optimizer.step()
    for k, slots in enumerate(optimizer.state_dict().get("slots", [])):
        for name, vector in getattr(slots, "items", dict)():
            if not np.any(vector):
                yield (
                    f"the slot {name!r} (of dtype {k}) is still zero after three steps: change it "
                    f"in place, slot += ...; `slot = ...` makes a new array that is forgotten"
                )


def zero_gradient(s: OptimizerSubject) -> Iterator[str]:
    """Take a first step with a gradient of zeros."""
    optimizer = s.made()
    if getattr(optimizer, "weight_decay", 0):
        optimizer.weight_decay = 0.0
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


def clearing(s: OptimizerSubject) -> Iterator[str]:
    """Clear the gradients."""
    optimizer = s.made()
    s.fill(optimizer, 1)
    optimizer.zero_grad()
    if any(np.any(parameter.grad) for parameter in optimizer.parameters):
        yield "zero_grad leaves gradients that are not zero"


def resume(s: OptimizerSubject) -> Iterator[str]:
    """Stop after three steps, load the state into another one, and go on with both."""
    optimizer, other = s.made(), s.made()
    for seed in (1, 2, 3):
        s.fill(optimizer, seed)
        optimizer.step()
    state = optimizer.state_dict()
    frozen = copy.deepcopy(state)
    for mine, theirs in zip(other.parameters, optimizer.parameters, strict=True):
        mine.value = theirs.value
    other.load_state_dict(state)
    for seed in (4, 5):
        for one in (optimizer, other):
            s.fill(one, seed)
            one.step()
    if not equal(values_of(optimizer), values_of(other)):
        yield (
            "after load_state_dict(state_dict()) it goes on with other values: keep what a step "
            "leaves for the next in slots[...], not on self"
        )
    if not equal(frozen, state):
        yield "later steps change what state_dict returned: return copies"


def refusals(s: OptimizerSubject) -> Iterator[str]:
    """Load the state of another optimizer: refused, and nothing changed."""
    optimizer = s.made()
    s.fill(optimizer, 1)
    optimizer.step()
    before = copy.deepcopy(optimizer.state_dict())
    foreign = copy.deepcopy(before)
    foreign["optimizer"] = "Somebody"
    for what, state in (("another class", foreign), ("nothing in it", {}), ("no dictionary", 3)):
        try:
            optimizer.load_state_dict(state)
        except (ValueError, TypeError):
            if not equal(before, optimizer.state_dict()):
                yield f"a state with {what} is refused, but has changed the optimizer by then"
        else:
            yield f"load_state_dict accepts a state with {what}: raise a ValueError"
            return


def clipping(s: OptimizerSubject) -> Iterator[str]:
    """Clip the norm of the gradient, and compare with a gradient that is small enough."""
    if not hasattr(s.thing, "clip_norm"):
        raise NotApplicableError("it has no clip_norm")
    clipped, small = s.made(), s.made()
    clipped.clip_norm, small.clip_norm = 0.5, None
    clipped.clip_value = small.clip_value = None
    s.fill(clipped, 1)
    grads = s.fill(small, 1)
    norm = np.sqrt(sum(float((grad.astype(float) ** 2).sum()) for grad in grads))
    for parameter, grad in zip(small.parameters, grads, strict=True):
        parameter.grad = grad * (0.5 / norm)
    for one in (clipped, small):
        one.step()
    if not same(values_of(clipped), values_of(small)):
        yield (
            "clip_norm=0.5 gives another step than a gradient of norm 0.5: use the gradient that "
            "update is given, it is clipped already"
        )


def decay(s: OptimizerSubject) -> Iterator[str]:
    """Decay the weights, with a gradient of zeros; parameters with decay=False stay."""
    if not hasattr(s.thing, "weight_decay"):
        raise NotApplicableError("it has no weight_decay")
    optimizer = s.made()
    optimizer.weight_decay = 0.1
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
    steps: list[int] = []

    def rate(step: int) -> float:
        steps.append(step)
        return 0.01 / (step + 1)

    optimizer = s.made()
    optimizer.learning_rate = rate
    for seed in (1, 2, 3):
        s.fill(optimizer, seed)
        optimizer.step()
    if sorted(set(steps)) != [0, 1, 2]:
        yield f"three steps ask the schedule for the steps {steps}: it should be asked for 0, 1, 2"
    none = s.made()
    none.learning_rate = lambda step: 0.0
    s.fill(none, 1)
    before = values_of(none)
    none.weight_decay = 0.0
    none.step()
    if not same(before, values_of(none)):
        yield "with a learning rate of 0 the parameters move: use the rate that update is given"


def copies(s: OptimizerSubject) -> Iterator[str]:
    """Copy it in the middle; a copy is an optimizer of its own."""
    optimizer = s.made()
    s.fill(optimizer, 1)
    optimizer.step()
    twin = copy.deepcopy(optimizer)
    before = values_of(optimizer)
    s.fill(twin, 2)
    twin.step()
    if not equal(before, values_of(optimizer)):
        yield "a step of a deep copy moves the parameters of the original"
    s.fill(optimizer, 2)
    optimizer.step()
    if not equal(values_of(optimizer), values_of(twin)):
        yield "a deep copy goes on with other values"


OPTIMIZER_CHECKS: dict[str, Callable[[OptimizerSubject], Iterator[str]]] = {
    "updates": updates,
    "slots": slots_change,
    "zero gradient": zero_gradient,
    "zero_grad": clearing,
    "resume": resume,
    "refused states": refusals,
    "clipping": clipping,
    "weight decay": decay,
    "schedule": schedule,
    "copies": copies,
}
