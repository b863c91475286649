"""What a training run leaves behind: figures, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

__all__ = ["History"]


class History(Mapping[str, list[float]]):
    """From the name of a figure to its list over epochs: ``history["val_loss"][-1]``.

    `loss` and each metric are means over the training batches of an epoch, taken while the weights
    were changing; those that begin with `val_` are of the validation data, at the end of the epoch.

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

    def __init__(self) -> None:
        self._lists: dict[str, list[float]] = {}

    def append(self, figures: Mapping[str, float]) -> None:
        """Add one epoch; a figure that is new here was nan in the epochs before."""
        epochs = self.epochs
        for name, figure in figures.items():
            self._lists.setdefault(name, [math.nan] * epochs).append(float(figure))
        for name, values in self._lists.items():
            if name not in figures:
                values.append(math.nan)

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

    def __repr__(self) -> str:
        lines = [f"History of {self.epochs} epoch{'' if self.epochs == 1 else 's'}"]
        width = max((len(name) for name in self), default=0)
        if self:
            lines.append(f"{'':<{width}}  {'last':>8}  {'best':>8}")
        for name, values in self.items():
            higher = name.removeprefix("val_") == "accuracy"
            known = [(value, epoch) for epoch, value in enumerate(values, 1) if value == value]
            if known:
                best, epoch = max(known, key=lambda pair: pair[0] if higher else -pair[0])
                lines.append(f"{name:<{width}}  {values[-1]:>8.4g}  {best:>8.4g}  (epoch {epoch})")
        return "\n".join(lines)
