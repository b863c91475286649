"""Connectionist temporal classification: labels in order, at unknown steps."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minirnn import checks
from minirnn.data.sequences import pad_sequences
from minirnn.functions import log_softmax
from minirnn.losses.arguments import as_weights
from minirnn.losses.base import Loss
from minirnn.losses.ctc_decoding import valid_steps
from minirnn.settings import setting, settings
from minirnn.typing import Array, Mask


@settings(kw_only=True)
class CTCLoss(Loss):
    """Connectionist temporal classification, on logits.

    The target says which labels occur, in order, and not when. A path ``pi`` names a class at each
    step, a label or the blank; it stands for the target ``l`` if ``l`` is left once repeated
    classes are merged and blanks taken out. With ``y_t = softmax(prediction_t)``::

        p(l) = sum over the paths of l of prod_t y_t[pi_t]          loss = -log p(l)

    The sum runs over the positions ``s`` of ``l'``, which is ``l`` with blanks before, between and
    after its labels. Where ``l'_s`` is a label other than ``l'_{s-2}``, the blank between may be
    left out. In logarithms, forwards and backwards::

        a_t(s) = y_t[l'_s] (a_{t-1}(s) + a_{t-1}(s-1) [+ a_{t-1}(s-2)])
        b_t(s) = y_{t+1}[l'_s] b_{t+1}(s) + y_{t+1}[l'_{s+1}] b_{t+1}(s+1) [+ ... (s+2)]
        p(l)   = a_T(last) + a_T(last but one)
        grad_tk = y_tk - 1 / p(l) sum_{s: l'_s = k} a_t(s) b_t(s)

    Parameters
    ----------
    blank : int
        Index of the blank class.
    per_label : bool
        True divides each sequence's loss by the number of its labels (by 1 where there are none)
        before the mean over the batch is taken, as PyTorch's ``reduction="mean"`` does. False takes
        the mean of ``-log p(l)`` as it is, in nats a sequence.
    zero_infinity : bool
        For targets that no path stands for: with more labels than there are steps, counting a
        blank between equal neighbours. False: the loss is infinite, and the gradient of the
        sequence is nan. True: such a sequence has a loss and a gradient of zero.

    Shapes
    ------
    prediction : (batch, time, classes), logits
    target : integers (batch, labels), padded at the end with negative numbers, or with anything
        where `target_mask` is False; or a list of sequences of unequal length
    mask : boolean (batch, time), True where the step of the prediction is valid
    sample_weight : (batch,), as in `Loss`
    target_mask : boolean (batch, labels), True where there is a label

    Raises
    ------
    ValueError
        For a label out of range, or the blank among the labels.

    References
    ----------
    Graves, Fernandez, Gomez and Schmidhuber, Connectionist temporal classification: labelling
    unsegmented sequence data with recurrent neural networks, ICML 2006. `ctc_greedy` and `ctc_beam`
    decode a prediction.

    Examples
    --------
    >>> import numpy as np
    >>> loss = CTCLoss(per_label=False)
    >>> x = np.zeros((1, 2, 3))           # two steps, three classes, each with probability 1/3
    >>> value = loss.forward(x, [[2]])    # the paths 22, 2-, -2
    >>> round(float(np.exp(-value)), 4) == round(3 / 9, 4)
    True
    >>> loss.backward().round(3) + 0
    array([[[ 0.   ,  0.333, -0.333],
            [ 0.   ,  0.333, -0.333]]])
    """

    takes_target_mask = True
    """Tells a Trainer to pass the mask of the inputs and that of the targets."""

    blank: int = setting(checks.positive_int, least=0, default=0, kw_only=False)
    per_label: bool = setting(checks.flag, default=True)
    zero_infinity: bool = setting(checks.flag, default=False)

    def forward(
        self,
        prediction: Any,
        target: Any,
        mask: Any = None,
        sample_weight: Any = None,
        target_mask: Any = None,
    ) -> float:
        """Return the mean over the sequences of ``-log p(target)``, in nats."""
        prediction, valid = valid_steps(self, prediction, mask, self.blank)
        batch, _, classes = prediction.shape
        labels, lengths = as_labels(self, self.blank, target, target_mask, batch, classes)
        weights = as_weights(self, sample_weight, (batch,), None)
        if weights is None:
            weights = np.ones(batch)
        self.batch_weight = float(weights.sum())
        shares = weights / (self.batch_weight or 1.0)
        if self.per_label:
            shares = shares / np.maximum(lengths, 1)

        log_y = log_softmax(prediction.astype(np.float64))  # a product of many small numbers
        lattice = _Lattice.of(log_y, labels, lengths, self.blank)
        alphas = lattice.forward(valid)
        losses = -lattice.total(alphas[-1])
        if self.zero_infinity:
            shares = np.where(np.isinf(losses), 0.0, shares)
            losses = np.where(np.isinf(losses), 0.0, losses)
        self._cache = prediction.dtype, log_y, valid, lattice, alphas, losses, shares
        counted = shares > 0  # 0 * inf is not 0
        return float(shares[counted] @ losses[counted])

    def backward(self) -> Array:
        """Return the gradient on the logits, zero in the padding."""
        dtype, log_y, valid, lattice, alphas, losses, shares = self._saved()
        occupied = lattice.occupied(valid, alphas, -losses)
        classes = np.arange(log_y.shape[2])
        of_class = (lattice.classes[:, :, None] == classes).astype(np.float64)
        grad: Array = np.exp(log_y) - occupied @ of_class
        grad[np.isinf(losses)] = np.nan
        grad *= shares[:, None, None]
        grad[shares == 0] = 0
        grad[~valid] = 0
        return grad.astype(dtype, copy=False)

    def why_not_finite(self) -> str:
        """Say which target no path stands for, and how many steps it would need."""
        if self._cache is None:
            return ""
        _, _, valid, lattice, _, losses, _ = self._cache
        impossible = np.flatnonzero(np.isinf(losses))
        if not impossible.size:
            return ""
        row = impossible[0]
        labels = int(lattice.last[row]) // 2
        between = labels - 1 - int(lattice.skips[row, 3 : lattice.last[row] : 2].sum())
        return (
            f"CTCLoss: target {row} of the batch has {labels} labels and needs a blank between "
            f"{between} pairs of equal neighbours, {labels + between} steps in all, "
            f"but its prediction has {valid[row].sum()} valid ones; give it more steps, or "
            f"leave such targets out with zero_infinity=True ({impossible.size} of {len(losses)})"
        )


class _Lattice(NamedTuple):
    """The positions of ``l'``, ``(batch, positions)``, and the transitions between them."""

    classes: Array
    """integers (batch, positions), ``l'``: a blank, a label, a blank, ..."""
    emitted: Array
    """(batch, time, positions), ``log y_t[l'_s]``, -inf at positions of longer targets alone."""
    skips: Array
    """booleans (batch, positions): where the blank before may be left out."""
    last: Array
    """integers (batch,): the last position of each target."""

    @classmethod
    def of(cls, log_y: Array, labels: Array, lengths: Array, blank: int) -> _Lattice:
        """Return the lattice of a batch of targets."""
        batch, count = labels.shape
        classes = np.full((batch, 2 * count + 1), blank)
        classes[:, 1::2] = labels
        skips = np.zeros(classes.shape, bool)
        skips[:, 3::2] = labels[:, 1:] != labels[:, :-1]
        emitted = np.take_along_axis(log_y, classes[:, None, :], axis=2)
        beyond = np.arange(classes.shape[1]) > 2 * lengths[:, None]
        emitted = np.where(beyond[:, None, :], -np.inf, emitted)
        return cls(classes, emitted, skips, 2 * lengths)

    def forward(self, valid: Mask) -> list[Array]:
        """Return ``log a`` before the first step and after each: arrays (batch, positions).

        Before the first step the path stands at the first blank, as if one had been emitted.
        """
        a = np.full(self.classes.shape, -np.inf)
        a[:, 0] = 0
        alphas = [a]
        for t in range(valid.shape[1]):
            reached = np.logaddexp(a, _shifted(a, 1))
            reached = np.logaddexp(reached, np.where(self.skips, _shifted(a, 2), -np.inf))
            a = np.where(valid[:, t, None], reached + self.emitted[:, t], a)
            alphas.append(a)
        return alphas

    def total(self, a: Array) -> Array:
        """Return ``log p(l)`` from ``log a`` after the last step, (batch,)."""
        rows = np.arange(len(a))
        before = np.where(self.last > 0, a[rows, self.last - 1], -np.inf)
        total: Array = np.logaddexp(a[rows, self.last], before)
        return total

    def occupied(self, valid: Mask, alphas: list[Array], total: Array) -> Array:
        """Return ``a_t(s) b_t(s) / p(l)``: how likely a path is at s at step t."""
        rows = np.arange(len(total))
        b = np.full(self.classes.shape, -np.inf)
        b[rows, self.last] = 0
        b[rows, np.maximum(self.last - 1, 0)] = 0
        total = np.where(np.isinf(total), 0.0, total)[:, None]
        occupied = np.zeros(self.emitted.shape)
        for t in reversed(range(valid.shape[1])):
            occupied[:, t] = np.exp(alphas[t + 1] + b - total)
            sent = self.emitted[:, t] + b
            back = np.logaddexp(sent, _shifted(sent, -1))
            back = np.logaddexp(back, _shifted(np.where(self.skips, sent, -np.inf), -2))
            b = np.where(valid[:, t, None], back, b)
        return occupied


def _shifted(array: Array, by: int) -> Array:
    """Return the array shifted along its last axis, filled with minus infinity."""
    result = np.full_like(array, -np.inf)
    if by > 0:
        result[:, by:] = array[:, :-by]
    else:
        result[:, :by] = array[:, -by:]
    return result


def as_labels(
    owner: object, blank: int, target: Any, target_mask: Any, batch: int, classes: int
) -> tuple[Array, Array]:
    """Return the labels (batch, labels), blanks in the padding, and how many there are (batch,)."""
    name = checks.name_of(owner)
    if isinstance(target, list | tuple) and len({np.shape(one) for one in target}) > 1:
        if target_mask is not None:
            raise ValueError(f"{name}: a list of sequences has its lengths; no target_mask")
        target = _padded(name, target)
    labels = checks.as_array(owner, target, "the target")
    if labels.ndim != 2 or len(labels) != batch:
        raise ValueError(
            f"{name}: the target should be integers (batch, labels) with batch {batch}, or a "
            f"list of {batch} sequences, got shape {labels.shape}"
        )
    if labels.size == 0:
        return np.zeros((batch, 0), int), np.zeros(batch, int)
    if target_mask is None:
        counted = labels >= 0 if labels.dtype.kind in "iu" else np.ones(labels.shape, bool)
    else:
        counted = checks.as_mask(owner, target_mask, labels.shape)
    labels = checks.as_integers(owner, labels, classes, "target labels", counted)
    if np.any(counted & (labels == blank)):
        row, column = np.argwhere(counted & (labels == blank))[0]
        raise ValueError(
            f"{name}: target {row} has the blank {blank} at position {column}: labels are the "
            f"other classes; write -1 in the padding, or leave target_mask False there"
        )
    first = np.argsort(~counted, axis=1, kind="stable")  # labels to the front, in their order
    labels = np.where(counted, labels, blank)
    return np.take_along_axis(labels, first, axis=1), counted.sum(axis=1)


def _padded(name: str, sequences: Any) -> Array:
    """Return sequences of unequal length as one array, -1 behind the shorter ones."""
    arrays = [np.asarray(one) for one in sequences]
    if any(array.ndim != 1 or (array.size and array.dtype.kind not in "iu") for array in arrays):
        raise ValueError(f"{name}: a list of targets should have sequences of integers")
    return pad_sequences([array.astype(int) for array in arrays], value=-1)[0]
