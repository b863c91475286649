"""Ctrl-C: where it ends a training run gracefully, and where it has to wait for a moment."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from minirnn.training.trainer import Trainer

# Without the wrappers in `signal`, which look up an enum at each call: 60 us of every step.
_fast: Any = import_module("_signal")
_SIGINT = int(signal.SIGINT)


class _Block:
    """A block with a SIGINT handler of its own, in the main thread.

    In other threads, and where the program has a handler of its own in place of Python's, nothing
    is touched. As a class, so that no signal can come between entering and being in the block.
    """

    _usual: Any = None

    def __enter__(self) -> Self:
        usual = _fast.getsignal(_SIGINT)
        if usual is signal.default_int_handler or self._may_replace(usual):
            self._usual = usual
            try:
                _fast.signal(_SIGINT, self._handle)
            except ValueError:  # this is another thread
                self._usual = None
        return self

    def _may_replace(self, handler: Any) -> bool:
        return False

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._leave()

    def _leave(self) -> None:
        """Give SIGINT the handler from before, if it has this block's now, or that of one inside.

        Also called before an interrupt is raised: that may come so late that no exit follows. A
        second Ctrl-C can come between a block's last instruction and its exit, which then waits for
        the garbage collector, until after the exit of a block around it.
        """
        block = getattr(_fast.getsignal(_SIGINT), "__self__", None)
        while isinstance(block, _Block) and block is not self:
            block = getattr(block._usual, "__self__", None)
        if self._usual is not None and block is self:
            _fast.signal(_SIGINT, self._usual)
        self._usual = None  # last, for an interrupt before it calls this once more

    def _handle(self, number: int, frame: Any) -> None:
        raise NotImplementedError


class ends_gracefully(_Block):  # noqa: N801
    """A block in which the first Ctrl-C calls `stop`, and the second raises KeyboardInterrupt."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self.stop = stop
        self.heard = False

    def _handle(self, number: int, frame: Any) -> None:
        if self.heard:
            self._leave()
            raise KeyboardInterrupt
        self.heard = True
        self.stop()
        with suppress(Exception):  # whoever read the messages may have been ended first
            print("\nStopping after this batch; Ctrl-C once more stops at once.", file=sys.stderr)


class Uninterrupted(_Block):
    """A block in which Ctrl-C has to wait until its end; pressed again, it no longer waits.

    So what belongs together, such as all that one batch changes, is done or not done.
    """

    _waiting = False

    def _may_replace(self, handler: Any) -> bool:
        return isinstance(getattr(handler, "__self__", None), ends_gracefully)

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._leave()
        if self._waiting:
            self._waiting = False
            if not isinstance(error, KeyboardInterrupt | GeneratorExit):
                raise KeyboardInterrupt

    def _handle(self, number: int, frame: Any) -> None:
        graceful = getattr(self._usual, "__self__", None)
        if isinstance(graceful, ends_gracefully) and not graceful.heard:
            graceful._handle(number, frame)
        elif self._waiting:
            self._leave()
            raise KeyboardInterrupt
        else:
            self._waiting = True


class Whole(Uninterrupted):
    """A block that is done whole or not at all: Ctrl-C waits, and an error puts things back.

    What is put back is `before`: objects, names of attributes and values; without it, the block is
    committed from its beginning. From `commit` on, or if another error breaks into the putting
    back, ``trainer.halfway`` becomes `what`.
    """

    def __init__(
        self, trainer: Trainer, what: str, before: list[tuple[Any, str, Any]] | None = None
    ) -> None:
        self._trainer, self._what = trainer, what
        self._before, self._committed = before or [], before is None

    def __enter__(self) -> Self:
        super().__enter__()
        self._earlier, self._trainer.halfway = self._trainer.halfway, self._what
        return self

    def commit(self) -> None:
        """From here on, an error leaves something halfway."""
        self._committed, self._earlier = True, None

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is not None:
            for thing, name, value in self._before:
                setattr(thing, name, value)
        if kind is None or not self._committed:
            self._trainer.halfway = self._earlier
        super().__exit__(kind, error, traceback)
