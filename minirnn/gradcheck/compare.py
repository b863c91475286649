"""One gradient against central differences, element by element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minirnn.gradcheck.function import CheckedFunction
from minirnn.gradcheck.report import Comparison
from minirnn.typing import Array

__all__ = ["Measurement", "measure"]

LARGEST = 5_000_000  # numbers in a Jacobian; beyond, the hypotheses that need one stay silent


@dataclass(frozen=True)
class Measurement:
    """A comparison with all its numbers."""

    comparison: Comparison
    numeric: Array
    wrong: Array  # True where an element does not pass
    jacobian: Array | None  # (outputs, ...): slopes of every output, flat; None where too large


def measure(function: CheckedFunction, epsilon: float, tolerance: float) -> dict[str, Measurement]:
    """Compare every gradient of the checked function with central differences, by its name.

    Each element is moved by `epsilon`; `tolerance` is relative to the largest element of the
    numeric gradient.
    """
    analytic = function.gradients()
    return {
        name: _compare(function, name, analytic[name], epsilon, tolerance)
        for name in function.variables
    }


def _compare(
    function: CheckedFunction, name: str, analytic: Array, epsilon: float, tolerance: float
) -> Measurement:
    array = function.variables[name]
    here = function.terms()
    numeric, bend, jacobian = _slopes(function, array, here, epsilon)
    finite = np.isfinite(numeric)
    noise = 100 * np.finfo(np.float64).eps * max(1.0, abs(float(here.sum()))) / epsilon
    scale = float(np.abs(numeric[finite]).max(initial=0.0))
    difference = np.full(array.shape, np.inf)
    np.subtract(analytic, numeric, out=difference, where=finite & np.isfinite(analytic))
    difference = np.abs(difference)
    wrong = ~(difference <= tolerance * scale + noise)
    kinks = difference <= bend + tolerance * scale + 10 * noise
    for where in np.argwhere(wrong & kinks):
        index = tuple(int(k) for k in where)
        slope, slack = float(analytic[index]), tolerance * scale
        if _near_kink(function.terms, here, array, index, slope, epsilon, slack, noise):
            wrong[index], difference[index] = False, 0.0
    index = tuple(int(k) for k in np.unravel_index(difference.argmax(), array.shape))
    comparison = Comparison(
        name=name,
        shape=array.shape,
        error=float(difference[index]) / max(scale, noise / tolerance),
        index=index,
        analytic=float(analytic[index]),
        numeric=float(numeric[index]),
        passed=not wrong.any(),
    )
    return Measurement(comparison, numeric, wrong, jacobian)


def _slopes(
    function: CheckedFunction, array: Array, here: Array, epsilon: float
) -> tuple[Array, Array, Array | None]:
    """Return the slope of the number along each element, how much it bends, and the Jacobian.

    The bend is the sum over all terms of how far the slopes on the two sides are apart. At a kink,
    the central difference is off by half of that at most: what is wrong by more is no kink. The
    Jacobian has the slope of each output, flat.
    """
    weights = np.concatenate([np.ravel(weight) for weight in function.weights])
    numeric, bend = np.empty(array.shape), np.empty(array.shape)
    jacobian = None
    if weights.size * array.size <= LARGEST:
        jacobian = np.empty((weights.size, *array.shape))
    for index in np.ndindex(array.shape):
        original, ends = array[index], []
        for move in (epsilon, -epsilon):
            array[index] = original + move
            outputs = function.fresh_outputs()
            ends.append(np.concatenate([np.ravel(y) for y in outputs]).astype(np.float64))
        array[index] = original
        slopes = (ends[0] - ends[1]) / (2 * epsilon)
        numeric[index] = weights @ slopes
        bend[index] = np.abs(weights * (ends[0] + ends[1]) - 2 * here).sum() / epsilon
        if jacobian is not None:
            jacobian[(slice(None), *index)] = slopes
    return numeric, bend, jacobian


def _near_kink(
    terms: Callable[[], Array],
    here: Array,
    array: Array,
    index: tuple[int, ...],
    analytic: float,
    epsilon: float,
    slack: float,
    noise: float,
) -> bool:
    """Whether a kink explains the difference: a closer look agrees with the analytic slope.

    Near a kink, a smaller move does not reach it, and the central difference is right. At a kink,
    the slopes on the two sides stay as far apart however small the move, and any slope between is
    right, of each term by itself. (Apart by more and more for smaller moves: a jump, or noise, and
    no kink.)
    """
    original = array[index]
    gaps: list[float] = []
    for shrink in (10, 100):
        move = epsilon / shrink
        array[index] = original + move
        right = (terms() - here) / move
        array[index] = original - move
        left = (here - terms()) / move
        array[index] = original
        if abs((left + right).sum() / 2 - analytic) <= slack + noise * shrink:
            return True
        gaps.append(float(np.abs(right - left).sum()))
        if 0.5 * gaps[0] <= 10 * noise:
            return False  # smooth here
    low, high = np.minimum(left, right).sum() - slack, np.maximum(left, right).sum() + slack
    stays = 2 * gaps[0] > gaps[1] > 0.5 * gaps[0] > 10 * noise
    return bool(low <= analytic <= high and stays)
