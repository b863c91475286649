"""Losses: one number from predictions and targets, and its gradient on the predictions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.functions import sigmoid
from minirnn.typing import Array, Mask

__all__ = ["CrossEntropy", "Loss", "MeanSquaredError", "SigmoidCrossEntropy", "SoftmaxCrossEntropy"]


class Loss:
    """A mean over the real positions of a batch.

    A loss of your own writes two methods::

        value = loss.forward(prediction, target, mask=None)      a float
        grad = loss.backward()                                   of the prediction's shape

    ``backward`` belongs to the latest ``forward``. A position is one index of every axis but the
    last: a step of a sequence, or a whole sequence after `LastStep`.
    """

    _cache: Any = None

    def forward(self, prediction: Any, target: Any, mask: Any = None) -> float:
        """Return the loss."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method")

    def __call__(self, prediction: Any, target: Any, mask: Any = None) -> float:
        """Return what `forward` returns."""
        return self.forward(prediction, target, mask)

    def backward(self) -> Array:
        """Return the gradient of the loss on the prediction."""
        raise NotImplementedError(f"{type(self).__name__} has no backward method")

    def _saved(self) -> Any:
        if self._cache is None:
            raise RuntimeError(
                f"{type(self).__name__}: backward was called before forward: there is nothing to "
                f"differentiate"
            )
        return self._cache

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


# ---------------------------------------------------------------- arguments


def real_positions(owner: object, prediction: Any, mask: Any) -> tuple[Array, Mask | None]:
    """Return the prediction as floats and the mask over its positions, both checked.

    In the padding the prediction comes back as zeros, whatever stood there.
    """
    prediction = checks.as_floats(owner, prediction, None, "the prediction")
    name = checks.name_of(owner)
    if prediction.ndim < 2:
        raise ValueError(
            f"{name}: the prediction should be (batch, outputs) or (batch, time, outputs), got "
            f"shape {prediction.shape}"
        )
    if prediction.size == 0:
        raise ValueError(f"{name}: the prediction is empty, shape {prediction.shape}")
    if mask is None:
        return prediction, None
    if prediction.ndim == 2 and np.ndim(mask) == 2:
        raise ValueError(
            f"{name}: got a mask of shape {np.shape(mask)} for a prediction of shape "
            f"{prediction.shape} without a time axis: there is one prediction a sequence (after "
            f"LastStep), so leave the mask out"
        )
    mask = checks.as_mask(owner, mask, prediction.shape[:-1])
    if not mask.any():
        raise ValueError(f"{name}: the mask has no real step, so there is nothing to average")
    return np.where(mask[..., None], prediction, prediction.dtype.type(0)), mask


def as_classes(owner: object, target: Any, prediction: Array, mask: Mask | None) -> Array:
    """Return the target as integers, one a position, or as floats of the prediction's shape."""
    shape, classes = prediction.shape[:-1], prediction.shape[-1]
    array = checks.as_array(owner, target, "the target")
    if array.shape == shape:
        return checks.as_integers(owner, array, classes, "target classes", mask)
    if array.shape != prediction.shape:
        hint = ""
        if array.shape == (*shape, 1):
            hint = "; drop the last axis, target[..., 0]"
        raise ValueError(
            f"{checks.name_of(owner)}: the target should be integer classes of shape {shape}, or "
            f"probabilities of the prediction's shape {prediction.shape}, got shape "
            f"{array.shape}{hint}"
        )
    array = checks.as_floats(owner, array, prediction.dtype, "the target")
    if mask is not None:
        array = np.where(mask[..., None], array, array.dtype.type(0))
    if array.min() < 0:
        raise ValueError(
            f"{checks.name_of(owner)}: target probabilities should not be negative, got "
            f"{array.min():g}"
        )
    return array


def _like_prediction(owner: object, target: Any, prediction: Array, mask: Mask | None) -> Array:
    array = checks.check_shape(
        owner, target, prediction.shape, prediction.dtype, "the target (as the prediction)"
    )
    return array if mask is None else np.where(mask[..., None], array, array.dtype.type(0))


def _count(prediction: Array, mask: Mask | None) -> int:
    """Return how many positions are real."""
    return math.prod(prediction.shape[:-1]) if mask is None else int(mask.sum())


def _total(terms: Array, mask: Mask | None) -> float:
    """Return the sum over real positions, added up in float64."""
    if mask is not None:
        terms = terms[mask]
    return float(terms.sum(dtype=np.float64))


# ---------------------------------------------------------------- cross-entropies


class SoftmaxCrossEntropy(Loss):
    """Softmax and cross-entropy in one, on logits: the loss to train classes with.

    With ``p = softmax(prediction)`` over the last axis and ``t`` the target distribution (1 at the
    right class and 0 elsewhere, for integer targets), the mean over the ``N`` real positions, in
    nats::

        loss = -1/N sum_positions sum_k t_k log p_k
        grad =  1/N (p_k sum_j t_j - t_k)

    Logarithms are taken before anything can round to 0, so the loss is finite for any finite
    float32 logits.

    Shapes
    ------
    prediction : (..., classes), logits
    target : integers (...) in ``0 .. classes - 1``, or probabilities (..., classes)
    mask : boolean (batch, time), only for a prediction with a time axis

    Raises
    ------
    ValueError
        For a target of another shape or a class out of range (masked ones may be anything).
    RuntimeError
        If backward is called before forward.

    Examples
    --------
    >>> import numpy as np
    >>> loss = SoftmaxCrossEntropy()
    >>> round(loss.forward(np.zeros((2, 4)), np.array([0, 3])), 4)   # log 4: a guess among four
    1.3863
    >>> loss.backward()
    array([[-0.375,  0.125,  0.125,  0.125],
           [ 0.125,  0.125,  0.125, -0.375]])
    """

    def forward(self, prediction: Any, target: Any, mask: Any = None) -> float:
        """Return the mean cross-entropy in nats."""
        prediction, mask = real_positions(self, prediction, mask)
        target = as_classes(self, target, prediction, mask)
        count = _count(prediction, mask)
        total, e, sums = _softmax_cross_entropy(prediction, target, mask)
        if not math.isfinite(total):  # the difference of two float32 can be too large for a float32
            total, *_ = _softmax_cross_entropy(prediction.astype(np.float64), target, mask)
        self._cache = e, sums, target, mask, count
        return total / count

    def backward(self) -> Array:
        """Return the gradient on the logits, zero in the padding."""
        e, sums, target, mask, count = self._saved()
        grad: Array
        if target.shape == e.shape:
            grad = e * (target.sum(axis=-1) / (count * sums))[..., None]
            grad -= target / count
        else:
            grad = e * (1 / (count * sums))[..., None]
            _add_at_class(grad, target, -1 / count)
        if mask is not None:
            grad[~mask] = 0
        return grad


class CrossEntropy(Loss):
    """Cross-entropy on probabilities, for a model that ends in `Softmax`.

    The mean over the ``N`` real positions, in nats::

        loss = -1/N sum_positions sum_k t_k log p_k
        grad = -1/N t_k / p_k

    A probability that rounds to 0 is taken as the smallest positive number of its dtype, so that
    the loss stays finite. On the logits themselves `SoftmaxCrossEntropy` has no such limit.

    Shapes
    ------
    prediction : (..., classes), probabilities
    target : integers (...) in ``0 .. classes - 1``, or probabilities (..., classes)
    mask : boolean (batch, time), only for a prediction with a time axis

    Raises
    ------
    ValueError
        If the prediction has numbers that are no probabilities (logits, most likely), and as
        `SoftmaxCrossEntropy` does.

    Examples
    --------
    >>> import numpy as np
    >>> loss = CrossEntropy()
    >>> round(loss.forward(np.array([[0.5, 0.5]]), np.array([1])), 4)
    0.6931
    >>> loss.backward()
    array([[-0., -2.]])
    """

    def forward(self, prediction: Any, target: Any, mask: Any = None) -> float:
        """Return the mean cross-entropy in nats."""
        prediction, mask = real_positions(self, prediction, mask)
        low, high = prediction.min(), prediction.max()
        if low < 0 or high > 1 + 1e-3:
            raise ValueError(
                f"CrossEntropy: the prediction should be probabilities in 0..1, got numbers from "
                f"{low:g} to {high:g}; for logits take SoftmaxCrossEntropy, or end the model in "
                f"Softmax"
            )
        target = as_classes(self, target, prediction, mask)
        p = np.maximum(prediction, np.finfo(prediction.dtype).tiny)
        count = _count(prediction, mask)
        self._cache = (p, target, mask, count)
        return _total(_cross_entropy(np.log(p), target), mask) / count

    def backward(self) -> Array:
        """Return the gradient on the probabilities, zero in the padding."""
        p, target, mask, count = self._saved()
        if target.shape != p.shape:
            classes, target = target, np.zeros_like(p)
            _add_at_class(target, classes, 1)
        grad: Array = -target / p / count
        if mask is not None:
            grad[~mask] = 0
        return grad


def _softmax_cross_entropy(
    logits: Array, target: Array, mask: Mask | None
) -> tuple[float, Array, Array]:
    """Return the sum of ``-sum_k t_k log p_k`` over the real positions, and what p is made of.

    That is ``e = exp(x - max x)``, of the shape of the logits, and its sums over the classes:
    ``p = e / sum e``.
    """
    # over a short last axis, these two are two and ten times as fast as max and sum
    peak = np.maximum.reduceat(logits.reshape(-1), _first_places(logits)).reshape(logits.shape[:-1])
    with np.errstate(over="ignore"):  # beyond the smallest number there is only -inf
        shifted = logits - peak[..., None]
    terms = _cross_entropy(shifted, target)
    e = np.exp(shifted, shifted)
    classes = e.shape[-1]
    sums = e.reshape(-1, classes).dot(np.ones(classes, e.dtype)).reshape(peak.shape)
    logs = np.log(sums)
    terms += logs if target.shape != e.shape else logs * target.sum(axis=-1)
    return _total(terms, mask), e, sums


def _cross_entropy(log_p: Array, target: Array) -> Array:
    """Return ``-sum_k t_k log p_k`` at each position."""
    if target.shape == log_p.shape:
        terms: Array = -(target * log_p).sum(axis=-1)
        return terms
    return -_at_class(log_p, target)


def _at_class(array: Array, target: Array) -> Array:
    """Return one element a position, that of the position's class: a new array."""
    return array.reshape(-1)[_places(array, target)]


def _add_at_class(array: Array, target: Array, number: float) -> None:
    """Add `number` to one element a position, in a contiguous array."""
    array.reshape(-1)[_places(array, target)] += number


def _places(array: Array, target: Array) -> Array:
    """Return where the class of each position is in the flat array (one index is fastest)."""
    places = _first_places(array).reshape(target.shape)
    places += target.astype(np.intp, copy=False)
    return places


def _first_places(array: Array) -> Array:
    """Return where the first class of each position is in the flat array."""
    return np.arange(0, array.size, array.shape[-1])


class SigmoidCrossEntropy(Loss):
    """Sigmoid and binary cross-entropy in one, on logits: for yes-or-no outputs.

    With ``p = sigmoid(x)`` and targets ``t`` in 0..1, the mean over the ``N`` real positions and
    the features, in nats::

        loss = -1/(N features) sum (t log p + (1 - t) log(1 - p))
             =  1/(N features) sum (max(x, 0) - x t + log(1 + exp(-|x|)))
        grad =  1/(N features) (p - t)

    The second form has nothing that could overflow.

    Shapes
    ------
    prediction : (..., features), logits
    target : (..., features), numbers in 0..1
    mask : boolean (batch, time), only for a prediction with a time axis

    Raises
    ------
    ValueError
        For a target of another shape (nothing is broadcast) or outside 0..1.

    Examples
    --------
    >>> import numpy as np
    >>> loss = SigmoidCrossEntropy()
    >>> round(loss.forward(np.array([[0.0, 1000.0]]), np.array([[1, 1]])), 4)
    0.3466
    >>> loss.backward()
    array([[-0.25,  0.  ]])
    """

    def forward(self, prediction: Any, target: Any, mask: Any = None) -> float:
        """Return the mean binary cross-entropy in nats."""
        x, mask = real_positions(self, prediction, mask)
        target = _like_prediction(self, target, x, mask)
        if target.min() < 0 or target.max() > 1:
            raise ValueError(
                f"SigmoidCrossEntropy: targets should be in 0..1, got numbers from "
                f"{target.min():g} to {target.max():g}"
            )
        count: int = _count(x, mask) * x.shape[-1]
        self._cache = (x, target, mask, count)
        terms: Array = np.maximum(x, 0) - x * target + np.log1p(np.exp(-np.abs(x)))
        return _total(terms, mask) / count

    def backward(self) -> Array:
        """Return the gradient on the logits, zero in the padding."""
        x, target, mask, count = self._saved()
        grad: Array = (sigmoid(x) - target) / count
        if mask is not None:
            grad[~mask] = 0
        return grad


class MeanSquaredError(Loss):
    """Mean of squared differences, over the ``N`` real positions and the features.

    ::

        loss = 1/(N features) sum (prediction - target)^2
        grad = 2/(N features) (prediction - target)

    Shapes
    ------
    prediction, target : (..., features)
    mask : boolean (batch, time), only for a prediction with a time axis

    Raises
    ------
    ValueError
        For a target of another shape: nothing is broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> loss = MeanSquaredError()
    >>> loss.forward(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))
    2.0
    >>> loss.backward()
    array([[ 0., -2.]])
    """

    def forward(self, prediction: Any, target: Any, mask: Any = None) -> float:
        """Return the mean squared error, in the square of the target's unit."""
        prediction, mask = real_positions(self, prediction, mask)
        difference = prediction - _like_prediction(self, target, prediction, mask)
        count: int = _count(prediction, mask) * prediction.shape[-1]
        self._cache = (difference, count)
        return _total(difference * difference, mask) / count

    def backward(self) -> Array:
        """Return the gradient on the prediction, zero in the padding."""
        difference, count = self._saved()
        grad: Array = difference * (2 / count)
        return grad
