"""ONNX: models to and from a graph that runs elsewhere.

Needs ONNX and ONNX Runtime: ``pip install ".[onnx]"`` in the folder of README.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.cells.cell import Cell
from minirnn.core import Layer, dtype_of
from minirnn.errors import missing
from minirnn.files.replacing import check_place, existing, replacing
from minirnn.interop.counterparts import ConversionError, chained, check_dtype, named_chain, titled
from minirnn.interop.proof import Part, Run, prove
from minirnn.typing import Array, Mask

try:
    import onnx
    import onnxruntime
except ImportError:
    raise missing("ONNX and ONNX Runtime", "onnx") from None

from minirnn.interop.onnx_export import export
from minirnn.interop.onnx_import import Reading

__all__ = ["ConversionError", "from_onnx", "to_onnx"]


def to_onnx(
    model: Layer,
    path: str | os.PathLike[str],
    *,
    lengths: bool = False,
    states: bool = False,
    verify: bool = True,
) -> None:
    """Write a model as an ONNX file, for inference elsewhere.

    The graph has an input ``input``, tokens ``(batch, time)`` or ``(batch, time, features)``, and
    an output ``output``; batch and time are free. RNN, LSTM and GRU become ONNX's operators of
    these names. Any other cell becomes a ``Scan`` over its operations, where these can be traced;
    so do all cells in float64, in which runtimes do not have the operators.

    Parameters
    ----------
    model : Layer
        Of layers that have a counterpart. It stays as it is.
    path : path of the file
        It is written when all is well, and is complete or absent.
    lengths : bool
        True adds an input ``lengths (batch,)``, int32: the valid steps of each sequence. What comes
        after them is padding.
    states : bool
        True adds an input ``initial.<place>.<name>`` and an output ``final.<place>.<name>`` for
        each state array, ``(batch, ...)``: ``initial.1.h`` for the state h of layer 1,
        ``initial.1.backward.h`` in a `Bidirectional`, ``initial.h`` where the model is one layer.
    verify : bool
        Check the graph, compare both sides, and print the largest difference.

    Raises
    ------
    ConversionError
        For what ONNX has no counterpart to, by name; or if the two sides differ.

    Examples
    --------
    >>> import tempfile
    >>> from minirnn import GRU, Dense, LastStep, Sequential
    >>> model = Sequential([GRU(3, 4, rng=0), LastStep(), Dense(4, 2, rng=1)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_onnx(model, f"{folder}/model.onnx", lengths=True)
    ...     again = from_onnx(f"{folder}/model.onnx")
    to_onnx: largest difference ... runs (float32, at most 1e-05)
    from_onnx: largest difference ... runs (float32, at most 1e-05)
    >>> [type(layer).__name__ for layer in again]
    ['GRU', 'LastStep', 'Dense']
    """
    checks.instance("to_onnx", "model", model, Layer)
    check_place(path)
    if isinstance(model, Cell):
        raise ConversionError(
            f"to_onnx: a {type(model).__name__} is one time step; write "
            f"Recurrent({type(model).__name__}(...))"
        )
    check_dtype("to_onnx", model)
    graph = export(model, lengths=lengths, states=states)
    data = graph.SerializeToString()
    if verify:
        onnx.checker.check_model(graph, full_check=True)
        masks, given = sorted({False, lengths}), (states,)
        prove("to_onnx", model, _run_of(data), masks=masks, states=given, parts=_parts(model))
    with replacing(path) as file:
        file.write(data)


def from_onnx(path: str | os.PathLike[str], *, verify: bool = True) -> Layer:
    """Return a minirnn model with the numbers of an ONNX file, such as PyTorch exports it.

    Parameters
    ----------
    path : path of the file
        A graph that applies RNN, LSTM, GRU, MatMul or Gemm and Add, activations, Gather (an
        embedding, or the last step) and LayerNormalization one after the other, or in branches that
        meet in a sum, a product, a mean or a Concat, with whatever transposes stand between. Its
        first output counts.
    verify : bool
        Compare both sides, and print the largest difference.

    Returns
    -------
    Layer
        A `Sequential` where there are several layers, else the layer, in evaluation mode. It is
        batch first, whatever the graph is.

    Raises
    ------
    ConversionError
        For what minirnn has no counterpart to, by name; or if the two sides differ.
    """
    existing(path)
    try:
        graph = onnx.load(os.fspath(path))
    except Exception as error:  # of the protocol's library, without a common base
        raise ConversionError(f"from_onnx: {path} is not an ONNX file: {error}") from error
    reading = Reading(graph)
    if not reading.layers:
        raise ConversionError("from_onnx: the graph holds no layer")
    model = chained(reading.layers).eval()
    if verify:
        states, first = reading.state_inputs, reading.batch_first
        prove(
            "from_onnx",
            model,
            _run_of(graph.SerializeToString(), batch_first=first, states=states),
            masks=sorted({False, reading.lengths is not None}),
            states=(bool(states),),
            fixed=reading.fixed,
        )
    return model


# ---------------------------------------------------------------- ONNX Runtime's side


def _run_of(data: bytes, *, batch_first: bool = True, states: list[str] | None = None) -> Run:
    """Return a graph as a function on arrays: its inputs are told apart by name and place."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes have no common base
        raise ConversionError(f"ONNX Runtime does not run this graph: {error}") from error
    inputs = {entry.name: entry for entry in session.get_inputs()}
    first, *others = inputs
    if states is None:
        states = [name for name in others if name.startswith("initial.")]
    lengths = [name for name in others if name not in states]
    finals = [name.name for name in session.get_outputs()][1:]

    def run(x: Array, mask: Mask | None, state: list[Array] | None) -> tuple[Array, Any]:
        batch, time = x.shape[:2]
        feed = {first: x if batch_first else x.swapaxes(0, 1)}
        if lengths:
            real = np.full(batch, time) if mask is None else mask.sum(axis=1)
            wide = "int64" in inputs[lengths[0]].type
            feed[lengths[0]] = real.astype(np.int64 if wide else np.int32)
        for name, array in zip(states, state or (), strict=True):  # one direction: PyTorch's form
            feed[name] = array[None] if len(inputs[name].shape) > array.ndim else array
        try:
            y, *final = session.run(None, feed)
        except Exception as error:
            raise ConversionError(f"ONNX Runtime does not run this graph: {error}") from error
        if not batch_first and y.ndim > 2:
            y = y.swapaxes(0, 1)
        ours = len(final) == len(states) > 0 and finals[0].startswith("final.")
        return y, final if ours else None

    return run


def _parts(model: Layer) -> Iterator[Part]:
    """Yield the layers one by one, each with a graph of its own."""
    for place, layer in named_chain(model):
        dtype = dtype_of(model) or np.float32
        graph = export(layer, lengths=layer.uses_mask, states=False, dtype=dtype)
        yield titled(place, layer), [layer], _run_of(graph.SerializeToString())
