"""One gradient against central differences, element by element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minirnn.gradcheck.function import CheckedFunction
from minirnn.gradcheck.report import Comparison
from minirnn.typing import Array

__all__ = ["Measurement", "measure"]


@dataclass(frozen=True)
class Measurement:
    """A comparison with all its numbers; `wrong` is True where an element does not pass."""

    comparison: Comparison
    analytic: Array
    numeric: Array
    wrong: Array

    @property
    def name(self) -> str:
        """Under which name the gradient is reported."""
        return self.comparison.name

    @property
    def passed(self) -> bool:
        """Whether every element passes."""
        return self.comparison.passed


def measure(function: CheckedFunction, epsilon: float, tolerance: float) -> list[Measurement]:
    """Compare every gradient of the checked function with central differences."""
    analytic = function.gradients()
    return [
        _compare(name, array, analytic[name], function.terms, epsilon, tolerance)
        for name, array in function.variables.items()
    ]


def _compare(
    name: str,
    array: Array,
    analytic: Array,
    terms: Callable[[], Array],
    epsilon: float,
    tolerance: float,
) -> Measurement:
    """Compare `analytic`, the gradient of the sum of `terms`, with central differences.

    Parameters
    ----------
    name : str
        Under which name the gradient is reported.
    array : array
        Moved in place, element by element, and put back.
    analytic : array of the same shape
    terms : callable without arguments, to an array
        The number to differentiate is their sum.
    epsilon : float
        How far each element is moved.
    tolerance : float
        Relative to the largest element of the numeric gradient.
    """

    def function() -> float:
        return float(terms().sum())

    numeric = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        numeric[index] = _slope(function, array, index, epsilon)
    finite = np.isfinite(numeric)
    noise = 100 * np.finfo(np.float64).eps * max(1.0, abs(function())) / epsilon
    scale = float(np.abs(numeric[finite]).max(initial=0.0))
    difference = np.full(array.shape, np.inf)
    np.subtract(analytic, numeric, out=difference, where=finite & np.isfinite(analytic))
    difference = np.abs(difference)
    wrong = ~(difference <= tolerance * scale + noise)
    for where in np.argwhere(wrong & np.isfinite(difference)):
        index = tuple(int(k) for k in where)
        slope = float(analytic[index])
        if _near_kink(terms, array, index, slope, epsilon, tolerance * scale, noise):
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
    return Measurement(comparison, analytic, numeric, wrong)


def _slope(
    function: Callable[[], float], array: Array, index: tuple[int, ...], epsilon: float
) -> float:
    original = array[index]
    array[index] = original + epsilon
    above = function()
    array[index] = original - epsilon
    below = function()
    array[index] = original
    return (above - below) / (2 * epsilon)


def _near_kink(
    terms: Callable[[], Array],
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
    original, here = array[index], terms()
    gaps = []
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
    low, high = np.minimum(left, right).sum() - slack, np.maximum(left, right).sum() + slack
    steady = 2 * gaps[0] > gaps[1] > 0.5 * gaps[0] > 10 * noise
    return bool(low <= analytic <= high and steady)
