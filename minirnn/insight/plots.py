"""Plots of what was recorded: gradients over time, and how values are spread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minirnn.insight.recorder import Recorder
from minirnn.insight.records import MARGIN, ActivationRecord, Bounds, RecurrentRecord, saturation
from minirnn.plots import COLOURS, axes_for, finish
from minirnn.typing import Array

__all__ = ["plot_gradients", "plot_histograms"]

Record = RecurrentRecord | ActivationRecord

_STYLES = ("-", "--", "-.", ":")


def plot_gradients(
    seen: Recorder | Record | Mapping[str, Any],
    *,
    reach: bool = False,
    ax: Any = None,
    path: Any = None,
) -> Any:
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
    ax : matplotlib Axes, or a list of one for each panel, optional
        Where to draw; on a new figure by default.
    path : str or Path, optional
        Where to write the picture; the ending says in which format.

    Returns
    -------
    matplotlib.figure.Figure, or `ax` if it was given

    Raises
    ------
    ImportError
        Without matplotlib; it says what to install.
    """
    panels = seen if isinstance(seen, Mapping) else {"": seen}
    lines = {title: _records(part) for title, part in panels.items()}
    size = (1.5 + 4.2 * len(panels), 4.2)
    all_axes = axes_for(list(panels), ax, size=size, columns=len(panels), sharey=True)
    for axes, (title, records) in zip(all_axes, lines.items(), strict=True):
        for k, (label, record) in enumerate(records.items()):
            norms = record.reach if reach else record.gradient_norms
            if norms is None:
                raise RuntimeError(f"{record.kind} ({record.name}): no backward was recorded")
            axes.semilogy(
                np.where(norms > 0, norms, np.nan),
                color=COLOURS[k % len(COLOURS)],
                linestyle=_STYLES[k // len(COLOURS) % len(_STYLES)],
                linewidth=2,
                marker="." if len(norms) < 80 else None,
                label=label,
            )
        axes.set_title(title)
        axes.set_xlabel("time step")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if len(records) > 1 or not title:
            columns = max(1, 40 // (max(map(len, records)) + 6))
            axes.legend(
                frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=columns
            )
    low, high = all_axes[0].get_ylim()
    if high < 100 * low:  # what is level should look level
        all_axes[0].set_ylim((low * high) ** 0.5 / 10, (low * high) ** 0.5 * 10)
    all_axes[0].set_ylabel(
        "gradient that arrives,\nas a part of that at the latest step"
        if reach
        else "norm of the gradient on the state"
    )
    return finish(all_axes, ax, path)


def plot_histograms(
    seen: Recorder | Record | Mapping[str, Any],
    *,
    margin: float = MARGIN,
    ax: Any = None,
    path: Any = None,
) -> Any:
    """Draw a histogram for each gate, state and activation.

    Between bounds, the parts within `margin` of either are shaded, and the panel says which share
    of the values lies there.

    Parameters
    ----------
    seen : Recorder, RecurrentRecord, ActivationRecord, or mapping
        From a mapping of labels, what has the same name stands in the same panel, to be compared:
        ``{"before": record1["layers.0"], "after": record2["layers.0"]}``.
    margin : float
        How near to a bound is saturated, as a part of the range.
    ax : list of matplotlib Axes, one for each panel, optional
        Where to draw; on a new figure by default.
    path : str or Path, optional
        Where to write the picture.

    Returns
    -------
    matplotlib.figure.Figure, or `ax` if it was given

    Raises
    ------
    ImportError
        Without matplotlib; it says what to install.
    """
    groups = seen if isinstance(seen, Mapping) else {"": seen}
    colours = {str(label): COLOURS[k % len(COLOURS)] for k, label in enumerate(groups)}
    panels: dict[str, dict[str, tuple[Array, Bounds | None]]] = {}
    for label, part in groups.items():
        records = _records(part, activations=True)
        for record in records.values():
            for title, values, bounds in _spreads(record, alone=len(records) == 1):
                panels.setdefault(title, {})[str(label)] = values, bounds
    if not panels:
        raise ValueError("there is nothing to draw: no forward was recorded")
    columns = min(len(panels), 3)
    size = (0.6 + 3.6 * columns, 0.9 + 2.7 * -(-len(panels) // columns))
    all_axes = axes_for(list(panels), ax, size=size, columns=columns)
    for k, (axes, (title, spreads)) in enumerate(zip(all_axes, panels.items(), strict=True)):
        axes.set_title(title, fontsize="medium")
        _histogram(axes, spreads, colours, margin)
        if k % columns == 0:
            axes.set_ylabel("share of values, %")
    if len(groups) > 1:
        from matplotlib.lines import Line2D

        lines = [Line2D([], [], color=c, linewidth=2, label=n) for n, c in colours.items()]
        if ax is None:
            all_axes[0].figure.legend(
                handles=lines, loc="outside upper center", ncols=len(lines), frameon=False
            )
        else:
            all_axes[0].legend(handles=lines, frameon=False)
    return finish(all_axes, ax, path)


# ---------------------------------------------------------------- what to draw


def _records(seen: Any, *, activations: bool = False) -> dict[str, Any]:
    """Return records of layers by what the picture should call them."""
    if isinstance(seen, Recorder):
        records: dict[str, Any] = dict(seen.layers)
        return records | seen.activations if activations else records
    if isinstance(seen, Record):
        return {seen.name: seen}
    if isinstance(seen, Mapping):
        labelled = {}
        for label, part in seen.items():
            inside = _records(part, activations=activations)
            for name, record in inside.items():
                labelled[str(label) if len(inside) == 1 else f"{label}, {name}"] = record
        return labelled
    raise TypeError(
        f"takes a Recorder, a record of a layer, or a dictionary from labels to either, got "
        f"{type(seen).__name__}"
    )


def _spreads(record: Record, *, alone: bool) -> list[tuple[str, Array, Bounds | None]]:
    """Return title, values and bounds of each histogram of one layer."""
    whose = f"{record.name} ({record.kind})"
    if isinstance(record, ActivationRecord):
        return [(whose, record.output, record.bounds)]
    return [
        (
            record.title(name) if alone else f"{whose}\n{record.title(name)}",
            values,
            record.bounds.get(name),
        )
        for name, values in record.signals.items()
    ]


def _histogram(
    axes: Any,
    spreads: Mapping[str, tuple[Array, Bounds | None]],
    colours: Mapping[str, str],
    margin: float,
) -> None:
    finite = {label: values[np.isfinite(values)] for label, (values, _) in spreads.items()}
    _, bounds = next(iter(spreads.values()))
    low, high = bounds or _ends(list(finite.values()))
    width = high - low
    if bounds:
        for edge in ((low, low + margin * width), (high - margin * width, high)):
            axes.axvspan(*edge, color="0.9", zorder=0)
    for label, values in finite.items():
        axes.hist(
            values,
            bins=np.linspace(low, high, 41),
            weights=np.full(values.size, 100 / max(values.size, 1)),
            histtype="stepfilled",
            facecolor=(colours[label], 0.25),
            edgecolor=colours[label],
            linewidth=1.5,
        )
    if bounds:
        shares = [saturation(values, bounds, margin).total for values in finite.values()]
        listed = ", ".join(f"{100 * share:.0f} %" for share in shares)
        axes.set_xlabel(f"value (in the grey: {listed})")
    else:
        axes.set_xlabel("value")
    axes.set_xlim(low - 0.02 * width, high + 0.02 * width)
    axes.spines[["top", "right"]].set_visible(False)


def _ends(arrays: list[Array]) -> Bounds:
    """Return the smallest and the largest value, and something between them to draw."""
    ends = [float(end) for values in arrays if values.size for end in (values.min(), values.max())]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)
