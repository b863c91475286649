"""What the built-in cells share."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from minirnn import checks
from minirnn.cells.cell import Cell
from minirnn.core import Parameter
from minirnn.initializers import glorot_uniform, orthogonal
from minirnn.typing import Array, RandomSource, State


class BuiltinCell(Cell):
    """What the three built-in cells share: sizes, parameters, and the check of their arguments."""

    blocks: ClassVar[int] = 1
    """How many times the hidden size stands side by side in `Wx`, `Wh` and `b`."""
    state_names: tuple[str, ...] = ("h",)

    def __init__(self, input_size: int, hidden_size: int, rng: RandomSource, dtype: Any) -> None:
        self.input_size = checks.positive_int(self, "input_size", input_size)
        self.hidden_size = checks.positive_int(self, "hidden_size", hidden_size)
        dtype = checks.float_dtype(self, dtype)
        rng = checks.generator(self, rng)
        sizes = self.input_size, self.hidden_size
        self.Wx = Parameter(glorot_uniform(rng, *sizes, dtype, gates=self.blocks))
        self.Wh = Parameter(orthogonal(rng, self.hidden_size, dtype, gates=self.blocks))
        self.b = Parameter(np.zeros(self.blocks * self.hidden_size, dtype), decay=False)

    def initial_state(self, batch_size: int) -> State:
        """Return zeros ``(batch_size, hidden_size)`` for each array of the state."""
        shape = (len(self.state_names), batch_size, self.hidden_size)
        return tuple(np.zeros(shape, self.Wx.value.dtype))

    def _arguments(self, x_t: Any, state: State) -> tuple[Array, State]:
        dtype = self.Wx.value.dtype
        x_t = checks.step(self, x_t, self.input_size, dtype)
        shape = (len(x_t), self.hidden_size)
        return x_t, self._states(state, shape, dtype, "the state")

    def _gradients(self, grad_y: Any, grad_state: State, h: Array) -> tuple[Array, State]:
        grad_y = checks.check_shape(self, grad_y, h.shape, h.dtype, "the gradient on the output")
        return grad_y, self._states(grad_state, h.shape, h.dtype, "the gradient on state")

    def _states(self, arrays: State, shape: tuple[int, ...], dtype: Any, what: str) -> State:
        names = self.state_names
        if type(arrays) is not tuple or len(arrays) != len(names):
            wanted = f"{type(self).__name__}: {what} should be a tuple ({', '.join(names)},)"
            arrays = checks.tuple_of(arrays, len(names), f"{wanted} of arrays")
        return tuple(
            [
                checks.check_shape(self, array, shape, dtype, f"{what} {name} (batch, hidden)")
                for array, name in zip(arrays, names, strict=True)
            ]
        )
