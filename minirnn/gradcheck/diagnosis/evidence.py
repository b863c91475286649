"""The numbers that a diagnosis rests on, and one wrong gradient among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minirnn.gradcheck.arrays import CLOSE, SMALLEST
from minirnn.gradcheck.compare import measure
from minirnn.gradcheck.function import CheckedFunction, RefusedError
from minirnn.gradcheck.kinds import CellFunction, LossFunction
from minirnn.gradcheck.report import Diagnosis, GradientError
from minirnn.gradcheck.violations import violations
from minirnn.typing import Array

__all__ = ["Case", "Evidence", "Hypothesis", "Prediction", "TooLargeError", "cases"]


class TooLargeError(Exception):
    """An experiment that would take too much memory."""


class Evidence:
    """A checked function, its gradients beside the measured ones, and experiments on it.

    Both sides of the comparison are linear in the weights ``r`` that multiply the outputs. So a
    part of the truth can be looked at alone: `numeric` and `analytic` give the gradients for other
    weights, such as `only` those of one output, and `shares` what each position of the output
    contributes. The numeric ones come from the Jacobians that the central differences left behind.
    """

    def __init__(self, function: CheckedFunction, epsilon: float, tolerance: float) -> None:
        self.function, self.epsilon, self.tolerance = function, epsilon, tolerance
        self.measurements = measure(function, epsilon, tolerance)
        self.weights = function.weights
        self.is_loss = isinstance(function, LossFunction)
        self.batch = len(function.x)
        self._analytic: dict[bytes, dict[str, Array]] = {}

    @cached_property
    def violated(self) -> tuple[Diagnosis, ...]:
        """The rules that are broken even where every number is right, but for overwriting."""
        return tuple(violations(self.function))

    @cached_property
    def time(self) -> int | None:
        """Number of time steps, where the input has a time axis."""
        x = self.function.x
        if "input" not in self.function.given or isinstance(self.function, CellFunction):
            return None
        return x.shape[1] if x.ndim == (2 if x.dtype.kind in "iub" else 3) else None

    @cached_property
    def positions(self) -> tuple[int, ...]:
        """Leading axes of the output, (batch,) or (batch, time); empty if it has other ones."""
        shape = self.weights[0].shape
        fits = not self.is_loss and 2 <= len(shape) <= 3 and shape[0] == self.batch
        return shape[:-1] if fits else ()

    # ------------------------------------------------------------ experiments

    def again(self, **changes: Array) -> Evidence | None:
        """Check the layer on other arrays; None where it does not take them."""
        try:
            return Evidence(self.function.similar(**changes), self.epsilon, self.tolerance)
        except (RefusedError, GradientError):
            return None

    def analytic(self, weights: Sequence[Array]) -> dict[str, Array]:
        """Return what backward gives for these weights."""
        key = b"".join(weight.tobytes() for weight in weights)
        if key not in self._analytic:
            self._analytic[key] = self.function.gradients(weights)
        return self._analytic[key]

    def numeric(self, name: str, weights: Sequence[Array]) -> Array:
        """Return the true gradient on a variable for these weights."""
        flat = np.concatenate([np.ravel(weight) for weight in weights])
        return np.tensordot(flat, self.jacobian(name), 1)

    def jacobian(self, name: str, part: int | None = None) -> Array:
        """Return the derivative of all outputs, or of one of them, each flat, by a variable."""
        jacobian = self.measurements[name].jacobian
        if jacobian is None:
            raise TooLargeError
        sizes = [weight.size for weight in self.weights]
        return jacobian if part is None else jacobian[sum(sizes[:part]) :][: sizes[part]]

    def shares(self, name: str, part: int | None = None) -> Array:
        """Return what each position of an output contributes to a true gradient.

        The positions are the first axes. With no part given, of all outputs that have the same.
        """
        if part is None:
            alike = [k for k, w in enumerate(self.weights) if w.shape[:-1] == self.positions]
            return sum((self.shares(name, k) for k in alike), np.zeros(()))
        weight, jacobian = self.weights[part], self.jacobian(name, part)
        products = (jacobian.T * weight.ravel()).T.reshape(*weight.shape, *jacobian.shape[1:])
        total: Array = products.sum(axis=weight.ndim - 1)
        return total

    def only(self, part: int | None, site: tuple[int, ...] = ()) -> list[Array]:
        """Return the weights, zero but for one output (0 is ``y``; None for all), at one site."""
        kept = [np.zeros_like(weight) for weight in self.weights]
        for k, weight in enumerate(self.weights):
            if part in (None, k) and (k == 0 or len(site) < weight.ndim):
                kept[k][site] = weight[site]
        return kept

    # ------------------------------------------------------------ words, and arrays to try

    def incoming(self, part: int) -> str:
        """Return what the gradient on an output is called in backward."""
        return "grad" if part == 0 else f"grad_state[{part - 1}]"

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """Arrays that a derivative may be made of: outputs, inputs, and what forward kept.

        Under the words in which a diagnosis names them; equal arrays are listed once.
        """
        y, *states = [np.array(output) for output in self.function.fresh_outputs()]
        found = {"the output y": y}
        found |= {f"the new state[{k}]": array for k, array in enumerate(states)}
        for name, array in self.function.given.items():
            if not name.startswith(("mask", "target_mask")):
                found["the input x" if name == "input" else f"the {name} given"] = array
        found |= self.function.kept_arrays()
        chosen: dict[str, Array] = {}
        for label, array in found.items():
            if array.dtype.kind == "f" and array.ndim and np.isfinite(array).all():
                twins = (old for old in chosen.values() if old.shape == array.shape)
                if not any(np.array_equal(old, array) for old in twins):
                    chosen[label] = array.copy()
        return chosen

    # ------------------------------------------------------------ verdicts

    @property
    def failed(self) -> list[str]:
        """The names of the gradients that are wrong."""
        return [name for name, one in self.measurements.items() if not one.comparison.passed]


@dataclass(frozen=True)
class Case:
    """A gradient that is wrong by more than rounding."""

    evidence: Evidence
    name: str
    analytic: Array  # what backward gives
    numeric: Array  # the truth
    wrong: Array  # True where they differ

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
        analytic, numeric = measurement.analytic, measurement.numeric
        finite = np.isfinite(analytic) & np.isfinite(numeric)
        scale = max(float(np.abs(a[finite]).max(initial=0.0)) for a in (analytic, numeric))
        gap = np.zeros(numeric.shape)
        np.subtract(analytic, numeric, out=gap, where=finite)
        wrong = measurement.wrong & ((np.abs(gap) > max(CLOSE * scale, SMALLEST)) | ~finite)
        if wrong.any():
            yield Case(evidence, name, analytic, numeric, wrong)
