"""The classic tests of long memory: adding two marked numbers, copying, temporal order.

The answer depends on a few steps far back, between steps that carry no information. A network that
forgets can do no better than the score of guessing in each docstring.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from minirnn.checks import float_dtype, generator, positive_int, two_ends
from minirnn.typing import Array, Mask, RandomSource


def adding_problem(
    count: int,
    length: int = 50,
    *,
    rng: RandomSource = None,
    dtype: DTypeLike = np.float32,
) -> tuple[Array, Array]:
    """Draw sequences of numbers, two of them marked; the target is the sum of the marked two.

    Channel 0 is uniform in [0, 1). Channel 1 is 0 but for two steps, where it is 1: one anywhere
    in the first half (steps 0 to ``length // 2 - 1``), one anywhere in the second.

    Guessing: a uniform number has mean 1/2 and variance 1/12, so the best constant is 1 and its
    mean squared error the variance of a sum of two, ``2 / 12 = 0.1667``. A network that keeps
    only the second number, which it has seen more recently, scores ``1 / 12 = 0.0833``.

    Parameters
    ----------
    count : number of sequences, 1 or more
    length : time steps, 2 or more
    rng : None, int seed or Generator
    dtype : of both arrays, float32 or float64

    Returns
    -------
    inputs : float array (count, length, 2)
    targets : float array (count, 1), from 0 to 2: one for the whole sequence

    References
    ----------
    S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997,
    experiment 4, has numbers from -1 to 1, a scaled sum and marks near the start. This is the
    form common since: M. Arjovsky, A. Shah and Y. Bengio, "Unitary evolution recurrent neural
    networks", ICML 2016.

    Examples
    --------
    >>> inputs, targets = adding_problem(16, length=50, rng=0)
    >>> inputs.shape, targets.shape
    ((16, 50, 2), (16, 1))
    >>> values, marker = inputs[..., 0], inputs[..., 1]
    >>> np.allclose((values * marker).sum(axis=1), targets[:, 0])
    True
    """
    count = positive_int("adding_problem", "count", count)
    length = positive_int("adding_problem", "length", length, least=2)
    float_type = float_dtype("adding_problem", dtype)
    random = generator("adding_problem", rng)

    # Drawn in float32 whatever the dtype: both then hold the very same numbers, and none is
    # rounded up to 1.
    values = random.random((count, length), dtype=np.float32).astype(float_type)
    first = random.integers(0, length // 2, size=count)
    second = random.integers(length // 2, length, size=count)

    row = np.arange(count)
    inputs = np.zeros((count, length, 2), dtype=float_type)
    inputs[:, :, 0] = values
    inputs[row, first, 1] = 1
    inputs[row, second, 1] = 1
    targets = values[row, first] + values[row, second]
    return inputs, targets[:, np.newaxis]


def copying_memory(
    count: int,
    delay: int = 20,
    *,
    symbols: int = 8,
    remember: int = 5,
    rng: RandomSource = None,
) -> tuple[Array, Array]:
    """Draw symbols to be written out again after a delay, when a signal says so.

    With ``symbols = 8`` the integers 0 to 7 are symbols, 8 is blank and 9 is "go"::

        inputs    s s s s s  _ _ ... _ go  _ _ _ _ _
        targets   _ _ _ _ _  _ _ ... _ _   s s s s s
                  remember   delay         remember

    The delay is ``delay - 1`` blanks and the go signal. An input is thus one of ``symbols + 2``
    integers (the vocabulary of an `Embedding`), a target one of ``symbols + 1``: "go" is never
    a target.

    Guessing: without memory a network can know where blanks are due, for a loss of 0 there, and
    no more than equal probabilities for the symbols at the end, ``ln(symbols)`` each. The mean
    over all steps is ``remember * ln(symbols) / (delay + 2 * remember)``: with the defaults,
    ``5 ln 8 / 30 = 0.3466``.

    Parameters
    ----------
    count : number of sequences, 1 or more
    delay : steps from the last symbol seen to the first one due, T in the paper; 1 or more
    symbols : number of different symbols, 2 or more
    remember : number of symbols to remember, 1 or more
    rng : None, int seed or Generator

    Returns
    -------
    inputs : int64 array (count, delay + 2 * remember), from 0 to symbols + 1
    targets : int64 array (count, delay + 2 * remember), from 0 to symbols

    References
    ----------
    M. Arjovsky, A. Shah and Y. Bengio, "Unitary evolution recurrent neural networks", ICML 2016,
    with 10 symbols to remember and delays of 100 and more; after S. Hochreiter and
    J. Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997.

    Examples
    --------
    >>> inputs, targets = copying_memory(16, delay=20, rng=0)
    >>> inputs.shape, targets.shape
    ((16, 30), (16, 30))
    >>> np.array_equal(inputs[:, :5], targets[:, -5:])
    True
    >>> inputs[0, 5:]
    array([8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 9, 8, 8, 8, 8, 8])
    """
    count = positive_int("copying_memory", "count", count)
    delay = positive_int("copying_memory", "delay", delay)
    symbols = positive_int("copying_memory", "symbols", symbols, least=2)
    remember = positive_int("copying_memory", "remember", remember)
    random = generator("copying_memory", rng)

    blank, go = symbols, symbols + 1
    message = random.integers(symbols, size=(count, remember))
    inputs = np.full((count, delay + 2 * remember), blank, dtype=np.int64)
    inputs[:, :remember] = message
    inputs[:, remember + delay - 1] = go
    targets = np.full_like(inputs, blank)
    targets[:, -remember:] = message
    return inputs, targets


TEMPORAL_ORDER_SYMBOLS = "EBabcdXY"
"""The symbols of `temporal_order`; a token is an index into this string."""


class TemporalOrder(NamedTuple):
    """What `temporal_order` returns, as arrays."""

    inputs: Array
    """float array (count, time, 8): the symbols one-hot, as in the paper; zeros in the padding."""
    targets: Array
    """int64 array (count,): the class, 0 for X X, 1 for X Y, 2 for Y X, 3 for Y Y."""
    mask: Mask
    """boolean array (count, time): True where the step is valid, not padding."""
    tokens: Array
    """int64 array (count, time): the same symbols as integers, for an `Embedding`; 0 in the
    padding, which is also the number of E, so use the mask."""


def temporal_order(
    count: int,
    *,
    lengths: tuple[int, int] = (30, 35),
    rng: RandomSource = None,
    dtype: DTypeLike = np.float32,
) -> TemporalOrder:
    """Draw sequences with two relevant symbols; the class is which came first and which second.

    A sequence begins with E and ends with B. Between them stand a, b, c and d at random, but for
    two places, ``t1`` and ``t2``, where X or Y stands. The class is one of the four pairs. The
    length is uniform between the two `lengths`, and both places are uniform in ranges that scale
    with the shorter of them, ``n = lengths[0]``::

        t1 from n // 10 to n // 5          (3 to 6 of 30, in the first third)
        t2 from n // 2  to 3 * n // 5      (15 to 18 of 30, in the middle third)

    ends included, and the E at place 0. ``lengths=(100, 110)`` gives the ranges of the paper, t1
    from 10 to 20 and t2 from 50 to 60.

    Guessing: the four classes are equally likely, whatever the length, so equal probabilities
    score a cross-entropy of ``ln 4 = 1.3863`` and an accuracy of 1/4. A network that remembers
    only one of the two symbols reaches ``ln 2 = 0.6931`` and 1/2.

    Parameters
    ----------
    count : number of sequences, 1 or more
    lengths : smallest and largest number of steps, both included, 10 or more
    rng : None, int seed or Generator
    dtype : of the one-hot inputs, float32 or float64

    Returns
    -------
    TemporalOrder
        With ``time = lengths[1]``. The answer is due after the last valid step.

    References
    ----------
    S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997,
    experiment 6a.

    Examples
    --------
    >>> task = temporal_order(16, rng=0)
    >>> task.inputs.shape, task.targets.shape, task.mask.shape, task.tokens.shape
    ((16, 35, 8), (16,), (16, 35), (16, 35))
    >>> text = "".join(TEMPORAL_ORDER_SYMBOLS[k] for k in task.tokens[0, task.mask[0]])
    >>> order = [symbol for symbol in text if symbol in "XY"]
    >>> "XX XY YX YY".split()[task.targets[0]] == "".join(order)
    True
    """
    count = positive_int("temporal_order", "count", count)
    # From 10 on, t1 is never the place of the E, nor t2 that of the B.
    shortest, longest = two_ends("temporal_order", "lengths", lengths, positive_int, 10)
    float_type = float_dtype("temporal_order", dtype)
    random = generator("temporal_order", rng)

    steps = random.integers(shortest, longest + 1, size=count)
    tokens = random.integers(2, 6, size=(count, longest))  # a, b, c, d
    first = random.integers(shortest // 10, shortest // 5 + 1, size=count)
    second = random.integers(shortest // 2, 3 * shortest // 5 + 1, size=count)
    targets = random.integers(4, size=count)

    row = np.arange(count)
    x = TEMPORAL_ORDER_SYMBOLS.index("X")  # and Y is the next number
    tokens[row, first] = x + targets // 2
    tokens[row, second] = x + targets % 2
    tokens[:, 0] = TEMPORAL_ORDER_SYMBOLS.index("E")
    tokens[row, steps - 1] = TEMPORAL_ORDER_SYMBOLS.index("B")

    mask = np.arange(longest) < steps[:, np.newaxis]
    tokens[~mask] = 0
    inputs = np.eye(len(TEMPORAL_ORDER_SYMBOLS), dtype=float_type)[tokens]
    inputs[~mask] = 0
    return TemporalOrder(inputs, targets, mask, tokens)
