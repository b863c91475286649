"""Experiments on the whole: chance and rounding in forward, a sequence of one step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minirnn.gradcheck.arrays import SMALLEST, copies
from minirnn.gradcheck.diagnosis.evidence import Case, Evidence
from minirnn.gradcheck.function import CheckedFunction
from minirnn.gradcheck.report import Diagnosis


def not_deterministic(function: CheckedFunction) -> list[Diagnosis]:
    """Run forward several times on the same numbers; evidence: the outputs differ."""
    first, *later = (function.flat_outputs() for _ in range(9))
    gap = max(float(np.nanmax(np.abs(one - first), initial=0.0)) for one in later)
    if gap <= 1e-5 * float(np.nanmax(np.abs(first), initial=1e-4)):
        return []
    text = (
        f"looks like a forward that is not deterministic: runs on the same numbers differ by up to "
        f"{gap:.2g}, so no gradient can be checked. A layer that draws random numbers keeps a "
        f"numpy.random.Generator as an attribute, which the check winds back before each run; or "
        f"check it in evaluation mode, layer.eval()"
    )
    return [Diagnosis("not deterministic", ("output",), text)]


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
        f"{fine:.0e} of its size, the precision of float32. Take the dtype from the input or a "
        f"parameter (np.zeros(shape, x.dtype)), do not write float32"
    )
    return [Diagnosis("float32", ("output",), text)]


def only_over_time(evidence: Evidence, short: Evidence, wrong: Sequence[Case]) -> list[Diagnosis]:
    """Find what is right for a single step. Evidence: a check on sequences of length one.

    If the gradient on the input is right over all steps, what goes back through the state is right
    too, and it is the sum over the steps that is not.
    """
    if short.failed:
        return []
    text = (
        f"looks like a mistake over time: right for a sequence of one step, wrong for "
        f"{evidence.time}. Look at what goes back from step to step, at the mask, and at sums over "
        f"steps (np.add.at for tokens that come more than once)"
    )
    if "input" not in evidence.measurements.keys() - evidence.failed:
        return [Diagnosis("over time", tuple(case.name for case in wrong), text)]
    # Where it is zero for one step, as that on Wh after a state of zeros, nothing is known.
    single = {name: np.abs(one.numeric).max() for name, one in short.measurements.items()}
    names = tuple(case.name for case in wrong if single[case.name] > SMALLEST)
    text = (
        f"looks like contributions of steps that get lost: right for a sequence of one step, wrong "
        f"for {evidence.time}, while the gradient on the input is right for both. Is it assigned "
        f"(=) in the loop over time, not added (+=)?"
    )
    return [Diagnosis("overwritten", names, text)] if names else []
