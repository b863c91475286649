"""What a running fit shows: a bar in a terminal or notebook, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

_MOST_LINES = 50


class Progress:
    """One bar over all epochs, followed by the latest values.

    Where the error stream is not a terminal (a log file, CI), a line for every epoch instead, or
    for every n-th, so that there are never more than about fifty.
    A resumed run goes on at `epoch` and `batch`; `batches` are those of an epoch, where known.
    """

    def __init__(
        self, shown: bool, epochs: int, batches: int | None, epoch: int, batch: int
    ) -> None:
        self.epochs = epochs
        self._bar: Any = None
        self._untold: str | None = None
        interactive = _in_notebook() or getattr(sys.stderr, "isatty", lambda: False)()
        self._lines = shown and not interactive
        if shown and not self._lines:
            self._bar = _tqdm()(
                total=None if batches is None else epochs * batches,
                initial=0 if batches is None else max(epoch - 1, 0) * batches + batch,
                unit="batch",
            )

    def batch(self, epoch: int, loss: float) -> None:
        """Show that one more batch is done; `epoch` counts from 1."""
        if self._bar is not None:
            self._bar.set_description(f"epoch {epoch}/{self.epochs}", refresh=False)
            if self._bar.n == 0:
                self._bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
            self._bar.update()

    def epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """Show the values of an epoch that is done."""
        text = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=True)
        elif self._lines:
            self._untold = f"epoch {epoch}/{self.epochs}  {text}"
            every = -(-self.epochs // _MOST_LINES)
            if epoch % every == 0 or epoch in (1, self.epochs):
                self._tell_epoch()

    def close(self, notes: Sequence[str]) -> None:
        """Leave the last state of the bar on the screen, the last epoch in the log, and notes."""
        if self._bar is not None:
            self._bar.close()
        self._tell_epoch()
        if self._lines or self._bar is not None:
            for note in notes:
                _tell(note)

    def _tell_epoch(self) -> None:
        if self._untold is not None:
            _tell(self._untold)
            self._untold = None


def _tell(line: str) -> None:
    with suppress(OSError, ValueError):  # the reader has gone; no reason to stop
        print(line, file=sys.stderr, flush=True)


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def _tqdm() -> Any:
    """Return the bar that suits: the notebook's where its widgets are installed."""
    if _in_notebook():
        try:
            import ipywidgets  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
            from tqdm.notebook import tqdm as notebook_bar
        except ImportError:
            pass
        else:
            return notebook_bar
    from tqdm import tqdm

    return tqdm
