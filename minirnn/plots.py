"""What all plots of minirnn share: new axes or the caller's, and figures that notebooks show."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from minirnn.errors import missing

# Okabe and Ito's colours, which colour-blind readers tell apart as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def axes_for(
    panels: Sequence[str],
    ax: Any,
    *,
    size: tuple[float, float],
    columns: int = 1,
    **keywords: Any,
) -> list[Any]:
    """Return one matplotlib axes for each panel: the caller's own, or those of a new figure.

    A new figure is made without pyplot, of a size in inches, with so many columns: no window opens,
    no figure stays open, the backend stays as it is. A notebook shows it all the same. ImportError
    without matplotlib; TypeError or ValueError if `ax` holds anything but axes, one for each panel.
    """
    try:
        from matplotlib.axes import Axes
        from matplotlib.figure import Figure
    except ImportError:
        raise missing("matplotlib", "plot") from None
    if ax is not None:
        given = list(np.ravel(np.asarray(ax, dtype=object)))
        wrong = next((type(one).__name__ for one in given if not isinstance(one, Axes)), None)
        if wrong is not None:
            raise TypeError(f"ax should be matplotlib axes, or a list of them, got {wrong}")
        if len(given) != len(panels):
            raise ValueError(
                f"ax should hold one axes for each panel, {len(panels)} "
                f"({', '.join(panel.splitlines()[0] for panel in panels)}), got {len(given)}"
            )
        return given
    figure: Any = Figure(figsize=size, layout="constrained")
    figure._repr_png_ = partial(_png, figure)  # what IPython asks an object for
    rows = -(-len(panels) // columns)
    grid = figure.subplots(rows, columns, squeeze=False, **keywords).ravel()
    for spare in grid[len(panels) :]:
        spare.remove()
    return list(grid[: len(panels)])


def finish(all_axes: Sequence[Any], ax: Any, path: Any) -> Any:
    """Write the picture if there is a path; return the figure, or the caller's own axes."""
    figure = all_axes[0].figure
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure if ax is None else ax


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()
