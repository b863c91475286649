"""Attention: weighted means of many vectors, with weights that depend on a query."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minirnn import checks
from minirnn.core import Layer, Parameter, dtype_of
from minirnn.functions import softmax
from minirnn.initializers import glorot_uniform
from minirnn.masks import without_padding
from minirnn.typing import Array, Mask, RandomSource


class Attention(Layer):
    """For each query the mean of all values, weighted by how well their keys match.

    With a query ``q``, keys ``k_j`` and values ``v_j`` (mostly the keys themselves: the outputs of
    an encoder), and ``j`` over the valid steps of the source::

        s_j = q . k_j                          score="dot"          sizes must be equal
        s_j = q W . k_j                        score="general"
        s_j = v . tanh(q Wq + k_j Wk)          score="additive"
        w   = softmax(s)
        y   = sum_j w_j v_j                    the context

    Backward, from ``dy``; sums over ``j`` and over queries are implied::

        dw_j = dy . v_j        dv_j = w_j dy        ds_j = w_j (dw_j - sum_i w_i dw_i)
        dot:        dq = ds_j k_j              dk_j = ds_j q
        general:    dq = ds_j W k_j            dk_j = ds_j W^T q           dW += q^T (ds_j k_j)
        additive:   t = tanh(q Wq + k_j Wk)    da = ds_j v (1 - t^2)       dv += ds_j t
                    dq = da Wq^T               dk_j = da Wk^T
                    dWq += q^T da              dWk += k_j^T da

    Parameters
    ----------
    query_size, key_size : int
    score : "dot", "general" or "additive"
    scaled : bool
        True divides the scores by ``sqrt(key_size)``, for the dot product of long vectors.
    rng : None, int or numpy.random.Generator
        For the initial weights: Glorot uniform.
    dtype : float32 or float64

    Attributes
    ----------
    weights : array (batch, queries, time), or (batch, time) after a single query; None at first
        ``w`` of the latest `forward`; `minirnn.insight.plot_attention` draws them.
    W : Parameter (query_size, key_size), with score="general"
    Wq : Parameter (query_size, key_size), with score="additive"
    Wk, v : Parameter (key_size, key_size), (key_size,), with score="additive"

    Notes
    -----
    Masked keys get no weight and no gradient, whatever number stands there. A source without any
    valid step gives a context of zeros.

    Raises
    ------
    ValueError
        With score="dot" if the two sizes differ; for a wrong shape; if the batches differ.

    References
    ----------
    Luong, Pham and Manning, Effective approaches to attention-based neural machine translation,
    EMNLP 2015 (dot, general). Bahdanau, Cho and Bengio, Neural machine translation by jointly
    learning to align and translate, ICLR 2015 (additive). Vaswani et al., Attention is all you
    need, NIPS 2017 (scaled).

    Examples
    --------
    >>> import numpy as np
    >>> layer = Attention(2, 2)
    >>> keys = np.array([[[9.0, 0.0], [0.0, 9.0], [5.0, 5.0]]])
    >>> layer.forward(np.array([[0.0, 1.0]]), keys, mask=np.array([[True, True, False]])).round(2)
    array([[0., 9.]])
    >>> layer.weights.round(2)
    array([[0., 1., 0.]])
    """

    uses_mask = True

    def __init__(
        self,
        query_size: int,
        key_size: int,
        *,
        score: str = "dot",
        scaled: bool = False,
        rng: RandomSource = None,
        dtype: Any = np.float32,
    ) -> None:
        self.query_size = checks.positive_int(self, "query_size", query_size)
        self.key_size = checks.positive_int(self, "key_size", key_size)
        self.score = checks.choice(self, "score", score, ("dot", "general", "additive"))
        self.scaled = checks.flag(self, "scaled", scaled)
        dtype = checks.float_dtype(self, dtype)
        rng = checks.generator(self, rng)
        self.weights: Array | None = None
        if self.score == "dot" and self.query_size != self.key_size:
            raise ValueError(
                f'Attention: score="dot" needs queries and keys of one size, got {query_size} and '
                f'{key_size}; score="general" takes two sizes'
            )
        if self.score == "general":
            self.W = Parameter(glorot_uniform(rng, self.query_size, self.key_size, dtype))
        elif self.score == "additive":
            self.Wq = Parameter(glorot_uniform(rng, self.query_size, self.key_size, dtype))
            self.Wk = Parameter(glorot_uniform(rng, self.key_size, self.key_size, dtype))
            self.v = Parameter(glorot_uniform(rng, self.key_size, 1, dtype)[:, 0])

    # ------------------------------------------------------------ forward

    def forward(self, query: Any, keys: Any, values: Any = None, mask: Any = None) -> Array:
        """Return the context of each query.

        Parameters
        ----------
        query : array (batch, queries, query_size), or (batch, query_size) for one query each
        keys : array (batch, time, key_size)
        values : array (batch, time, any size), optional
            By default the keys.
        mask : boolean array (batch, time), optional
            True where the step of the keys is valid.

        Returns
        -------
        array (batch, queries, size of the values), or (batch, size of the values)
        """
        dtype = dtype_of(self)
        query = checks.features(self, query, self.query_size, dtype)
        keys, mask = checks.sequence(self, keys, self.key_size, query.dtype, mask)
        one_query = query.ndim == 2
        if query.ndim not in (2, 3) or len(query) != len(keys):
            raise ValueError(
                f"Attention: the queries should be (batch, queries, {self.query_size}) or (batch, "
                f"{self.query_size}) for the {len(keys)} sequences of keys, got {query.shape}"
            )
        own_values = values is not None
        if own_values:
            values, _ = checks.sequence(self, values, None, query.dtype)
            if values.shape[:2] != keys.shape[:2]:
                raise ValueError(
                    f"Attention: keys and values should have the same batch and time, got keys "
                    f"{keys.shape} and values {values.shape}"
                )
        keys = without_padding(keys, mask)
        values = without_padding(values, mask) if own_values else keys
        queries = query[:, None, :] if one_query else query
        scores, hidden = self._scores(queries, keys)
        weights = _masked_softmax(scores, mask)
        context: Array = weights @ values
        self._cache = _Call(queries, keys, values, weights, hidden, one_query, own_values)
        self.weights = weights[:, 0] if one_query else weights
        return context[:, 0] if one_query else context

    def predict(self, query: Any, keys: Any, values: Any = None, mask: Any = None) -> Array:  # type: ignore[override]
        """Return what `forward` does; nothing is kept."""
        return self.evaluation_copy().forward(query, keys, values, mask)

    def _scores(self, queries: Array, keys: Array) -> tuple[Array, Array | None]:
        """Return the scores (batch, queries, time), and the tanh of the additive one."""
        transposed, hidden = keys.swapaxes(1, 2), None
        if self.score == "dot":
            scores = queries @ transposed
        elif self.score == "general":
            scores = (queries @ self.W.value) @ transposed
        else:
            of_queries, of_keys = queries @ self.Wq.value, keys @ self.Wk.value
            hidden = np.tanh(of_queries[:, :, None, :] + of_keys[:, None, :, :])
            scores = hidden @ self.v.value
        scores *= scores.dtype.type(self._scale())
        return scores, hidden

    def _scale(self) -> float:
        return float(self.key_size**-0.5) if self.scaled else 1.0

    # ------------------------------------------------------------ backward

    def backward(self, grad: Any) -> tuple[Array, ...]:
        """Return the gradients on what forward was given, from that on the context.

        Returns
        -------
        grad_query, grad_keys : arrays of the shapes of query and keys
        grad_values : array of the shape of the values, if there were any of their own
        """
        call: _Call = self._saved()
        w, dtype = call.weights, call.queries.dtype
        (batch, queries, _), size = w.shape, call.values.shape[2]
        shape = (batch, size) if call.one_query else (batch, queries, size)
        grad = checks.check_shape(self, grad, shape, dtype, "the gradient")
        if call.one_query:
            grad = grad[:, None, :]
        dw = grad @ call.values.swapaxes(1, 2)
        grad_values = w.swapaxes(1, 2) @ grad
        ds = w * (dw - (w * dw).sum(axis=2, keepdims=True))
        ds *= dtype.type(self._scale())
        grad_query, grad_keys = self._backward_scores(ds, call)
        if call.one_query:
            grad_query = grad_query[:, 0]
        if call.own_values:
            return grad_query, grad_keys, grad_values
        return grad_query, grad_keys + grad_values

    def _backward_scores(self, ds: Array, call: _Call) -> tuple[Array, Array]:
        """Return the gradients on queries and keys, from those on the scores."""
        q, k = call.queries, call.keys
        if self.score == "additive":
            assert call.hidden is not None
            da = ds[..., None] * ((1 - call.hidden * call.hidden) * self.v.value)
            self.v.grad += np.tensordot(ds, call.hidden, 3)
            d_queries, d_keys = da.sum(axis=2), da.sum(axis=1)
            self.Wq.grad += np.tensordot(q, d_queries, ((0, 1), (0, 1)))
            self.Wk.grad += np.tensordot(k, d_keys, ((0, 1), (0, 1)))
            return d_queries @ self.Wq.value.T, d_keys @ self.Wk.value.T
        seen, sent = ds @ k, ds.swapaxes(1, 2) @ q  # sum_j ds_j k_j, and for each key sum ds q
        if self.score == "dot":
            return seen, sent
        self.W.grad += np.tensordot(q, seen, ((0, 1), (0, 1)))
        return seen @ self.W.value.T, sent @ self.W.value


class _Call(NamedTuple):
    """What `forward` was given and has computed, with an axis for the queries even if it is one."""

    queries: Array
    keys: Array  # zeros in the padding, as in the values
    values: Array
    weights: Array
    hidden: Array | None  # of the additive score
    one_query: bool
    own_values: bool


def _masked_softmax(scores: Array, mask: Mask | None) -> Array:
    """Return the softmax over the valid steps, the last axis; zeros where there is none."""
    if mask is None:
        return softmax(scores)
    valid = mask[:, None, :]
    least = scores.min(axis=2, keepdims=True)  # finite, and never above a valid score
    weights = softmax(np.where(valid, scores, least))
    weights *= valid
    total = weights.sum(axis=2, keepdims=True)
    weights /= np.where(total > 0, total, 1)
    return weights
