"""One gradient against central differences, element by element."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minirnn.gradcheck.report import Comparison
from minirnn.typing import Array

__all__ = ["compare"]


def compare(
    name: str,
    array: Array,
    analytic: Array,
    function: Callable[[], float],
    epsilon: float,
    tolerance: float,
) -> Comparison:
    """Compare `analytic`, the gradient of `function` on `array`, with central differences.

    Parameters
    ----------
    name : str
        Under which name the gradient is reported.
    array : array
        Moved in place, element by element, and put back.
    analytic : array of the same shape
    function : callable without arguments, to a float
    epsilon : float
        How far each element is moved.
    tolerance : float
        Relative to the largest element of the numeric gradient.
    """
    numeric = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        numeric[index] = _slope(function, array, index, epsilon)
    noise = 100 * np.finfo(np.float64).eps * max(1.0, abs(function())) / epsilon
    scale = float(np.abs(numeric).max(initial=0.0))
    difference = np.abs(analytic - numeric)
    difference[np.isnan(difference)] = np.inf
    wrong = difference > tolerance * scale + noise
    for where in np.argwhere(wrong):
        index = tuple(int(k) for k in where)
        slope = float(analytic[index])
        if _near_kink(function, array, index, slope, epsilon, tolerance * scale, noise):
            wrong[index], difference[index] = False, 0.0
    index = tuple(int(k) for k in np.unravel_index(difference.argmax(), array.shape))
    return Comparison(
        name=name,
        shape=array.shape,
        error=float(difference[index]) / max(scale, noise / tolerance),
        index=index,
        analytic=float(analytic[index]),
        numeric=float(numeric[index]),
        passed=not wrong.any(),
    )


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
    function: Callable[[], float],
    array: Array,
    index: tuple[int, ...],
    analytic: float,
    epsilon: float,
    slack: float,
    noise: float,
) -> bool:
    """Whether a kink explains the difference: a closer look agrees with the analytic slope.

    Near a kink, a smaller move does not reach it, and the central difference is right. At a kink,
    the slopes on the two sides stay apart however small the move, and any slope between is right.
    """
    original, here = array[index], function()
    gaps = []
    for shrink in (10, 100):
        move = epsilon / shrink
        array[index] = original + move
        right = (function() - here) / move
        array[index] = original - move
        left = (here - function()) / move
        array[index] = original
        if abs((left + right) / 2 - analytic) <= slack + noise * shrink:
            return True
        gaps.append(abs(right - left))
    between = min(left, right) - slack <= analytic <= max(left, right) + slack
    return between and gaps[1] > 0.5 * gaps[0] > 10 * noise
