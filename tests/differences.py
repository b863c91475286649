"""Central differences, the tests' own: the library's check of gradients is itself under test."""

from collections.abc import Callable

import numpy as np

EPSILON = 1e-6


def central_differences(function: Callable[[], float], array: np.ndarray) -> np.ndarray:
    """Return the slope of `function` along each element of `array`, which is moved in place."""
    slopes = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + EPSILON
        above = function()
        array[index] = kept - EPSILON
        below = function()
        array[index] = kept
        slopes[index] = (above - below) / (2 * EPSILON)
    return slopes
