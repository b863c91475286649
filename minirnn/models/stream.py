"""One step of a stream through layers that run natively, without what else stands around each."""

from __future__ import annotations

from typing import Any

from minirnn.engine import current
from minirnn.layers import Dense, Dropout, Embedding, ReLU, Sigmoid, Softmax, Tanh
from minirnn.recurrent.recurrent import Recurrent
from minirnn.recurrent.runners import runner_of

DENSE_STEP = Dense.step
KEEP_NOTHING = {Dropout, Embedding, ReLU, Sigmoid, Softmax, Tanh}


def native_step(model: Any, x_t: Any) -> Any:
    """Return the output of one step, or None where the layers have to be asked one by one.

    That is so at a first step, for other layers, and for input that is refused: nothing has changed
    then, since states are carried on at the end.
    """
    native = current.native
    if native is None:
        return None
    try:
        stream = model._stream
        if stream is None or not stream.stands_for(model.layers):
            stream = model._stream = _Stream(model.layers)
        return None if stream.parts is None else native.stream(stream.parts, x_t)
    except Exception:  # which the layers themselves say better
        return None


class _Stream:
    """What runs the step of each layer, for as long as the layers stay as they are."""

    def __init__(self, layers: list[Any]) -> None:
        from minirnn.engine.dependencies import look  # here, so that minirnn is imported sooner

        recurrent = [layer for layer in layers if isinstance(layer, Recurrent)]
        self._runners = [(runner_of(layer), layer.cell) for layer in recurrent]
        parts = tuple(map(_part, layers))
        self.parts = None if None in parts else parts
        self._layers, self._things = list(layers), (current, *layers)
        looks = [look(layer, "step", but=("carried_state", "state")) for layer in layers]
        self._looks = look(current), *looks

    def stands_for(self, layers: list[Any]) -> bool:
        """Whether nothing has changed about the layers or the engine since."""
        if layers != self._layers or not current.native.holds(self._things, self._looks):
            return False
        return all(runner.serving(cell) is runner for runner, cell in self._runners)


def _part(layer: Any) -> Any:
    """Return what the native module is to do for a layer, or None if it cannot."""
    kind: Any = type(layer)
    if "step" in vars(layer):
        return None
    if kind is Dense and kind.step is DENSE_STEP:
        return layer.W.dtype, layer.W, layer.b, layer.output_size
    if hasattr(kind, "state") or hasattr(kind, "carried_state"):
        return None  # properties, which may refuse what they are given
    if kind.step is Recurrent.step and not layer.reverse:
        runner: Any = runner_of(layer)
        return (layer, runner.of_step) if runner.native else None
    return layer.step if kind in KEEP_NOTHING else None
