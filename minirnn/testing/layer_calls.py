"""The contract of a layer: the order of calls, what is added, steps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from minirnn.core import Layer
from minirnn.testing.arrays import same
from minirnn.testing.findings import out_of_order
from minirnn.testing.report import Advice, NotApplicableError
from minirnn.testing.subject import LayerSubject, both, draw, gradients_of

__all__ = ["gradients_add", "latest_forward", "steps"]


def latest_forward(s: LayerSubject) -> Iterator[str]:
    """Run forward on other inputs first, and on others in between by predict."""
    expected = both(s.made(), s.inputs)
    if not same(expected, both(s.made(), s.inputs)):
        yield (
            "two copies of the layer give different numbers: keep a numpy.random.Generator as "
            "self.rng, and draw from nothing else"
        )
        return
    reference, layer = both(_quiet(s), s.inputs), _quiet(s)
    both(layer, s.others())
    layer.zero_grad()
    layer.reset_state()
    if not same(reference, both(layer, s.inputs)):
        yield "an earlier call changes the results: let each forward replace all that it keeps"
    layer = s.made()
    y = layer.forward(*s.inputs)
    if len(s.inputs) == 1 or type(layer).predict is not Layer.predict:  # which takes one input
        layer.predict(*s.others())
    grad_x = layer.backward(draw(y))
    if not same(expected[1:], (grad_x, gradients_of(layer))):
        yield (
            "predict between forward and backward changes what backward gives: do not override "
            "predict, it runs a copy of the layer"
        )
    call = partial(s.made().backward, draw(reference[0]))
    accepted = Advice("backward before forward is accepted: raise a RuntimeError that says so")
    yield from out_of_order(call, "backward before forward", accepted)


def _quiet(s: LayerSubject) -> Layer:
    """Return a copy; one that draws random numbers does not, else the second call draws others."""
    layer: Layer = s.made()
    return layer.eval() if any("rng" in vars(one) for _, one in layer.named_layers()) else layer


def gradients_add(s: LayerSubject) -> Iterator[str]:
    """Begin with gradients that are not zero, go back twice, and clear."""
    layer = s.made()
    y, _, once = both(layer, s.inputs)
    other = s.made()
    for parameter in other.parameters():
        parameter.grad = np.full(parameter.shape, 3.0)
    both(other, s.inputs)
    added = gradients_of(other)
    assigned = [name for name, grad in added.items() if not same(grad, once[name] + 3)]
    for name in assigned:
        yield f"{name}: backward should add to the gradient: write .grad += ..., not = ..."
    try:
        layer.backward(draw(y))
    except Exception as error:
        yield Advice(f"a second backward after one forward raises {type(error).__name__}")
    else:
        for name, grad in gradients_of(layer).items():
            if name not in assigned and not same(grad, 2 * once[name]):
                yield f"{name}: a second backward after one forward gives other numbers"
    layer.zero_grad()
    if any(np.any(grad) for grad in gradients_of(layer).values()):
        yield "zero_grad leaves gradients that are not zero"
    fast = s.made()
    fast.forward(*s.inputs)
    fast.backward_parameters(draw(y))
    if not same(once, gradients_of(fast)):
        yield "backward_parameters adds other gradients than backward"


def steps(s: LayerSubject) -> Iterator[str]:
    """Run one step after the other, and compare with forward over the sequence."""
    x = s.sequence()
    layer = s.made().eval()
    layer.reset_state()
    try:
        outputs = [layer.step(x[:, t]) for t in range(x.shape[1])]
    except (ValueError, NotImplementedError) as error:
        raise NotApplicableError(f"step refuses: {error}") from None
    for t, y_t in enumerate(outputs):
        full = s.made().eval()
        full.reset_state()
        y = full.forward(x[:, : t + 1])
        expected = y[:, -1] if s.layer.keeps_time and y.ndim > 2 else y
        if not same(np.asarray(y_t), expected):
            yield (
                f"step {t} gives other numbers than forward over the steps up to it: a layer that "
                f"remembers, or looks at several steps, writes a step(x_t) of its own (or refuses "
                f"it with a ValueError) and a reset_state"
            )
            return
    layer.reset_state()
    if not same(outputs, [layer.step(x[:, t]) for t in range(x.shape[1])]):
        yield "after reset_state, the same steps give other numbers: it should forget everything"
