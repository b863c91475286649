"""Cross-entropy of classes, on probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn.losses.arguments import (
    as_classes,
    check_probabilities,
    refuse_not_finite,
    valid_prediction,
)
from minirnn.losses.base import Loss
from minirnn.losses.classes import add_at_class, nats
from minirnn.losses.positions import Positions
from minirnn.typing import Array

__all__ = ["CrossEntropy"]


class CrossEntropy(Loss):
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

    def forward(
        self, prediction: Any, target: Any, mask: Any = None, sample_weight: Any = None
    ) -> float:
        """Return the mean cross-entropy in nats."""
        prediction, mask = valid_prediction(self, prediction, mask)
        hint = "; for logits take SoftmaxCrossEntropy, or end the model in Softmax"
        subject = "the prediction should be probabilities"
        check_probabilities(self, prediction, subject, hint, slack=1e-3)
        target = as_classes(self, target, prediction, mask)
        positions = Positions(self, prediction, mask, sample_weight)
        p = np.maximum(prediction, np.finfo(prediction.dtype).tiny)
        loss = positions.mean(nats(np.log(p), target))
        refuse_not_finite(self, loss, target)
        self._cache = p, target, positions
        self.batch_weight = positions.weight
        return loss

    def backward(self) -> Array:
        """Return the gradient on the probabilities, zero in the padding."""
        p, target, positions = self._saved()
        if target.shape != p.shape:
            classes, target = target, np.zeros_like(p)
            add_at_class(target, classes, 1)
        grad: Array = -target / p * positions.share()
        return positions.without_padding(grad)  # type: ignore[no-any-return]
