"""The document of a run as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.ladder import CELLS
from benchmarks.report import caption

__all__ = ["draw_chart"]

_COLOURS = dict(zip(CELLS, ("#4477aa", "#ee6677", "#228833"), strict=True))
_ONE_STEP = "One step of a stream"
_PANELS = {  # from the title to its measures, and what to call their rows if not by the network
    "Whole training step": {"train": ""},
    "Forward alone": {"forward": ""},
    _ONE_STEP: {"step": "layer", "model step": "model"},
}
_WIDTH = 0.26  # of a bar; a group of three and a gap make 1


def draw_chart(document: dict[str, Any], path: str | Path) -> None:
    """Draw the ratios of every measure as bars, with their quartiles and their targets.

    With PyTorch, its time divided by minirnn's; without it, minirnn's divided by the limit.

    Parameters
    ----------
    document : as `python -m benchmarks` writes it
    path : path of a picture, in the format of its ending

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    bars = _bars(document["results"])
    panels = [title for title in _PANELS if any(bar.panel == title for bar in bars)]
    rows = [len({bar.row for bar in bars if bar.panel == title}) for title in panels]
    figure = Figure(figsize=(8, 1.5 + 0.5 * sum(rows) + 0.4 * len(rows)), layout="constrained")
    every = figure.subplots(len(panels), squeeze=False, sharex=True, height_ratios=rows)[:, 0]
    for ax, title in zip(every, panels, strict=True):
        _draw_panel(ax, title, [bar for bar in bars if bar.panel == title])
    # Quartiles of a disturbed measurement may reach far out: the medians set the scale.
    every[0].set_xlim(0, 1.25 * max(max(bar.median, bar.target or 0, 1) for bar in bars))
    has_torch = any(bar.has_torch for bar in bars)
    divided = "PyTorch's time / minirnn's" if has_torch else "minirnn's time / the limit"
    every[-1].set_xlabel(f"{divided} (1: the same)")
    handles, labels = every[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=4, frameon=False)
    note = caption(document).replace("; minirnn", ";\nminirnn")
    figure.supxlabel(note, fontsize="x-small", color="#555555")
    figure.savefig(path, dpi=120)


class _Bar(NamedTuple):
    panel: str
    row: str
    cell: str
    median: float
    quartiles: list[float]
    target: float | None
    has_torch: bool


def _bars(results: list[dict[str, Any]]) -> list[_Bar]:
    bars = []
    for result in results:
        title = next(title for title, measures in _PANELS.items() if result["measure"] in measures)
        is_step = title == _ONE_STEP
        what = _PANELS[title][result["measure"]] or result["name"]
        modes = {"torch": ", inference_mode", "torch_autograd": ", autograd on"}
        names = {mode: f"{mode} / minirnn" for mode in modes}
        found = {mode: name for mode, name in names.items() if name in result["ratios"]}
        for mode, name in (found or {"": "minirnn / limit"}).items():
            row = what + (modes[mode] if is_step and found else "")
            spread = result["ratios"][name]
            target = result["target"] if found else None
            cell, quartiles = result["cell"], spread["quartiles"]
            bars.append(_Bar(title, row, cell, spread["median"], quartiles, target, bool(found)))
    return bars


def _draw_panel(ax: Any, title: str, bars: list[_Bar]) -> None:
    rows = list(dict.fromkeys(bar.row for bar in bars))
    for k, cell in enumerate(CELLS):
        own = [bar for bar in bars if bar.cell == cell]
        places = [rows.index(bar.row) + (k - 1) * _WIDTH for bar in own]
        medians = [bar.median for bar in own]
        reach = [[abs(bar.median - bar.quartiles[side]) for bar in own] for side in (0, 1)]
        ax.barh(places, medians, 0.9 * _WIDTH, color=_COLOURS[cell], label=cell.upper())
        ax.errorbar(medians, places, xerr=reach, fmt="none", ecolor="#222222", elinewidth=1)
        aims = [(b.target, y) for b, y in zip(own, places, strict=True) if b.target is not None]
        if aims:
            label = "target" if k == len(CELLS) - 1 else None
            ax.plot(*zip(*aims, strict=True), "k|", markersize=10, markeredgewidth=2, label=label)
    ax.axvline(1, color="#222222", linewidth=0.8)
    ax.set_yticks(range(len(rows)), rows)
    ax.invert_yaxis()
    ax.set_title(title, fontsize="medium", loc="left")
    ax.spines[["top", "right"]].set_visible(False)
