"""Loss: the contract, and the base of losses that are a mean of terms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.keywords import KeywordHints
from minirnn.losses.arguments import (
    as_weights,
    like_prediction,
    positions_of,
    refuse_not_finite,
    takes,
    valid_prediction,
    without_class,
)
from minirnn.typing import Array, Mask


class Loss(KeywordHints):
    """A mean over the valid positions of a batch, and its gradient.

    To write your own, define two methods::

        value = loss.forward(prediction, target, mask=None)      a float
        grad = loss.backward()                                   of the prediction's shape

    ``backward`` belongs to the latest ``forward``. A position is one index of every axis but the
    last: a step of a sequence, or a whole sequence after `LastStep`. For use with weights,
    ``forward`` takes ``sample_weight=None`` too.

    All losses of minirnn average like this, with ``l_n`` the loss at position ``n`` and ``s_n`` its
    weight (1 without weights)::

        loss = sum_n s_n l_n / sum_n s_n

    So a weight says how often an example counts, as in scikit-learn, and the loss does not depend
    on the scale of the weights. (Keras divides by the number of positions instead.) A batch whose
    weights are all zero has the loss 0 and a gradient of zeros.

    Attributes
    ----------
    batch_weight : float or None
        The divisor of the latest `forward`: how many valid positions there were, or the sum of
        their weights. The losses of several batches are averaged with these weights. None: not
        known, so positions are counted.
    """

    batch_weight: float | None = None
    _cache: Any = None

    def forward(
        self, prediction: Any, target: Any, mask: Any = None, sample_weight: Any = None
    ) -> float:
        """Return the loss.

        Parameters
        ----------
        prediction : array (batch, outputs) or (batch, time, outputs)
            Numbers, not classes, also (batch,): one a sequence.
        target : array
            As the loss says.
        mask : boolean array (batch, time), optional
            True where the step is valid; only for a prediction with a time axis.
        sample_weight : array (batch,) or (batch, time), optional
            How much each sequence, or each step, counts: at least 0.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward method")

    def __call__(self, *arguments: Any, **keywords: Any) -> float:
        """Return what `forward` returns."""
        return self.forward(*arguments, **keywords)

    def backward(self) -> Array:
        """Return the gradient of the loss on the prediction."""
        raise NotImplementedError(f"{type(self).__name__} has no backward method")

    def why_not_finite(self) -> str:
        """Return why the latest `forward` gave inf or nan, or "" if the targets are not to blame.

        A `Trainer` calls it before it searches the layers.
        """
        return ""

    _saved = checks.saved


def check_loss(owner: object, loss: Any, *, sample_weight: bool = False) -> None:
    """Raise unless `loss` has both methods, and its forward takes the arguments it will get."""
    if isinstance(loss, type) or not (hasattr(loss, "forward") and hasattr(loss, "backward")):
        checks.instance(owner, "loss", loss, Loss)
    wanted = ("mask", "sample_weight") if sample_weight else ("mask",)
    for name in wanted:
        if not takes(loss.forward, name):
            shown = ", ".join(["self", "prediction", "target", *(f"{one}=None" for one in wanted)])
            raise TypeError(
                f"{checks.name_of(owner)}: the forward of {type(loss).__name__} does not take "
                f"{name}; write def forward({shown})"
            )


class MeanLoss(Loss):
    """A mean over valid positions, and over features where there is a term for each.

    A subclass writes `_terms` and `_slopes`. With an `ignore_class`, positions with this target do
    not count, as if the mask were False there.
    """

    ignore_class: int | None = None
    _over_classes = False  # whether the last axis is that of classes, with one term for all

    def _target(self, target: Any, prediction: Array, mask: Mask | None) -> Array:
        """Return the target, checked: of the prediction's shape, nothing is broadcast."""
        return like_prediction(self, target, prediction, mask)

    def _terms(self, prediction: Array, target: Array) -> tuple[Array, Any]:
        """Return terms (...) or (..., features), and what `_slopes` needs of them."""
        raise NotImplementedError

    def _slopes(self, kept: Any, share: Any) -> Any:
        """Return the derivative of each term by its prediction, times `share`, in a new array."""
        raise NotImplementedError

    def _divisors(self, target: Array, weights: Array | None) -> Array | None:
        """Return what is summed to the divisor, (...): the weights; None counts each position."""
        return weights

    def forward(
        self, prediction: Any, target: Any, mask: Any = None, sample_weight: Any = None
    ) -> float:
        """Return the mean."""
        numbers = not self._over_classes
        prediction, mask = valid_prediction(self, prediction, mask, numbers=numbers)
        if self.ignore_class is not None:
            prediction, mask = without_class(self, self.ignore_class, target, prediction, mask)
        target = self._target(target, prediction, mask)
        positions = positions_of(prediction)
        weights = as_weights(self, sample_weight, positions, mask)
        divisors = self._divisors(target, weights)
        weight = float(math.prod(positions) if divisors is None else divisors.sum())
        terms, kept = self._terms(prediction, target)
        features = math.prod(terms.shape[len(positions) :])
        divisor = weight * features or math.inf  # weights of zero: no loss, and no gradient
        share: Any  # of a term in the mean
        if weights is None:
            total, share = terms.sum(dtype=np.float64), 1 / divisor
        else:
            rows = terms.reshape(-1, features).astype(np.float64, copy=False)
            total = (weights.reshape(-1) @ rows).sum()
            share = (weights / divisor).astype(prediction.dtype)
            share = share if prediction.ndim == share.ndim else share[..., None]
        loss = float(total) / divisor if weight else 0.0
        refuse_not_finite(self, loss, target)
        self._cache = kept, share
        self.batch_weight = weight
        return loss

    def backward(self) -> Array:
        """Return the gradient on the prediction, zero in the padding."""
        grad: Array = self._slopes(*self._saved())
        return grad
