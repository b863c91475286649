"""Pictures over time: gradients as lines, gates as heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minirnn.insight.figures import COLOURS, STYLES, Seen, by_label, meaning, new_figure, save
from minirnn.insight.records import RecurrentRecord
from minirnn.typing import Array

__all__ = ["plot_gates", "plot_gradients"]

_SHOWN = {" ": "\N{OPEN BOX}", "\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}", "\t": "\\t"}


def plot_gradients(seen: Seen | Mapping[str, Any], *, reach: bool = False, path: Any = None) -> Any:
    """Draw the norm of the gradient on the state against the time step, on a log scale.

    A line that falls towards step 0 is a gradient that vanishes on its way back, one that rises is
    one that explodes. Steps where it is exactly 0 are left out.

    Parameters
    ----------
    seen : Recorder, RecurrentRecord, or mapping
        A mapping from titles gives panels side by side on one scale; its values may be mappings
        again, from labels to recorders or records, for several lines in one panel.
    reach : bool
        Draw `RecurrentRecord.reach` in place of the norm: what arrives of the gradient on the
        latest step alone, as a part of it. That is the one to look at with a loss at every step.
    path : str or Path, optional
        Where to write the picture; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        Without matplotlib; it says what to install.
    """
    panels = seen if isinstance(seen, Mapping) else {"": seen}
    figure = new_figure(1.5 + 4.2 * len(panels), 4.2)
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, part) in zip(all_axes, panels.items(), strict=True):
        lines = by_label(part)
        for k, (label, record) in enumerate(lines.items()):
            norms = record.reach if reach else record.gradient_norms
            if norms is None:
                raise RuntimeError(f"{record.kind} ({record.name}): no backward was recorded")
            axes.semilogy(
                np.where(norms > 0, norms, np.nan),
                color=COLOURS[k % len(COLOURS)],
                linestyle=STYLES[k // len(COLOURS) % len(STYLES)],
                linewidth=2,
                marker="." if len(norms) < 80 else None,
                label=label,
            )
        axes.set_title(title)
        axes.set_xlabel("time step")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if len(lines) > 1 or not title:
            width = max(map(len, lines))
            axes.legend(
                frameon=False,
                loc="upper center",
                bbox_to_anchor=(0.5, -0.16),
                ncols=max(1, 40 // (width + 6)),
            )
    low, high = all_axes[0].get_ylim()
    if high < 100 * low:  # what is level should look level
        all_axes[0].set_ylim((low * high) ** 0.5 / 10, (low * high) ** 0.5 * 10)
    all_axes[0].set_ylabel(
        "gradient that arrives,\nas a part of that at the latest step"
        if reach
        else "norm of the gradient on the state"
    )
    return save(figure, path)


def plot_gates(
    layer: RecurrentRecord,
    *,
    text: Sequence[str] | None = None,
    sequence: int = 0,
    gates: Sequence[str] | None = None,
    units: Sequence[int] | None = None,
    title: str | None = None,
    path: Any = None,
) -> Any:
    """Draw a heat map for each gate: a row for each unit, a column for each time step.

    Parameters
    ----------
    layer : RecurrentRecord
    text : str or sequence of str, optional
        What was read at each step, to be written under the columns.
    sequence : int
        Which sequence of the batch.
    gates : sequence of str, optional
        Names of gates or states; by default all gates, or the states of a cell without gates.
    units : sequence of int, optional
        Which units; all by default.
    title : str, optional
    path : str or Path, optional
        Where to write the picture.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the text does not have a symbol for each step, or there is no such gate.
    ImportError
        Without matplotlib; it says what to install.
    """
    signals = {n: v for n, v in layer.signals.items() if v.ndim == 3}
    default = [n for n in layer.gates if n in signals] or list(signals)
    names = default if gates is None else list(gates)
    unknown = [name for name in names if name not in signals]
    if unknown or not names:
        raise ValueError(f"no gate {', '.join(unknown)}; there are {', '.join(signals) or 'none'}")
    steps, symbols = _columns(layer, sequence, text)

    figure = new_figure(min(max(6.0, 1.6 + 0.17 * len(steps)), 24.0), 0.9 + 1.45 * len(names))
    all_axes = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(all_axes, names, strict=True):
        values = signals[name][sequence][steps].T
        values = values if units is None else values[list(units)]
        low, high = _scale(layer, name, values)
        image = axes.imshow(
            values,
            aspect="auto",
            interpolation="nearest",
            cmap="viridis" if low >= 0 else "RdBu_r",
            vmin=low,
            vmax=high,
        )
        axes.set_ylabel("unit")
        axes.set_title(meaning(layer, name), loc="left", fontsize="medium")
        axes.tick_params(axis="x", length=0)
        figure.colorbar(image, ax=axes, pad=0.01)
    bottom = all_axes[-1]
    if symbols is None:
        bottom.set_xlabel("time step")
    else:
        bottom.set_xticks(range(len(steps)), symbols, family="monospace", fontsize="small")
        bottom.set_xlabel("what is read, step by step")
    figure.suptitle(f"{layer.kind} {layer.name}" if title is None else title)
    return save(figure, path)


def _columns(
    layer: RecurrentRecord, sequence: int, text: Sequence[str] | None
) -> tuple[Array, list[str] | None]:
    """Return the real steps of a sequence and what is written under each."""
    batch, time = layer.hidden.shape[:2]
    if not -batch <= sequence < batch:
        raise ValueError(f"sequence should be below {batch}, the size of the batch, got {sequence}")
    steps = np.arange(time) if layer.mask is None else np.flatnonzero(layer.mask[sequence])
    if text is None:
        return steps, None
    if len(text) not in (time, len(steps)):
        raise ValueError(
            f"text should have a symbol for each of the {len(steps)} steps of sequence {sequence}, "
            f"got {len(text)}"
        )
    read = list(text) if len(text) == len(steps) else [text[int(t)] for t in steps]
    return steps, [_SHOWN.get(symbol, symbol) for symbol in read]


def _scale(layer: RecurrentRecord, name: str, values: Array) -> tuple[float, float]:
    """Return the numbers at the two ends of the colours."""
    if name in layer.bounds:
        return layer.bounds[name]
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    return -largest, largest
