"""One step of a stream through layers that run natively, without what else stands around each."""

from __future__ import annotations

from typing import Any

from minirnn.engine import current
from minirnn.layers import Dense, Dropout, Embedding, ReLU, Sigmoid, Softmax, Tanh
from minirnn.recurrent.recurrent import Recurrent
from minirnn.recurrent.runners import runner_of

__all__ = ["native_step"]

KEEP_NOTHING = {Dropout, Embedding, ReLU, Sigmoid, Softmax, Tanh}


def native_step(layers: list[Any], x_t: Any) -> Any:
    """Return the output of one step, or None where the layers have to be asked one by one.

    That is so at a first step, for other layers, and for input that is refused: nothing has changed
    then, since states are carried on at the end.
    """
    if current.native is None:
        return None
    owners: list[Any] = []
    states: list[Any] = []
    try:
        for layer in layers:
            kind, own = type(layer), layer.__dict__
            if "step" in own:
                return None
            if kind is Dense:
                if x_t.dtype is not layer.W.value.dtype:
                    return None
                x_t = layer._apply(x_t)
            elif kind.step is Recurrent.step and not layer.reverse:
                state, runner = layer.carried_state, runner_of(layer)
                if not runner.native or state is None:
                    return None
                if x_t.ndim != 2 or x_t.dtype is not state[0].dtype:
                    return None
                x_t, state = runner.step(x_t, state)
                owners.append(own)
                states.append({"carried_state": state, "state": state})
            elif kind in KEEP_NOTHING:
                x_t = layer.step(x_t)
            else:
                return None
    except Exception:  # which the layers themselves say better
        return None
    list(map(dict.update, owners, states))  # in C: an interrupt finds all of them done, or none
    return x_t
