"""From logits to tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer
from minirnn.functions import softmax
from minirnn.layers.activations import Softmax
from minirnn.typing import Array, RandomSource


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
        self,
        owner: object,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        rng: RandomSource = None,
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
