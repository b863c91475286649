"""What the course's two networks share: one step and many, forwards and back.

Columns outside, rows inside: each array is transposed on its way into a cell and out of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minirnn.course.activations import softmax
from minirnn.course.arguments import Arguments
from minirnn.course.weights import load_dense
from minirnn.layers.dense import Dense
from minirnn.typing import Array


class Network(NamedTuple):
    """The course's names for a network, and the cell that computes it."""

    name: str
    """That of its functions: "rnn" in ``rnn_forward``."""
    load_cell: Callable[..., Any]
    weights: Callable[..., dict[str, Array]]
    output: str
    """The weights of the output layer in the dictionary of parameters."""
    states: tuple[str, ...]
    parts: tuple[str, ...]
    """Those of a cache, in the course's order."""
    gates: dict[str, str]
    """Those of these parts that are gates, with the cell's letters."""
    kept: tuple[str, ...]
    """Of what parts `make_cache` makes the cache of the cell."""
    make_cache: Callable[..., Any]

    # ------------------------------------------------------------ forwards

    def cell_forward(self, parameters: Any, xt: Any, *states: Any) -> tuple[Any, Array, Any]:
        """Return the next states, the prediction and the cache of one step."""
        arguments, cell, dense = self._loaded("cell_forward", parameters)
        before = [
            arguments.array(f"{name}_prev", state, "n_a", "m")
            for name, state in zip(self.states, states, strict=True)
        ]
        return self._step(cell, dense, parameters, arguments.array("xt", xt, "n_x", "m"), before)

    def forward(self, parameters: Any, x: Any, a0: Any) -> tuple[Any, Array, Any]:
        """Return each state and the prediction after each step, and the caches."""
        arguments, cell, dense = self._loaded("forward", parameters)
        a0 = arguments.array("a0", a0, "n_a", "m")
        x = arguments.array("x", x, "n_x", "m", "T_x")
        state = [a0, *[np.zeros_like(a0) for _ in self.states[1:]]]
        steps = []
        for t in range(x.shape[2]):
            steps.append(self._step(cell, dense, parameters, x[:, :, t], state))
            state = steps[-1][0]
        states, predictions, caches = zip(*steps, strict=True)
        over_time = [np.stack(arrays, axis=2) for arrays in zip(*states, strict=True)]
        return over_time, np.stack(predictions, axis=2), (list(caches), x)

    def _loaded(self, function: str, parameters: Any) -> tuple[Arguments, Any, Dense]:
        arguments = Arguments(f"{self.name}_{function}")
        cell = self.load_cell(arguments, parameters)
        return arguments, cell, load_dense(arguments, parameters, self.output)

    def _step(
        self, cell: Any, dense: Dense, parameters: Any, xt: Array, before: list[Array]
    ) -> tuple[list[Array], Array, Any]:
        h, state, kept = cell.forward(xt.T, tuple(array.T for array in before))
        after = [array.T for array in state]
        parts = {"xt": xt, "parameters": parameters}
        for name, array_before, array in zip(self.states, before, after, strict=True):
            parts |= {f"{name}_prev": array_before, f"{name}_next": array}
        parts |= {part: getattr(kept, gate).T for part, gate in self.gates.items()}
        return after, softmax(dense.step(h).T), tuple(parts[part] for part in self.parts)

    # ------------------------------------------------------------ back

    def cell_backward(self, cache: Any, *gradients: Any) -> dict[str, Array]:
        """Return the gradients on what made one step, from those on its states."""
        arguments = Arguments(f"{self.name}_cell_backward")
        parts = self._parts(arguments, cache)
        cell = self.load_cell(arguments, parts["parameters"])
        kept = self._cell_cache(arguments, parts)
        after = [
            arguments.array(f"d{name}_next", gradient, "n_a", "m")
            for name, gradient in zip(self.states, gradients, strict=True)
        ]
        dxt, before = _step_back(cell, kept, after)
        named = {f"d{name}_prev": array for name, array in zip(self.states, before, strict=True)}
        return {"dxt": dxt} | named | self.weights(cell, "d")

    def backward(self, caches: Any, da: Any) -> dict[str, Array]:
        """Return the gradients on what made all steps, from that on the states a."""
        arguments = Arguments(f"{self.name}_backward")
        given = arguments.caches(caches, f"{self.name}_forward")
        steps = [self._parts(arguments, cache) for cache in given]
        parameters = steps[0]["parameters"]
        cell = self.load_cell(arguments, parameters)
        kept = [self._cell_cache(arguments, parts) for parts in steps]
        da = arguments.upstream(da, len(steps))
        n_a, m, T = da.shape
        dx, state = np.empty((cell.input_size, m, T)), [np.zeros((n_a, m)) for _ in self.states]
        for t in reversed(range(T)):
            if steps[t]["parameters"] is not parameters:  # each step has its own, which may differ
                parameters = steps[t]["parameters"]
                cell.load_state_dict(self.load_cell(arguments, parameters).state_dict())
            state[0] = state[0] + da[:, :, t]
            dx[:, :, t], state = _step_back(cell, kept[t], state)
        return {"dx": dx, "da0": state[0]} | self.weights(cell, "d")

    def _parts(self, arguments: Arguments, cache: Any) -> dict[str, Any]:
        given = arguments.cache(cache, self.parts, f"{self.name}_cell_forward")
        return dict(zip(self.parts, given, strict=True))

    def _cell_cache(self, arguments: Arguments, parts: dict[str, Any]) -> Any:
        """Return what the cell would have kept of this step of the course."""
        rows = {
            part: arguments.array(part, parts[part], "n_x" if part == "xt" else "n_a", "m").T
            for part in sorted(self.kept)  # so that errors say "m from" a state, not from xt
        }
        return self.make_cache(*[rows[part] for part in self.kept])


def _step_back(cell: Any, kept: Any, after: list[Array]) -> tuple[Array, list[Array]]:
    # To the cell, a is output and state at once; the course has one gradient for both.
    da, *others = [array.T for array in after]
    dx, before = cell.backward(da, (np.zeros_like(da), *others), kept)
    return dx.T, [array.T for array in before]
