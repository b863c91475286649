"""The document of a run, as tables for a terminal or in Markdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.ladder import MEASURES

__all__ = ["caption", "memory_table", "tables"]

_TIMES_HEAD = [
    "network", "cell", "minirnn, {}", "PyTorch, {}", "limit, {}",
    "PyTorch / minirnn", "target", "minirnn / limit",
]  # fmt: skip
_MEMORY_HEAD = ["network", "cell", "minirnn, MB", "PyTorch, MB", "PyTorch / minirnn"]
_NOTHING = ""


def caption(document: dict[str, Any]) -> str:
    """Say what was measured on which machine, in a few sentences."""
    machine, versions = document["machine"], document["versions"]
    unit = f" with {machine['vector_unit']}" if machine["vector_unit"] else ""
    torch = f", PyTorch {versions['torch']}" if versions["torch"] else ", without PyTorch"
    threads = "1 thread" if document["threads"] == 1 else f"{document['threads']} threads"
    lines = [
        f"{document['date'][:10]}: {machine['processor']}{unit}, {machine['cores']} cores, "
        f"{machine['system']}; minirnn {versions['minirnn']}, Python {versions['python']}, NumPy "
        f"{versions['numpy']} ({versions['blas']}){torch}; {threads}, float32."
    ]
    if "settings" in document:
        lines.append(
            f"Medians of {document['settings']['rounds']} rounds in turns, quartiles in brackets; "
            f"a ratio is the median over the rounds of the ratio in each."
        )
    if document["quick"]:
        lines.append("Quick setting: tiny sizes and few rounds, to see that it runs. No figures.")
    return "\n".join(lines)


def tables(document: dict[str, Any], *, markdown: bool = False) -> str:
    """Return one table for each measure."""
    parts = []
    for measure, title in MEASURES.items():
        results = [result for result in document["results"] if result["measure"] == measure]
        if not results:
            continue
        unit, factor = ("us", 1e6) if "step" in measure else ("ms", 1e3)
        head = [text.format(unit) for text in _TIMES_HEAD]
        rows = [row for result in results for row in _rows(result, factor)]
        parts.append(_table(title, head, rows, markdown))
    return "\n\n".join(parts)


def _rows(result: dict[str, Any], factor: float) -> list[list[str]]:
    """Return a row for PyTorch, or for each of its modes, or one without it."""
    seconds, ratios = result["seconds"], result["ratios"]
    modes = {"torch": ", inference_mode", "torch_autograd": ", autograd on"}
    present = [mode for mode in modes if mode in seconds] or [""]
    rows = []
    for mode in present:
        target = result["target"]
        rows.append(
            [
                result["name"] + (modes[mode] if len(present) > 1 else ""),
                result["cell"].upper(),
                _with_quartiles(seconds["minirnn"], lambda value: _digits(value * factor)),
                _with_quartiles(seconds.get(mode), lambda value: _digits(value * factor)),
                _digits(seconds["limit"]["median"] * factor),
                _with_quartiles(ratios.get(f"{mode} / minirnn"), "{:.2f}".format),
                _NOTHING if target is None else f"{target:g}",
                f"{ratios['minirnn / limit']['median']:.2f}",
            ]
        )
    return rows


def memory_table(document: dict[str, Any], *, markdown: bool = False) -> str:
    """Return the table of peak memory."""
    rows = []
    for result in document["memory"]:
        own, peer = result["minirnn"]["bytes"], (result.get("torch") or {}).get("bytes")
        rows.append(
            [
                result["name"],
                result["cell"].upper(),
                f"{own / 2**20:.1f}",
                _NOTHING if peer is None else f"{peer / 2**20:.1f}",
                _NOTHING if not peer or not own else f"{peer / own:.2f}",
            ]
        )
    title = "Peak memory of training: model, optimizer and everything a step needs, without inputs"
    return _table(title, _MEMORY_HEAD, rows, markdown)


# ---------------------------------------------------------------- text


def _digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{decimals}f}"


def _with_quartiles(spread: dict[str, Any] | None, show: Callable[[float], str]) -> str:
    if spread is None:
        return _NOTHING
    lower, upper = spread["quartiles"]
    return f"{show(spread['median'])} [{show(lower)}, {show(upper)}]"


def _table(title: str, head: list[str], rows: list[list[str]], markdown: bool) -> str:
    if markdown:
        align = ["---", "---"] + ["---:"] * (len(head) - 2)
        lines = ["| " + " | ".join(cells) + " |" for cells in [head, align, *rows]]
        return "\n".join([f"**{title}**", "", *lines])
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]

    def line(cells: list[str]) -> str:
        left = [f"{cell:<{width}}" for cell, width in zip(cells[:2], widths[:2], strict=True)]
        right = [f"{cell:>{width}}" for cell, width in zip(cells[2:], widths[2:], strict=True)]
        return "  ".join([*left, *right]).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([title, rule, line(head), rule, *map(line, rows), rule])
