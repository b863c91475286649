"""Recorder: looks into a model for the length of a with block."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from minirnn.cells import Cell
from minirnn.core import Layer
from minirnn.insight.records import ActivationRecord, RecurrentRecord
from minirnn.insight.report import Finding, findings, in_words
from minirnn.insight.shadows import Shadows
from minirnn.insight.steps import Backward, Forward
from minirnn.insight.watches import CellWatch, MaskWatch, OptimizerWatch, RecurrentWatch
from minirnn.layers import ReLU, Sigmoid, Tanh
from minirnn.models.sequential import Table
from minirnn.optimizers import Optimizer
from minirnn.recurrent import Recurrent
from minirnn.typing import Array

__all__ = ["Recorder"]

_BOUNDS = {Tanh: (-1.0, 1.0), Sigmoid: (0.0, 1.0), ReLU: None}


class Recorder:
    """Holds what happens inside a model while a ``with`` block runs.

    ::

        with Recorder(model) as record:
            loss.forward(model.forward(x), y)
            model.backward(loss.backward())
        print(record.report())

    It works by standing before methods of the model's own objects (not of their classes), which it
    takes away at the end of the block, an exception included. A model that is not being recorded
    runs exactly as it would without this module. While it is, recurrent layers run their step by
    step loop, and the numbers are those of that loop, bit for bit.

    Parameters
    ----------
    model : Layer, or an object with ``model`` and ``optimizer`` such as a `Trainer`
    optimizer : Optimizer, optional
        Gives the ratios of update to weight.

    Attributes
    ----------
    layers : dict of RecurrentRecord
        By dotted name, in the order of the model; a model that is itself a recurrent layer has the
        name ``"model"``. ``record["layers.0"]`` and ``record[model[0]]`` are the same.
    activations : dict of ActivationRecord
        Of the layers `Tanh`, `Sigmoid` and `ReLU`.
    update_ratios : dict of arrays (steps,)
        ``norm(update) / norm(weight before it)`` of each parameter, by dotted name, at each
        ``optimizer.step()`` in the block; infinite for what was zero before.

    Notes
    -----
    Of several passes in one block the latest counts: states, gates and activations are of the
    latest forward, gradients of the latest backward. Single steps, ``model.step``, are not
    recorded. Entering the same recorder again begins anew.

    Raises
    ------
    TypeError
        If the model is not a layer, or the optimizer not an optimizer.
    ValueError
        If the model has neither recurrent nor activation layers, and no optimizer is given.
    RuntimeError
        On entering, if another recorder is looking at the same layers or optimizer.

    Examples
    --------
    >>> from minirnn import LSTM, Dense, LastStep, Sequential
    >>> model = Sequential([LSTM(3, 4, rng=0), LastStep(), Dense(4, 2, rng=1)])
    >>> with Recorder(model) as record:
    ...     y = model.forward(np.ones((5, 7, 3)))
    ...     grad_x = model.backward(np.ones_like(y))
    >>> layer = record["layers.0"]
    >>> layer.hidden.shape, list(layer.gates), layer.gates["f"].shape
    ((5, 7, 4), ['i', 'f', 'o', 'g', 'c'], (5, 7, 4))
    >>> layer.gradient_norms.shape
    (7,)
    """

    def __init__(self, model: Any, optimizer: Optimizer | None = None) -> None:
        if not isinstance(model, Layer) and hasattr(model, "model"):
            optimizer = getattr(model, "optimizer", None) if optimizer is None else optimizer
            model = model.model
        if not isinstance(model, Layer):
            raise TypeError(f"Recorder: takes a model or a trainer, got {type(model).__name__}")
        if optimizer is not None and not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"Recorder: optimizer should be an Optimizer, got {type(optimizer).__name__}"
            )
        self.model = model
        self.optimizer = optimizer
        self._shadows = Shadows()
        self._begin()
        if not self.layers and not self.activations and optimizer is None:
            raise ValueError(
                f"Recorder: there is nothing to record: {type(model).__name__} has no recurrent "
                f"and no activation layer, and no optimizer was given"
            )

    def _begin(self) -> None:
        self.layers: dict[str, RecurrentRecord] = {}
        self.activations: dict[str, ActivationRecord] = {}
        self._layers: dict[str, Layer] = {}
        for name, layer in self.model.named_layers():
            name, kind = name or "model", type(layer).__name__
            if isinstance(layer, Recurrent):
                self.layers[name] = RecurrentRecord(name, kind)
            elif isinstance(layer, Tanh | Sigmoid | ReLU):
                bounds = next(bounds for k, bounds in _BOUNDS.items() if isinstance(layer, k))
                self.activations[name] = ActivationRecord(name, kind, bounds)
            self._layers[name] = layer
        optimized = self.optimizer.parameters if self.optimizer else []
        taken = {id(parameter) for parameter in optimized}
        self._updates = OptimizerWatch(
            {name: p for name, p in self.model.named_parameters() if id(p) in taken}
        )

    # ------------------------------------------------------------ on and off

    def __enter__(self) -> Self:
        self._refuse_a_second_recorder()
        self._begin()
        try:
            self._place()
        except BaseException:
            self._shadows.remove()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._shadows.remove()

    def _place(self) -> None:
        place, running, masks = self._shadows.place, list[Forward | Backward](), MaskWatch()
        cells: dict[int, Cell] = {}
        for name, layer in self._layers.items():
            if isinstance(layer, Recurrent):
                watch = RecurrentWatch(layer, self.layers[name], running)
                place(layer, "forward", watch.forward)
                place(layer, "backward", watch.backward)
                place(layer, "backward_parameters", watch.backward)
                cells[id(layer.cell)] = layer.cell
            elif name in self.activations:
                place(layer, "forward", masks.activation(self.activations[name]))
            elif layer.uses_mask and self.activations:
                place(layer, "forward", masks.container)
        for cell in cells.values():
            inside = CellWatch(cell, running)
            place(cell, "forward", inside.forward)
            place(cell, "backward", inside.backward)
        if self.optimizer is not None:
            place(self.optimizer, "step", self._updates.step)

    def _refuse_a_second_recorder(self) -> None:
        watched: list[object] = [
            layer for _, layer in self.model.named_layers() if Shadows.on(layer, "forward")
        ]
        if self.optimizer is not None and Shadows.on(self.optimizer, "step"):
            watched.append(self.optimizer)
        if watched:
            raise RuntimeError(
                f"Recorder: {type(watched[0]).__name__} is being recorded already; leave the with "
                f"block of the other recorder first"
            )

    # ------------------------------------------------------------ reading

    @property
    def update_ratios(self) -> dict[str, Array]:
        """``norm(update) / norm(weight)`` of each parameter at each step, arrays ``(steps,)``."""
        if self.optimizer is None:
            raise RuntimeError(
                "Recorder: updates are recorded only with the optimizer: Recorder(model, "
                "optimizer), or Recorder(trainer)"
            )
        return {name: np.array(ratios) for name, ratios in self._updates.ratios.items()}

    def __getitem__(self, layer: str | Layer) -> Any:
        """Return the record of a layer, given by its dotted name or as the object itself."""
        name = layer
        if isinstance(layer, Layer):
            name = next((n for n, own in self._layers.items() if own is layer), repr(layer))
        records: dict[Any, Any] = {**self.layers, **self.activations}
        if name not in records:
            raise KeyError(f"no record of {name}; there are {', '.join(records) or 'none'}")
        return records[name]

    def findings(self) -> list[Finding]:
        """Return what is to be said of each layer and of the updates; see `report`."""
        return findings(self)

    def report(self) -> Table:
        """Return in plain words what the numbers say, and whether they are healthy.

        The thresholds stand in `minirnn.insight.report`.
        """
        return Table(in_words(self.findings()))

    def __repr__(self) -> str:
        return f"<Recorder of {', '.join([*self.layers, *self.activations]) or 'updates'}>"
