"""What is wrong with a forward before any gradient is: chance, and rounding."""

from __future__ import annotations

import random

import numpy as np

from minirnn.gradcheck.arrays import changed, copies
from minirnn.gradcheck.function import CheckedFunction
from minirnn.gradcheck.report import Diagnosis
from minirnn.typing import Array

__all__ = ["not_deterministic", "rounded"]


def not_deterministic(function: CheckedFunction) -> list[Diagnosis]:
    """Run forward several times on the same numbers.

    Evidence: the outputs differ, and where it can be seen, why: NumPy's or Python's global
    generator has moved, an array on the layer has changed, or evaluation mode is repeatable.
    """
    function.restart()
    kept = function.kept_arrays()
    before, globals_before = copies(kept), _global_states()
    gap = _apart(function)
    if not gap:
        return []
    moved = [name for name, state in _global_states().items() if state != globals_before[name]]
    spoilt = [*changed(kept, before)]
    quiet = function.similar()
    quiet.evaluate()
    text = (
        f"looks like a forward that is not deterministic: runs on the same numbers differ by "
        f"up to {gap:.2g}, so no gradient can be checked. "
    )
    if moved:
        text += (
            f"It draws from {moved[0]}; keep a numpy.random.Generator as an attribute of the "
            f"layer instead, which the check winds back before each run"
        )
    elif spoilt:
        text += f"It changes {spoilt[0]}, so each call begins where the one before ended"
    elif not _apart(quiet):
        text += (
            "In evaluation mode it is repeatable, as dropout is; keep its numpy.random.Generator "
            "as an attribute of the layer, which the check winds back before each run, or check "
            "layer.eval()"
        )
    else:
        text += "Does it draw random numbers, or carry something from call to call?"
    return [Diagnosis("not deterministic", ("output",), text)]


def _global_states() -> dict[str, str]:
    """Return the states of the global generators; they are only looked at."""
    _, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "numpy.random's global generator": repr((np.asarray(keys).tobytes(), rest)),
        "Python's global random generator": repr(random.getstate()),
    }


def _apart(function: CheckedFunction) -> float:
    """Return how far several runs on the same numbers are apart, but for rounding."""
    first, *later = (_flat(function) for _ in range(9))
    gap = max(float(np.nanmax(np.abs(one - first), initial=0.0)) for one in later)
    return gap if gap > 1e-5 * float(np.nanmax(np.abs(first), initial=1e-4)) else 0.0


def _flat(function: CheckedFunction) -> Array:
    return np.concatenate([np.ravel(y).astype(float) for y in function.fresh_outputs()])


def rounded(function: CheckedFunction) -> list[Diagnosis]:
    """Look for an output that has the roughness of float32.

    Evidence: second differences of the output along random directions. Those of a smooth function
    are as good as zero at such small moves; at a kink they shrink with the move; rounding to
    float32 leaves some 1e-7 of the output at any move.
    """
    rng, before = np.random.default_rng(0), copies(function.variables)
    scale = float(np.abs(_flat(function)).max(initial=1e-4))

    def bend(move: float) -> float:
        start = rng.uniform(-1, 1) * 1e-4
        direction = {name: rng.uniform(-1, 1, a.shape) for name, a in before.items()}
        ends = []
        for k in (-1, 0, 1):
            for name, array in function.variables.items():
                array[...] = before[name] + (start + k * move) * direction[name]
            ends.append(_flat(function))
        for name, array in function.variables.items():
            array[...] = before[name]
        return float(np.abs(ends[0] + ends[2] - 2 * ends[1]).max(initial=0.0)) / (2 * scale)

    coarse, fine = (float(np.median([bend(move) for _ in range(4)])) for move in (1e-5, 1e-6))
    if not (fine > 3e-9 and fine > 0.2 * coarse and coarse < 1e-5):
        return []
    text = (
        f"looks like float32 inside: the check runs in float64, but the output moves in jumps of "
        f"{fine:.0e} of its size, the precision of float32, so the differences are mostly "
        f"rounding. Take the dtype from the input or a parameter (np.zeros(shape, x.dtype)), do "
        f"not write float32"
    )
    return [Diagnosis("float32", ("output",), text)]
