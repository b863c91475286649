"""Writing a sequence step by step: one token after the other, or several beginnings at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minirnn import checks
from minirnn.functions import log_softmax
from minirnn.layers.attention import Attention
from minirnn.models.chain import Chain, cells_of
from minirnn.models.sampling import as_logits
from minirnn.typing import Array, Mask, State

__all__ = ["Decoded", "Steps", "beam_search", "draw"]


class Decoded(NamedTuple):
    """Sequences that a decoder has written.

    Attributes
    ----------
    tokens : integers (batch, length)
        The end token included; the padding after it is filled with end tokens.
    mask : boolean array (batch, length)
        True up to the end token.
    log_probability : array (batch,)
        Of the tokens given the source, in nats.
    attention : array (batch, length, source time), or None
        The weight of each source step when each token was written.
    """

    tokens: Array
    mask: Mask
    log_probability: Array
    attention: Array | None

    def sequences(self, end: int) -> list[Array]:
        """Return the tokens of each sequence, without the end token and the padding."""
        rows = zip(self.tokens, self.mask, strict=True)
        return [row[valid & (row != end)] for row, valid in rows]


class Steps:
    """A decoder at work: gives the logits of the next token, and can go on from other rows.

    Parameters
    ----------
    before, after : Chain
        The decoder up to its last recurrent layer, and the rest.
    attention : Attention, or None
    annotations : array (batch, time, keys)
        What the encoder has made of the source.
    mask : boolean array (batch, time), or None
        The source's.
    states : list of tuples of arrays
        With which the decoder begins.
    """

    def __init__(
        self,
        before: Chain,
        after: Chain,
        attention: Attention | None,
        annotations: Array,
        mask: Any,
        states: list[State],
    ) -> None:
        self.before, self.after, self.attention = before, after, attention
        self.annotations, self.mask = annotations, mask
        self.batch = len(annotations)
        self._recurrent = [cells_of(layer)[0] for layer in before.recurrent]
        for layer, state in zip(self._recurrent, states, strict=True):
            layer.carried_state = state

    def __call__(self, tokens: Array) -> tuple[Array, Array | None]:
        """Return log-probabilities (rows, tokens) after one more token, and where it looked."""
        h, weights = self.before.step(tokens), None
        if self.attention is not None:
            call = self.attention.attend(h, self.annotations, mask=self.mask)
            h, weights = np.concatenate([h, call.context], axis=1), call.seen
        logits = self.after.step(h)
        if logits.ndim != 2:
            raise ValueError(
                f"EncoderDecoder: to write, the decoder should give the logits (batch, tokens) of "
                f"the next token, got shape {logits.shape}"
            )
        last = self.after.layers[-1] if self.after.layers else None
        return log_softmax(as_logits(last, logits).astype(np.float64)), weights

    def take(self, rows: Array) -> None:
        """Go on from some of the rows, in another order, some of them several times."""
        for layer in self._recurrent:
            assert layer.carried_state is not None
            layer.carried_state = tuple(array[rows] for array in layer.carried_state)

    def repeat(self, width: int) -> None:
        """Let each source have `width` rows."""
        rows = np.repeat(np.arange(self.batch), width)
        self.take(rows)
        self.annotations = self.annotations[rows]
        self.mask = None if self.mask is None else np.asarray(self.mask)[rows]


def draw(
    steps: Steps, start: int, end: int, max_length: int, choose: Callable[[Array], Array]
) -> Decoded:
    """Write with one token after the other, each chosen from its log-probabilities.

    Parameters
    ----------
    steps : Steps
    start, end : int
    max_length : int
    choose : callable
        From log-probabilities (batch, tokens) to tokens (batch,).
    """
    max_length = checks.positive_int("EncoderDecoder", "max_length", max_length)
    rows = np.arange(steps.batch)
    token, ended = np.full(steps.batch, start), np.zeros(steps.batch, bool)
    total = np.zeros(steps.batch)
    written: list[Array] = []
    looked: list[Array | None] = []
    while len(written) < max_length and not ended.all():
        log_p, weights = steps(token)
        _check_token("end", end, log_p)
        token = np.where(ended, end, choose(log_p))
        total += np.where(ended, 0.0, log_p[rows, token])
        ended = ended | (token == end)
        written.append(token)
        looked.append(weights)
    return _decoded(np.stack(written, axis=1), end, total, looked)


def beam_search(
    steps: Steps, start: int, end: int, max_length: int, width: int, length_penalty: float
) -> Decoded:
    """Keep the `width` most likely beginnings of each sequence, from step to step.

    A beginning that has ended stays in the beam as it is, until better ones push it out.
    """
    max_length = checks.positive_int("EncoderDecoder", "max_length", max_length)
    width = checks.positive_int("EncoderDecoder", "width", width)
    penalty = checks.positive_float("EncoderDecoder", "length_penalty", length_penalty, zero=True)
    batch, sources = steps.batch, np.arange(steps.batch)[:, None]
    steps.repeat(width)
    token = np.full((batch, width), start)
    ended = np.zeros((batch, width), bool)
    lengths = np.zeros((batch, width))
    total = np.full((batch, width), -np.inf)
    total[:, 0] = 0  # all beginnings are the same at first, and one of each is enough
    written: list[Array] = []
    parents: list[Array] = []
    looked: list[Array | None] = []
    while len(written) < max_length and not ended.all():
        log_p, weights = steps(token.reshape(-1))
        _check_token("end", end, log_p)
        log_p = log_p.reshape(batch, width, -1)
        only_end = np.full(log_p.shape[2], -np.inf)
        only_end[end] = 0
        log_p = np.where(ended[:, :, None], only_end, log_p)
        candidates = (total[:, :, None] + log_p).reshape(batch, -1)
        best = np.argsort(-candidates, axis=1, kind="stable")[:, :width]
        parent, token = np.divmod(best, log_p.shape[2])
        total = candidates[sources, best]
        lengths = lengths[sources, parent] + ~ended[sources, parent]
        ended = ended[sources, parent] | (token == end)
        steps.take((sources * width + parent).reshape(-1))
        written.append(token)
        parents.append(parent)
        looked.append(None if weights is None else weights.reshape(batch, width, -1))
    rows = np.arange(batch)
    with np.errstate(invalid="ignore"):
        place = np.where(np.isinf(total), -np.inf, total / lengths**penalty).argmax(axis=1)
    score = total[rows, place]
    tokens: list[Array] = []
    weights_of: list[Array | None] = []
    for token, parent, weights in zip(written[::-1], parents[::-1], looked[::-1], strict=True):
        tokens.append(token[rows, place])
        place = parent[rows, place]
        weights_of.append(None if weights is None else weights[rows, place])
    return _decoded(np.stack(tokens[::-1], axis=1), end, score, weights_of[::-1])


def _decoded(tokens: Array, end: int, total: Array, looked: list[Array | None]) -> Decoded:
    before = (tokens == end).cumsum(axis=1) - (tokens == end)  # end tokens in front of each
    mask = before == 0
    if not mask[:, -1].any():  # a beam may have gone on for longer sequences that lost
        longest = int(mask.sum(axis=1).max())
        tokens, mask, looked = tokens[:, :longest], mask[:, :longest], looked[:longest]
    weights = [array for array in looked if array is not None]
    return Decoded(tokens, mask, total, np.stack(weights, axis=1) if weights else None)


def _check_token(name: str, token: int, log_p: Array) -> None:
    if not 0 <= token < log_p.shape[1]:
        raise ValueError(
            f"EncoderDecoder: {name} should be a token in 0..{log_p.shape[1] - 1}, got {token!r}"
        )
