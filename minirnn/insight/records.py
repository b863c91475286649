"""What was recorded of one layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minirnn.typing import Array, Mask

Bounds = tuple[float, float]

MARGIN = 0.05
"""How near to a bound counts as saturated, as a part of the range between the two bounds.

There the derivative of a sigmoid, and of a tanh, is below 19 % of its largest.
"""


class Saturation(NamedTuple):
    """The share of values near the lower and near the upper bound, each between 0 and 1."""

    low: float
    high: float

    @property
    def total(self) -> float:
        """Near either."""
        return self.low + self.high


def saturation(values: Array, bounds: Bounds, margin: float = MARGIN) -> Saturation:
    """Return the share of an array's values within `margin` of the range from each bound.

    NaN does not count; of no values at all the shares are NaN.
    """
    low, high = bounds
    if not 0 <= margin <= 0.5:
        raise ValueError(f"saturation: margin should be between 0 and 0.5, got {margin}")
    values = values[~np.isnan(values)]
    if not values.size:
        return Saturation(float("nan"), float("nan"))
    near = margin * (high - low)
    return Saturation(float(np.mean(values < low + near)), float(np.mean(values > high - near)))


def row_norms(arrays: Iterable[Array]) -> Array:
    """Return the Euclidean norm ``(batch, time)`` over all other axes and over the arrays together.

    In float64 by ``hypot``, which squares nothing: gradients of 1e-200 or 1e200 neither vanish nor
    overflow. NaN where an element is NaN.
    """
    flat = [array.reshape(*array.shape[:2], -1).astype(np.float64) for array in arrays]
    norms: Array = np.hypot.reduce(np.concatenate(flat, axis=2), axis=2)
    return norms


@dataclass(eq=False, repr=False)
class Record:
    """What was recorded of a layer: arrays by name, and the bounds between which some of them lie.

    `signals` is what pictures and reports show.
    """

    name: str
    """Dotted name of the layer in the model, such as ``"layers.0"``."""
    kind: str
    """Its class, such as ``"LSTM"``."""
    bounds: Mapping[str, Bounds] = field(default_factory=dict)
    """Between what numbers the bounded signals lie."""
    rectified: bool = False
    """Whether the first signal is the output of a ReLU, whose units may die."""

    @property
    def signals(self) -> dict[str, Array]:
        """All that was recorded of the latest forward, by name."""
        raise NotImplementedError

    @property
    def whose(self) -> str:
        """Name and class of the layer, for titles and sentences."""
        return f"{self.name} ({self.kind})"

    def title(self, name: str) -> str:
        """Return what a signal is, where there are several."""
        return ""

    def saturation(self, margin: float = MARGIN) -> dict[str, Saturation]:
        """Return the share of values near the bounds, for each bounded signal.

        Parameters
        ----------
        margin : float
            How near, as a part of the range: 0.05 is below 0.05 or above 0.95 for a sigmoid, below
            -0.9 or above 0.9 for a tanh.
        """
        signals = self.signals
        return {
            name: saturation(signals[name], bounds, margin)
            for name, bounds in self.bounds.items()
            if name in signals
        }

    @property
    def dead(self) -> float | None:
        """Share of the units that are 0 in every valid row, for a ReLU; None for others."""
        values = next(iter(self.signals.values()), None)
        if values is None or not self.rectified:
            return None
        rows = values.reshape(-1, values.shape[-1])
        rows = rows[~np.isnan(rows).all(axis=1)]
        return float(np.mean((rows == 0).all(axis=0))) if rows.size else float("nan")

    def check(self, recorded: Any, what: str) -> None:
        """Raise unless something was recorded."""
        if recorded is None or not len(recorded):
            raise RuntimeError(
                f"{self.whose}: no {what} was recorded; run it inside the with block"
            )

    def __repr__(self) -> str:
        return f"<record of {self.whose}: {', '.join(self.signals) or 'nothing recorded'}>"


@dataclass(eq=False, repr=False)
class RecurrentRecord(Record):
    """What was recorded of one recurrent layer.

    States and gates are those of the latest forward in the block, gradients those of the latest
    backward; a validation pass after the last training step leaves the gradients of that step.

    All arrays are in the order of the input. Masked steps hold NaN, so that they are neither drawn
    nor counted.
    """

    reverse: bool = False
    """Whether it reads time backwards."""
    states: dict[str, Array] = field(default_factory=dict)
    """The state after each step, arrays (batch, time, ...): h, for an LSTM h and c; for a cell of
    your own what its ``state_names`` are, else h if there is one, or state0, state1, ..."""
    gates: dict[str, Array] = field(default_factory=dict)
    """What the cell names in ``gates``, arrays (batch, time, ...). LSTM: i, f, o, g. GRU: r, z,
    n."""
    words: dict[str, str] = field(default_factory=dict)
    """What each gate does, where the cell has words for it."""
    output: str | None = None
    """The state that is the output of the cell as well; None if none is."""
    mask: Mask | None = None
    """Of the latest forward, boolean (batch, time)."""
    gradients: dict[str, Array] = field(default_factory=dict)
    """Gradient of the loss on the state after each step, by the names of `states`: what the later
    steps sent back, and where the output of the cell is one of its states, what came in on the
    output. So ``gradients["h"][:, t]`` is dL/dh_t with the other arrays of the state fixed."""
    gradient_mask: Mask | None = None
    """Of the forward that the latest backward went through, boolean (batch, time)."""
    reach: Array | None = None
    """Which part of a gradient that comes in at the latest step arrives at each step, as a ratio of
    norms (time,). With a loss at every step `gradient_norms` shows each step's own share of the
    loss and hides what is lost on the way; this does not. It takes a second backward, of the
    gradient on the latest step alone, which leaves the parameters' gradients as they were."""

    @property
    def hidden(self) -> Array:
        """The first array of the state, ``(batch, time, hidden)``."""
        self.check(self.states, "forward")
        return next(iter(self.states.values()))

    @property
    def gradient_norms(self) -> Array:
        """Norm of the gradient on the state at every time step, ``(time,)``.

        Euclidean, over the sequences, the units and all arrays of the state together. Masked rows
        do not count; where all rows are masked it is NaN.
        """
        self.check(self.gradients, "backward")
        norms, mask = row_norms(self.gradients.values()), self.gradient_mask
        valid = np.ones(norms.shape, bool) if mask is None else mask
        return np.where(valid.any(axis=0), np.hypot.reduce(np.where(valid, norms, 0.0)), np.nan)

    @property
    def signals(self) -> dict[str, Array]:
        """The gates, then the states that are not among them."""
        return self.gates | {k: v for k, v in self.states.items() if k not in self.gates}

    def title(self, name: str) -> str:
        """Return the name of a gate or state with what it is, where that is known."""
        words = self.words.get(name, "state" if name in self.states else "")
        return f"{name}, {words}" if words else name


class ActivationRecord(Record):
    """What was recorded of one activation layer in the latest forward.

    `others` are the records of recurrent layers of the same model, which have the mask.
    """

    def __init__(
        self, name: str, kind: str, bounds: Bounds | None, others: Iterable[RecurrentRecord]
    ) -> None:
        super().__init__(name, kind, {} if bounds is None else {"output": bounds}, bounds is None)
        self.latest: Array | None = None
        self._others = others

    @property
    def signals(self) -> dict[str, Array]:
        """The output, or nothing before any."""
        return {} if self.latest is None else {"output": self.output}

    @property
    def output(self) -> Array:
        """What the layer returned last; NaN where a recurrent layer of the model saw padding."""
        self.check(self.latest, "forward")
        y = np.array(self.latest)
        masks = [record.mask for record in self._others if record.mask is not None]
        mask = next((mask for mask in masks if mask.shape == y.shape[:2]), None)
        if y.ndim > 2 and mask is not None:
            y[~mask] = np.nan
        return y
