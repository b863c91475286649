"""Experiments on the whole: chance and rounding in forward, what makes backward right or wrong."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from minirnn.gradcheck.arrays import SMALLEST, changed, copies, same
from minirnn.gradcheck.diagnosis.evidence import Case, Evidence
from minirnn.gradcheck.function import CheckedFunction
from minirnn.gradcheck.report import Diagnosis

__all__ = [
    "disproportionate",
    "not_deterministic",
    "only_masked",
    "only_over_time",
    "rounded",
]


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
    with function.replaced({path: {"training": False} for path in function.parts}):
        repeatable = not _apart(function)
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
    elif repeatable:
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
    first, *later = (function.flat_outputs() for _ in range(9))
    gap = max(float(np.nanmax(np.abs(one - first), initial=0.0)) for one in later)
    return gap if gap > 1e-5 * float(np.nanmax(np.abs(first), initial=1e-4)) else 0.0


def rounded(function: CheckedFunction) -> list[Diagnosis]:
    """Look for an output that has the roughness of float32.

    Evidence: second differences of the output along random directions. Those of a smooth function
    are as good as zero at such small moves; at a kink they shrink with the move; rounding to
    float32 leaves some 1e-7 of the output at any move.
    """
    rng, before = np.random.default_rng(0), copies(function.variables)
    scale = float(np.abs(function.flat_outputs()).max(initial=1e-4))

    def bend(move: float) -> float:
        start = rng.uniform(-1, 1) * 1e-4
        direction = {name: rng.uniform(-1, 1, a.shape) for name, a in before.items()}
        ends = []
        for k in (-1, 0, 1):
            for name, array in function.variables.items():
                array[...] = before[name] + (start + k * move) * direction[name]
            ends.append(function.flat_outputs())
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


# ---------------------------------------------------------------- backward


def disproportionate(evidence: Evidence, wrong: Sequence[Case]) -> list[Diagnosis]:
    """Find a result that is not proportional to the incoming gradient, as every true one is.

    Evidence: backward for twice the incoming gradient gives something else than twice the result.
    """
    plain = evidence.analytic(evidence.weights)
    without, twice = (evidence.analytic([k * w for w in evidence.weights]) for k in (0, 2))
    names = tuple(
        case.name
        for case in wrong
        if np.isfinite(plain[case.name]).all()
        if not same(twice[case.name], 2 * plain[case.name])
        if not same(without[case.name], plain[case.name])  # it uses none: that tells more
    )
    if not names:
        return []
    one, two = (np.ravel(gradients[names[0]]) for gradients in (plain, twice))
    worst = int(np.abs(two - 2 * one).argmax())
    gives = f"{two[worst] / one[worst]:.3g} times" if one[worst] else f"{two[worst]:.3g} for 0"
    what = "that is clipped, normalised or shifted inside backward"
    if all(same(twice[name], 4 * plain[name]) for name in names):
        what = "in which two gradients are multiplied with each other"
    text = (
        f"looks like a gradient {what}: twice the incoming gradient should give twice the result, "
        f"and gives {gives}"
    )
    return [Diagnosis("not proportional", names, text)]


def only_masked(evidence: Evidence, wrong: Sequence[Case]) -> list[Diagnosis]:
    """Find what is right without the mask. Evidence: a check with every step valid."""
    given = evidence.function.given
    if not {"input", "mask"} <= given.keys():
        return []
    x = given["input"]
    clean = np.where(np.isfinite(x), x, 0) if x.dtype.kind == "f" else x
    full = evidence.again(input=clean, mask=np.ones_like(given["mask"]))
    if full is None or full.failed:
        return []
    text = (
        "looks like a mask that backward does not treat as forward does: with every step valid, "
        "all gradients are right"
    )
    return [Diagnosis("mask", tuple(case.name for case in wrong), text)]


def only_over_time(evidence: Evidence, short: Evidence, wrong: Sequence[Case]) -> list[Diagnosis]:
    """Find what is right for a single step. Evidence: a check on sequences of length one.

    If the gradient on the input is right over all steps, what goes back through the state is right
    too, and it is the sum over the steps that is not.
    """
    if short.failed:
        return []
    start = f"right for a sequence of one step, wrong for {evidence.time}"
    names = tuple(case.name for case in wrong)
    if "input" in evidence.measurements.keys() - evidence.failed:
        # Where it is zero for one step, as that on Wh after a state of zeros, nothing is known.
        single = {name: np.abs(one.numeric).max() for name, one in short.measurements.items()}
        names = tuple(name for name in names if single[name] > SMALLEST)
        text = (
            f"looks like contributions of steps that get lost: {start}, while the gradient on the "
            f"input is right for both. Is it assigned (=) in the loop over time, not added (+=)?"
        )
        return [Diagnosis("overwritten", names, text)] if names else []
    text = (
        f"looks like a mistake in what goes back from step to step: {start}. Look at how the "
        f"gradient on the state is handed from step t + 1 to step t"
    )
    return [Diagnosis("over time", names, text)]
