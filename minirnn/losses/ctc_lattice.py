"""The positions of a target with blanks between its labels, and the sums over all paths."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minirnn.typing import Array, Mask

__all__ = ["Lattice"]


class Lattice(NamedTuple):
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
    def of(cls, log_y: Array, labels: Array, lengths: Array, blank: int) -> Lattice:
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
