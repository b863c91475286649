"""One wrong gradient, and what a hypothesis about it predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minirnn.gradcheck.arrays import CLOSE, SMALLEST
from minirnn.gradcheck.diagnosis.evidence import Evidence
from minirnn.typing import Array

__all__ = ["Case", "Hypothesis", "Prediction", "make_case"]


class Prediction(NamedTuple):
    """What backward would give if a mistake had been made.

    Attributes
    ----------
    kind : str
        A short name of the mistake.
    text : str
        The sentence that is said if the prediction is right.
    gradient : array
    measured : array, optional
        What the gradient is compared with; by default, what backward gives.
    """

    kind: str
    text: str
    gradient: Array
    measured: Array | None = None


@dataclass(frozen=True)
class Case:
    """A gradient that is wrong by more than rounding.

    Attributes
    ----------
    evidence : Evidence
    name : str
    analytic, numeric : array
        What backward gives, from a gradient that began at zero, and the truth.
    wrong : boolean array
    """

    evidence: Evidence
    name: str
    analytic: Array
    numeric: Array
    wrong: Array

    @property
    def is_parameter(self) -> bool:
        """Whether it is the gradient of a parameter, not of an input or a state."""
        return self.name in self.evidence.function.parameters

    def but(self, wrong: Array | float) -> Array:
        """Return the truth, with other numbers wherever backward is wrong."""
        return np.where(self.wrong, wrong, self.numeric)

    @property
    def where(self) -> str:
        """Which part is wrong, such as ``" in columns 4 to 7"``; empty where all of it is."""
        if self.wrong.all():
            return ""
        words = []
        for axis, length in enumerate(self.wrong.shape):
            others = tuple(k for k in range(self.wrong.ndim) if k != axis)
            hit = np.flatnonzero(self.wrong.any(axis=others))
            if len(hit) == length:
                continue
            name = self._axis_name(axis)
            if np.array_equal(hit, np.arange(hit[0], hit[-1] + 1)) and len(hit) > 1:
                words.append(f"{name}s {hit[0]} to {hit[-1]}")
            elif len(hit) == 1:
                words.append(f"{name} {hit[0]}")
            else:
                words.append(f"{name}s {', '.join(map(str, hit))}")
        if not words:
            return f" in {int(self.wrong.sum())} of {self.wrong.size} elements"
        return f" in {' and '.join(words)}"

    def _axis_name(self, axis: int) -> str:
        rank = self.wrong.ndim
        if axis == 1 and rank == 3 and not self.is_parameter:
            return "time step"
        if axis == rank - 1:
            return "column"
        return "row" if axis == 0 else f"index of axis {axis} "


Hypothesis = Callable[[Case], Iterator[Prediction]]
"""From a wrong gradient to what known mistakes would have given."""


def make_case(evidence: Evidence, name: str) -> Case | None:
    """Return the case of a gradient; None where it is right but for rounding."""
    measurement = evidence.measurements[name]
    analytic, numeric = evidence.plain[name], measurement.numeric
    finite = np.isfinite(analytic) & np.isfinite(numeric)
    scale = max(float(np.abs(a[finite]).max(initial=0.0)) for a in (analytic, numeric))
    gap = np.zeros(numeric.shape)
    np.subtract(analytic, numeric, out=gap, where=finite)
    wrong = measurement.wrong & ((np.abs(gap) > max(CLOSE * scale, SMALLEST)) | ~finite)
    return Case(evidence, name, analytic, numeric, wrong) if wrong.any() else None
