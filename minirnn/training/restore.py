"""What is put back: modes, carried states, the states of random generators."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from minirnn.core import Layer
from minirnn.recurrent.recurrent import Recurrent

if TYPE_CHECKING:
    from minirnn.training.trainer import Trainer

__all__ = ["StatesRestored", "evaluating", "modes_restored", "recurrent_layers"]


def recurrent_layers(model: Layer) -> dict[str, Recurrent]:
    """Return the recurrent layers of a model by their dotted names."""
    return {name: one for name, one in model.named_layers() if isinstance(one, Recurrent)}


@contextmanager
def modes_restored(model: Layer) -> Iterator[None]:
    """Give each layer its training or evaluation mode back."""
    modes = [(layer, layer.training) for _, layer in model.named_layers()]
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training


@contextmanager
def evaluating(trainer: Trainer, generators: Iterable[np.random.Generator] = ()) -> Iterator[None]:
    """Have the model in evaluation mode and at the initial states, and put all back at the end."""
    model = trainer.model
    with modes_restored(model), StatesRestored(trainer.recurrent, generators):
        model.eval()
        model.reset_state()
        yield


class StatesRestored:
    """A block after which recurrent layers and generators have the states from before.

    Parameters
    ----------
    layers : collection of Recurrent
    generators : iterable of numpy.random.Generator
    only_on_error : bool
        Put them back only if the block raises.

    Attributes
    ----------
    over : bool
        Whether the block is over: False for good if an interrupt came right before its exit.
    """

    def __init__(
        self,
        layers: Collection[Recurrent],
        generators: Iterable[np.random.Generator] = (),
        *,
        only_on_error: bool = False,
    ) -> None:
        self._states: list[tuple[Recurrent, Any, Any]] = []
        for layer in layers:
            self._states.append((layer, layer.state, layer.carried_state))
        self._generators: list[tuple[Any, Any]] = []
        for generator in generators:
            self._generators.append((generator.bit_generator, generator.bit_generator.state))
        self._only_on_error = only_on_error
        self.over = True

    def __enter__(self) -> None:
        self.over = False

    def keep(self) -> None:
        """Put nothing back, whatever comes: what the block is for has been done."""
        self._states, self._generators = [], []

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is GeneratorExit:  # an exit that comes late: the program is elsewhere by now
            return
        if kind is not None or not self._only_on_error:
            for layer, state, carried in self._states:
                layer.state, layer.carried_state = state, carried
            for generator, drawn in self._generators:
                generator.state = drawn
        self.over = True
