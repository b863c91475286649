"""Two recurrent layers, one for each direction of time."""

from __future__ import annotations

from typing import Any

from minirnn import checks
from minirnn.engine import ENGINES
from minirnn.layers.parallel import Parallel
from minirnn.recurrent.recurrent import Recurrent
from minirnn.typing import Array, State


class Bidirectional(Parallel):
    """One layer reads the sequence forwards, one backwards; their outputs are merged.

    ``y[:, t] = [forward_layer(x)[:, t], backward_layer(x)[:, t]]``: the first half has seen the
    steps up to ``t``, the second those from ``t`` on. The gradient on the input is the sum of both.
    With another `merge`, `y` is the sum, the mean or the product of the two.

    Parameters
    ----------
    forward_layer : Recurrent
    backward_layer : Recurrent
        Set to ``reverse=True`` if it is not yet.
    merge : "concat", "sum", "mean" or "product"
        As Keras' ``merge_mode`` "concat", "sum", "ave" and "mul".
    engine : "auto", "off" or "require", optional
        For both layers; by default each keeps its own.

    Notes
    -----
    After this layer, `LastStep` takes an output of the backward layer that has seen a single step.
    For one vector a sequence, from both ends, take `LastState`, `MeanOverTime` or `MaxOverTime`.

    Schuster and Paliwal, Bidirectional recurrent neural networks, IEEE Transactions on Signal
    Processing 45, 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from minirnn import GRU
    >>> layer = Bidirectional(GRU(3, 4, rng=0), GRU(3, 5, rng=1, reverse=True))
    >>> layer.forward(np.ones((2, 6, 3))).shape
    (2, 6, 9)
    """

    forward_layer: Recurrent
    backward_layer: Recurrent

    def __init__(
        self,
        forward_layer: Recurrent,
        backward_layer: Recurrent | None = None,
        *,
        merge: str = "concat",
        engine: str | None = None,
    ) -> None:
        if backward_layer is None or isinstance(forward_layer, type):
            name = getattr(forward_layer, "__name__", type(forward_layer).__name__)
            raise TypeError(
                f"Bidirectional: takes two layers, one for each direction, got {name} alone; write "
                f"Bidirectional({name}(...), {name}(...))"
            )
        for name, layer in [("forward_layer", forward_layer), ("backward_layer", backward_layer)]:
            if not isinstance(layer, Recurrent):
                raise TypeError(
                    f"Bidirectional: {name} should be a recurrent layer, got {type(layer).__name__}"
                )
        if forward_layer is backward_layer:
            raise ValueError("Bidirectional: the two directions need a layer each, got one twice")
        if forward_layer.reverse:
            raise ValueError("Bidirectional: forward_layer should not have reverse=True")
        if backward_layer.stateful:
            raise ValueError(
                "Bidirectional: backward_layer should not have stateful=True: it ends a chunk at "
                "its first step, which the next chunk does not follow; forward_layer may have it"
            )
        super().__init__([forward_layer, backward_layer], merge)
        backward_layer.reverse = True
        self._engine = engine
        if engine is not None:
            for layer in self.layers:
                layer._engine = checks.choice(self, "engine", engine, ENGINES)

    @property
    def layers(self) -> list[Any]:
        """The two of them."""
        return [self.forward_layer, self.backward_layer]

    @layers.setter
    def layers(self, both: list[Any]) -> None:
        self.forward_layer, self.backward_layer = both

    @property
    def engine(self) -> str:
        """What runs the cells of both layers, and why, in words."""
        one, two = self.forward_layer.engine, self.backward_layer.engine
        return one if one == two else f"forward_layer: {one}; backward_layer: {two}"

    @property
    def directions(self) -> tuple[tuple[int, bool], ...] | None:
        """Features of the output and whether they are read backwards; for `LastState`.

        None where the merged features belong to both directions.
        """
        if self.merge != "concat":
            return None
        return self.forward_layer.directions + self.backward_layer.directions

    @property
    def state(self) -> State | None:
        """The final states of both layers, one after the other."""
        one, two = self.forward_layer.state, self.backward_layer.state
        return None if one is None or two is None else one + two

    @property
    def grad_state(self) -> State | None:
        """The gradients on the initial states of both layers, one after the other."""
        one, two = self.forward_layer.grad_state, self.backward_layer.grad_state
        return None if one is None or two is None else one + two

    def step(self, x_t: Any) -> Array:
        """Refuse: the backward layer would have to know the future."""
        raise ValueError("Bidirectional: reads the whole sequence; it cannot be run step by step")

    def _states(self, given: Any, what: str) -> Any:
        """Return the given states, those of the forward layer and those of the backward layer."""
        if given is None:
            return None, None
        sizes = [len(layer.cell.initial_state(1)) for layer in self.layers]
        wanted = (
            f"Bidirectional: the state should be a tuple of {sum(sizes)} arrays, {sizes[0]} for "
            f"the forward layer and {sizes[1]} for the backward layer"
        )
        given = checks.tuple_of(given, sum(sizes), wanted)
        return given[: sizes[0]], given[sizes[0] :]
