"""What a training run leaves behind: the loss and the metrics, epoch by epoch."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minirnn.files import replacing

__all__ = ["History"]


class History(Mapping[str, list[float]]):
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
        self._lists: dict[str, list[float]] = {}
        self._directions = {"loss": False, **(directions or {})}

    def append(self, values: Mapping[str, float]) -> None:
        """Add one epoch; a name that is new here was nan in the epochs before."""
        epochs = self.epochs
        for name, value in values.items():
            self._lists.setdefault(name, [math.nan] * epochs).append(float(value))
        for name, earlier in self._lists.items():
            if name not in values:
                earlier.append(math.nan)

    def higher_is_better(self, name: str) -> bool | None:
        """Return which way is better, as the metric of this name says; None if it does not say."""
        return self._directions.get(name.removeprefix("val_"))

    @property
    def epochs(self) -> int:
        """Number of epochs so far."""
        return max((len(values) for values in self._lists.values()), default=0)

    def __getitem__(self, name: str) -> list[float]:
        if name not in self._lists:
            known = ", ".join(self._lists) or "nothing yet"
            raise KeyError(f"there is no {name!r} in this history; it has {known}")
        return self._lists[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lists)

    def __len__(self) -> int:
        return len(self._lists)

    # ------------------------------------------------------------ out of the program

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write one row an epoch, with a column `epoch` and one for each name."""
        with replacing(path) as file:
            file.write(self.csv_text().encode())

    def csv_text(self) -> str:
        """Return what `to_csv` writes."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", *self])
        for k in range(self.epochs):
            writer.writerow([k + 1, *(values[k] for values in self._lists.values())])
        return text.getvalue()

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row an epoch and a column a name.

        Its index is named `epoch`, and counts from 1.

        Raises
        ------
        ImportError
            If pandas is not installed: ``pip install pandas``.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError("History.to_frame needs pandas: pip install pandas") from None
        index = pandas.RangeIndex(1, self.epochs + 1, name="epoch")
        return pandas.DataFrame(dict(self._lists), index=index)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw the values over the epochs, training and validation together.

        Parameters
        ----------
        path : path of a picture, optional
            Written in the format of its ending.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            If matplotlib is not installed: ``pip install "minirnn[plot]"``.
        ValueError
            If there is no epoch yet.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise ImportError(
                'History.plot needs matplotlib: pip install "minirnn[plot]"'
            ) from None
        if not self.epochs:
            raise ValueError("History.plot: there is no epoch to draw yet")
        names = list(dict.fromkeys(name.removeprefix("val_") for name in self))
        figure = Figure(figsize=(6.4, 3.2 * len(names)), layout="constrained")
        panels = np.atleast_1d(figure.subplots(len(names), sharex=True))
        epochs = np.arange(1, self.epochs + 1)
        marker = "." if self.epochs < 30 else ""
        for axes, name in zip(panels, names, strict=True):
            for key, label in [(name, "training"), (f"val_{name}", "validation")]:
                if key in self:
                    axes.plot(epochs, self[key], marker=marker, label=label)
            axes.set_ylabel(name)
            axes.legend()
            axes.grid(alpha=0.3)
        panels[-1].set_xlabel("epoch")
        panels[-1].xaxis.get_major_locator().set_params(integer=True)
        if path is not None:
            figure.savefig(path)
        return figure

    def state_dict(self) -> dict[str, list[float]]:
        """Return the lists, copied."""
        return {name: list(values) for name, values in self._lists.items()}

    @classmethod
    def from_state_dict(
        cls,
        state: Mapping[str, list[float]],
        directions: Mapping[str, bool | None] | None = None,
    ) -> History:
        """Return the history that `state_dict` was taken from."""
        history = cls(directions)
        history._lists = {name: [float(value) for value in state[name]] for name in state}
        if len({len(values) for values in history._lists.values()}) > 1:
            raise ValueError("the lists of the history have unequal lengths")
        return history

    def __repr__(self) -> str:
        lines = [f"History of {self.epochs} epoch{'' if self.epochs == 1 else 's'}"]
        width = max((len(name) for name in self), default=0)
        if self:
            lines.append(f"{'':<{width}}  {'last':>8}  {'best':>8}")
        for name, values in self.items():
            higher = self.higher_is_better(name)
            known = [(value, epoch) for epoch, value in enumerate(values, 1) if value == value]
            line = f"{name:<{width}}  {values[-1]:>8.4g}"
            if known and higher is not None:
                best, epoch = max(known, key=lambda pair: pair[0] if higher else -pair[0])
                line += f"  {best:>8.4g}  (epoch {epoch})"
            lines.append(line)
        return "\n".join(lines)
