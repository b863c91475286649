"""Plots of what was recorded: gradients over time, and how values are spread."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np

from minirnn.insight.recorder import Recorder
from minirnn.insight.records import MARGIN, Bounds, Record, saturation
from minirnn.plots import COLOURS, axes_for, finish
from minirnn.typing import Array


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
    size = (1.5 + 4.2 * len(panels), 4.2)
    all_axes = axes_for(list(panels), ax, size=size, columns=len(panels), sharey=True)
    for axes, (title, part) in zip(all_axes, panels.items(), strict=True):
        axes.set_prop_cycle(color=COLOURS)
        records = _records(part)
        for label, record in records.items():
            norms = record.reach if reach else record.gradient_norms
            record.check(norms, "backward")
            marker = "." if len(norms) < 80 else None
            axes.semilogy(np.where(norms > 0, norms, np.nan), lw=2, marker=marker, label=label)
        axes.set(title=title, xlabel="time step")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if len(records) > 1 or not title:
            axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16))
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
    seen: Recorder | Record | Mapping[str, Any], *, ax: Any = None, path: Any = None
) -> Any:
    """Draw a histogram for each gate, state and activation.

    Between bounds, the parts within 5 % of the range from either are shaded, and the panel says
    which share of the values lies there.

    Parameters
    ----------
    seen : Recorder, RecurrentRecord, ActivationRecord, or mapping
        From a mapping of labels, what has the same name stands in the same panel, to be compared:
        ``{"before": record1["layers.0"], "after": record2["layers.0"]}``.
    ax, path
        As in `plot_gradients`, and with the same result.

    Raises
    ------
    ValueError
        If nothing was recorded.
    """
    groups = seen if isinstance(seen, Mapping) else {"": seen}
    colours = dict(zip(map(str, groups), cycle(COLOURS)))
    panels: dict[str, dict[str, Array]] = {}
    limits: dict[str, Bounds | None] = {}
    for label, part in groups.items():
        records = _records(part, activations=True).values()
        for record in records:
            for name, values in record.signals.items():
                title = record.title(name)
                if len(records) > 1 or not title:
                    title = f"{record.whose}\n{title}".strip()
                panels.setdefault(title, {})[str(label)] = values[np.isfinite(values)]
                limits.setdefault(title, record.bounds.get(name))
    if not panels:
        raise ValueError("there is nothing to draw: no forward was recorded")
    columns = min(len(panels), 3)
    size = (0.6 + 3.6 * columns, 0.9 + 2.7 * -(-len(panels) // columns))
    all_axes = axes_for(list(panels), ax, size=size, columns=columns)
    drawn: dict[str, Any] = {}
    for axes, (title, spreads) in zip(all_axes, panels.items(), strict=True):
        bounds = limits[title]
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("value" if bounds is None else _shade(axes, spreads, bounds))
        edges = np.histogram_bin_edges(np.concatenate(list(spreads.values())), 40, bounds)
        for label, values in spreads.items():
            _, _, (drawn[label],) = axes.hist(
                values,
                edges,
                weights=np.full(values.size, 100 / max(values.size, 1)),
                histtype="stepfilled",
                facecolor=(colours[label], 0.25),
                edgecolor=colours[label],
                linewidth=1.5,
            )
        axes.spines[["top", "right"]].set_visible(False)
    for axes in all_axes[::columns]:
        axes.set_ylabel("share of values, %")
    if len(groups) > 1:
        owner = all_axes[0].figure if ax is None else all_axes[0]
        place = "outside upper center" if ax is None else "best"
        owner.legend(drawn.values(), drawn, loc=place, ncols=len(drawn), frameon=False)
    return finish(all_axes, ax, path)


def _shade(axes: Any, spreads: Mapping[str, Array], bounds: Bounds) -> str:
    """Shade what is near a bound, and return what to write below: the share that lies there."""
    low, high = bounds
    near = MARGIN * (high - low)
    for side in ((low, low + near), (high - near, high)):
        axes.axvspan(*side, color="0.9", zorder=0)
    shares = [saturation(values, bounds).total for values in spreads.values()]
    return f"value (in the grey: {', '.join(f'{100 * share:.0f} %' for share in shares)})"


def _records(seen: Any, *, activations: bool = False) -> dict[str, Any]:
    """Return records of layers by what the picture should call them."""
    if isinstance(seen, Recorder):
        return dict(seen.records if activations else seen.layers)
    if isinstance(seen, Record):
        return {seen.name: seen}
    if not isinstance(seen, Mapping):
        raise TypeError(
            f"takes a Recorder, a record of a layer, or a dictionary from labels to either, got "
            f"{type(seen).__name__}"
        )
    labelled = {}
    for label, part in seen.items():
        inside = _records(part, activations=activations)
        for name, record in inside.items():
            labelled[str(label) if len(inside) == 1 else f"{label}, {name}"] = record
    return labelled
