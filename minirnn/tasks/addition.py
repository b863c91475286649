"""Binary addition: a task that takes one bit of memory, the carry."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from minirnn.checks import float_dtype, generator, positive_int
from minirnn.typing import Array, RandomSource


def binary_addition(
    count: int,
    *,
    bits: int = 8,
    rng: RandomSource = None,
    dtype: DTypeLike = np.float32,
) -> tuple[Array, Array]:
    """Draw pairs of binary numbers, lowest bit first, with their sums.

    The input at step ``k`` is bit ``k`` of both numbers, the target bit ``k`` of the sum. All a
    network has to remember is one carry bit. Two numbers of 8 bits may need 9 for their sum, so one
    more step follows the last bits: there the inputs are 0 and the target is the final carry. Every
    sum is therefore exact.

    Guessing: the numbers are uniform from 0 to ``2**bits - 1``. Each bit of the sum but the last
    is 1 with probability exactly 1/2, since a fair bit of one number is added to whatever else
    meets there; the last is 1 with probability ``1/2 - 2**-(bits + 1)``. A probability of 1/2
    everywhere scores a sigmoid cross-entropy of ``ln 2 = 0.6931``, and half the bits right. The
    likeliest sum of all, ``2**bits - 1``, is right once in ``2**bits`` pairs.

    Parameters
    ----------
    count : number of pairs, 1 or more
    bits : bits of each number, from 1 to 62
    rng : None, int seed or Generator
    dtype : of both arrays, float32 or float64

    Returns
    -------
    inputs : float array (count, bits + 1, 2) of 0 and 1
    targets : float array (count, bits + 1, 1) of 0 and 1

    References
    ----------
    G. Cottrell and F. Tsung, "Learning simple arithmetic procedures", Connection Science 5, 1993,
    add digit by digit with a recurrent net. The task here is its common form in base two.

    Examples
    --------
    >>> inputs, targets = binary_addition(64, rng=0)
    >>> inputs.shape, targets.shape
    ((64, 9, 2), (64, 9, 1))
    >>> weights = 2 ** np.arange(9)  # reads bits, lowest first, as a number
    >>> first, second = weights @ inputs[0]
    >>> bool(first + second == weights @ targets[0, :, 0])
    True
    """
    count = positive_int("binary_addition", "count", count)
    # The sum has one bit more, and an int64 holds 63 besides its sign.
    bits = positive_int("binary_addition", "bits", bits, most=62)
    float_type = float_dtype("binary_addition", dtype)
    random = generator("binary_addition", rng)

    first, second = random.integers(2**bits, size=(2, count))
    return _addition_arrays(first, second, bits, float_type)


def all_binary_additions(bits: int = 8, *, dtype: DTypeLike = np.float32) -> tuple[Array, Array]:
    """List every pair of binary numbers with its sum: a network right on all of them can add.

    Row ``first * 2**bits + second`` holds the pair ``(first, second)``, laid out and to be
    guessed as in `binary_addition`, which has the source: ``ln 2`` for every bit. For 8 bits that
    is 65,536 pairs, from 0 + 0 to 255 + 255. Nothing is drawn.

    Parameters
    ----------
    bits : bits of each number, from 1 to 10; the number of pairs is ``4**bits``
    dtype : of both arrays, float32 or float64

    Returns
    -------
    inputs : float array (4**bits, bits + 1, 2) of 0 and 1
    targets : float array (4**bits, bits + 1, 1) of 0 and 1

    Examples
    --------
    >>> inputs, targets = all_binary_additions()
    >>> inputs.shape
    (65536, 9, 2)
    >>> inputs[3 * 256 + 5, :4].T  # 3 is 1100 and 5 is 1010 when read lowest bit first
    array([[1., 1., 0., 0.],
           [1., 0., 1., 0.]], dtype=float32)
    >>> targets[3 * 256 + 5, :4, 0]  # and 8 is 0001
    array([0., 0., 0., 1.], dtype=float32)
    """
    # 10 bits are already a million pairs; one bit more would be four times as many.
    bits = positive_int("all_binary_additions", "bits", bits, most=10)
    float_type = float_dtype("all_binary_additions", dtype)

    first, second = np.divmod(np.arange(4**bits), 2**bits)
    return _addition_arrays(first, second, bits, float_type)


def _addition_arrays(
    first: Array, second: Array, bits: int, float_type: np.dtype[Any]
) -> tuple[Array, Array]:
    """Write integer pairs ``(count,)`` and their sums as bits along the time axis."""
    place = np.arange(bits + 1)
    pairs = np.stack([first, second], axis=1)
    inputs = (pairs[:, np.newaxis, :] >> place[:, np.newaxis]) & 1
    targets = ((first + second)[:, np.newaxis] >> place) & 1
    return inputs.astype(float_type), targets[:, :, np.newaxis].astype(float_type)
