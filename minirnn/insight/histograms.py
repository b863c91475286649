"""Pictures of how values are spread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minirnn.insight.figures import COLOURS, Seen, by_label, meaning, new_figure, save
from minirnn.insight.gates import Bounds
from minirnn.insight.records import MARGIN, RecurrentRecord, saturation
from minirnn.typing import Array

__all__ = ["plot_histograms"]


def plot_histograms(
    seen: Seen | Mapping[str, Any], *, margin: float = MARGIN, path: Any = None
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
    path : str or Path, optional
        Where to write the picture.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        Without matplotlib; it says what to install.
    """
    groups = seen if isinstance(seen, Mapping) else {"": seen}
    labels = [str(label) for label in groups]
    panels = _panels(groups)
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = new_figure(0.6 + 3.6 * columns, 0.9 + 2.7 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.ravel()[len(panels) :]:
        axes.set_visible(False)
    for axes, (title, spreads) in zip(grid.ravel(), panels.items(), strict=False):
        axes.set_title(title, fontsize="medium")
        _histogram(axes, spreads, labels, margin)
    for axes in grid[:, 0]:
        axes.set_ylabel("share of values, %")
    if len(labels) > 1:
        from matplotlib.lines import Line2D

        lines = [Line2D([], [], color=_colour(k), linewidth=2) for k in range(len(labels))]
        figure.legend(lines, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return save(figure, path)


class _Spread(NamedTuple):
    """Values and their bounds."""

    values: Array
    bounds: Bounds | None


def _panels(groups: Mapping[str, Any]) -> dict[str, dict[str, _Spread]]:
    """Return for each panel, by its title, what to draw in it, by label."""
    panels: dict[str, dict[str, _Spread]] = {}
    for label, part in groups.items():
        records = by_label(part, activations=True)
        for record in records.values():
            whose = f"{record.name} ({record.kind})"
            if isinstance(record, RecurrentRecord):
                spreads = {
                    f"{whose}\n{meaning(record, name)}"
                    if len(records) > 1
                    else meaning(record, name): _Spread(values, record.bounds.get(name))
                    for name, values in record.signals.items()
                }
            else:
                spreads = {whose: _Spread(record.values, record.bounds)}
            for title, spread in spreads.items():
                panels.setdefault(title, {})[str(label)] = spread
    if not panels:
        raise ValueError("there is nothing to draw: no forward was recorded")
    return panels


def _colour(k: int) -> str:
    return COLOURS[k % len(COLOURS)]


def _histogram(axes: Any, spreads: dict[str, _Spread], labels: list[str], margin: float) -> None:
    finite = {label: s.values[np.isfinite(s.values)] for label, s in spreads.items()}
    bounds = next(iter(spreads.values())).bounds
    low, high = bounds or _ends(list(finite.values()))
    width = high - low
    if bounds:
        for edge in ((low, low + margin * width), (high - margin * width, high)):
            axes.axvspan(*edge, color="0.9", zorder=0)
    shares = []
    for label, values in finite.items():
        colour = _colour(labels.index(label))
        axes.hist(
            values,
            bins=np.linspace(low, high, 41),
            weights=np.full(values.size, 100 / max(values.size, 1)),
            histtype="stepfilled",
            facecolor=(colour, 0.25),
            edgecolor=colour,
            linewidth=1.5,
        )
        if bounds:
            shares.append(f"{100 * saturation(values, bounds, margin).total:.0f} %")
    if bounds:
        axes.set_xlabel(f"value (in the grey: {', '.join(shares)})")
    else:
        axes.set_xlabel("value")
    axes.set_xlim(low - 0.02 * width, high + 0.02 * width)
    axes.spines[["top", "right"]].set_visible(False)


def _ends(arrays: list[Array]) -> Bounds:
    """Return the smallest and the largest value, and something between them to draw."""
    ends = [float(end) for values in arrays if values.size for end in (values.min(), values.max())]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)
