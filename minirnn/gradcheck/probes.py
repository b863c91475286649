"""A layer, a cell or a loss as one number that depends on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minirnn.cells.cell import Cell
from minirnn.core import Layer
from minirnn.gradcheck.probe import Probe
from minirnn.gradcheck.report import Diagnosis, GradientKindError
from minirnn.losses import Loss
from minirnn.recurrent.bidirectional import Bidirectional
from minirnn.recurrent.recurrent import Recurrent
from minirnn.typing import Array

__all__ = ["CellProbe", "LayerProbe", "LossProbe", "probe"]


class LayerProbe(Probe):
    """Any layer that takes one input; a recurrent one with its states as well."""

    def __init__(
        self,
        layer: Layer,
        inputs: tuple[Any, ...],
        mask: Any,
        state: Any,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(layer, rng)
        if len(inputs) != 1:
            raise TypeError(
                f"check_gradients: {type(layer).__name__}.forward takes one input, got "
                f"{len(inputs)}"
            )
        if mask is not None and not layer.uses_mask:
            raise TypeError(
                f"check_gradients: {type(layer).__name__} takes no mask; a layer that does sets "
                f"uses_mask = True"
            )
        self.given["input"] = _movable(inputs[0])
        self.has_state = isinstance(layer, Recurrent | Bidirectional)
        if self.has_state:
            arrays = self._initial() if state is None else state
            self.given |= {f"state[{k}]": _floats(array) for k, array in enumerate(arrays)}
        if mask is not None:
            self.given["mask"] = np.array(mask)
        self.add_variables()

    def _initial(self) -> list[Array]:
        layers = [self.layer]
        if isinstance(self.layer, Bidirectional):
            layers = [self.layer.forward_layer, self.layer.backward_layer]
        batch = len(self.given["input"])
        zeros = [array for one in layers for array in one.cell.initial_state(batch)]
        return [self.rng.standard_normal(np.shape(array)) * 0.5 for array in zeros]

    def outputs(self) -> list[Array]:
        """Return the output, then the final state."""
        arguments: dict[str, Any] = {}
        if "mask" in self.given:
            arguments["mask"] = self.hand("mask")
        if self.has_state:
            arguments["state"] = tuple(self.hand(name) for name in _states(self.given))
        y = self.layer.forward(self.hand("input"), **arguments)
        return [y, *(self.layer.state if self.has_state else ())]

    def run_backward(self, weights: Sequence[Array]) -> dict[str, Any]:
        """Return the gradients on the input and on the initial state."""
        grad_y, *grad_state = self.hand_back(weights)
        if not self.has_state:
            return {"input": self.layer.backward(grad_y)}
        gradients = {"input": self.layer.backward(grad_y, tuple(grad_state))}
        return gradients | _numbered(self.layer.grad_state)

    def similar(self, **changes: Any) -> LayerProbe:
        """Return a probe of the same layer with other inputs."""
        self.restart()
        given = self.given | changes
        state = [given[name] for name in _states(given)] if self.has_state else None
        x, mask = given["input"], given.get("mask")
        return LayerProbe(self.layer, (x,), mask, state, np.random.default_rng(0))


class CellProbe(Probe):
    """A cell: one time step."""

    def __init__(
        self, cell: Cell, inputs: tuple[Any, ...], state: Any, rng: np.random.Generator
    ) -> None:
        super().__init__(cell, rng)
        if len(inputs) > 2:
            raise TypeError("check_gradients: a cell takes x_t and the state")
        self.cache: Any = None
        self.given["input"] = _floats(inputs[0])
        state = inputs[1] if len(inputs) == 2 else state
        if state is None:
            zeros = self.layer.initial_state(len(self.given["input"]))
            state = [rng.standard_normal(np.shape(array)) * 0.5 for array in zeros]
        self.given |= {f"state[{k}]": _floats(array) for k, array in enumerate(state)}
        self.add_variables()

    @property
    def kept(self) -> dict[str, Any]:
        """The cache, and what there is on the cell itself."""
        return {"cache": self.cache} | super().kept

    def outputs(self) -> list[Array]:
        """Return the output of the step, then the next state."""
        state = tuple(self.hand(name) for name in _states(self.given))
        y, state, self.cache = self.layer.forward(self.hand("input"), state)
        return [y, *state]

    def run_backward(self, weights: Sequence[Array]) -> dict[str, Any]:
        """Return the gradients on the input and on the state."""
        grad_y, *grad_state = self.hand_back(weights)
        result = self.layer.backward(grad_y, tuple(grad_state), self.cache)
        pair = isinstance(result, tuple) and len(result) == 2
        if not pair or not isinstance(result[1], tuple | list):
            got = type(result).__name__ if not pair else f"(grad_x, {type(result[1]).__name__})"
            text = (
                f"looks like a wrong return: a cell's backward gives two things, (grad_x, "
                f"grad_state), the second a tuple with an array for each state; this one gives "
                f"{got}"
            )
            found = Diagnosis("kind", ("input",), text)
            name = type(self.layer).__name__
            raise GradientKindError(f"{name}: {found!r}", "input", (), np.nan, np.nan, (found,))
        return {"input": result[0]} | _numbered(result[1])

    def similar(self, **changes: Any) -> CellProbe:
        """Return a probe of the same cell with other inputs."""
        self.restart()
        given = self.given | changes
        state = [given[name] for name in _states(given)]
        return CellProbe(self.layer, (given["input"],), state, np.random.default_rng(0))


class LossProbe(Probe):
    """A loss; its gradient is multiplied by the weight from outside."""

    def __init__(
        self, loss: Loss, inputs: tuple[Any, ...], mask: Any, rng: np.random.Generator
    ) -> None:
        super().__init__(loss, rng)
        if len(inputs) != 2:
            raise TypeError("check_gradients: a loss takes the prediction and the target")
        self.given["input"] = _floats(inputs[0])
        self.given["target"] = np.array(inputs[1])
        if mask is not None:
            self.given["mask"] = np.array(mask)
        self.add_variables()

    def outputs(self) -> list[Array]:
        """Return the loss."""
        mask = self.hand("mask") if "mask" in self.given else None
        return [np.asarray(self.layer.forward(self.hand("input"), self.hand("target"), mask))]

    def run_backward(self, weights: Sequence[Array]) -> dict[str, Any]:
        """Return the gradient on the prediction."""
        gradient = self.layer.backward()
        return {"input": None if gradient is None else weights[0] * gradient}

    def similar(self, **changes: Any) -> LossProbe:
        """Return a probe of the same loss with other inputs."""
        self.restart()
        given = self.given | changes
        x, target, mask = given["input"], given["target"], given.get("mask")
        return LossProbe(self.layer, (x, target), mask, np.random.default_rng(0))


def probe(
    layer: Any, inputs: tuple[Any, ...], mask: Any, state: Any, rng: np.random.Generator
) -> Probe:
    """Return the probe that suits: for a cell, a loss, or any other layer."""
    if isinstance(layer, Cell):
        return CellProbe(layer, inputs, state, rng)
    if isinstance(layer, Loss):
        return LossProbe(layer, inputs, mask, rng)
    if isinstance(layer, Layer):
        return LayerProbe(layer, inputs, mask, state, rng)
    raise TypeError(f"check_gradients: takes a Layer, a Cell or a Loss, got {type(layer).__name__}")


def _movable(x: Any) -> Array:
    """Return a copy that can be moved: float64, or the integers themselves."""
    array = np.array(x)
    return array if array.dtype.kind in "iub" else array.astype(np.float64)


def _floats(x: Any) -> Array:
    array: Array = np.array(x, np.float64)
    return array


def _states(given: dict[str, Array]) -> list[str]:
    return [name for name in given if name.startswith("state[")]


def _numbered(arrays: Any) -> dict[str, Any]:
    return {f"state[{k}]": array for k, array in enumerate(arrays)}
