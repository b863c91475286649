"""The targets of `CTCLoss` and `LabelErrorRate`: sequences of labels, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn import checks
from minirnn.typing import Array

__all__ = ["as_labels"]


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
    padded = np.full((len(arrays), max(map(len, arrays))), -1)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return padded
