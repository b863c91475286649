"""The checked functions of a layer, a cell and a loss, and what their methods should return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.cells.cell import Cell
from minirnn.data.nested import leaves
from minirnn.gradcheck.arrays import Names, flattened, mapped
from minirnn.gradcheck.function import CheckedFunction
from minirnn.gradcheck.report import GradientError, wrong_kind
from minirnn.recurrent.states import check_returned
from minirnn.typing import Array


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
                f"arrays, as {argument} is, and is {checks.kind_of(gradients)}"
            )
            raise wrong_kind(f"{self.kind}.backward", argument, said)
        return found


class CellFunction(CheckedFunction):
    """A cell: one time step."""

    def outputs(self) -> list[Array]:
        """Return the output of the step, then the next state."""
        state = self.hand(self.names["state"])
        result = self.layer.forward(self.hand("input"), state)
        y, state, self.cache = of_step(self.layer, "forward", result, self.x, state)
        return [np.asarray(y), *map(np.asarray, state)]

    def run_backward(self, weights: Sequence[Array]) -> dict[str, Any]:
        """Return the gradients on the input and on the state."""
        grad_y = self.hand_back("grad", weights[0])
        states = [self.hand_back(f"grad_state[{k}]", w) for k, w in enumerate(weights[1:])]
        result = self.layer.backward(grad_y, tuple(states), self.cache)
        state = self.hand(self.names["state"])
        grad_x, grad_state = of_step(self.layer, "backward", result, self.x, state)
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
    said = f"forward should return {expected}, and gives {checks.kind_of(result)}"
    return wrong_kind(f"{kind}.forward", name, said)


_STEP = {
    "forward": ("output", 3, "(y_t, state, cache)"),
    "backward": ("input", 2, "(grad_x, grad_state)"),
}


def of_step(
    cell: Cell, name: str, result: Any, x: Array, state: Any, where: str = ""
) -> tuple[Any, ...]:
    """Return what a cell's forward or backward gave; raise unless it is what a loop can use."""
    what, count, expected = _STEP[name]
    if not isinstance(result, tuple) or len(result) != count:
        said = f"{name} should return {expected}, and gives {checks.kind_of(result)}"
        looks = "a missing return" if result is None else "a wrong return"
        raise wrong_kind(where or f"{type(cell).__name__}.{name}", what, said, looks)
    shape = (len(x), cell.output_size) if name == "forward" else np.shape(x)
    check_returned(cell, name, result, shape, state)
    return result
