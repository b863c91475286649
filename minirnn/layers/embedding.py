"""Embedding: integer tokens to vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer, Parameter
from minirnn.typing import Array, RandomSource


class Embedding(Layer):
    """A learned vector for each token: ``y[n, t] = W[token[n, t]]``.

    The same as a `Dense` layer without bias on one-hot vectors, which are never built.
    Backward adds ``grad_y[n, t]`` to row ``token[n, t]`` of the gradient; a token that occurs
    several times gets the sum. Tokens themselves have no gradient: `backward` returns None.

    Parameters
    ----------
    vocabulary_size : int
        Tokens are ``0 .. vocabulary_size - 1``.
    output_size : int
        Length of each vector.
    rng : None, int or numpy.random.Generator
        For the initial vectors: standard normal.
    dtype : float32 or float64

    Attributes
    ----------
    W : Parameter (vocabulary_size, output_size)

    Raises
    ------
    TypeError
        If the tokens are not integers.
    ValueError
        If a token lies outside ``0 .. vocabulary_size - 1``; under a mask, a valid one.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Embedding(10, 4, rng=0)
    >>> layer.forward(np.array([[1, 2, 2]])).shape
    (1, 3, 4)
    """

    uses_mask = True

    def __init__(
        self,
        vocabulary_size: int,
        output_size: int,
        *,
        rng: RandomSource = None,
        dtype: Any = np.float32,
    ) -> None:
        self.vocabulary_size = checks.positive_int(self, "vocabulary_size", vocabulary_size)
        self.output_size = checks.positive_int(self, "output_size", output_size)
        dtype = checks.float_dtype(self, dtype)
        rng = checks.generator(self, rng)
        self.W = Parameter(
            rng.standard_normal((self.vocabulary_size, self.output_size)).astype(dtype)
        )

    def forward(self, tokens: Any, mask: Any = None) -> Array:
        """Return the vectors ``(batch, time, output_size)`` of tokens ``(batch, time)``.

        Under a mask ``(batch, time)``, padding gives zeros, whatever token stands there.
        """
        tokens = checks.as_integers(self, tokens, self.vocabulary_size, "tokens", mask)
        if tokens.ndim != 2:
            hint = ": are they one-hot? An Embedding takes the integers" if tokens.ndim == 3 else ""
            raise ValueError(
                f"Embedding: tokens should be (batch, time), got shape {tokens.shape}{hint}"
            )
        y: Array = self.W.value[tokens]
        if mask is not None:
            mask = np.asarray(mask)
            y[~mask] = 0
        self._cache = (tokens, mask)
        return y

    def step(self, x_t: Any) -> Array:
        """Return the vectors ``(batch, output_size)`` of one token each, ``(batch,)``."""
        x_t = checks.as_integers(self, x_t, self.vocabulary_size, "tokens")
        if x_t.ndim != 1:
            raise ValueError(
                f"Embedding: the tokens of one step should be (batch,), got shape {x_t.shape}"
            )
        y_t: Array = self.W.value[x_t]
        return y_t

    def backward(self, grad: Any) -> None:
        """Add to the gradient of W, from that on the output ``(batch, time, output_size)``."""
        tokens, mask = self._saved()
        shape = (*tokens.shape, self.output_size)
        grad = checks.check_shape(self, grad, shape, self.W.value.dtype, "the gradient")
        if mask is None:
            tokens, grad = tokens.reshape(-1), grad.reshape(-1, self.output_size)
        else:
            tokens, grad = tokens[mask], grad[mask]
        if tokens.size == 0:
            return
        # Sorted, the rows of one token stand together and are summed in one call: several times
        # faster than np.add.at.
        order = np.argsort(tokens, kind="stable")
        unique, starts = np.unique(tokens[order], return_index=True)
        self.W.grad[unique] += np.add.reduceat(grad[order], starts, axis=0)
