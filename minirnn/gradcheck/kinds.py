"""The checked functions of a layer, a cell and a loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minirnn.gradcheck.arrays import Names, flattened, mapped
from minirnn.gradcheck.function import CheckedFunction
from minirnn.gradcheck.report import wrong_kind
from minirnn.gradcheck.returned import matched, step_gradients, step_result, wrong_forward
from minirnn.typing import Array

__all__ = ["CellFunction", "LayerFunction", "LossFunction"]


class LayerFunction(CheckedFunction):
    """A layer; its inputs are named under ``"inputs"``, a tuple of what forward takes."""

    final: Names = ()

    def outputs(self) -> list[Array]:
        """Return the output, then the final state."""
        keywords = {k: self.hand(self.names[k]) for k in ("mask", "state") if k in self.names}
        y = self.layer.forward(*self.hand(self.names["inputs"]), **keywords)
        if not isinstance(y, np.ndarray | np.generic):
            raise wrong_forward(self.layer, "output", "one array", y)
        if not np.size(y):
            said = f"forward gives an empty array {y.shape}: refuse such an input with a ValueError"
            raise wrong_kind(f"{type(self.layer).__name__}.forward", "output", said)
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
        where, names = f"{type(self.layer).__name__}.backward", self.names[argument]
        if argument == "inputs":
            argument, names = "input", names[0] if len(names) == 1 else names
        return dict(matched(where, argument, names, gradients, self.variables))


class CellFunction(CheckedFunction):
    """A cell: one time step."""

    cache: Any = None

    @property
    def kept(self) -> dict[str, Any]:
        """The cache, and what there is on the cell itself."""
        return {"cache": self.cache} | super().kept

    def outputs(self) -> list[Array]:
        """Return the output of the step, then the next state."""
        state = self.hand(self.names["state"])
        result = self.layer.forward(self.hand("input"), state)
        y, state, self.cache = step_result(self.layer, result, len(state))
        return [np.asarray(y), *map(np.asarray, state)]

    def run_backward(self, weights: Sequence[Array]) -> dict[str, Any]:
        """Return the gradients on the input and on the state."""
        grad_y = self.hand_back("grad", weights[0])
        states = [self.hand_back(f"grad_state[{k}]", w) for k, w in enumerate(weights[1:])]
        result = self.layer.backward(grad_y, tuple(states), self.cache)
        grad_x, grad_state = step_gradients(self.layer, result)
        return {"input": grad_x} | {f"state[{k}]": a for k, a in enumerate(grad_state)}


class LossFunction(CheckedFunction):
    """A loss; its gradient is multiplied by the weight from outside."""

    def outputs(self) -> list[Array]:
        """Return the loss."""
        masks = {k: self.hand(k) for k in ("mask", "target_mask") if k in self.names}
        loss = self.layer.forward(self.hand("input"), self.hand(self.names["target"]), **masks)
        if loss is None or np.ndim(loss):
            expected = "one number, the mean over the positions"
            raise wrong_forward(self.layer, "loss", expected, loss)
        return [np.asarray(loss, np.float64)]

    def run_backward(self, weights: Sequence[Array]) -> dict[str, Any]:
        """Return the gradient on the prediction."""
        gradient = self.layer.backward()
        return {"input": None if gradient is None else weights[0] * gradient}
