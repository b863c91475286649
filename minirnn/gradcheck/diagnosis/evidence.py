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
        self.batch = len(function.x)
        self._analytic: dict[bytes, dict[str, Array]] = {}

    @property
    def failed(self) -> list[str]:
        """The names of the gradients that are wrong."""
        return [name for name, one in self.measurements.items() if not one.comparison.passed]

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
        shape, is_loss = self.weights[0].shape, isinstance(self.function, LossFunction)
        fits = not is_loss and 2 <= len(shape) <= 3 and shape[0] == self.batch
        return shape[:-1] if fits else ()

    def first_step(self) -> Evidence | None:
        """Check the layer on the first time step alone, as a valid one; None where it refuses."""
        given = dict(self.function.given)
        given["input"] = np.nan_to_num(given["input"][:, :1])
        if "mask" in given:
            given["mask"] = np.ones_like(given["mask"][:, :1])
        return self.again(given)

    def again(self, given: dict[str, Array]) -> Evidence | None:
        """Check the layer on other inputs; None where it refuses them."""
        function = self.function
        function.restart()
        rng = np.random.default_rng(0)
        try:
            other = type(function)(function.layer, given, function.names, rng)
            return Evidence(other, self.epsilon, self.tolerance)
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

    def shares(self, name: str, part: int) -> Array:
        """Return what each position of an output (the first axes) adds to a true gradient."""
        weight, jacobian = self.weights[part], self.jacobian(name, part)
        products = (jacobian.T * weight.ravel()).T.reshape(*weight.shape, *jacobian.shape[1:])
        total: Array = products.sum(axis=weight.ndim - 1)
        return total

    def all_shares(self, name: str) -> Array:
        """Return the sum of `shares` over the outputs that have the same positions."""
        alike = [k for k, w in enumerate(self.weights) if w.shape[:-1] == self.positions]
        return sum((self.shares(name, k) for k in alike), np.zeros(()))

    def only(self, part: int, site: tuple[int, ...] = ()) -> list[Array]:
        """Return the weights, zero but for one output (0 is ``y``), at one site."""
        kept = [np.zeros_like(weight) for weight in self.weights]
        kept[part][site] = self.weights[part][site]
        return kept

    def incoming(self, parts: Sequence[int]) -> str:
        """Return what the gradients on these outputs are called in backward."""
        return " + ".join(f"grad_state[{k - 1}]" if k else "grad" for k in parts)

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """Arrays that a derivative may be made of: outputs, inputs, and what forward kept.

        Under the words in which a diagnosis names them; equal arrays are listed once.
        """
        y, *states = [np.array(output) for output in self.function.fresh_outputs()]
        found = {"y": y} | {f"new_state[{k}]": array for k, array in enumerate(states)}
        found |= {"x" if k == "input" else k: a for k, a in self.function.given.items()}
        chosen: dict[str, Array] = {}
        for label, array in (found | self.function.kept_arrays()).items():
            if array.dtype.kind == "f" and array.ndim and np.isfinite(array).all():
                twins = (old for old in chosen.values() if old.shape == array.shape)
                if not any(np.array_equal(old, array) for old in twins):
                    chosen[label] = array.copy()
        return chosen


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

    @property
    def where(self) -> str:
        """Which part is wrong, such as ``" in columns 4 to 7"``; empty where all of it is."""
        wrong, mask = self.wrong, self.evidence.function.given.get("mask")
        over_steps = mask is not None and not self.is_parameter and wrong.shape[:2] == mask.shape
        if over_steps and not wrong[mask].any():
            return " on masked steps"
        words, rank = [], wrong.ndim
        for axis, length in enumerate(wrong.shape):
            hit = np.flatnonzero(wrong.any(axis=tuple({*range(rank)} - {axis})))
            if len(hit) < length:
                in_a_row = len(hit) > 1 and hit[-1] - hit[0] == len(hit) - 1
                listed = f"{hit[0]} to {hit[-1]}" if in_a_row else ", ".join(map(str, hit))
                words.append(f"{self._along(axis)}{'s' * (len(hit) > 1)} {listed}")
        if words:
            return f" in {' and '.join(words)}"
        return "" if wrong.all() else f" in {wrong.sum()} of {wrong.size} elements"

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
