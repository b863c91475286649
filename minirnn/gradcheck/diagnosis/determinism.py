"""What is wrong with a forward before any gradient is: chance, and rounding."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from minirnn.gradcheck.arrays import arrays_in, difference, same
from minirnn.gradcheck.function import CheckedFunction
from minirnn.gradcheck.report import Diagnosis
from minirnn.typing import Array

__all__ = ["not_deterministic", "rounded"]


def not_deterministic(function: CheckedFunction) -> Diagnosis | None:
    """Run forward several times on the same numbers.

    Evidence: the outputs differ, and where it can be seen, why: NumPy's or Python's global
    generator has moved, an array on the layer has changed, or evaluation mode is repeatable.
    """
    first = _copied(function.fresh_outputs())
    kept = dict(item for name, v in _at_start(function).items() for item in arrays_in(v, name))
    before = {name: array.copy() for name, array in kept.items()}
    globals_before = _global_states()
    later = [_copied(function.fresh_outputs()) for _ in range(8)]
    moved = [name for name, state in _global_states().items() if state != globals_before[name]]
    if all(_equal(first, outputs) for outputs in later):
        return None
    gap = max(
        float(np.nanmax(np.abs(a - b), initial=0.0))
        for outputs in later
        for a, b in zip(first, outputs, strict=True)
    )
    text = (
        f"looks like a forward that is not deterministic: runs on the same numbers differ by "
        f"up to {gap:.2g}, so no gradient can be checked. "
    )
    changed = [name for name in kept if not np.array_equal(kept[name], before[name], True)]
    if moved:
        text += (
            f"It draws from {moved[0]}; keep a numpy.random.Generator as an attribute of the "
            f"layer instead, which the check winds back before each run"
        )
    elif changed:
        text += f"It changes {changed[0]}, so each call begins where the one before ended"
    elif _repeatable_in_evaluation(function):
        text += (
            "In evaluation mode it is repeatable, as dropout is; keep its numpy.random.Generator "
            "as an attribute of the layer, which the check winds back before each run, or check "
            "layer.eval()"
        )
    else:
        text += "Does it draw random numbers, or carry something from call to call?"
    return Diagnosis("not deterministic", ("output",), text)


def _at_start(function: CheckedFunction) -> dict[str, Any]:
    function.restart()
    return function.kept


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
    first = _copied(quiet.fresh_outputs())
    return all(_equal(first, quiet.fresh_outputs()) for _ in range(8))


def _copied(outputs: list[Array]) -> list[Array]:
    return [output.copy() for output in outputs]


def _equal(one: list[Array], two: list[Array]) -> bool:
    pairs = zip(one, two, strict=True)
    return all(np.array_equal(a, b, True) or same(a, b) for a, b in pairs)


def rounded(function: CheckedFunction) -> float | None:
    """Return how rough the output is, if it has the roughness of float32; else None.

    Evidence: second differences of the output along random directions. Those of a smooth function
    are as good as zero at such small moves; at a kink they shrink with the move; rounding to
    float32 leaves some 1e-7 of the output at any move.
    """
    rng = np.random.default_rng(0)
    middle = function.fresh_outputs()
    scale = max(float(np.abs(y).max(initial=0.0)) for y in middle)
    rough = []
    for move in (1e-5, 1e-6):
        gaps = []
        for _ in range(4):
            direction = {
                name: rng.uniform(-1, 1, a.shape) for name, a in function.variables.items()
            }
            start = rng.uniform(-1, 1) * 1e-4
            ends = [_moved(function, direction, start + k * move) for k in (-1, 0, 1)]
            gaps.append(max(difference(a + c, 2 * b) for a, b, c in zip(*ends, strict=True)))
        rough.append(float(np.median(gaps)))
    if scale > 0 and rough[1] > 3e-9 and rough[1] > 0.2 * rough[0] and rough[0] < 1e-5:
        return rough[1]
    return None


def _moved(function: CheckedFunction, direction: dict[str, Array], by: float) -> list[Array]:
    before = {name: array.copy() for name, array in function.variables.items()}
    for name, array in function.variables.items():
        array += by * direction[name]
    outputs = [output.astype(np.float64) for output in function.fresh_outputs()]
    for name, array in function.variables.items():
        array[...] = before[name]
    return outputs
