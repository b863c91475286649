"""Cross-entropy of classes, on logits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.losses.arguments import (
    as_classes,
    refuse_not_finite,
    valid_prediction,
    without_class,
)
from minirnn.losses.base import Loss
from minirnn.losses.classes import add_at_class, natively, softmax_and_nats
from minirnn.losses.positions import Positions
from minirnn.masks import without_padding
from minirnn.typing import Array

__all__ = ["SoftmaxCrossEntropy"]


class SoftmaxCrossEntropy(Loss):
    """Softmax and cross-entropy in one, on logits: the loss to train classes with.

    With ``p = softmax(prediction)`` over the last axis and ``t`` the target distribution (1 at the
    right class and 0 elsewhere, for integer targets), the mean over the ``N`` valid positions, in
    nats::

        loss = -1/N sum_positions sum_k t_k log p_k
        grad =  1/N (p_k sum_j t_j - t_k)

    The logarithm is taken before anything can round to 0, so the loss is finite for any finite
    float32 logits.

    Parameters
    ----------
    class_weight : sequence of `classes` numbers, optional
        ``t_k`` is multiplied by ``class_weight[k]``. For integer targets the sum is then divided by
        the weights of the target classes, added up, in place of ``N``, so that the size of the loss
        does not depend on their scale; for targets that are probabilities it stays ``N``. Both as
        in PyTorch.
    label_smoothing : float
        In [0, 1): ``t_k`` becomes ``(1 - label_smoothing) t_k + label_smoothing / classes``, before
        it is weighted.
    ignore_class : int, optional
        Positions with this integer as target do not count, as if the mask were False there. It need
        not be a class (-100, say).

    Shapes
    ------
    prediction : (..., classes), logits
    target : integers (...) in ``0 .. classes - 1``, or probabilities (..., classes)
    mask : (batch, time), sample_weight : (batch,) or (batch, time); both as in `Loss`

    Raises
    ------
    ValueError
        For a target of another shape or a class out of range (masked ones may be anything), and
        class weights that are not one for each class.
    RuntimeError
        If backward is called before forward.

    References
    ----------
    Szegedy et al., Rethinking the Inception architecture for computer vision, CVPR 2016, on label
    smoothing.

    Examples
    --------
    >>> import numpy as np
    >>> loss = SoftmaxCrossEntropy()
    >>> round(loss.forward(np.zeros((2, 4)), np.array([0, 3])), 4)   # log 4: a guess among four
    1.3863
    >>> loss.backward()
    array([[-0.375,  0.125,  0.125,  0.125],
           [ 0.125,  0.125,  0.125, -0.375]])

    A rare class that counts nine times, and steps whose target is -1 left out:

    >>> loss = SoftmaxCrossEntropy(class_weight=[1, 9], ignore_class=-1)
    >>> round(loss.forward(np.log([[0.5, 0.5], [0.8, 0.2], [0.1, 0.9]]), np.array([0, 1, -1])), 4)
    1.5178
    """

    def __init__(
        self,
        *,
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        ignore_class: int | None = None,
    ) -> None:
        self.class_weight = None if class_weight is None else _class_weights(self, class_weight)
        self.label_smoothing = checks.fraction(self, "label_smoothing", label_smoothing)
        self.ignore_class = checks.whole_number(self, "ignore_class", ignore_class)

    def forward(
        self, prediction: Any, target: Any, mask: Any = None, sample_weight: Any = None
    ) -> float:
        """Return the mean cross-entropy in nats."""
        if self.class_weight is None and not self.label_smoothing:
            found = natively(prediction, target, mask, sample_weight, self.ignore_class)
            if found is not None:
                loss, self.batch_weight, self._cache = found
                return loss
        prediction, mask = valid_prediction(self, prediction, mask)
        if self.ignore_class is not None:
            mask = without_class(self, self.ignore_class, target, prediction, mask)
            prediction = without_padding(prediction, mask)
        given = target = as_classes(self, target, prediction, mask)
        positions = Positions(self, prediction, mask, sample_weight)
        if self.class_weight is not None or self.label_smoothing:
            target = self._weighted(target, prediction, positions)
        terms, e, sums = softmax_and_nats(prediction, target)
        loss = positions.mean(terms)
        if not math.isfinite(loss):  # the difference of two float32 can be too large for a float32
            terms, *_ = softmax_and_nats(prediction.astype(np.float64), target)
            loss = positions.mean(terms)
            refuse_not_finite(self, loss, given)
        self._cache = e, sums, target, positions.share()
        self.batch_weight = positions.weight
        return loss

    def _weighted(self, target: Array, logits: Array, positions: Positions) -> Array:
        """Return the target with smoothing and class weights, and count them in `positions`."""
        weights, classes = self.class_weight, logits.shape[-1]
        if weights is not None and len(weights) != classes:
            raise ValueError(
                f"SoftmaxCrossEntropy: class_weight has {len(weights)} numbers, and the prediction "
                f"{classes} classes (axis {logits.ndim - 1})"
            )
        hard = target.shape != logits.shape
        if hard and weights is not None and not self.label_smoothing:
            positions.weights = positions.times(weights[target])
            positions.weight = float(positions.weights.sum())
            return target
        if hard:
            if weights is not None:
                positions.weight = float(positions.times(weights[target]).sum())
            ones = np.zeros_like(logits)
            add_at_class(ones, target, 1)
            target = ones
        target = (1 - self.label_smoothing) * target + self.label_smoothing / classes
        with np.errstate(invalid="ignore"):  # refuse_not_finite names a target that is not
            return target if weights is None else target * weights.astype(target.dtype)

    def backward(self) -> Array:
        """Return the gradient on the logits, zero in the padding."""
        kept = self._saved()
        if isinstance(kept, np.ndarray):  # the gradient itself, from the native code
            return kept.copy()
        e, sums, target, share = kept
        grad: Array
        if target.shape == e.shape:
            grad = e * (target.sum(axis=-1, keepdims=True) * share / sums[..., None])
            grad -= target * share
        else:
            grad = e * (share / sums[..., None])
            add_at_class(grad, target, -share)
        return grad


def _class_weights(owner: object, given: Any) -> Array:
    weights = checks.as_floats(owner, given, np.float64, "class_weight")
    if weights.ndim != 1 or not np.isfinite(weights).all() or weights.min() < 0:
        raise ValueError(
            f"{checks.name_of(owner)}: class_weight should be one number of at least 0 for each "
            f"class, got {given!r}"
        )
    return weights
