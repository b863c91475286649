"""One wrong gradient, and what a hypothesis about it predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from minirnn.gradcheck.arrays import CLOSE, SMALLEST
from minirnn.gradcheck.diagnosis.evidence import Evidence
from minirnn.typing import Array

__all__ = ["Case", "Hypothesis", "Prediction", "cases"]


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

    def truth(self, weights: Sequence[Array]) -> Array:
        """Return the true gradient for other incoming gradients."""
        return self.evidence.numeric(self.name, weights)

    @property
    def where(self) -> str:
        """Which part is wrong, such as ``" in columns 4 to 7"``; empty where all of it is."""
        words, rank = [], self.wrong.ndim
        for axis, length in enumerate(self.wrong.shape):
            hit = np.flatnonzero(self.wrong.any(axis=tuple({*range(rank)} - {axis})))
            if len(hit) < length:
                in_a_row = len(hit) > 1 and hit[-1] - hit[0] == len(hit) - 1
                listed = f"{hit[0]} to {hit[-1]}" if in_a_row else ", ".join(map(str, hit))
                words.append(f"{self._along(axis)}{'s' * (len(hit) > 1)} {listed}")
        if words:
            return f" in {' and '.join(words)}"
        return "" if self.wrong.all() else f" in {self.wrong.sum()} of {self.wrong.size} elements"

    def _along(self, axis: int) -> str:
        rank = self.wrong.ndim
        if axis == 1 and rank == 3 and not self.is_parameter:
            return "time step"
        return "column" if axis == rank - 1 else f"slice of axis {axis}" if axis else "row"


Prediction = tuple[str, str, Array]
"""Kind of a mistake, what the gradient looks like if it was made, and the gradient it gives."""

Hypothesis = Callable[[Case], Iterator[Prediction]]
"""From a wrong gradient to what known mistakes would have given."""


def cases(evidence: Evidence) -> Iterator[Case]:
    """Yield the gradients that are wrong by more than rounding."""
    for name, measurement in evidence.measurements.items():
        analytic, numeric = evidence.plain[name], measurement.numeric
        finite = np.isfinite(analytic) & np.isfinite(numeric)
        scale = max(float(np.abs(a[finite]).max(initial=0.0)) for a in (analytic, numeric))
        gap = np.zeros(numeric.shape)
        np.subtract(analytic, numeric, out=gap, where=finite)
        wrong = measurement.wrong & ((np.abs(gap) > max(CLOSE * scale, SMALLEST)) | ~finite)
        if wrong.any():
            yield Case(evidence, name, analytic, numeric, wrong)
