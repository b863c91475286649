"""Dropout on what a recurrent layer reads of its own state."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer, Parameter
from minirnn.layers.dropout import WithRate
from minirnn.recurrent.bidirectional import Bidirectional
from minirnn.recurrent.recurrent import Recurrent, one_way_layers
from minirnn.restoring import evaluation_copy
from minirnn.typing import Array, RandomSource


class StateDropout(WithRate):
    """In training, some units of the state are dropped where a recurrent layer reads it.

    A cell reads its state through weights, so dropping unit ``j`` is setting row ``j`` of ``Wh``
    to zero. At every forward one ``keep (hidden,)`` is drawn, for all steps and the whole batch::

        D = diag(keep / (1 - rate))        Wh_used = D Wh        grad_Wh = D grad_Wh_used

    What a cell hands from step to step past these weights, the ``c`` of an LSTM and the ``z * h``
    of a GRU, is not dropped: the memory itself neither fades nor grows. In evaluation mode the
    layer computes what the one inside does.

    Parameters
    ----------
    layer : Recurrent or Bidirectional
        With any cell.
    rate : float
        Probability with which each unit is dropped, at least 0 and below 1.
    weights : tuple of str
        Names of the parameters of the cell that multiply its state from the right, ``(hidden,
        ...)``. All of them share ``keep`` as far as they have the same number of rows.
    rng : None, int or numpy.random.Generator

    References
    ----------
    Gal and Ghahramani, A theoretically grounded application of dropout in recurrent neural
    networks, NIPS 2016, who draw for each sequence; one draw a batch as in Merity, Keskar and
    Socher, Regularizing and optimizing LSTM language models, ICLR 2018. For the inputs, see
    ``Dropout(rate, shared_over_time=True)``.

    Raises
    ------
    ValueError
        If a cell has no parameter of such a name.

    Examples
    --------
    >>> import numpy as np
    >>> from minirnn import LSTM
    >>> layer = StateDropout(LSTM(3, 4, rng=0), 0.5, rng=0)
    >>> x = np.ones((2, 5, 3))
    >>> np.array_equal(layer.forward(x), layer.layer.forward(x))
    False
    >>> np.array_equal(layer.eval().forward(x), layer.layer.forward(x))
    True
    """

    uses_mask = True
    uses_state = True

    def __init__(
        self,
        layer: Recurrent | Bidirectional,
        rate: float,
        *,
        weights: tuple[str, ...] = ("Wh",),
        rng: RandomSource = None,
    ) -> None:
        if not isinstance(layer, Recurrent | Bidirectional):
            raise TypeError(
                f"StateDropout: layer should be a recurrent layer, got {type(layer).__name__}"
            )
        given = isinstance(weights, tuple | list) and len(weights) > 0
        if not (given and all(isinstance(name, str) for name in weights)):
            raise TypeError(
                f'StateDropout: weights should be a tuple of names, as ("Wh",), got {weights!r}'
            )
        self.layer = layer
        self.rate = rate
        self.weights = tuple(weights)
        self.rng = checks.generator(self, rng)
        for recurrent in one_way_layers(layer):
            for name in self.weights:
                if not isinstance(getattr(recurrent.cell, name, None), Parameter):
                    cell = recurrent.cell
                    own = ", ".join(n for n, p in cell.named_parameters() if p.value.ndim > 1)
                    raise ValueError(
                        f"StateDropout: {type(cell).__name__} has no parameter {name}; with "
                        f"weights=, name those that multiply the state: of {own}"
                    )

    engine = property(attrgetter("layer.engine"), doc="What runs the cell inside, and why.")
    input_size = property(attrgetter("layer.input_size"), doc="Features of the input.")
    output_size = property(attrgetter("layer.output_size"), doc="Features of the output.")
    directions = property(attrgetter("layer.directions"), doc="Those of the layer inside.")
    state = property(attrgetter("layer.state"), doc="The final state of the layer inside.")
    grad_state = property(attrgetter("layer.grad_state"), doc="The gradient on its initial state.")

    def forward(self, x: Any, mask: Any = None, state: Any = None) -> Array:
        """Return the output ``(batch, time, output)`` of the layer inside, given what it takes."""
        run, drops = self._draw() if self.training and self.rate > 0 else (self.layer, [])
        y = run.forward(x, mask, state)
        _hand_over(run, self.layer)
        self._cache = run, drops
        return y

    def backward(self, grad: Any, grad_state: Any = None, *, need_grad_x: bool = True) -> Any:
        """Return the gradient on x, from those on the output and (optional) on the final state."""
        run, drops = self._saved()
        backward = run.backward if need_grad_x else run.backward_parameters
        grad_x = backward(grad, grad_state)
        for one, its in zip(one_way_layers(self.layer), one_way_layers(run), strict=True):
            one.grad_state = its.grad_state
        for own, dropped, factors in drops:
            own.grad += factors * dropped.grad
            dropped.zero_grad()
        return grad_x

    def step(self, x_t: Any) -> Array:
        """Run one step of the layer inside without dropout, as in evaluation mode."""
        return self.layer.step(x_t)

    def _draw(self) -> tuple[Recurrent | Bidirectional, list[Any]]:
        """Return a copy of the layer whose cells have some rows of their weights set to zero.

        The layer itself keeps its cells: another thread may be predicting with them. With it come
        the parameters, those that stand in their place, and by what factors they differ.
        """
        run, drops = evaluation_copy(self.layer, Layer, {}).train(), []
        cells = {id(one.cell): one.cell for one in one_way_layers(run)}  # both directions may share
        for cell in cells.values():
            keep: dict[int, Array] = {}
            for name in self.weights:
                own = getattr(cell, name)
                rows = len(own.value)
                if rows not in keep:
                    keep[rows] = self.rng.random(rows, dtype=np.float32) >= self.rate
                shape = (rows, *[1] * (own.value.ndim - 1))
                factors = keep[rows].reshape(shape) / own.dtype.type(1 - self.rate)
                setattr(cell, name, Parameter(own.value * factors))
                drops.append((own, getattr(cell, name), factors))
        return run, drops


def _hand_over(run: Recurrent | Bidirectional, layer: Recurrent | Bidirectional) -> None:
    """Let a layer have what its copy has kept of a forward."""
    ran, own = [run, *one_way_layers(run)], [layer, *one_way_layers(layer)]
    for its, one in zip(ran, own, strict=True):
        kept = {k: v for k, v in vars(its).items() if k != "_runner" and not isinstance(v, Layer)}
        vars(one).update(kept)
