"""The one place where the library asks for matplotlib, and what the pictures share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minirnn.insight.recorder import Recorder
from minirnn.insight.records import ActivationRecord, RecurrentRecord

__all__ = ["COLOURS", "STYLES", "Seen", "by_label", "meaning", "new_figure", "save"]

Seen = Recorder | RecurrentRecord | ActivationRecord
"""What a picture can be made of."""

# Okabe and Ito's colours, which colour-blind readers tell apart as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")


def new_figure(width: float, height: float) -> Any:
    """Return a matplotlib Figure of so many inches, or say what to install.

    It is made without pyplot, so no window opens, no list of open figures grows, and the caller's
    backend stays as it is.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            'the pictures of minirnn.insight need matplotlib: pip install "minirnn[plot]"'
        ) from None
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Any, path: Any) -> Any:
    """Write the figure if there is a path; return it."""
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def by_label(seen: Any, *, activations: bool = False) -> dict[str, Any]:
    """Return records of layers by what the picture should call them.

    Parameters
    ----------
    seen : Recorder, record of a layer, or mapping from labels to either
    activations : bool
        Whether a Recorder stands for its activation layers too.
    """
    if isinstance(seen, Recorder):
        records: dict[str, Any] = dict(seen.layers)
        return records | seen.activations if activations else records
    if isinstance(seen, RecurrentRecord | ActivationRecord):
        return {seen.name: seen}
    if isinstance(seen, Mapping):
        labelled = {}
        for label, part in seen.items():
            inside = by_label(part, activations=activations)
            for name, record in inside.items():
                labelled[str(label) if len(inside) == 1 else f"{label}, {name}"] = record
        return labelled
    raise TypeError(
        f"takes a Recorder, a record of a layer, or a dictionary from labels to either, got "
        f"{type(seen).__name__}"
    )


def meaning(record: RecurrentRecord, name: str) -> str:
    """Return a gate's name with what it does, where that is known."""
    words = _MEANING.get(tuple(record.gates), {}).get(name)
    return f"{name}, {words}" if words else name


_MEANING = {
    ("i", "f", "o", "g", "c"): {
        "i": "input gate: what is written",
        "f": "forget gate: what is kept",
        "o": "output gate: what is shown",
        "g": "candidate",
        "c": "memory",
        "h": "hidden state",
    },
    ("r", "z", "n"): {
        "r": "reset gate: what the candidate sees",
        "z": "update gate: what is kept",
        "n": "candidate",
        "h": "hidden state",
    },
}
