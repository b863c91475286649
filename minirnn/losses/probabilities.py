"""Cross-entropies of yes-or-no outputs, and of classes on probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn.functions import sigmoid
from minirnn.losses.arguments import as_classes, check_probabilities
from minirnn.losses.base import MeanLoss
from minirnn.losses.cross_entropy import add_at_class, nats
from minirnn.typing import Array, Mask


class SigmoidCrossEntropy(MeanLoss):
    """Sigmoid and binary cross-entropy in one, on logits: for yes-or-no outputs.

    With ``p = sigmoid(x)`` and targets ``t`` in 0..1, the mean over the ``N`` valid positions and
    the features, in nats::

        loss = -1/(N features) sum (t log p + (1 - t) log(1 - p))
             =  1/(N features) sum (max(x, 0) - x t + log(1 + exp(-|x|)))
        grad =  1/(N features) (p - t)

    The second form cannot overflow.

    Shapes
    ------
    prediction : (..., features), logits
    target : (..., features), numbers in 0..1
    mask : (batch, time), sample_weight : (batch,) or (batch, time); both as in `Loss`

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

    def _terms(self, prediction: Array, target: Array) -> tuple[Array, Any]:
        x = prediction
        check_probabilities(self, target, "targets should be")
        return np.maximum(x, 0) - x * target + np.log1p(np.exp(-np.abs(x))), (x, target)

    def _slopes(self, kept: Any, share: Any) -> Any:
        x, target = kept
        return (sigmoid(x) - target) * share


class BinaryCrossEntropy(MeanLoss):
    """Binary cross-entropy on probabilities, for a model that ends in `Sigmoid`.

    With targets ``t`` in 0..1, the mean over the ``N`` valid positions and the features, in nats::

        loss = -1/(N features) sum (t log p + (1 - t) log(1 - p))
        grad =  1/(N features) ((1 - t) / (1 - p) - t / p)

    A ``p`` or ``1 - p`` that rounds to 0 is taken as the smallest positive number of its dtype, so
    that the loss stays finite. On the logits themselves `SigmoidCrossEntropy` has no such limit.

    Shapes
    ------
    prediction : (..., features), probabilities
    target : (..., features), numbers in 0..1
    mask : (batch, time), sample_weight : (batch,) or (batch, time); both as in `Loss`

    Raises
    ------
    ValueError
        If the prediction has numbers that are no probabilities (logits, most likely), and for a
        target of another shape (nothing is broadcast) or outside 0..1.

    Examples
    --------
    >>> import numpy as np
    >>> loss = BinaryCrossEntropy()
    >>> round(loss.forward(np.array([[0.5, 0.25]]), np.array([[1, 0]])), 4)
    0.4904
    >>> loss.backward()
    array([[-1.        ,  0.66666667]])
    """

    def _terms(self, prediction: Array, target: Array) -> tuple[Array, Any]:
        hint = "; for logits take SigmoidCrossEntropy, or end the model in Sigmoid"
        check_probabilities(self, prediction, "the prediction should be probabilities", hint)
        check_probabilities(self, target, "targets should be")
        tiny = np.finfo(prediction.dtype).tiny
        p, q = np.maximum(prediction, tiny), np.maximum(1 - prediction, tiny)
        return -(target * np.log(p) + (1 - target) * np.log(q)), (p, q, target)

    def _slopes(self, kept: Any, share: Any) -> Any:
        p, q, target = kept
        return ((1 - target) / q - target / p) * share


class CrossEntropy(MeanLoss):
    """Cross-entropy on probabilities, for a model that ends in `Softmax`.

    The mean over the ``N`` valid positions, in nats::

        loss = -1/N sum_positions sum_k t_k log p_k
        grad = -1/N t_k / p_k

    A probability that rounds to 0 is taken as the smallest positive number of its dtype, so that
    the loss stays finite. On the logits themselves `SoftmaxCrossEntropy` has no such limit.

    Shapes
    ------
    prediction : (..., classes), probabilities
    target : integers (...) in ``0 .. classes - 1``, or probabilities (..., classes)
    mask : (batch, time), sample_weight : (batch,) or (batch, time); both as in `Loss`

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

    _over_classes = True

    def _target(self, target: Any, prediction: Array, mask: Mask | None) -> Array:
        return as_classes(self, target, prediction, mask)

    def _terms(self, prediction: Array, target: Array) -> tuple[Array, Any]:
        hint = "; for logits take SoftmaxCrossEntropy, or end the model in Softmax"
        subject = "the prediction should be probabilities"
        check_probabilities(self, prediction, subject, hint, slack=1e-3)
        p = np.maximum(prediction, np.finfo(prediction.dtype).tiny)
        return nats(np.log(p), target), (p, target)

    def _slopes(self, kept: Any, share: Any) -> Any:
        p, target = kept
        if target.shape != p.shape:
            classes, target = target, np.zeros_like(p)
            add_at_class(target, classes, 1)
        return -target / p * share
