"""Heat maps over time: the gates of a recurrent layer, and where attention looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minirnn.insight.records import Bounds, RecurrentRecord
from minirnn.layers.attention import Attention
from minirnn.plots import axes_for, finish
from minirnn.typing import Array

_SHOWN = {" ": "\N{OPEN BOX}", "\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}", "\t": "\\t"}


def plot_gates(
    layer: RecurrentRecord,
    *,
    text: Sequence[str] | None = None,
    sequence: int = 0,
    gates: Sequence[str] | None = None,
    units: Sequence[int] | None = None,
    title: str | None = None,
    ax: Any = None,
    path: Any = None,
) -> Any:
    """Draw a heat map for each gate: a row for each unit, a column for each time step.

    Parameters
    ----------
    layer : RecurrentRecord
    text : str or sequence of str, optional
        What was read at each step, to be written under the columns.
    sequence : int
        Which sequence of the batch. Masked steps are left out.
    gates : sequence of str, optional
        Names of gates or states; by default all but the state that is the output as well. A cell
        without gates shows its states.
    units : sequence of int, optional
        Which units; all by default.
    title : str, optional
    ax, path
        As in `plot_gradients`, and with the same result; one axes for each gate.

    Raises
    ------
    ValueError, TypeError
        If the text does not have a symbol for each step, or there is no such gate; for something
        else than the record of one layer.
    """
    if not isinstance(layer, RecurrentRecord):
        raise TypeError(
            f'plot_gates: draws one recurrent layer, as recorder["layers.0"], got a '
            f"{type(layer).__name__}"
        )
    signals = {n: v for n, v in layer.signals.items() if v.ndim == 3}
    default = [name for name in signals if name != layer.output or not layer.gates]
    names = default if gates is None else list(gates)
    unknown = [name for name in names if name not in signals]
    if unknown or not names:
        raise ValueError(f"no gate {', '.join(unknown)}; there are {', '.join(signals) or 'none'}")
    valid = np.ones(layer.hidden.shape[:2], bool) if layer.mask is None else layer.mask
    steps = np.flatnonzero(_one_of(valid, sequence))
    if text is not None and len(text) == valid.shape[1]:
        text = [text[int(t)] for t in steps]
    if text is not None and len(text) != len(steps):
        raise ValueError(
            f"text should have a symbol for each of the {len(steps)} steps of sequence {sequence}, "
            f"got {len(text)}"
        )
    size = (_width(len(steps)), 0.9 + 1.45 * len(names))
    all_axes = axes_for(names, ax, size=size, sharex=True)
    for axes, name in zip(all_axes, names, strict=True):
        values = signals[name][sequence][steps].T
        values = values if units is None else values[list(units)]
        largest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) or 1.0
        bounds = layer.bounds.get(name, (-largest, largest))
        _heat_map(axes, values, bounds, "viridis" if bounds[0] >= 0 else "RdBu_r")
        _label(axes.yaxis, None, "unit")
        axes.set_title(layer.title(name), loc="left", fontsize="medium")
    _label(axes.xaxis, text, "time step" if text is None else "what is read, step by step")
    if ax is None:
        axes.figure.suptitle(f"{layer.kind} {layer.name}" if title is None else title)
    return finish(all_axes, ax, path)


def plot_attention(
    weights: Attention | Array,
    *,
    source: Sequence[str] | None = None,
    target: Sequence[str] | None = None,
    sequence: int = 0,
    ax: Any = None,
    path: Any = None,
) -> Any:
    """Draw attention weights as a heat map: a row for each query, a column for each step read.

    Parameters
    ----------
    weights : Attention, or array (batch, queries, time) or (queries, time)
        A layer after its forward, or weights such as `attention` of what a decoder wrote.
    source, target : str or sequence of str, optional
        What was read and what was written: a symbol for each step, to stand beside the axes. Steps
        after the last symbol, padding, are left out.
    sequence : int
        Which sequence of the batch.
    ax, path
        As in `plot_gradients`, and with the same result.

    Raises
    ------
    ValueError
        For weights of another shape, or more symbols than steps.
    RuntimeError
        For a layer without a forward.
    """
    given = weights.weights if isinstance(weights, Attention) else weights
    if given is None:
        raise RuntimeError("plot_attention: the layer has no weights to draw before its forward")
    values = np.asarray(given)
    if values.ndim not in (2, 3):
        raise ValueError(
            f"plot_attention: the weights should be (batch, queries, time) or (queries, time), got "
            f"shape {values.shape}"
        )
    if values.ndim == 3 or isinstance(weights, Attention):
        values = np.atleast_2d(_one_of(values, sequence))  # a layer may have one query for each
    for name, symbols, most in (
        ("target", target, len(values)),
        ("source", source, values.shape[1]),
    ):
        if symbols is not None and len(symbols) > most:
            raise ValueError(
                f"plot_attention: {name} should have at most {most} symbols, one for each step, "
                f"got {len(symbols)}"
            )
    values = values[: None if target is None else len(target)]
    values = values[:, : None if source is None else len(source)]
    size = (_width(values.shape[1]), 1.4 + 0.25 * len(values))
    (axes,) = all_axes = axes_for(["attention"], ax, size=size)
    _heat_map(axes, values, (0.0, 1.0), "Blues")
    _label(axes.xaxis, source, "step that is read" if source is None else "read")
    _label(axes.yaxis, target, "query" if target is None else "written")
    return finish(all_axes, ax, path)


def _one_of(values: Array, sequence: int) -> Array:
    """Return the values of one sequence of a batch."""
    batch = len(values)
    if not -batch <= sequence < batch:
        raise ValueError(f"sequence should be below {batch}, the size of the batch, got {sequence}")
    one: Array = values[sequence]
    return one


def _width(columns: int) -> float:
    """Return the width of a figure in inches."""
    return min(max(6.0, 1.6 + 0.17 * columns), 24.0)


def _heat_map(axes: Any, values: Array, bounds: Bounds, colours: str) -> None:
    """Draw an array (rows, columns), with a bar that says what the colours mean."""
    low, high = bounds
    image = axes.imshow(
        values, aspect="auto", interpolation="nearest", cmap=colours, vmin=low, vmax=high
    )
    axes.tick_params(length=0)
    axes.figure.colorbar(image, ax=axes, pad=0.01)


def _label(axis: Any, symbols: Sequence[str] | None, meaning: str) -> None:
    """Write a symbol at each row or column, or else its number."""
    axis.set_label_text(meaning)
    if symbols is None:
        axis.get_major_locator().set_params(integer=True)
    else:
        shown = [_SHOWN.get(symbol, symbol) for symbol in symbols]
        axis.set_ticks(range(len(shown)), shown, family="monospace", fontsize="small")
