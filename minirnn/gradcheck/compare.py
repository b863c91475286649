"""One gradient against central differences, element by element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from minirnn.gradcheck.function import CheckedFunction
from minirnn.gradcheck.report import Comparison
from minirnn.typing import Array

LARGEST = 5_000_000  # numbers in a Jacobian; beyond, the hypotheses that need one stay silent


@dataclass(frozen=True)
class Measurement:
    """A comparison with all its numbers."""

    comparison: Comparison
    analytic: Array  # what backward gives
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
    array, here = function.variables[name], function.flat_outputs()
    weights = np.concatenate([np.ravel(weight) for weight in function.weights])

    def outputs_at(index: tuple[int, ...], move: float) -> Array:
        original = array[index]
        array[index] = original + move
        outputs = function.flat_outputs()
        array[index] = original
        return outputs

    numeric, bend = np.empty(array.shape), np.empty(array.shape)
    jacobian = None
    if weights.size * array.size <= LARGEST:
        jacobian = np.empty((weights.size, *array.shape))
    for index in np.ndindex(array.shape):
        right, left = outputs_at(index, epsilon), outputs_at(index, -epsilon)
        slopes = (right - left) / (2 * epsilon)
        numeric[index] = weights @ slopes
        # How far the slopes on the two sides are apart. At a kink, the central difference is off
        # by half of that at most: what is wrong by more is no kink.
        bend[index] = np.abs(weights * (right + left - 2 * here)).sum() / epsilon
        if jacobian is not None:
            jacobian[(slice(None), *index)] = slopes
    finite = np.isfinite(numeric)
    noise = 100 * np.finfo(np.float64).eps * max(1.0, abs(float(weights @ here))) / epsilon
    scale = float(np.abs(numeric[finite]).max(initial=0.0))
    slack = tolerance * scale
    difference = np.full(array.shape, np.inf)
    np.subtract(analytic, numeric, out=difference, where=finite & np.isfinite(analytic))
    difference = np.abs(difference)
    wrong = ~(difference <= slack + noise)
    for where in np.argwhere(wrong & (difference <= bend + slack + 10 * noise)):
        index = tuple(int(k) for k in where)
        outputs, slope = partial(outputs_at, index), float(analytic[index])
        if _near_kink(outputs, here, weights, slope, epsilon, slack, noise):
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
    return Measurement(comparison, analytic, numeric, wrong, jacobian)


def _near_kink(
    outputs: Callable[[float], Array],
    here: Array,
    weights: Array,
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
    gaps: list[float] = []
    for shrink in (10, 100):
        move = epsilon / shrink
        right, left = (weights * (outputs(k) - here) / k for k in (move, -move))
        if abs((left + right).sum() / 2 - analytic) <= slack + noise * shrink:
            return True
        gaps.append(float(np.abs(right - left).sum()))
        if 0.5 * gaps[0] <= 10 * noise:
            return False  # smooth here
    low, high = np.minimum(left, right).sum() - slack, np.maximum(left, right).sum() + slack
    stays = 2 * gaps[0] > gaps[1] > 0.5 * gaps[0] > 10 * noise
    return bool(low <= analytic <= high and stays)
