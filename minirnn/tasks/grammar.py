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
from collections.abc import Collection, Mapping

import numpy as np

from minirnn.checks import generator, positive_int
from minirnn.typing import RandomSource

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


def embedded_reber_strings(
    count: int, *, exclude: Collection[str] = (), rng: RandomSource = None
) -> list[str]:
    """Draw strings of the embedded Reber grammar, each choice with probability 1/2.

    The same seed gives the same strings as `embedded_reber`, which says what guessing scores and
    where the task is from. A string has 9 symbols at least, 12 on average, and no greatest length.

    Parameters
    ----------
    count : number of strings, 1 or more; the same string may come more than once
    exclude : strings not to return; the others keep their proportions
    rng : None, int seed or Generator

    Returns
    -------
    list of count strings

    Examples
    --------
    >>> strings = embedded_reber_strings(5, rng=0)
    >>> all(string[1] == string[-2] for string in strings)
    True
    """
    return draw_strings("embedded_reber_strings", count, exclude, rng)


def draw_strings(
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
    return frozenset(EMBEDDED_REBER_GRAMMAR[nodes_passed("legal_next", "prefix", prefix)[-1]])


def is_embedded_reber(string: str) -> bool:
    """Tell whether a string belongs to the embedded grammar, from its first B to its last E.

    Examples
    --------
    >>> is_embedded_reber("BTBTXSETE"), is_embedded_reber("BTBTXSEPE"), is_embedded_reber("BTB")
    (True, False, False)
    """
    try:
        return nodes_passed("is_embedded_reber", "string", string)[-1] == "end"
    except ValueError:
        return False


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
    C. Shannon, "A mathematical theory of communication", Bell System Technical Journal 27, 1948,
    for the entropy of a Markov source.

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


def nodes_passed(function: str, argument: str, string: str) -> list[str]:
    """Return the nodes that a string passes, "start" among them; refuse it at a wrong symbol."""
    if not isinstance(string, str):
        raise TypeError(
            f"{function}: {argument} should be a string such as 'BTBTXSETE', got {string!r} "
            f"of type {type(string).__name__}"
        )
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
