"""Recurrent layers as ONNX's operators RNN, LSTM and GRU, or as a loop over the cell."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn.interop.onnx_scan import write_scan
from minirnn.interop.onnx_writer import Writer
from minirnn.interop.proof import ConversionError, base_of
from minirnn.interop.weights import KINDS, ONNX, to_layout

__all__ = ["write_bidirectional", "write_recurrent"]


def write_recurrent(writer: Writer, model: Any, x: str, place: str) -> str:
    """Write one direction: an operator where ONNX has it in this dtype, else a ``Scan``."""
    if model.stateful:
        raise ConversionError(
            f"to_onnx: stateful=True of {type(model).__name__} (layer {place}) has no counterpart "
            f"in ONNX: set layer.stateful = False, write to_onnx(..., states=True), and feed the "
            f"final states of one run into the next"
        )
    base = base_of(model.cell, KINDS)
    if base is None or writer.dtype == np.float64:
        return write_scan(writer, model, x, place)
    return _operator(writer, [model], KINDS[base], x, place)


def write_bidirectional(writer: Writer, model: Any, x: str, place: str) -> str:
    """Write both directions: one operator where they are alike, else two loops."""
    both = [model.forward_layer, model.backward_layer]
    bases = {base_of(layer.cell, KINDS) for layer in both}
    kinds = {(layer.hidden_size, getattr(layer.cell, "reset_after", None)) for layer in both}
    one_operator = len(bases) == len(kinds) == 1 and None not in bases and model.merge == "concat"
    if one_operator and writer.dtype == np.float32:
        (base,) = bases
        return _operator(writer, both, KINDS[base], x, place)  # type: ignore[index]
    dot = f"{place}." if place else ""
    names = ("forward", "backward")
    halves, lasts = [], []
    for name, layer in zip(names, both, strict=True):
        halves.append(write_recurrent(writer, layer, x, f"{dot}{name}"))
        lasts.append(writer.final_h[1] if writer.final_h else "")
    y = writer.merge(halves, model.merge, axis=2)
    final = writer.add("Concat", *lasts, axis=1) if model.directions and all(lasts) else None
    writer.final_h = (y, final) if final else None
    return y


def _operator(writer: Writer, layers: list[Any], kind: str, x: str, place: str) -> str:
    """Write ONNX's own operator, for one direction or for two."""
    cells = [layer.cell for layer in layers]
    prefix = f"{place}." if place else ""
    directions = [to_layout(ONNX, kind, cell.state_dict()) for cell in cells]
    rows = {
        "W": [Wx.T for Wx, _, _, _ in directions],
        "R": [Wh.T for _, Wh, _, _ in directions],
        "B": [np.concatenate(biases) for _, _, *biases in directions],
    }
    weights = [writer.weights(f"{prefix}{name}", np.stack(rows[name])) for name in "WRB"]
    attributes: dict[str, Any] = {"hidden_size": cells[0].hidden_size}
    if len(layers) == 2:
        attributes["direction"] = "bidirectional"
    else:
        attributes["direction"] = "reverse" if layers[0].reverse else "forward"
    if kind == "rnn":
        attributes["activations"] = [cell.activation.capitalize() for cell in cells]
    if kind == "gru":
        attributes["linear_before_reset"] = int(cells[0].reset_after)
    initial = _initial(writer, cells, prefix)
    names = cells[0].state_names
    across = writer.add("Transpose", x, perm=[1, 0, 2])
    y, *final = writer.add(
        kind.upper(),
        across,
        *weights,
        writer.lengths or "",
        *initial,
        outputs=1 + len(names),
        **attributes,
    )
    if writer.states:
        for k, direction in enumerate(_directions(cells, prefix)):
            for name, array in zip(names, final, strict=True):
                part = writer.add("Gather", array, writer.constant(k, np.int64), axis=0)
                writer.final_state(f"{direction}{name}", part, cells[k].hidden_size)
    y = writer.add("Transpose", y, perm=[2, 0, 1, 3])  # (time, directions, batch, hidden)
    y = str(writer.add("Reshape", y, writer.integers(0, 0, -1)))
    last = writer.add("Transpose", final[0], perm=[1, 0, 2])
    writer.final_h = (y, writer.add("Reshape", last, writer.integers(0, -1)))
    return y


def _directions(cells: list[Any], prefix: str) -> list[str]:
    return [prefix] if len(cells) == 1 else [f"{prefix}forward.", f"{prefix}backward."]


def _initial(writer: Writer, cells: list[Any], prefix: str) -> list[str]:
    """Return names of the initial states, inputs of the graph; empty ones for zeros."""
    if not writer.states:
        return []
    axis = writer.integers(0)
    found: dict[str, list[str]] = {}
    for cell, direction in zip(cells, _directions(cells, prefix), strict=True):
        for name in cell.state_names:
            state = writer.initial_state(f"{direction}{name}", cell.hidden_size)
            found.setdefault(name, []).append(writer.add("Unsqueeze", state, axis))
    return [
        arrays[0] if len(arrays) == 1 else writer.add("Concat", *arrays, axis=0)
        for arrays in found.values()
    ]
