"""What a training run leaves as it found it: modes, carried states, the meaning of Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from minirnn.core import Layer
from minirnn.recurrent.recurrent import Recurrent

__all__ = ["StatesRestored", "interruptible", "modes_restored", "recurrent_layers"]


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


class StatesRestored:
    """Give recurrent layers their states back: always, or only if the block raises."""

    def __init__(self, layers: Collection[Recurrent], *, only_on_error: bool = False) -> None:
        self._states = [(layer, layer.state, layer.carried_state) for layer in layers]
        self._only_on_error = only_on_error

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is not None or not self._only_on_error:
            for layer, state, carried in self._states:
                layer.state, layer.carried_state = state, carried


@contextmanager
def interruptible(stop: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C call `stop`, and the second raise KeyboardInterrupt at once.

    Only the main thread hears of signals; in another the block runs as it is. So it does where the
    program has put a handler of its own in place of Python's.
    """
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or not usual:
        yield
        return

    def first(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("\nStopping after this batch; Ctrl-C once more stops at once.", file=sys.stderr)
        stop()

    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
