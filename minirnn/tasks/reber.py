"""Strings of the embedded Reber grammar as arrays, to predict each next symbol."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from minirnn.checks import float_dtype
from minirnn.data import pad_sequences
from minirnn.tasks.grammar import (
    EMBEDDED_REBER_GRAMMAR,
    REBER_SYMBOLS,
    draw_strings,
    nodes_passed,
)
from minirnn.typing import Array, Mask, RandomSource


class EmbeddedReber(NamedTuple):
    """Strings as arrays, to predict each next symbol; ``time`` is the longest string less one."""

    inputs: Array
    """float array (count, time, 7): every symbol but the last, one-hot; zeros in the padding."""
    targets: Array
    """int64 array (count, time): the symbol after each, 0 in the padding."""
    mask: Mask
    """boolean array (count, time): True where the step is valid, not padding."""
    legal: Array
    """boolean array (count, time, 7): the symbols that may come next; False in the padding."""
    tokens: Array
    """int64 array (count, time): the inputs as integers, for an `Embedding`; 0 in the padding."""
    strings: tuple[str, ...]
    """The strings themselves, count of them."""


def embedded_reber(
    count: int,
    *,
    exclude: Collection[str] = (),
    rng: RandomSource = None,
    dtype: DTypeLike = np.float32,
) -> EmbeddedReber:
    """Draw strings of the embedded Reber grammar as arrays for next-symbol prediction.

    Guessing: equal probabilities for the seven symbols score a cross-entropy of
    ``ln 7 = 1.9459`` a symbol. What remains for a network that knows the grammar is
    `embedded_reber_optimal_loss`, 0.4411; one that knows all but the bit to remember scores
    0.5041. As 0.06 is easily overlooked, the papers count a string as predicted when at every
    step each legal symbol scores higher than any other; the example shows how.

    Parameters
    ----------
    count : number of strings, 1 or more
    exclude : strings not to return, such as the training strings when drawing a test set
    rng : None, int seed or Generator
    dtype : of the one-hot inputs, float32 or float64

    Returns
    -------
    EmbeddedReber

    References
    ----------
    S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997,
    experiment 1: 256 strings to train on, 256 others to test, a string ends with its final E.

    Examples
    --------
    >>> train = embedded_reber(256, rng=0)
    >>> test = embedded_reber(256, exclude=train.strings, rng=1)
    >>> train.inputs.shape[0], train.inputs.shape[2], set(train.strings) & set(test.strings)
    (256, 7, set())

    The criterion of the papers, here met by scores that come from the grammar itself:

    >>> scores = np.where(test.legal, 2.0, -1.0)  # (count, time, 7)
    >>> weakest_legal = np.where(test.legal, scores, np.inf).min(axis=-1)
    >>> strongest_other = np.where(test.legal, -np.inf, scores).max(axis=-1)
    >>> predicted = ((weakest_legal > strongest_other) | ~test.mask).all(axis=1)
    >>> int(predicted.sum())
    256
    """
    float_type = float_dtype("embedded_reber", dtype)  # before anything is drawn
    strings = draw_strings("embedded_reber", count, exclude, rng)
    return encode_embedded_reber(strings, dtype=float_type)


def encode_embedded_reber(
    strings: Sequence[str], *, dtype: DTypeLike = np.float32
) -> EmbeddedReber:
    """Turn strings of the embedded grammar into arrays, padded to the longest.

    The input at step ``k`` is symbol ``k`` of the string, the target symbol ``k + 1``, so a string
    of ``n`` symbols fills ``n - 1`` steps. `embedded_reber` says what guessing scores.

    Parameters
    ----------
    strings : complete strings of the grammar, one at least
    dtype : of the one-hot inputs, float32 or float64

    Returns
    -------
    EmbeddedReber
        With ``count`` the number of strings.

    Examples
    --------
    >>> task = encode_embedded_reber(["BTBTXSETE", "BPBTSXSEPE"])
    >>> task.mask.sum(axis=1)
    array([8, 9])
    >>> "".join(REBER_SYMBOLS[k] for k in task.targets[0, task.mask[0]])
    'TBTXSETE'
    >>> task.legal[0, 0].astype(int)  # after B, in the order BTSXPVE: T or P
    array([0, 1, 0, 0, 1, 0, 0])
    """
    function = "encode_embedded_reber"
    if isinstance(strings, str) or not isinstance(strings, Sequence):
        raise TypeError(
            f"{function}: strings should be a list or tuple of strings, got {strings!r}; "
            "put a single string into a list"
        )
    if not strings:
        raise ValueError(f"{function}: strings should hold one string at least, got none")
    float_type = float_dtype(function, dtype)
    paths = [nodes_passed(function, f"strings[{i}]", string) for i, string in enumerate(strings)]
    for i, path in enumerate(paths):
        if path[-1] != "end":
            following = " or ".join(sorted(EMBEDDED_REBER_GRAMMAR[path[-1]]))
            raise ValueError(
                f"{function}: strings[{i}] should be complete, got {strings[i]!r}, "
                f"after which {following} is to come"
            )

    numbers = [
        np.array([REBER_SYMBOLS.index(symbol) for symbol in string], np.int64) for string in strings
    ]
    tokens, mask = pad_sequences([row[:-1] for row in numbers])
    targets, _ = pad_sequences([row[1:] for row in numbers])
    legal = np.zeros((*tokens.shape, len(REBER_SYMBOLS)), dtype=np.bool_)
    for i, path in enumerate(paths):
        for k, node in enumerate(path[1:-1]):
            legal[i, k, [REBER_SYMBOLS.index(s) for s in EMBEDDED_REBER_GRAMMAR[node]]] = True
    inputs = np.eye(len(REBER_SYMBOLS), dtype=float_type)[tokens]
    inputs[~mask] = 0
    return EmbeddedReber(inputs, targets, mask, legal, tokens, tuple(strings))
