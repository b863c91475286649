"""What a training run leaves behind: the loss and the metrics, epoch by epoch."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from minirnn.files import replacing
from minirnn.plots import axes_for, finish
from minirnn.reprs import html_table


class History(dict[str, list[float]]):
    """From a name to its list of values over epochs: ``history["val_loss"][-1]``.

    `loss` and each metric are means over the training batches of an epoch, taken while the weights
    were changing; those that begin with `val_` are of the validation data, at the end of the epoch.

    Parameters
    ----------
    directions : mapping from the names of metrics to bool or None, optional
        Whether a higher value is better. For the loss, it is not.

    Examples
    --------
    >>> history = History()
    >>> history.append({"loss": 2.0, "val_loss": 2.5})
    >>> history.append({"loss": 1.0, "val_loss": 3.0})
    >>> history["loss"]
    [2.0, 1.0]
    >>> history
    History of 2 epochs
                last      best
    loss           1         1  (epoch 2)
    val_loss       3       2.5  (epoch 1)
    """

    def __init__(self, directions: Mapping[str, bool | None] | None = None) -> None:
        super().__init__()
        self._directions = {"loss": False, **(directions or {})}

    def append(self, values: Mapping[str, float]) -> None:
        """Add one epoch; a name that is new here was nan in the epochs before."""
        epochs = self.epochs
        for name, value in values.items():
            self.setdefault(name, [math.nan] * epochs).append(float(value))
        for name, earlier in self.items():
            if name not in values:
                earlier.append(math.nan)

    def higher_is_better(self, name: str) -> bool | None:
        """Return which way is better, as the metric of this name says; None if it does not say."""
        return self._directions.get(name.removeprefix("val_"))

    @property
    def epochs(self) -> int:
        """Number of epochs so far."""
        return max((len(values) for values in self.values()), default=0)

    def __missing__(self, name: str) -> list[float]:
        known = ", ".join(self) or "nothing yet"
        raise KeyError(f"there is no {name!r} in this history; it has {known}")

    # ------------------------------------------------------------ out of the program

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write one row an epoch, with a column `epoch` and one for each name."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", *self])
        for k in range(self.epochs):
            writer.writerow([k + 1, *(values[k] for values in self.values())])
        with replacing(path) as file:
            file.write(text.getvalue().encode())

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row an epoch, counted from 1, and a column a name."""
        import pandas

        index = pandas.RangeIndex(1, self.epochs + 1, name="epoch")
        return pandas.DataFrame(dict(self), index=index)

    def plot(self, path: str | os.PathLike[str] | None = None, *, ax: Any = None) -> Any:
        """Draw the values over the epochs, training and validation together.

        Parameters
        ----------
        path : path of a picture, optional
            Written in the format of its ending.
        ax : matplotlib Axes, or a list of one for the loss and one for each metric, optional
            Where to draw, and what is returned; by default a new figure, which a notebook shows. A
            single one is for the loss.

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If there is no epoch yet, or not one axes for each of the names.
        """
        if not self.epochs:
            raise ValueError("History.plot: there is no epoch to draw yet")
        names = list(dict.fromkeys(name.removeprefix("val_") for name in self))
        if ax is not None and np.size(np.asarray(ax, dtype=object)) == 1:
            names = names[:1]
        panels = axes_for(names, ax, size=(6.4, 3.2 * len(names)), sharex=True)
        epochs = np.arange(1, self.epochs + 1)
        marker = "." if self.epochs < 30 else ""
        for axes, name in zip(panels, names, strict=True):
            for key, label in [(name, "training"), (f"val_{name}", "validation")]:
                if key in self:
                    axes.plot(epochs, self[key], marker=marker, label=label)
            axes.set_ylabel(name)
            axes.legend()
            axes.grid(alpha=0.3)
            axes.xaxis.get_major_locator().set_params(integer=True)
        panels[-1].set_xlabel("epoch")
        return finish(panels, ax, path)

    def state_dict(self) -> dict[str, list[float]]:
        """Return the lists, copied."""
        return {name: list(values) for name, values in self.items()}

    def load_state_dict(self, state: Mapping[str, list[float]]) -> None:
        """Take over what `state_dict` returned."""
        self.update({name: [float(value) for value in state[name]] for name in state})
        if len({len(values) for values in self.values()}) > 1:
            raise ValueError("the lists of the history have unequal lengths")

    def _table(self) -> list[tuple[str, float, float | None, int | None]]:
        """Return for each name the last value, the best one, and when that was."""
        rows: list[tuple[str, float, float | None, int | None]] = []
        for name, values in self.items():
            higher = self.higher_is_better(name)
            known = [(value, epoch) for epoch, value in enumerate(values, 1) if value == value]
            best: tuple[float | None, int | None] = None, None
            if known and higher is not None:
                best = max(known, key=lambda pair: pair[0] if higher else -pair[0])
            rows.append((name, values[-1], *best))
        return rows

    def _title(self) -> str:
        return f"History of {self.epochs} epoch{'' if self.epochs == 1 else 's'}"

    def __repr__(self) -> str:
        lines = [self._title()]
        width = max((len(name) for name in self), default=0)
        if self:
            lines.append(f"{'':<{width}}  {'last':>8}  {'best':>8}")
        for name, last, best, epoch in self._table():
            line = f"{name:<{width}}  {last:>8.4g}"
            lines.append(line if best is None else f"{line}  {best:>8.4g}  (epoch {epoch})")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [["" if cell is None else cell for cell in row] for row in self._table()]
        return html_table(["", "last", "best", "epoch"], rows, title=self._title())
