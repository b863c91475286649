"""Writing a sequence step by step: from logits to tokens, one beginning or several at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minirnn import checks
from minirnn.core import Layer, dtype_of
from minirnn.functions import log_softmax, softmax
from minirnn.kernels import one_blas_thread
from minirnn.layers.activations import Softmax
from minirnn.layers.attention import Attention
from minirnn.models.handover import with_state
from minirnn.models.sequential import run_step
from minirnn.recurrent.recurrent import one_way_layers
from minirnn.recurrent.states import initial_state
from minirnn.typing import Array, Mask, RandomSource, State


def as_logits(last: Layer | None, output: Array) -> Array:
    """Return a model's output as logits: its logarithm, if the last layer is a `Softmax`."""
    if not isinstance(last, Softmax):
        return output
    with np.errstate(divide="ignore"):
        logits: Array = np.log(output)
    return logits


class Sampler:
    """Draws a token from each row of logits; the arguments are those of `generate`.

    `owner` is named in messages. `top_p` is the nucleus of Holtzman et al., ICLR 2020: the
    likeliest tokens that together have a probability of at least p, and no more than needed.
    """

    def __init__(
        self, owner: object, temperature: float, top_k: Any, top_p: Any, rng: RandomSource
    ) -> None:
        self.temperature = checks.positive_float(owner, "temperature", temperature, zero=True)
        self.top_k = None if top_k is None else checks.positive_int(owner, "top_k", top_k)
        self.top_p = None if top_p is None else checks.positive_float(owner, "top_p", top_p)
        if self.top_p is not None and self.top_p > 1:
            raise ValueError(f"{checks.name_of(owner)}: top_p should be at most 1, got {top_p}")
        self.rng = checks.generator(owner, rng)

    def __call__(self, logits: Any) -> Array:
        """Return tokens (batch,) for logits (batch, tokens)."""
        if self.temperature == 0:
            greedy: Array = logits.argmax(axis=1)
            return greedy
        with np.errstate(over="ignore"):  # the coldest leave nothing but the likeliest
            scaled = np.asarray(logits, np.float64)
            scaled = (scaled - scaled.max(axis=1, keepdims=True)) / self.temperature
        if self.top_k is not None or self.top_p is not None:
            scaled = np.where(self._kept(scaled), scaled, -np.inf)
        # argmax of logits + Gumbel noise is a draw from their softmax
        drawn: Array = (scaled + self.rng.gumbel(size=scaled.shape)).argmax(axis=1)
        return drawn

    def _kept(self, logits: Array) -> Array:
        """Return which tokens are drawn from, boolean (batch, tokens)."""
        order = np.argsort(-logits, axis=1, kind="stable")  # the likeliest first
        kept = np.ones(logits.shape, bool)
        if self.top_k is not None:
            kept[:, self.top_k :] = False
        if self.top_p is not None:
            p = softmax(np.take_along_axis(logits, order, axis=1))
            kept &= p.cumsum(axis=1) - p < self.top_p  # the likelier ones are not enough
        result = np.empty_like(kept)
        np.put_along_axis(result, order, kept, axis=1)
        return result


class Decoded(NamedTuple):
    """Sequences that a decoder has written."""

    tokens: Array
    """integers (batch, length), the end token included; the padding after it is end tokens."""
    mask: Mask
    """boolean array (batch, length): True up to the end token."""
    log_probability: Array
    """array (batch,): of the tokens given the source, in nats."""
    attention: Array | None
    """array (batch, length, source time), or None: the weight of each source step when each token
    was written."""

    def sequences(self, end: int) -> list[Array]:
        """Return the tokens of each sequence, without the end token and the padding."""
        rows = zip(self.tokens, self.mask, strict=True)
        return [row[valid & (row != end)] for row, valid in rows]


class Steps:
    """A decoder at work: gives the logits of the next token, and can go on from other rows.

    `before` is the decoder up to its last recurrent layer, with a state in `states` to begin with
    for each layer, `after` the rest; `annotations` (batch, time, keys) is what the encoder has made
    of the source, whose mask is `mask`.
    """

    def __init__(
        self,
        before: list[Layer],
        after: list[Layer],
        attention: Attention | None,
        annotations: Array,
        mask: Mask | None,
        states: list[State | None],
    ) -> None:
        self.before, self.after, self.attention = before, after, attention
        self.annotations, self.mask = annotations, mask
        self.batch = len(annotations)
        self._recurrent = [one_way_layers(layer)[0] for layer in with_state(before)]
        given = [state for state in states if state is not None]
        for layer, state in zip(self._recurrent, given, strict=True):
            layer.carried_state = initial_state(
                layer, state, None, self.batch, dtype_of(layer.cell) or annotations.dtype
            )

    def __call__(self, tokens: Array) -> tuple[Array, Array | None]:
        """Return log-probabilities (rows, tokens) after one more token, and where it looked."""
        with one_blas_thread():
            h, weights = run_step(self.before, tokens, "the decoder"), None
            if self.attention is not None:
                context = self.attention.forward(h, self.annotations, mask=self.mask)
                h, weights = np.concatenate([h, context], axis=1), self.attention.weights
            logits = run_step(self.after, h, "the rest of the decoder")
        if logits.ndim != 2:
            raise ValueError(
                f"EncoderDecoder: to write, the decoder should give the logits (batch, tokens) of "
                f"the next token, got shape {logits.shape}"
            )
        checks.no_nan("EncoderDecoder", logits, "a logit of the decoder")
        last = self.after[-1] if self.after else None
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
        self.mask = None if self.mask is None else self.mask[rows]


def write(
    steps: Steps,
    start: int,
    end: int,
    max_length: int,
    choose: Callable[[Array], Array],
    *,
    width: int = 1,
    length_penalty: float = 0.0,
) -> Decoded:
    """Write one token after the other, and keep `width` beginnings of each sequence.

    A beginning that has ended stays as it is, until better ones push it out. `choose` goes from the
    log-probabilities of all continuations (batch, width * tokens) to the positions of those that
    are kept (batch, width).
    """
    max_length = checks.positive_int("EncoderDecoder", "max_length", max_length)
    start = checks.positive_int("EncoderDecoder", "start", start, least=0)
    end = checks.positive_int("EncoderDecoder", "end", end, least=0)
    batch, sources = steps.batch, np.arange(steps.batch)[:, None]
    steps.repeat(width)
    token = np.full((batch, width), start)
    ended = np.zeros((batch, width), bool)
    lengths = np.zeros((batch, width))
    total = np.full((batch, width), -np.inf)
    total[:, 0] = 0  # all beginnings are the same at first, and one of each is enough
    written: list[tuple[Array, Array, Array | None]] = []
    while len(written) < max_length and not ended.all():
        log_p, weights = steps(token.reshape(-1))
        tokens = log_p.shape[1]
        if end >= tokens:
            raise ValueError(
                f"EncoderDecoder: end should be a token in 0..{tokens - 1}, got {end!r}"
            )
        only_end = np.where(np.arange(tokens) == end, 0.0, -np.inf)
        log_p = np.where(ended[:, :, None], only_end, log_p.reshape(batch, width, tokens))
        candidates = (total[:, :, None] + log_p).reshape(batch, -1)
        best = choose(candidates)
        parent, token = np.divmod(best, tokens)
        total = candidates[sources, best]
        lengths = lengths[sources, parent] + ~ended[sources, parent]
        ended = ended[sources, parent] | (token == end)
        steps.take((sources * width + parent).reshape(-1))
        looked = None if weights is None else weights.reshape(batch, width, -1)
        written.append((token, parent, looked))
    rows = np.arange(batch)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = (lengths / lengths.max()) ** length_penalty  # in place of lengths: no overflow
        place = np.where(np.isinf(total), -np.inf, total / shares).argmax(axis=1)
    score = total[rows, place]
    found: list[tuple[Array, Array | None]] = []
    for token, parent, looked in reversed(written):
        place, here = parent[rows, place], place
        found.append((token[rows, here], None if looked is None else looked[rows, place]))
    row, attention = zip(*reversed(found), strict=True)
    return _decoded(np.stack(row, axis=1), end, score, list(attention))


def _decoded(tokens: Array, end: int, total: Array, looked: list[Array | None]) -> Decoded:
    before = (tokens == end).cumsum(axis=1) - (tokens == end)  # end tokens in front of each
    mask = before == 0
    if not mask[:, -1].any():  # a beam may have gone on for longer sequences that lost
        longest = int(mask.sum(axis=1).max())
        tokens, mask, looked = tokens[:, :longest], mask[:, :longest], looked[:longest]
    weights = [array for array in looked if array is not None]
    return Decoded(tokens, mask, total, np.stack(weights, axis=1) if weights else None)
