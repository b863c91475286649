"""Rules that a forward and a backward keep or break, whatever their numbers are.

Each function runs the probe, measures one thing, and returns a diagnosis or None.
"""

from __future__ import annotations

import numpy as np

from minirnn.gradcheck.arrays import arrays_in, same
from minirnn.gradcheck.probe import Probe
from minirnn.gradcheck.probes import CellProbe
from minirnn.gradcheck.report import Diagnosis
from minirnn.typing import Array

__all__ = ["breaches", "overwritten"]


def breaches(probe: Probe) -> list[Diagnosis]:
    """Return the rules that are broken even where every number is right."""
    found = in_place(probe)
    if not found:
        one = reused_output(probe) or spoilt_cache(probe) or stale_cache(probe)
        found += [one] if one else []
    probe.restart()
    return found


def in_place(probe: Probe) -> list[Diagnosis]:
    """Compare everything that is handed over with what it was before.

    Evidence: copies of inputs, states, mask, target, parameters, outputs and incoming gradients,
    taken before the calls and compared after each.
    """
    if not probe.weights:
        probe()
    probe.restart()
    values = {name: parameter.value.copy() for name, parameter in probe.parameters.items()}
    outputs = [np.asarray(output) for output in probe.outputs()]
    guilty: dict[str, tuple[str, float]] = {}
    _add_changed(guilty, "forward", probe.handed, probe.given)
    _add_changed(guilty, "forward", _values(probe), values)
    watched = {"output": outputs[0]} | {f"new state[{k}]": a for k, a in enumerate(outputs[1:])}
    before = {name: array.copy() for name, array in (probe.handed | watched).items()}
    probe.try_backward(probe.weights)
    names = ["grad", *(f"grad_state[{k}]" for k in range(len(outputs) - 1))]
    before |= dict(zip(names, probe.weights, strict=True))
    _add_changed(guilty, "backward", probe.handed | watched, before)
    _add_changed(guilty, "backward", _values(probe), values)
    for name, value in values.items():
        probe.parameters[name].value[...] = value
    return [
        Diagnosis(
            "in place",
            (name,),
            f"looks like an array changed in place: {call} alters it by up to {by:.2g}. It belongs "
            f"to the caller, so work on a copy (`a = a * b` makes a new array, `a *= b` and "
            f"`a[...] = b` write into the old one)",
        )
        for name, (call, by) in guilty.items()
    ]


def _values(probe: Probe) -> dict[str, Array]:
    return {name: parameter.value for name, parameter in probe.parameters.items()}


def _add_changed(
    guilty: dict[str, tuple[str, float]], call: str, now: dict[str, Array], before: dict[str, Array]
) -> None:
    for name, old in before.items():
        if name in now and name not in guilty and not np.array_equal(now[name], old, True):
            gap = np.abs(now[name].astype(float) - old.astype(float))
            guilty[name] = call, float(np.nanmax(gap, initial=0.0))


def reused_output(probe: Probe) -> Diagnosis | None:
    """Run forward again, on other numbers: what the first returned should still stand there.

    Evidence: a copy of the first outputs, compared after the second call.
    """
    given = probe.given
    try:
        outputs = probe.fresh_outputs()
        before = [output.copy() for output in outputs]
        probe.given = given | _others(probe)
        probe.outputs()
    except Exception:  # such a layer may refuse the other inputs
        return None
    finally:
        probe.given = given
    if all(np.array_equal(a, b, True) for a, b in zip(outputs, before, strict=True)):
        return None
    return Diagnosis(
        "in place",
        ("output",),
        "looks like an output changed in place: forward returns the same array every time and "
        "writes into it, so the next call changes what this one returned. Return a new array",
    )


def _others(probe: Probe) -> dict[str, Array]:
    """Return other inputs of the same shapes: rows in the opposite order, floats halved."""
    other = {name: array for name, array in probe.given.items() if array.ndim}
    other = {name: np.ascontiguousarray(array[::-1]) for name, array in other.items()}
    for name in probe.variables.keys() & other.keys():
        other[name] = other[name] * 0.5
    return other


def spoilt_cache(probe: Probe) -> Diagnosis | None:
    """Run backward twice after one forward: the second should give the same once more.

    Evidence: the two results differ, and an array that forward kept has changed in between. (Only
    both together count: a layer may write into a scratch array of its own.)
    """
    try:
        probe.fresh_outputs()
        arrays = dict(item for name, v in probe.kept.items() for item in arrays_in(v, name))
        before = {name: array.copy() for name, array in arrays.items()}
        first = probe.backward(probe.weights)
        changed = [k for k, a in arrays.items() if not np.array_equal(a, before[k], True)]
        if not changed:
            return None
        second = probe.backward(probe.weights)
    except Exception:  # such a layer may refuse a second backward
        return None
    if not _finite(first) or all(same(first[name], second[name]) for name in first):
        return None
    return Diagnosis(
        "in place",
        tuple(changed),
        f"looks like a cache changed in place: backward writes into what forward kept, so a second "
        f"backward differs from the first by up to {_apart(first, second):.2g}. Where an array is "
        f"kept by two steps, the first result is wrong as well. Work on a copy",
    )


def stale_cache(probe: Probe) -> Diagnosis | None:
    """Put a forward with other inputs in between, which should make no difference.

    Evidence: a layer is run on other inputs before, a cell on another step after its forward; the
    outputs are the same as without, the gradients are not.
    """
    is_cell = isinstance(probe, CellProbe)
    other = _others(probe)
    given = probe.given
    try:
        fresh = [output.copy() for output in probe.fresh_outputs()]
        expected = probe.backward(probe.weights)
        probe.restart()
        if isinstance(probe, CellProbe):
            again, cache = [output.copy() for output in probe.outputs()], probe.cache
            probe.given = given | other
            probe.outputs()
            probe.given, probe.cache = given, cache
        else:
            probe.given = given | other
            probe.outputs()
            probe.given = given
            probe.rewind()
            again = [np.array(output) for output in probe.outputs()]
        if not all(np.array_equal(a, b, True) for a, b in zip(fresh, again, strict=True)):
            return None  # it carries something from call to call, on purpose
        gradients = probe.backward(probe.weights)
    except Exception:  # such a layer may refuse the other inputs
        return None
    finally:
        probe.given = given
    wrong = tuple(name for name in expected if not same(expected[name], gradients[name]))
    if not wrong or not _finite(expected):
        return None
    by = f"(by up to {_apart(expected, gradients):.2g})"
    if is_cell:
        text = (
            f"looks like a stale cache: a later forward changes what backward gives {by} although "
            f"it is handed the same cache. A cell runs once for each step, so what backward needs "
            f"goes into the cache that forward returns, not on self"
        )
    else:
        text = (
            f"looks like a stale cache: an earlier forward on other numbers changes what backward "
            f"gives {by}. Each forward should replace all that the one before it kept"
        )
    return Diagnosis("stale cache", wrong, text)


def _finite(gradients: dict[str, Array]) -> bool:
    return all(np.isfinite(gradient).all() for gradient in gradients.values())


def _apart(a: dict[str, Array], b: dict[str, Array]) -> float:
    return max(float(np.abs(a[name] - b[name]).max(initial=0.0)) for name in a)


def overwritten(probe: Probe) -> Diagnosis | None:
    """Look for gradients of parameters that are assigned to, not added to.

    Evidence: elements come out the same, whatever number the gradient began at.
    """
    zero = probe.gradients(start=0.0)
    start = 1 + max(float(np.abs(g[np.isfinite(g)]).max(initial=0.0)) for g in zero.values())
    other = probe.gradients(start=start)
    names = tuple(
        name
        for name in probe.parameters
        if (np.abs(other[name] + start - zero[name]) < 1e-6 * start).any()
    )
    if not names:
        return None
    return Diagnosis(
        "overwritten",
        names,
        "looks like a gradient overwritten instead of added to: it comes out the same whatever it "
        "began with; write `p.grad += ...`, not `p.grad = ...`",
    )
