"""The numbers that a diagnosis rests on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from minirnn.gradcheck.arrays import same
from minirnn.gradcheck.compare import measure
from minirnn.gradcheck.function import CheckedFunction, RefusedError
from minirnn.gradcheck.kinds import CellFunction, LossFunction
from minirnn.gradcheck.report import Diagnosis, GradientError
from minirnn.typing import Array

__all__ = ["Evidence", "Site", "TooLargeError"]

Site = tuple[int | slice, ...]
"""Where in an output: a row ``(b,)``, a position ``(b, t)``, or a step ``(slice(None), t)``."""


class TooLargeError(Exception):
    """An experiment that would take too much memory."""


class Evidence:
    """A checked function, its gradients beside the measured ones, and experiments on it.

    Both sides of the comparison are linear in the weights ``r`` that multiply the outputs. So a
    part of the truth can be looked at alone: `only` gives weights that are zero but for one output
    or one row of the batch, `numeric` and `analytic` the gradients for such weights. The numeric
    ones come from the Jacobians that the central differences left behind.
    """

    def __init__(
        self,
        function: CheckedFunction,
        epsilon: float,
        tolerance: float,
        violated: Sequence[Diagnosis] = (),
    ) -> None:
        self.function, self.violated = function, tuple(violated)
        self.epsilon, self.tolerance = epsilon, tolerance
        self.measurements = measure(function, epsilon, tolerance)
        self.weights = function.weights
        self.is_cell = isinstance(function, CellFunction)
        self.is_loss = isinstance(function, LossFunction)
        self.terms: dict[tuple[int, ...], Any] = {}
        self._analytic: dict[bytes, dict[str, Array]] = {}

    @cached_property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the outputs."""
        return [weight.shape for weight in self.weights]

    @cached_property
    def batch(self) -> int:
        """Length of axis 0 of the input."""
        return len(self.function.x)

    @cached_property
    def time(self) -> int | None:
        """Number of time steps, where the input has a time axis."""
        x = self.function.x
        if "input" not in self.function.given:
            return None
        has_time = not self.is_cell and x.ndim == (2 if x.dtype.kind in "iub" else 3)
        return x.shape[1] if has_time else None

    @cached_property
    def plain(self) -> dict[str, Array]:
        """What backward gives when the gradients of parameters begin at zero."""
        return self.analytic(self.weights)

    def first_step(self) -> dict[str, Array]:
        """Return the input and the mask, cut to their first time step."""
        given = self.function.given
        return {name: given[name][:, :1] for name in ("input", "mask") if name in given}

    # ------------------------------------------------------------ experiments

    def again(self, **changes: Array) -> Evidence | None:
        """Check the layer on other arrays; None where it does not take them."""
        try:
            return Evidence(self.function.similar(**changes), self.epsilon, self.tolerance)
        except (RefusedError, GradientError):
            return None

    def passed(self) -> bool:
        """Whether every gradient agrees."""
        return all(measurement.comparison.passed for measurement in self.measurements.values())

    def analytic(self, weights: Sequence[Array]) -> dict[str, Array]:
        """Return what backward gives for these weights, from gradients that begin at zero."""
        key = b"".join(weight.tobytes() for weight in weights)
        if key not in self._analytic:
            self._analytic[key] = self.function.gradients(weights, start=0.0)
        return self._analytic[key]

    def numeric(self, name: str, weights: Sequence[Array]) -> Array:
        """Return the true gradient on a variable for these weights."""
        flat = np.concatenate([np.ravel(weight) for weight in weights])
        return np.tensordot(flat, self.jacobian(name), 1)

    def jacobian(self, name: str) -> Array:
        """Return the derivative of all outputs, flat, with respect to a variable."""
        jacobian = self.measurements[name].jacobian
        if jacobian is None:
            raise TooLargeError
        return jacobian

    def jacobian_of(self, part: int, name: str) -> Array:
        """Return the derivative of one output, flat, with respect to a variable, flat."""
        start = sum(weight.size for weight in self.weights[:part])
        rows = self.jacobian(name)[start : start + self.weights[part].size]
        return rows.reshape(len(rows), -1)

    def only(self, part: int | None = None, site: Site | None = None) -> list[Array]:
        """Return the weights, zero but for one output (0 is ``y``) or for one site."""
        kept = []
        for k, weight in enumerate(self.weights):
            one = np.zeros_like(weight)
            if part is None or part == k:
                if site is None:
                    one[...] = weight
                elif k == 0 or len(site) == 1:
                    one[site] = weight[site]
            kept.append(one)
        return kept

    def without(self, part: int) -> list[Array]:
        """Return the weights, but zero for one output."""
        return [w * (k != part) for k, w in enumerate(self.weights)]

    @cached_property
    def sites(self) -> Sequence[Site]:
        """Up to twelve sites: rows ``(b,)`` of the batch, or positions ``(b, t)``."""
        shape = self.shapes[0]
        if self.is_loss or not 2 <= len(shape) <= 3 or shape[0] != self.batch:
            return []
        return [tuple(site) for site in product(*map(range, shape[:-1]))][:12]

    # ------------------------------------------------------------ arrays to try

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

    def incoming_name(self, part: int) -> str:
        """Return what the gradient on an output is called in backward."""
        return "grad" if part == 0 else f"grad_state[{part - 1}]"

    # ------------------------------------------------------------ asking about one gradient

    def is_right(self, name: str) -> bool:
        """Whether a gradient is right but for having been assigned to."""
        return same(self.plain[name], self.measurements[name].numeric)

    def wrong_names(self) -> list[str]:
        """Return the gradients that are wrong by more than rounding."""
        return [name for name in self.measurements if not self.is_right(name)]
