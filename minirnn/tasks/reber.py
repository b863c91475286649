"""The embedded Reber grammar: strings whose last symbol but one repeats the second.

A Reber grammar is a small diagram. Each arrow writes a symbol and leads to the next node; where two
arrows leave a node, either is taken with probability 1/2. The embedded grammar writes ``B``, then
``T`` or ``P``, then a whole string of the inner grammar, then *the same* ``T`` or ``P``, then
``E``. To predict that symbol a network must carry one bit across the inner string, which says
nothing about it::

    B T BTXSE T E          B P BPTTVVE P E

References
----------
A. Reber, "Implicit learning of artificial grammars", Journal of Verbal Learning and Verbal
Behavior 6, 1967, for the inner grammar. S. Fahlman, "The recurrent cascade-correlation
architecture", NIPS 3, 1991, and S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural
Computation 9(8), 1997, experiment 1, for the embedded one as a test of networks.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from minirnn.checks import float_dtype, generator, positive_int
from minirnn.typing import Array, Mask, RandomSource

__all__ = [
    "EMBEDDED_REBER_GRAMMAR",
    "REBER_GRAMMAR",
    "REBER_SYMBOLS",
    "EmbeddedReber",
    "embedded_reber",
    "embedded_reber_optimal_loss",
    "embedded_reber_strings",
    "encode_embedded_reber",
    "is_embedded_reber",
    "legal_next",
]

REBER_SYMBOLS = "BTSXPVE"
"""The seven symbols; a token is an index into this string."""

REBER_GRAMMAR: Mapping[str, Mapping[str, str]] = {
    # node: {symbol: next node}
    "0": {"B": "1"},
    "1": {"T": "2", "P": "3"},
    "2": {"S": "2", "X": "4"},
    "3": {"T": "3", "V": "5"},
    "4": {"X": "3", "S": "6"},
    "5": {"P": "4", "V": "6"},
    "6": {"E": "7"},
    "7": {},
}
"""The inner grammar, from node 0 to node 7."""


def _copy_of_inner(symbol: str) -> dict[str, dict[str, str]]:
    """Return the inner grammar, its nodes renamed to remember which symbol led there."""
    return {
        symbol + node: {written: symbol + target for written, target in arrows.items()}
        for node, arrows in REBER_GRAMMAR.items()
    }


EMBEDDED_REBER_GRAMMAR: Mapping[str, Mapping[str, str]] = {
    "start": {"B": "branch"},
    "branch": {"T": "T0", "P": "P0"},
    # Two copies of the inner grammar: which one a string is in *is* the bit to be remembered.
    **_copy_of_inner("T"),
    **_copy_of_inner("P"),
    "T7": {"T": "last"},
    "P7": {"P": "last"},
    "last": {"E": "end"},
    "end": {},
}
"""The embedded grammar, from node "start" to node "end": ``{node: {symbol: next node}}``."""


class EmbeddedReber(NamedTuple):
    """Strings as arrays, to predict each next symbol; ``time`` is the longest string less one."""

    inputs: Array
    """float array (count, time, 7): every symbol but the last, one-hot; zeros in the padding."""
    targets: Array
    """int64 array (count, time): the symbol after each, 0 in the padding."""
    mask: Mask
    """boolean array (count, time): True where the step is real."""
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
        with ``inputs`` (count, time, 7), ``targets`` (count, time), ``mask`` (count, time),
        ``legal`` (count, time, 7), ``tokens`` (count, time) and ``strings``.

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
    strings = _draw_strings("embedded_reber", count, exclude, rng)
    return encode_embedded_reber(strings, dtype=float_type)


def embedded_reber_strings(
    count: int, *, exclude: Collection[str] = (), rng: RandomSource = None
) -> list[str]:
    """Draw strings of the embedded Reber grammar, each choice with probability 1/2.

    The same seed gives the same strings as `embedded_reber`, which says what guessing scores.
    A string has 9 symbols at least, 12 on average, and no greatest length.

    Parameters
    ----------
    count : number of strings, 1 or more; the same string may come more than once
    exclude : strings not to return; the others keep their proportions
    rng : None, int seed or Generator

    Returns
    -------
    list of count strings

    References
    ----------
    As for `embedded_reber`.

    Examples
    --------
    >>> strings = embedded_reber_strings(5, rng=0)
    >>> all(string[1] == string[-2] for string in strings)
    True
    """
    return _draw_strings("embedded_reber_strings", count, exclude, rng)


def _draw_strings(
    function: str, count: int, exclude: Collection[str], rng: RandomSource
) -> list[str]:
    """Check the arguments on behalf of `function`, then walk the grammar `count` times."""
    count = positive_int(function, "count", count)
    if isinstance(exclude, str) or not isinstance(exclude, Collection):
        raise TypeError(
            f"{function}: exclude should be a collection of strings, such as a list or a set, "
            f"got {exclude!r}"
        )
    random = generator(function, rng)

    excluded = frozenset(exclude)
    strings: list[str] = []
    while len(strings) < count:  # ends: the grammar has infinitely many strings
        string, node = "", "start"
        while arrows := EMBEDDED_REBER_GRAMMAR[node]:
            symbols = list(arrows)
            symbol = symbols[random.integers(len(symbols))] if len(symbols) > 1 else symbols[0]
            string, node = string + symbol, arrows[symbol]
        if string not in excluded:
            strings.append(string)
    return strings


def legal_next(prefix: str) -> frozenset[str]:
    """Return the symbols that may follow the beginning of a string of the embedded grammar.

    Parameters
    ----------
    prefix : the first symbols of a string, "" for none of them

    Returns
    -------
    one or two symbols; none after a complete string

    Raises
    ------
    ValueError
        If no string begins with `prefix`; the message names the first wrong symbol.

    Examples
    --------
    >>> sorted(legal_next("BTB"))
    ['P', 'T']
    >>> sorted(legal_next("BTBTXSE"))  # the symbol to be remembered, seen six symbols earlier
    ['T']
    >>> legal_next("BTBTXSETE")
    frozenset()
    """
    return frozenset(EMBEDDED_REBER_GRAMMAR[_walk("legal_next", "prefix", prefix)[-1]])


def is_embedded_reber(string: str) -> bool:
    """Tell whether a string belongs to the embedded grammar, from its first B to its last E.

    Examples
    --------
    >>> is_embedded_reber("BTBTXSETE"), is_embedded_reber("BTBTXSEPE"), is_embedded_reber("BTB")
    (True, False, False)
    """
    _require_text("is_embedded_reber", "string", string)
    node = "start"
    for symbol in string:
        if symbol not in EMBEDDED_REBER_GRAMMAR[node]:
            return False
        node = EMBEDDED_REBER_GRAMMAR[node][symbol]
    return node == "end"


def encode_embedded_reber(
    strings: Sequence[str], *, dtype: DTypeLike = np.float32
) -> EmbeddedReber:
    """Turn strings of the embedded grammar into arrays, padded to the longest.

    Step ``k`` of a string shows its symbol ``k`` and asks for symbol ``k + 1``, so a string of
    ``n`` symbols fills ``n - 1`` steps. Guessing scores what `embedded_reber` says.

    Parameters
    ----------
    strings : complete strings of the grammar, one at least
    dtype : of the one-hot inputs, float32 or float64

    Returns
    -------
    EmbeddedReber
        with ``inputs`` (count, time, 7), ``targets`` (count, time), ``mask`` (count, time),
        ``legal`` (count, time, 7), ``tokens`` (count, time) and ``strings``.

    References
    ----------
    As for `embedded_reber`.

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
    paths = [_walk(function, f"strings[{i}]", string) for i, string in enumerate(strings)]
    for i, path in enumerate(paths):
        if path[-1] != "end":
            following = " or ".join(sorted(EMBEDDED_REBER_GRAMMAR[path[-1]]))
            raise ValueError(
                f"{function}: strings[{i}] should be complete, got {strings[i]!r}, "
                f"after which {following} is to come"
            )

    time = max(len(string) for string in strings) - 1
    tokens = np.zeros((len(strings), time), dtype=np.int64)
    targets = np.zeros_like(tokens)
    mask = np.zeros(tokens.shape, dtype=np.bool_)
    legal = np.zeros((*tokens.shape, len(REBER_SYMBOLS)), dtype=np.bool_)
    for i, (string, path) in enumerate(zip(strings, paths, strict=True)):
        numbers = [REBER_SYMBOLS.index(symbol) for symbol in string]
        steps = len(string) - 1
        tokens[i, :steps] = numbers[:-1]
        targets[i, :steps] = numbers[1:]
        mask[i, :steps] = True
        for k in range(steps):
            for symbol in EMBEDDED_REBER_GRAMMAR[path[k + 1]]:
                legal[i, k, REBER_SYMBOLS.index(symbol)] = True
    inputs = np.eye(len(REBER_SYMBOLS), dtype=float_type)[tokens]
    inputs[~mask] = 0
    return EmbeddedReber(inputs, targets, mask, legal, tokens, tuple(strings))


def embedded_reber_optimal_loss(*, long_memory: bool = True) -> float:
    """Compute the least cross-entropy that next-symbol prediction can reach, in nats a symbol.

    That is the entropy of the grammar. Let ``k(s)`` arrows leave node ``s``, each taken with
    probability ``1 / k(s)``. From ``s`` to the end, the expected entropy ``H`` and the expected
    number of symbols ``N`` obey ::

        H(s) = ln k(s) + mean of H over the next nodes        H(end) = 0
        N(s) = 1       + mean of N over the next nodes        N(end) = 0

    two linear systems, solved here from the grammar's table. The first B is given, not
    predicted, so the loss, a mean over all predicted symbols of many strings, tends to
    ``H(start) / (N(start) - 1) = 7 ln 2 / 11 = 0.4411``.

    Parameters
    ----------
    long_memory : False for a network that knows everything but which of T and P came second. It
        must give each 1/2 near the end, which costs ``ln 2`` a string: ``8 ln 2 / 11 = 0.5041``

    Returns
    -------
    the loss in nats, to be set against the ``ln 7 = 1.9459`` of equal probabilities

    References
    ----------
    As for `embedded_reber`; the entropy of a Markov source is in C. Shannon, "A mathematical
    theory of communication", Bell System Technical Journal 27, 1948.

    Examples
    --------
    >>> round(embedded_reber_optimal_loss(), 4)
    0.4411
    >>> round(embedded_reber_optimal_loss(long_memory=False), 4)
    0.5041
    """
    nodes = {node: i for i, node in enumerate(EMBEDDED_REBER_GRAMMAR)}
    transition = np.zeros((len(nodes), len(nodes)))
    step = np.zeros((len(nodes), 2))  # what one step adds to H and to N
    for node, arrows in EMBEDDED_REBER_GRAMMAR.items():
        for target in arrows.values():
            transition[nodes[node], nodes[target]] += 1 / len(arrows)
        if arrows:
            step[nodes[node]] = math.log(len(arrows)), 1
    if not long_memory:  # after the inner string T and P look alike
        step[[nodes["T7"], nodes["P7"]], 0] = math.log(2)
    totals = np.linalg.solve(np.eye(len(nodes)) - transition, step)
    entropy, symbols = totals[nodes["start"]]
    return float(entropy / (symbols - 1))


def _require_text(function: str, argument: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(
            f"{function}: {argument} should be a string such as 'BTBTXSETE', got {value!r} "
            f"of type {type(value).__name__}"
        )


def _walk(function: str, argument: str, string: str) -> list[str]:
    """Return the nodes that a string passes, "start" among them; refuse it at a wrong symbol."""
    _require_text(function, argument, string)
    path = ["start"]
    for position, symbol in enumerate(string):
        arrows = EMBEDDED_REBER_GRAMMAR[path[-1]]
        if symbol not in arrows:
            wanted = " or ".join(sorted(arrows)) if arrows else "nothing"
            raise ValueError(
                f"{function}: {argument} should follow the embedded Reber grammar: expected "
                f"{wanted} at position {position}, got {symbol!r} in {string!r}"
            )
        path.append(arrows[symbol])
    return path
