"""What is wrong with a forward before any gradient is: chance, and rounding."""

from __future__ import annotations

import random

import numpy as np

from minirnn.gradcheck.arrays import changed, copies, difference, same
from minirnn.gradcheck.function import CheckedFunction
from minirnn.gradcheck.report import Diagnosis
from minirnn.typing import Array

__all__ = ["not_deterministic", "rounded"]


def not_deterministic(function: CheckedFunction) -> Diagnosis | None:
    """Run forward several times on the same numbers.

    Evidence: the outputs differ, and where it can be seen, why: NumPy's or Python's global
    generator has moved, an array on the layer has changed, or evaluation mode is repeatable.
    """
    first = _outputs(function)
    function.restart()
    kept = function.kept_arrays()
    before, globals_before = copies(kept), _global_states()
    later = [_outputs(function) for _ in range(8)]
    moved = [name for name, state in _global_states().items() if state != globals_before[name]]
    if all(_equal(first, outputs) for outputs in later):
        return None
    gap = max(by for outputs in later for by in changed(outputs, first).values())
    text = (
        f"looks like a forward that is not deterministic: runs on the same numbers differ by "
        f"up to {gap:.2g}, so no gradient can be checked. "
    )
    spoilt = [*changed(kept, before)]
    if moved:
        text += (
            f"It draws from {moved[0]}; keep a numpy.random.Generator as an attribute of the "
            f"layer instead, which the check winds back before each run"
        )
    elif spoilt:
        text += f"It changes {spoilt[0]}, so each call begins where the one before ended"
    elif _repeatable_in_evaluation(function):
        text += (
            "In evaluation mode it is repeatable, as dropout is; keep its numpy.random.Generator "
            "as an attribute of the layer, which the check winds back before each run, or check "
            "layer.eval()"
        )
    else:
        text += "Does it draw random numbers, or carry something from call to call?"
    return Diagnosis("not deterministic", ("output",), text)


def _global_states() -> dict[str, str]:
    """Return the states of the global generators; they are only looked at."""
    _, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "numpy.random's global generator": repr((np.asarray(keys).tobytes(), rest)),
        "Python's global random generator": repr(random.getstate()),
    }


def _repeatable_in_evaluation(function: CheckedFunction) -> bool:
    quiet = function.similar()
    quiet.evaluate()
    first = _outputs(quiet)
    return all(_equal(first, _outputs(quiet)) for _ in range(8))


def _outputs(function: CheckedFunction) -> dict[int, Array]:
    return {k: output.astype(np.float64) for k, output in enumerate(function.fresh_outputs())}


def _equal(one: dict[int, Array], two: dict[int, Array]) -> bool:
    return all(same(one[k], two[k]) for k in changed(two, one))


def rounded(function: CheckedFunction) -> float | None:
    """Return how rough the output is, if it has the roughness of float32; else None.

    Evidence: second differences of the output along random directions. Those of a smooth function
    are as good as zero at such small moves; at a kink they shrink with the move; rounding to
    float32 leaves some 1e-7 of the output at any move.
    """
    rng = np.random.default_rng(0)
    middle = _outputs(function)
    scale = max(float(np.abs(y).max(initial=0.0)) for y in middle.values())
    rough = []
    for move in (1e-5, 1e-6):
        gaps = []
        for _ in range(4):
            direction = {
                name: rng.uniform(-1, 1, a.shape) for name, a in function.variables.items()
            }
            start = rng.uniform(-1, 1) * 1e-4
            ends = [_moved(function, direction, start + k * move) for k in (-1, 0, 1)]
            gaps.append(max(difference(ends[0][k] + ends[2][k], 2 * ends[1][k]) for k in middle))
        rough.append(float(np.median(gaps)))
    if scale > 0 and rough[1] > 3e-9 and rough[1] > 0.2 * rough[0] and rough[0] < 1e-5:
        return rough[1]
    return None


def _moved(function: CheckedFunction, direction: dict[str, Array], by: float) -> dict[int, Array]:
    before = copies(function.variables)
    for name, array in function.variables.items():
        array += by * direction[name]
    outputs = _outputs(function)
    for name, array in function.variables.items():
        array[...] = before[name]
    return outputs
