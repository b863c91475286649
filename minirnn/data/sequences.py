"""Sequences of unequal length as one array and its mask; integers as one-hot vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.typing import Array, Mask


def pad_sequences(
    sequences: Sequence[Any], *, value: float = 0, length: int | None = None
) -> tuple[Array, Mask]:
    """Stack sequences of unequal length, filling up at the end.

    Parameters
    ----------
    sequences : list of arrays (time_k, ...)
        Unequal on axis 0 only, of one dtype.
    value : number
        Fills the padding. With the mask, nothing ever reads it.
    length : int, optional
        Number of steps of the result; by default that of the longest sequence.

    Returns
    -------
    array (batch, time, ...), and the mask (batch, time), True where the step is valid.

    Raises
    ------
    ValueError
        If the list is empty, a sequence is longer than `length`, or features differ.

    Examples
    --------
    >>> padded, mask = pad_sequences([[1, 2, 3], [4]])
    >>> padded
    array([[1, 2, 3],
           [4, 0, 0]])
    >>> mask
    array([[ True,  True,  True],
           [ True, False, False]])
    """
    name = "pad_sequences"
    arrays = as_sequences(name, sequences, "sequences")
    if not arrays:
        raise ValueError(f"{name}: the list of sequences is empty")
    for k, array in enumerate(arrays):
        if array.ndim == 0:
            raise ValueError(f"{name}: sequence {k} is a single number, not a sequence")
        if array.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(
                f"{name}: sequence {k} has steps of shape {array.shape[1:]}, sequence 0 of shape "
                f"{arrays[0].shape[1:]}"
            )
    lengths = [len(array) for array in arrays]
    time = max(lengths) if length is None else checks.positive_int(name, "length", length)
    if max(lengths) > time:
        k = int(np.argmax(lengths))
        raise ValueError(f"{name}: sequence {k} has {lengths[k]} steps, more than length={time}")
    if time == 0:
        raise ValueError(f"{name}: every sequence is empty")
    dtype, number = arrays[0].dtype, float(checks.as_floats(name, value, np.float64, "value"))
    known = np.iinfo(dtype) if dtype.kind in "iu" else None
    if known and not (number.is_integer() and known.min <= number <= known.max):
        raise ValueError(f"{name}: value={value!r} cannot stand among integers of {dtype}")
    padded = np.full((len(arrays), time, *arrays[0].shape[1:]), value, dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return padded, lengths_to_mask(lengths, time)


def as_sequences(owner: object, given: Any, what: str) -> list[Array]:
    """Return a list of arrays of one dtype; an empty list has that of the others."""
    if not isinstance(given, Iterable) or isinstance(given, Set | Mapping | bytes):
        raise TypeError(
            f"{checks.name_of(owner)}: {what} should be a list of arrays, got "
            f"{type(given).__name__}"
        )
    arrays = [checks.as_array(owner, one, f"{what}[{k}]") for k, one in enumerate(given)]
    known = [array for array in arrays if array.size] or arrays
    dtype = np.result_type(*known) if known else None
    return [array.astype(dtype, copy=False) for array in arrays]


def lengths_to_mask(lengths: Any, time: int | None = None) -> Mask:
    """Return the mask (batch, time) of sequences whose first ``lengths[k]`` steps are valid.

    Parameters
    ----------
    lengths : integers (batch,)
    time : int, optional
        Number of steps of the mask; by default the largest length.

    Examples
    --------
    >>> lengths_to_mask([2, 0, 3])
    array([[ True,  True, False],
           [False, False, False],
           [ True,  True,  True]])
    """
    name = "lengths_to_mask"
    array = checks.as_array(name, lengths, "lengths")
    no_integers = array.size > 0 and array.dtype.kind not in "iu"
    if array.ndim != 1 or not array.size or no_integers:
        raise (TypeError if no_integers else ValueError)(
            f"{name}: lengths should be integers (batch,), got {array.dtype} of shape {array.shape}"
        )
    longest = int(array.max())
    time = longest if time is None else checks.positive_int(name, "time", time, least=0)
    if array.min() < 0 or longest > time:
        wrong = int(np.flatnonzero((array < 0) | (array > time))[0])
        raise ValueError(
            f"{name}: lengths should be in 0..{time}, got {array[wrong]} for sequence {wrong}"
        )
    return np.asarray(np.arange(time) < array[:, None])


def one_hot(tokens: Any, size: int, *, dtype: Any = np.float32) -> Array:
    """Return vectors (..., size) of zeros with a one at each token.

    Parameters
    ----------
    tokens : integers (...) in ``0 .. size - 1``
    size : int
    dtype : float32 or float64

    Examples
    --------
    >>> one_hot([2, 0], 3)
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    size = checks.positive_int("one_hot", "size", size)
    tokens = checks.as_integers("one_hot", tokens, size, "tokens")
    result = np.zeros((*tokens.shape, size), checks.float_dtype("one_hot", dtype))
    np.put_along_axis(result, tokens[..., None], 1, axis=-1)
    return result
