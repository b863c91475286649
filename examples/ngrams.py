"""Character n-grams: the score that a network which reads text should beat.

An n-gram of order n guesses the next character from the n - 1 before it, by counting in the
training text what followed them there. Every count gets a little added, so that what never occurred
is improbable, not impossible:

    p(next | context) = (count(context, next) + 0.1) / (count(context) + 0.1 vocabulary_size)

`names.py` and `sonnets.py` print the best of orders 1 to 4 beside their networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


def ngram_loss(
    train_sequences: Sequence[np.ndarray],
    test_sequences: Sequence[np.ndarray],
    order: int,
    vocabulary_size: int,
    smoothing: float = 0.1,
) -> float:
    """Nats per token that an n-gram model loses on `test_sequences`; lower is better.

    A sequence is a 1-D array of tokens in ``0 .. vocabulary_size - 1``. Its first token is given,
    never guessed: a start mark, or the first letter of a text. Where fewer than ``order - 1``
    tokens stand before, the context is that much shorter, and counted as one of its own.
    """
    counts: dict[int, np.ndarray] = {}
    for context, token in _contexts(train_sequences, order, vocabulary_size):
        if context not in counts:
            counts[context] = np.zeros(vocabulary_size)
        counts[context][token] += 1

    nothing = np.zeros(vocabulary_size)
    losses = []
    for context, token in _contexts(test_sequences, order, vocabulary_size):
        seen = counts.get(context, nothing)
        share = (seen[token] + smoothing) / (seen.sum() + smoothing * vocabulary_size)
        losses.append(-np.log(share))
    return float(np.mean(losses))


def best_ngram(
    train_sequences: Sequence[np.ndarray],
    test_sequences: Sequence[np.ndarray],
    vocabulary_size: int,
) -> tuple[int, float]:
    """Order, out of 1 to 4, that does best on `test_sequences`, and its nats per token."""
    losses = {
        order: ngram_loss(train_sequences, test_sequences, order, vocabulary_size)
        for order in range(1, 5)
    }
    order = min(losses, key=losses.__getitem__)
    return order, losses[order]


def _contexts(
    sequences: Sequence[np.ndarray], order: int, vocabulary_size: int
) -> Iterator[tuple[int, int]]:
    """Go through every guessed token with its context.

    A context is one number: its tokens, each raised by 1, are the digits. A context that is
    shorter, at the start of a sequence, has zeros in front.
    """
    if order < 1:
        raise ValueError(f"the order should be 1 or more, got {order}")
    base = vocabulary_size + 1
    for sequence in sequences:
        tokens = np.asarray(sequence, dtype=np.int64)
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < vocabulary_size:
            raise ValueError(f"tokens should be in 0 .. {vocabulary_size - 1}")
        contexts = np.zeros(len(tokens), dtype=np.int64)
        for back in range(order - 1, 0, -1):
            contexts[back:] = contexts[back:] * base + tokens[:-back] + 1
        yield from zip(contexts[1:].tolist(), tokens[1:].tolist(), strict=True)
