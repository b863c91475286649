"""The contract of a layer: the order of calls, modes, copies, what is saved, what is refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from minirnn.core import Layer
from minirnn.testing.arrays import changed, equal, same
from minirnn.testing.findings import out_of_order, refused
from minirnn.testing.report import Advice
from minirnn.testing.subject import LayerSubject, draw, gradients_of, importable, snapshot


def latest_forward(s: LayerSubject) -> Iterator[str]:
    """Run forward on other inputs first, and on others in between by predict."""
    expected = s.results(s.made(), s.inputs)
    if not same(expected, s.results(s.made(), s.inputs)):
        yield (
            "two copies of the layer give different numbers: keep a numpy.random.Generator as "
            "self.rng, and draw from nothing else"
        )
        return
    if s.remembers():
        yield "an earlier call changes the results: let each forward replace all that it keeps"
    layer = s.made()
    y = layer.forward(*s.inputs)
    if len(s.inputs) == 1 or type(layer).predict is not Layer.predict:  # which takes one input
        layer.predict(*s.others())
    if not same(expected, {"the output": y} | s.after(layer, draw(y))):
        yield (
            "predict between forward and backward changes what backward gives: do not override "
            "predict, it runs a copy of the layer"
        )
    call = partial(s.made().backward, draw(y))
    accepted = Advice("backward before forward is accepted: raise a RuntimeError that says so")
    yield from out_of_order(call, "backward before forward", accepted)


def gradients_add(s: LayerSubject) -> Iterator[str]:
    """Go back twice, and clear."""
    layer = s.made()
    y = s.results(layer, s.inputs)["the output"]
    once = gradients_of(layer)
    try:
        layer.backward(draw(y))
    except Exception as error:
        yield Advice(f"a second backward after one forward raises {type(error).__name__}")
    else:
        for name, grad in gradients_of(layer).items():
            if not same(grad, 2 * once[name]):
                yield (
                    f"{name}: two backwards should give the gradient twice: write .grad += ..., "
                    f"not = ..., and leave what forward kept"
                )
    layer.zero_grad()
    if any(np.any(grad) for grad in gradients_of(layer).values()):
        yield "zero_grad leaves gradients that are not zero"
    fast = s.made()
    fast.forward(*s.inputs)
    fast.backward_parameters(draw(y))
    if not same(once, gradients_of(fast)):
        yield "backward_parameters adds other gradients than backward"


def train_and_eval(s: LayerSubject) -> Iterator[str]:
    """Switch to evaluation and back."""
    layer = s.made()
    if layer.eval() is not layer or layer.train() is not layer:
        yield "train() and eval() should return the layer"
    layer.eval()
    for path, one in layer.named_layers():
        if one.training:
            yield f"eval() does not reach {path or 'the layer itself'}"
    first = layer.forward(*s.inputs)
    layer.reset_state()
    if not same(first, layer.forward(*s.inputs)):
        yield "in evaluation mode, two calls on the same numbers differ"
    layer.train()
    for path, one in layer.named_layers():
        if not one.training:
            yield f"train() does not reach {path or 'the layer itself'}"


def copies(s: LayerSubject) -> Iterator[str]:
    """Copy and pickle the layer; a copy is a layer of its own."""
    layer = s.made()
    twin = copy.deepcopy(layer)
    y = layer.forward(*s.inputs)
    if not same(y, twin.forward(*s.inputs)):
        yield "a deep copy gives other numbers"
    expected = s.results(s.made(), s.inputs)
    twin.forward(*s.others())
    if not same(expected, {"the output": y} | s.after(layer, draw(y))):
        yield (
            "the forward of another layer of this class changes what backward gives: keep what "
            "backward needs on self, not on the class or in a module"
        )
    layer.zero_grad()
    before = snapshot(layer)
    twin.forward(*s.inputs)
    twin.backward(draw(y))
    for parameter in twin.parameters():
        parameter.value += 1
    for name in changed(before, snapshot(layer)):
        yield f"a deep copy is not a layer of its own: using it changes {name} of the original"
    if not importable(type(layer)):
        return
    try:
        again = pickle.loads(pickle.dumps(s.made()))
    except Exception as error:
        yield f"pickle fails ({type(error).__name__}: {error}): keep no function or file on self"
        return
    if not same(y, again.forward(*s.inputs)):
        yield "a pickled copy gives other numbers"


def state_dict(s: LayerSubject) -> Iterator[str]:
    """Save, change everything, load."""
    layer = s.made()
    state = layer.state_dict()
    names = [name for name, _ in layer.named_parameters()]
    if list(state) != names:
        yield f"state_dict has {list(state)}, the parameters are {names}"
        return
    y = layer.forward(*s.inputs)
    if [name for name, _ in layer.named_parameters()] != names:
        yield (
            "forward makes parameters: an optimizer that was made before does not train them; make "
            "them in __init__"
        )
    other = s.made()
    for parameter in other.parameters():
        parameter.value = parameter.value + 1
    other.load_state_dict(state)
    if not same(y, other.forward(*s.inputs)):
        yield (
            "load_state_dict does not bring the layer back: is there an array that is learned, and "
            "no Parameter?"
        )
    for array in state.values():
        array += 1
    if any(np.shares_memory(a, p.value) for a in state.values() for p in layer.parameters()):
        yield "state_dict hands out the parameters themselves: return copies"
    if names:
        wrongs = {
            "a missing name": {name: state[name] for name in names[1:]},
            "an unexpected name": state | {"unknown": np.zeros(1)},
            "another shape": state | {names[0]: np.zeros((*state[names[0]].shape, 2))},
        }
        for what, wrong in wrongs.items():
            call = partial(layer.load_state_dict, wrong)
            yield from _refused(layer, call, f"load_state_dict with {what}", str)


def refused_calls(s: LayerSubject) -> Iterator[str]:
    """Call it wrongly: a refused call changes nothing."""
    layer = s.made()
    expected = s.results(layer, s.inputs)
    y = expected["the output"]
    for what, shape in {
        "one feature too many": (*y.shape[:-1], y.shape[-1] + 1),
        "one row too many": (y.shape[0] + 1, *y.shape[1:]),
        "one axis only, which would be broadcast": y.shape[-1:],
    }.items():
        text = f"a gradient with {what} {shape} for {y.shape}"
        yield from _refused(layer, partial(layer.backward, np.ones(shape)), text)
    layer, x = s.made(), s.x
    y = layer.forward(*s.inputs)
    if x is not None and x.dtype.kind == "f" and layer.parameters():
        before = snapshot(layer)
        wider = np.ones((*x.shape[:-1], x.shape[-1] + 1))
        text = f"an input with one feature too many {wider.shape}"
        yield from _refused(layer, partial(layer.forward, wider), text)
        unchanged = equal(before, snapshot(layer))
        try:
            belongs = same(expected, {"the output": y} | s.after(layer, draw(y)))
        except Exception:  # it kept some of what it refused
            belongs = False
        if unchanged and not belongs:
            yield Advice(
                "after a refused forward, backward no longer belongs to the forward before: look "
                "at the input before anything is kept"
            )
    if s.thing.uses_mask and s.has_time:
        layer, x = s.made(), s.sequence()
        layer.forward(x)
        shape = x.shape[1], x.shape[0] + (x.shape[0] == x.shape[1])
        for what, mask in {
            f"a mask of shape {shape}": np.ones(shape, bool),
            "a mask of integers": np.ones(x.shape[:2], int),
        }.items():
            yield from _refused(layer, partial(layer.forward, x, mask=mask), what)


def _refused(
    layer: Layer, call: Callable[[], Any], what: str, accepted: Any = Advice
) -> Iterator[str]:
    """Yield what is wrong about a call that should be refused; put back what it changed."""
    before = snapshot(layer)
    yield from refused(call, what, lambda: changed(before, snapshot(layer)), accepted)
    for name, parameter in layer.named_parameters():
        parameter.value = before[name]
        parameter.grad = before[f"the gradient of {name}"]
