"""The checked functions of a layer, a cell and a loss, and what their methods should return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minirnn.data.nested import leaves
from minirnn.gradcheck.arrays import Names, flattened, kind_of, mapped
from minirnn.gradcheck.function import CheckedFunction
from minirnn.gradcheck.report import GradientError, wrong_kind
from minirnn.typing import Array

__all__ = ["CellFunction", "LayerFunction", "LossFunction", "step_gradients", "step_result"]


class LayerFunction(CheckedFunction):
    """A layer; its inputs are named under ``"inputs"``, a tuple of what forward takes."""

    final: Names = ()

    def outputs(self) -> list[Array]:
        """Return the output, then the final state."""
        keywords = {k: self.hand(self.names[k]) for k in ("mask", "state") if k in self.names}
        y = self.layer.forward(*self.hand(self.names["inputs"]), **keywords)
        if not isinstance(y, np.ndarray | np.generic):
            raise _wrong_forward(self.kind, "output", "one array", y)
        if not np.size(y):
            said = f"forward gives an empty array {y.shape}: refuse such an input with a ValueError"
            raise wrong_kind(f"{self.kind}.forward", "output", said)
        final: dict[str, Array] = {}
        if "state" in self.names:
            self.final = flattened("grad_state", self.layer.state, final)
        return [np.asarray(y), *final.values()]

    def run_backward(self, weights: Sequence[Array]) -> dict[str, Any]:
        """Return the gradients on inputs and state."""
        grad_y = self.hand_back("grad", weights[0])
        if "state" not in self.names:
            return self._returned("inputs", self.layer.backward(grad_y))
        rest = iter(weights[1:])
        states = mapped(self.final, lambda name: self.hand_back(name, next(rest)))
        gradients = self._returned("inputs", self.layer.backward(grad_y, states))
        return gradients | self._returned("state", self.layer.grad_state)

    def _returned(self, argument: str, gradients: Any) -> dict[str, Any]:
        """Return the gradients under the names of the arrays; raise if they are built otherwise.

        Tokens are not moved, and need no gradient: None will do for what holds tokens alone.
        """
        names = self.names[argument]
        if argument == "inputs":
            argument, names = "input", names[0] if len(names) == 1 else names
        if isinstance(names, str):
            return {names: gradients}
        found = dict(leaves(mapped(gradients, lambda gradient: gradient), argument))
        arrays = dict(leaves(names, argument))
        missing = any(name in self.variables and path not in found for path, name in arrays.items())
        if missing or any(path not in arrays for path, one in found.items() if one is not None):
            said = (
                f"the gradient on {argument} should be a {type(names).__name__} of {len(names)} "
                f"arrays, as {argument} is, and is {kind_of(gradients)}"
            )
            raise wrong_kind(f"{self.kind}.backward", argument, said)
        return found


class CellFunction(CheckedFunction):
    """A cell: one time step."""

    def outputs(self) -> list[Array]:
        """Return the output of the step, then the next state."""
        state = self.hand(self.names["state"])
        result = self.layer.forward(self.hand("input"), state)
        y, state, self.cache = step_result(f"{self.kind}.forward", result, len(state))
        return [np.asarray(y), *map(np.asarray, state)]

    def run_backward(self, weights: Sequence[Array]) -> dict[str, Any]:
        """Return the gradients on the input and on the state."""
        grad_y = self.hand_back("grad", weights[0])
        states = [self.hand_back(f"grad_state[{k}]", w) for k, w in enumerate(weights[1:])]
        result = self.layer.backward(grad_y, tuple(states), self.cache)
        grad_x, grad_state = step_gradients(f"{self.kind}.backward", result)
        return {"input": grad_x} | {f"state[{k}]": a for k, a in enumerate(grad_state)}


class LossFunction(CheckedFunction):
    """A loss; its gradient is multiplied by the weight from outside."""

    def outputs(self) -> list[Array]:
        """Return the loss."""
        masks = {"mask": self.hand("mask")} if "mask" in self.names else {}
        loss = self.layer.forward(self.hand("input"), self.hand(self.names["target"]), **masks)
        if loss is None or np.ndim(loss):
            expected = "one number, the mean over the positions"
            raise _wrong_forward(self.kind, "loss", expected, loss)
        return [np.asarray(loss, np.float64)]

    def run_backward(self, weights: Sequence[Array]) -> dict[str, Any]:
        """Return the gradient on the prediction."""
        gradient = self.layer.backward()
        return {"input": None if gradient is None else weights[0] * gradient}


# ---------------------------------------------------------------- what methods should return


def _wrong_forward(kind: str, name: str, expected: str, result: Any) -> GradientError:
    """Return the error about a forward that returns something else than one array, or number."""
    said = f"forward should return {expected}, and gives {kind_of(result)}"
    return wrong_kind(f"{kind}.forward", name, said)


def step_result(where: str, result: Any, states: int) -> tuple[Any, Any, Any]:
    """Return the three things that a cell's forward gives; raise if it does not."""
    if not isinstance(result, tuple) or len(result) != 3:
        said = "three things, (y_t, state, cache)"
    elif not isinstance(result[1], tuple) or len(result[1]) != states:
        said = f"(y_t, state, cache) with state a tuple of {states} arrays, as the one given"
        result = result[1]
    else:
        return result
    raise wrong_kind(
        where,
        "output",
        f"a cell's forward gives {said}; this one gives {kind_of(result)}",
    )


def step_gradients(where: str, result: Any) -> tuple[Any, Any]:
    """Return the two things that a cell's backward gives; raise if it does not."""
    pair = isinstance(result, tuple) and len(result) == 2
    if pair and isinstance(result[1], tuple | list):
        return result[0], result[1]
    got = f"(grad_x, {kind_of(result[1])})" if pair else kind_of(result)
    raise wrong_kind(
        where,
        "input",
        f"a cell's backward gives two things, (grad_x, grad_state), the second a tuple with an "
        f"array for each state; this one gives {got}",
        "a missing return" if result is None else "a wrong return",
    )
