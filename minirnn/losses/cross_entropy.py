"""Cross-entropy of classes, on logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.engine import current
from minirnn.losses.arguments import as_classes
from minirnn.losses.base import MeanLoss
from minirnn.settings import setting, settings
from minirnn.typing import Array, Mask


def _class_weights(owner: object, name: str, given: Any) -> Array:
    if isinstance(given, dict | str):
        raise TypeError(
            f"{checks.name_of(owner)}: {name} should be a list with a number for each class, in "
            f"their order, got {given!r}; balanced ones are len(y) / (classes * np.bincount(y))"
        )
    weights = checks.as_floats(owner, given, np.float64, name)
    if weights.ndim != 1 or not np.isfinite(weights).all() or weights.min(initial=0) < 0:
        raise ValueError(
            f"{checks.name_of(owner)}: {name} should be one number of at least 0 for each class, "
            f"got {given!r}"
        )
    return weights


@settings(kw_only=True)
class SoftmaxCrossEntropy(MeanLoss):
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

    class_weight: Any = setting(_class_weights, default=None)
    label_smoothing: float = setting(checks.fraction, default=0.0)
    ignore_class: int | None = setting(checks.integer, default=None)
    _over_classes = True

    def forward(
        self, prediction: Any, target: Any, mask: Any = None, sample_weight: Any = None
    ) -> float:
        """Return the mean cross-entropy in nats."""
        if self.class_weight is None and not self.label_smoothing:
            found = _natively(prediction, target, mask, sample_weight, self.ignore_class)
            if found is not None:
                loss, self.batch_weight, grad = found
                self._cache = grad, 1.0
                return loss
        return super().forward(prediction, target, mask, sample_weight)

    def _target(self, target: Any, prediction: Array, mask: Mask | None) -> Array:
        weights, classes = self.class_weight, prediction.shape[-1]
        if weights is not None and len(weights) != classes:
            raise ValueError(
                f"SoftmaxCrossEntropy: class_weight has {len(weights)} numbers, and the prediction "
                f"{classes} classes (axis {prediction.ndim - 1})"
            )
        return as_classes(self, target, prediction, mask)

    def _divisors(self, target: Array, weights: Array | None) -> Array | None:
        if self.class_weight is None or target.dtype.kind == "f":
            return weights
        own: Array = self.class_weight[target]
        return own if weights is None else weights * own

    def _terms(self, prediction: Array, target: Array) -> tuple[Array, Any]:
        if self.class_weight is not None or self.label_smoothing:
            target = self._weighted(target, prediction)
        terms, e, sums = _softmax_and_nats(prediction, target)
        if not np.isfinite(terms).all():  # float32 may not hold the difference of two float32
            terms, *_ = _softmax_and_nats(prediction.astype(np.float64), target)
        return terms, (e, sums, target)

    def _weighted(self, target: Array, logits: Array) -> Any:
        """Return the target distribution, with smoothing and class weights."""
        if target.shape != logits.shape:
            classes, target = target, np.zeros_like(logits)
            add_at_class(target, classes, 1)
        target = (1 - self.label_smoothing) * target + self.label_smoothing / logits.shape[-1]
        if self.class_weight is None:
            return target
        with np.errstate(invalid="ignore"):  # refuse_not_finite names a target that is not
            return target * self.class_weight.astype(target.dtype)

    def _slopes(self, kept: Any, share: Any) -> Any:
        if isinstance(kept, np.ndarray):  # the gradient itself, from the native code
            return kept.copy()
        e, sums, target = kept
        if target.shape == e.shape:
            grad = e * (target.sum(axis=-1, keepdims=True) * share / sums[..., None])
            return grad - target * share
        grad = e * (share / sums[..., None])
        add_at_class(grad, target, -share)
        return grad


def _natively(
    logits: Any, target: Any, mask: Any, sample_weight: Any, ignored: int | None
) -> tuple[float, float, Array] | None:
    """Return the mean cross-entropy of classes, the sum of the weights, and the gradient.

    That is one call of native code. None where there is no such code, or where it finds anything
    that it is not made for, be it wrong or only unusual: then NumPy says what.
    """
    if current.native is None or type(logits) is not np.ndarray or type(target) is not np.ndarray:
        return None
    if target.dtype.kind in "iu":
        target = np.ascontiguousarray(target, np.int64)
    if mask is not None:
        if type(mask) is not np.ndarray:
            return None
        mask = np.ascontiguousarray(mask)
    rows, grad = np.ascontiguousarray(logits), np.empty(logits.shape, logits.dtype)
    given = rows, target, mask, sample_weight, ignored
    found = current.native.cross_entropy(*given, grad, current.threads)
    return None if found is None else (*found, grad)


def _softmax_and_nats(logits: Array, target: Array) -> tuple[Array, Array, Array]:
    """Return ``-sum_k t_k log p_k`` at each position, and the parts of ``p = softmax(logits)``.

    The parts are ``e = exp(x - max x)``, of the shape of the logits, and its sums over the classes:
    ``p = e / sum e``.
    """
    positions, classes = logits.shape[:-1], logits.shape[-1]
    # over a short last axis, these two are two and ten times as fast as max and sum
    firsts = np.arange(0, logits.size, classes)
    peak = np.maximum.reduceat(logits.reshape(-1), firsts).reshape(positions)
    with np.errstate(over="ignore"):  # beyond the smallest number there is only -inf
        shifted = logits - peak[..., None]
    terms = nats(shifted, target)
    e = np.exp(shifted, shifted)
    sums = e.reshape(-1, classes).dot(np.ones(classes, e.dtype)).reshape(positions)
    logs = np.log(sums)
    terms += logs if target.shape != e.shape else logs * target.sum(axis=-1)
    return terms, e, sums


def nats(log_p: Array, target: Array) -> Array:
    """Return ``-sum_k t_k log p_k`` at each position."""
    if target.shape == log_p.shape:
        terms: Array = -(target * log_p).sum(axis=-1)
        return terms
    return -log_p.reshape(-1)[_places(log_p, target)]


def add_at_class(array: Array, target: Array, number: Any) -> None:
    """Add a number, or one of each position ``(..., 1)``, to its class in a contiguous array."""
    number = number[..., 0] if isinstance(number, np.ndarray) else number
    array.reshape(-1)[_places(array, target)] += number


def _places(array: Array, target: Array) -> Array:
    """Return where the class of each position is in the flat array (one index is fastest)."""
    firsts = np.arange(0, array.size, array.shape[-1]).reshape(target.shape)
    return firsts + target
