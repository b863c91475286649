"""Recorder: records what happens in a model during a with block."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import numpy as np

from minirnn.core import Layer
from minirnn.insight.observers import Observer, Updates, see_backward, see_forward
from minirnn.insight.records import ActivationRecord, RecurrentRecord
from minirnn.insight.report import Finding, findings, in_words
from minirnn.layers.activations import Activation, Softmax
from minirnn.optimizers import Optimizer
from minirnn.recurrent import Recurrent
from minirnn.summary import Table
from minirnn.typing import Array


class Recorder:
    """Records what happens inside a model while a ``with`` block runs.

    During the block the layers and the optimizer have an `observer`, which they call; it is removed
    at the end, after an exception too. While there is one, recurrent layers run their step by step
    loop, and the numbers are those of that loop, bit for bit. Copies of the model made inside the
    block, pickled ones too, are not recorded. Outside the block it costs nothing.

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
        Of the layers `Tanh`, `Sigmoid` and `ReLU`, and others of their kind.

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
        On entering, if another recorder is recording the same layers or optimizer.

    Examples
    --------
    >>> from minirnn import LSTM, Dense, LastStep, Sequential
    >>> model = Sequential([LSTM(3, 4, rng=0), LastStep(), Dense(4, 2, rng=1)])
    >>> with Recorder(model) as record:
    ...     y = model.forward(np.ones((5, 7, 3)))
    ...     grad_x = model.backward(np.ones_like(y))
    >>> layer = record["layers.0"]
    >>> layer.hidden.shape, list(layer.gates), layer.gates["f"].shape
    ((5, 7, 4), ['i', 'f', 'o', 'g'], (5, 7, 4))
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
        self._begin()
        if not self.records and optimizer is None:
            raise ValueError(
                f"Recorder: there is nothing to record: {type(model).__name__} has no recurrent "
                f"and no activation layer, and no optimizer was given"
            )

    def _begin(self) -> None:
        """Make empty records and the observers that fill them."""
        self.layers: dict[str, RecurrentRecord] = {}
        self.activations: dict[str, ActivationRecord] = {}
        self._observers: list[tuple[Any, Observer]] = []
        for path, layer in self.model.named_layers():
            name, kind = path or "model", type(layer).__name__
            if isinstance(layer, Recurrent):
                recurrent = self.layers[name] = RecurrentRecord(name, kind)
                observer = Observer(
                    forward=partial(see_forward, recurrent, layer),
                    backward=partial(see_backward, recurrent, layer),
                )
            elif isinstance(layer, Activation) and not isinstance(layer, Softmax):
                # The view of the records grows: a layer further on may have the mask.
                activation = ActivationRecord(name, kind, layer.bounds, self.layers.values())
                self.activations[name] = activation
                observer = Observer(forward=partial(setattr, activation, "latest"))
            else:
                continue
            self._observers.append((layer, observer))
        taken = [] if self.optimizer is None else self.optimizer.parameters
        owned = {id(parameter) for parameter in taken}
        self._updates = Updates(
            {name: p for name, p in self.model.named_parameters() if id(p) in owned}
        )
        if self.optimizer is not None:
            self._observers.append((self.optimizer, self._updates))

    def __enter__(self) -> Self:
        for observed, _ in self._observers:
            if observed.observer is not None:
                raise RuntimeError(
                    f"Recorder: {type(observed).__name__} is being recorded already; leave the "
                    f"with block of the other recorder first"
                )
        self._begin()
        for observed, observer in self._observers:
            observed.observer = observer
        return self

    def __exit__(self, *exception: object) -> None:
        for observed, _ in self._observers:
            vars(observed).pop("observer", None)

    # ------------------------------------------------------------ reading

    @property
    def update_ratios(self) -> dict[str, Array]:
        """``norm(update) / norm(weight before it)`` of each parameter, arrays ``(steps,)``.

        By dotted name, at each ``optimizer.step()`` in the block; inf for what was zero before.
        """
        if self.optimizer is None:
            raise RuntimeError(
                "Recorder: updates are recorded only with the optimizer: Recorder(model, "
                "optimizer), or Recorder(trainer)"
            )
        return {name: np.array(ratios) for name, ratios in self._updates.ratios.items()}

    @property
    def records(self) -> dict[str, RecurrentRecord | ActivationRecord]:
        """All records of layers, by dotted name."""
        return {**self.layers, **self.activations}

    def __getitem__(self, layer: str | Layer) -> Any:
        """Return the record of a layer, given by its dotted name or as the object itself."""
        named = self.model.named_layers() if isinstance(layer, Layer) else ()
        name: Any = next((path or "model" for path, own in named if own is layer), layer)
        if name not in self.records:
            raise KeyError(f"no record of {name}; there are {', '.join(self.records) or 'none'}")
        return self.records[name]

    def findings(self) -> list[Finding]:
        """Return the findings on each layer and on the updates; see `report`."""
        ratios = None
        if self.optimizer is not None:
            weights = [name for name, p in self._updates.parameters.items() if p.decay]
            ratios = {name: self.update_ratios[name] for name in weights}
        return findings(self.records.values(), ratios)

    def report(self) -> Table:
        """Return the findings in plain words, and whether they are healthy.

        The thresholds stand in `minirnn.insight.report`.
        """
        return Table(in_words(self.findings()))

    def __repr__(self) -> str:
        return f"<Recorder of {', '.join(self.records) or 'updates'}>"
