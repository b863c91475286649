"""Recurrent layers as ONNX's operators RNN, LSTM and GRU, or as a loop over the cell."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirnn.interop.counterparts import inner, refuse, titled
from minirnn.interop.onnx_scan import write_scan
from minirnn.interop.onnx_writer import Writer
from minirnn.interop.weights import ONNX, kind_of, to_layout


def write_recurrent(writer: Writer, model: Any, x: str, place: str) -> str:
    """Write one direction: an operator where ONNX has it in this dtype, else a ``Scan``."""
    _check_stateless(model, place)
    kind = kind_of(model.cell)
    if not kind or writer.dtype == np.float64:
        return write_scan(writer, model, x, place)
    return _operator(writer, {place: model}, kind, x, place)


def _check_stateless(layer: Any, place: str) -> None:
    if layer.stateful:
        refuse(
            "to_onnx",
            "ONNX",
            f"stateful=True of {titled(place, layer)}",
            "set layer.stateful = False, write to_onnx(..., states=True), and feed the final "
            "states of one run into the next",
        )


def write_bidirectional(writer: Writer, model: Any, x: str, place: str) -> str:
    """Write both directions: one operator where they are alike, else two loops."""
    one, two = model.forward_layer, model.backward_layer
    both = {inner(place, "forward"): one, inner(place, "backward"): two}
    for name, layer in both.items():
        _check_stateless(layer, name)
    alike = {
        (kind_of(layer.cell), layer.hidden_size, getattr(layer.cell, "reset_after", None))
        for layer in (one, two)
    }
    kind = kind_of(one.cell)
    if kind and len(alike) == 1 and model.merge == "concat" and writer.dtype == np.float32:
        return _operator(writer, both, kind, x, place)
    halves = [write_recurrent(writer, layer, x, name) for name, layer in both.items()]
    y = writer.merge(halves, model.merge, axis=2)
    if model.directions and all(half in writer.last for half in halves):
        writer.last[y] = writer.add("Concat", *(writer.last[half] for half in halves), axis=1)
    return y


def _operator(writer: Writer, layers: dict[str, Any], kind: str, x: str, place: str) -> str:
    """Write ONNX's own operator, for one direction or for two, each with its place."""
    cells = [layer.cell for layer in layers.values()]
    directions = [to_layout(ONNX, kind, cell.state_dict()) for cell in cells]
    rows = {
        "W": [Wx.T for Wx, _, _, _ in directions],
        "R": [Wh.T for _, Wh, _, _ in directions],
        "B": [np.concatenate(biases) for _, _, *biases in directions],
    }
    weights = [writer.weights(inner(place, name), np.stack(rows[name])) for name in "WRB"]
    reverse = [layer.reverse for layer in layers.values()]
    names = {(False,): "forward", (True,): "reverse", (False, True): "bidirectional"}
    attributes = {"hidden_size": cells[0].hidden_size, "direction": names[tuple(reverse)]}
    if kind == "rnn":
        attributes["activations"] = [cell.activation.capitalize() for cell in cells]
    if kind == "gru":
        attributes["linear_before_reset"] = int(cells[0].reset_after)
    states = cells[0].state_names
    initial = _initial(writer, layers, states) if writer.states else []
    x = writer.add("Transpose", x, perm=[1, 0, 2])
    given = x, *weights, writer.lengths or "", *initial
    y, *final = writer.add_several(1 + len(states), kind.upper(), *given, **attributes)
    if writer.states:
        for k, direction in enumerate(layers):
            for name, array in zip(states, final, strict=True):
                part = writer.add("Gather", array, writer.constant(k, np.int64), axis=0)
                writer.final_state(inner(direction, name), part, cells[k].hidden_size)
    y = writer.add("Transpose", y, perm=[2, 0, 1, 3])  # (time, directions, batch, hidden)
    y = writer.add("Reshape", y, writer.integers(0, 0, -1))
    last = writer.add("Transpose", final[0], perm=[1, 0, 2])
    writer.last[y] = writer.add("Reshape", last, writer.integers(0, -1))
    return y


def _initial(writer: Writer, layers: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    """Return the initial states by name, inputs of the graph, those of all directions in one."""
    axis = writer.integers(0)
    found: dict[str, list[str]] = {name: [] for name in names}
    for place, layer in layers.items():
        for name in names:
            state = writer.initial_state(inner(place, name), layer.hidden_size)
            found[name].append(writer.add("Unsqueeze", state, axis))
    return [writer.add("Concat", *arrays, axis=0) for arrays in found.values()]
