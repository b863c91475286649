"""Small synthetic tasks: a spiral to classify, sine waves to continue."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from minirnn.checks import float_dtype, generator, positive_float, positive_int, two_ends
from minirnn.typing import Array, RandomSource


def spiral(
    points_per_class: int = 100,
    *,
    classes: int = 3,
    noise: float = 0.2,
    rng: RandomSource = None,
    dtype: DTypeLike = np.float32,
) -> tuple[Array, Array]:
    """Draw points on interleaved spiral arms, one arm a class; no line separates the classes.

    Arm ``j`` winds outwards from the origin::

        r     = linspace(0, 1, points_per_class)
        theta = linspace(4 j, 4 (j + 1), points_per_class) + noise * randn
        point = (r sin(theta), r cos(theta))

    The points come in the order of the arms, each from the centre outwards. They are not a
    sequence: the task is for a plain feed-forward net.

    Guessing: with equally many points in every class, equal probabilities score a cross-entropy
    of ``ln(classes)``, 1.0986 for three, and an accuracy of ``1 / classes``.

    Parameters
    ----------
    points_per_class : 1 or more
    classes : number of arms, 2 or more. With 3 the arms share the circle as published.
    noise : standard deviation of the angle, in radians
    rng : None, int seed or Generator
    dtype : of the points, float32 or float64

    Returns
    -------
    points : float array (classes * points_per_class, 2), inside the unit circle
    labels : int64 array (classes * points_per_class,), from 0 to classes - 1

    References
    ----------
    A. Karpathy, "Putting it together: minimal neural network case study", notes of the Stanford
    course CS231n, 2015.

    Examples
    --------
    >>> points, labels = spiral(rng=0)
    >>> points.shape, labels.shape
    ((300, 2), (300,))
    >>> np.bincount(labels)
    array([100, 100, 100])
    """
    size = positive_int("spiral", "points_per_class", points_per_class)
    classes = positive_int("spiral", "classes", classes, least=2)
    noise = positive_float("spiral", "noise", noise, zero=True)
    float_type = float_dtype("spiral", dtype)
    random = generator("spiral", rng)

    radius = np.linspace(0.0, 1.0, size)
    arms = []
    for j in range(classes):
        theta = np.linspace(4 * j, 4 * (j + 1), size) + noise * random.standard_normal(size)
        arms.append(np.stack([radius * np.sin(theta), radius * np.cos(theta)], axis=1))
    return np.concatenate(arms).astype(float_type), np.repeat(np.arange(classes), size)


def sine_waves(
    count: int,
    length: int = 50,
    *,
    periods: tuple[float, float] = (10.0, 40.0),
    noise: float = 0.0,
    rng: RandomSource = None,
    dtype: DTypeLike = np.float32,
) -> tuple[Array, Array]:
    """Draw sine waves of random period and phase; the target is the value one step ahead.

    ``x[t] = sin(2 pi t / period + phase) + noise * randn``, with one period and one phase a
    sequence, both uniform. A demonstration as old as the field, not a published benchmark.

    Guessing: the phase is uniform over the circle, so 0 is the best constant and scores a mean
    squared error of ``E[sin**2] + noise**2 = 1/2 + noise**2``. Repeating the last value scores
    ``E[1 - cos(2 pi / period)] + 2 noise**2``, which is 0.0486 for the periods and noise given
    by default. Without noise an error of 0 is in reach: ``x[t+1] = 2 cos(2 pi / period) x[t] -
    x[t-1]``, and three values are enough to find the cosine.

    Parameters
    ----------
    count : number of waves, 1 or more
    length : time steps of inputs and of targets, 1 or more
    periods : smallest and largest period in time steps, 2 or more
    noise : standard deviation of what is added to each value; a value is the same as target and
        as the next input
    rng : None, int seed or Generator
    dtype : of both arrays, float32 or float64

    Returns
    -------
    inputs : float array (count, length, 1), the values at times 0 to length - 1
    targets : float array (count, length, 1), the values at times 1 to length

    Examples
    --------
    >>> inputs, targets = sine_waves(32, length=50, rng=0)
    >>> inputs.shape, targets.shape
    ((32, 50, 1), (32, 50, 1))
    >>> np.array_equal(inputs[:, 1:], targets[:, :-1])
    True
    """
    count = positive_int("sine_waves", "count", count)
    length = positive_int("sine_waves", "length", length)
    # Below two steps a period, a sampled wave looks like one of a longer period.
    shortest, longest = two_ends("sine_waves", "periods", periods, positive_float, 2.0)
    noise = positive_float("sine_waves", "noise", noise, zero=True)
    float_type = float_dtype("sine_waves", dtype)
    random = generator("sine_waves", rng)

    period = random.uniform(shortest, longest, size=(count, 1))
    phase = random.uniform(0.0, 2 * np.pi, size=(count, 1))
    waves = np.sin(2 * np.pi * np.arange(length + 1) / period + phase)
    waves += noise * random.standard_normal(waves.shape)
    # Copies: were both views of one array, writing to the targets would change the inputs.
    values = waves[:, :, np.newaxis]
    return values[:, :-1].astype(float_type), values[:, 1:].astype(float_type)
