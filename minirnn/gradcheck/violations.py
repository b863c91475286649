"""The contract of forward and backward, violated or kept, whatever the numbers are.

Each function runs the checked function, measures one thing, and returns a diagnosis or None.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from minirnn import engine
from minirnn.gradcheck.arrays import changed, copies, difference, same
from minirnn.gradcheck.function import CheckedFunction, RefusedError
from minirnn.gradcheck.kinds import CellFunction
from minirnn.gradcheck.report import Diagnosis
from minirnn.recurrent.recurrent import Recurrent
from minirnn.typing import Array


def violations(function: CheckedFunction) -> list[Diagnosis]:
    """Return the rules that are broken even where every number is right."""
    found, given = in_place(function), function.given
    for experiment in (forward_again, backward_again):
        # such a layer may refuse other inputs, or a second backward
        with suppress(RefusedError):
            found = found or experiment(function)
        function.given = given
    function.restart()
    return found


def in_place(function: CheckedFunction) -> list[Diagnosis]:
    """Compare everything that is handed over with what it was before, after each of the calls."""
    function.restart()
    values = {name: parameter.value for name, parameter in function.parameters.items()}
    seen, before = dict(values), copies(function.given | values)
    found: dict[str, Diagnosis] = {}

    def look(call: str) -> None:
        for name, by in changed(function.handed | seen, before).items():
            text = (
                f"looks like an array changed in place: {call} alters it by up to {by:.2g}. It "
                f"belongs to the caller, so work on a copy (`a = a * b` makes a new array, "
                f"`a *= b` and `a[...] = b` write into the old one)"
            )
            found.setdefault(name, Diagnosis("in place", (name,), text))

    outputs = _named(function.forward())
    look("forward")
    seen |= outputs
    before |= copies(outputs)
    function.go_back(function.weights)
    incoming = [name for name in function.handed if name.startswith("grad")]
    before |= dict(zip(incoming, function.weights, strict=False))
    look("backward")
    for name, value in values.items():
        value[...] = before[name]
    return [*found.values()]


def _others(function: CheckedFunction) -> dict[str, Array]:
    """Return other inputs of the same shapes: rows in the opposite order, floats halved."""
    other = {name: array for name, array in function.given.items() if array.ndim}
    other = {name: np.ascontiguousarray(array[::-1]) for name, array in other.items()}
    for name in function.variables.keys() & other.keys():
        other[name] = other[name] * 0.5
    return other


def forward_again(function: CheckedFunction) -> list[Diagnosis]:
    """Run forward on other inputs too, which should change neither its output nor backward.

    A layer is run on other inputs before, a cell on another step after its forward. The output of
    the first of the two calls is compared with a copy; the gradients with those of one call alone,
    where the output is the same as there.
    """
    alone, is_cell = _run(function), isinstance(function, CellFunction)
    given, other = function.given, function.given | _others(function)
    function.restart()
    function.given = given if is_cell else other
    first = dict(enumerate(function.forward()))
    before, cache = copies(first), function.cache
    function.given = other if is_cell else given
    function.rewind()
    second = function.forward()
    if changed(first, before):
        text = (
            "looks like an output changed in place: forward returns the same array every time and "
            "writes into it, so the next call changes what this one returned. Return a new array"
        )
        return [Diagnosis("in place", ("output",), text)]
    if is_cell:
        function.given, function.cache, second = given, cache, [*first.values()]
    if not all(np.array_equal(y, alone[name], True) for name, y in _named(second).items()):
        return []  # it carries something from call to call, on purpose
    gradients = function.backward(function.weights)
    wrong = tuple(name for name in gradients if not same(alone[name], gradients[name]))
    if not wrong or not all(np.isfinite(alone[name]).all() for name in gradients):
        return []
    text = "an earlier forward changes what backward gives: replace all that the one before kept"
    if is_cell:
        text = (
            "a later forward changes what backward gives, although it is handed the same cache. "
            "What backward needs goes into the cache that forward returns, not on self"
        )
    return [Diagnosis("stale cache", wrong, f"looks like a stale cache: {text}")]


def backward_again(function: CheckedFunction) -> list[Diagnosis]:
    """Run backward twice after one forward: the second should give the same once more.

    Evidence: the two results differ, and an array that forward kept has changed in between. (Only
    both together count: a layer may write into a scratch array of its own.)
    """
    function.fresh_outputs()
    arrays = function.kept_arrays()
    before = copies(arrays)
    first = function.backward(function.weights)
    spoilt = changed(arrays, before)
    second = function.backward(function.weights) if spoilt else first
    finite = all(np.isfinite(gradient).all() for gradient in first.values())
    if not finite or all(same(first[name], second[name]) for name in first):
        return []
    text = (
        "looks like a cache changed in place: backward writes into what forward kept, so a second "
        "backward gives something else. Work on a copy"
    )
    return [Diagnosis("in place", tuple(spoilt), text)]


def overwritten(function: CheckedFunction) -> list[Diagnosis]:
    """Look for gradients of parameters that are assigned to, not added to.

    Evidence: elements come out the same, whatever number the gradient began at.
    """
    zero = function.gradients()
    start = 1 + max(float(np.abs(g[np.isfinite(g)]).max(initial=0.0)) for g in zero.values())
    for parameter in function.parameters.values():
        parameter.grad = np.full(parameter.shape, start)
    function.fresh_outputs()
    other = function.backward(function.weights, clear=False)
    apart = {name: np.abs(other[name] - zero[name]) for name in function.parameters}
    names = tuple(name for name, gap in apart.items() if (gap < 1e-6 * start).any())
    text = (
        "looks like a gradient overwritten instead of added to: it comes out the same whatever it "
        "began with; write `p.grad += ...`, not `p.grad = ...`"
    )
    return [Diagnosis("overwritten", names, text)] if names else []


def beside_the_loop(function: CheckedFunction) -> tuple[list[str], list[Diagnosis]]:
    """Run once as the layer runs, once in the time loop, and compare outputs and gradients.

    Returns notes, on what runs each recurrent layer and how far it is from the loop; and a
    diagnosis, if they differ by more than rounding: engines sum in another order.
    """
    layers = {k: part for k, part in function.parts.items() if isinstance(part, Recurrent)}
    fast = {k: layer.engine for k, layer in layers.items() if "loop" not in layer.engine}
    if not fast:
        return [], []
    notes = [f"{path or 'it'} runs in {words}" for path, words in fast.items()]
    ours = _run(function)
    with engine.use("off"):
        loop = _run(function)
    gaps = {name: difference(ours[name], loop[name]) for name in loop}
    worst = max(gaps.values())
    names = tuple(name for name, gap in gaps.items() if gap > 1e-10)
    if not names:
        return [*notes, f"outputs and gradients are those of the time loop, to {worst:.0e}"], []
    text = (
        f"looks like an engine that gives other numbers than the time loop, by {worst:.2g}: "
        f"{notes[0]}. With engine='off' the loop runs; please report it"
    )
    return notes, [Diagnosis("engine", names, text)]


def _run(function: CheckedFunction) -> dict[str, Array]:
    """Return copies of the outputs, and the gradients."""
    outputs = [output.astype(float) for output in function.fresh_outputs()]
    return _named(outputs) | function.backward(function.weights)


def _named(outputs: list[Array]) -> dict[str, Array]:
    names = ["output", *(f"new state[{k}]" for k in range(len(outputs) - 1))]
    return dict(zip(names, outputs, strict=True))
