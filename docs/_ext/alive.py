"""Make what the page "Alive" loads: the names model as ONNX, and what belongs to it.

The graph is one time step. Beside the logits and the next state it gives out the four gates, so
that the page can show them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from minirnn import LSTM, Adam, Dense, Embedding, Sequential, SoftmaxCrossEntropy, Trainer
from minirnn.data import PaddedBatches, Vocabulary

END, HIDDEN, EMBEDDING = "\n", 96, 32


def train(names: list[str]) -> tuple[Sequential, Vocabulary]:
    """Return the model of examples/names.py, trained in the same way on all names."""
    vocabulary = Vocabulary.from_text([END, *names])
    model = Sequential(
        [
            Embedding(len(vocabulary), EMBEDDING, rng=0),
            LSTM(EMBEDDING, HIDDEN, rng=1),
            Dense(HIDDEN, len(vocabulary), rng=2),
        ]
    )
    encoded = [vocabulary.encode(END + name + END) for name in names]
    batches = PaddedBatches(
        [tokens[:-1] for tokens in encoded],
        [tokens[1:] for tokens in encoded],
        batch_size=64,
        rng=3,
    )
    optimizer = Adam(model.parameters(), 0.004, clip_norm=1.0)
    Trainer(model, SoftmaxCrossEntropy(), optimizer, rng=4).fit(batches, epochs=8, progress=False)
    return model, vocabulary


def step_graph(model: Sequential) -> Any:
    """Return one step of the model as an ONNX model: token, h, c -> logits, h, c and the gates."""
    from onnx import TensorProto, checker, helper, numpy_helper

    embedding, lstm, dense = model
    cell = lstm.cell
    arrays = {
        "E": dict(embedding.named_parameters()).popitem()[1].value,
        "Wx": cell.Wx.value,
        "Wh": cell.Wh.value,
        "b": cell.b.value,
        "W": dense.W.value,
        "b_out": dense.b.value,
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["E", "token"], ["x"]),
        node("MatMul", ["x", "Wx"], ["from_x"]),
        node("MatMul", ["h", "Wh"], ["from_h"]),
        node("Sum", ["from_x", "from_h", "b"], ["z"]),
        node("Split", ["z"], ["z_i", "z_f", "z_o", "z_g"], axis=1, num_outputs=4),
        node("Sigmoid", ["z_i"], ["i"]),
        node("Sigmoid", ["z_f"], ["f"]),
        node("Sigmoid", ["z_o"], ["o"]),
        node("Tanh", ["z_g"], ["g"]),
        node("Mul", ["f", "c"], ["kept"]),
        node("Mul", ["i", "g"], ["written"]),
        node("Add", ["kept", "written"], ["c_next"]),
        node("Tanh", ["c_next"], ["shown"]),
        node("Mul", ["o", "shown"], ["h_next"]),
        node("Gemm", ["h_next", "W", "b_out"], ["logits"]),
    ]
    state = [1, HIDDEN]
    info = helper.make_tensor_value_info
    inputs = [info("token", TensorProto.INT64, [1])]
    inputs += [info(name, TensorProto.FLOAT, state) for name in ("h", "c")]
    outputs = [info("logits", TensorProto.FLOAT, [1, dense.output_size])]
    outputs += [info(n, TensorProto.FLOAT, state) for n in ("h_next", "c_next", "i", "f", "o", "g")]
    weights = [numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in arrays.items()]
    graph = helper.make_graph(nodes, "names", inputs, outputs, weights)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(proto, full_check=True)
    return proto


def expected(model: Sequential, vocabulary: Vocabulary, text: str) -> list[float]:
    """Return the library's probabilities of the next character after a beginning."""
    model.reset_state()
    for token in vocabulary.encode(END + text):
        logits = model.step(np.array([token]))
    model.reset_state()
    powers = np.exp(logits[0] - logits[0].max())
    return [float(p) for p in powers / powers.sum()]


def write(app: Any) -> None:
    """Write names.onnx and names.json, if they are not there yet."""
    folder = Path(app.srcdir) / "_static" / "alive"
    if (folder / "names.onnx").exists() and (folder / "names.json").exists():
        return
    source = Path(app.srcdir).parent / "examples" / "data" / "names.txt"
    model, vocabulary = train(source.read_text("utf-8").split())
    (folder / "names.onnx").write_bytes(step_graph(model).SerializeToString())
    characters = [vocabulary.decode([k]) for k in range(len(vocabulary))]
    about = {
        "characters": characters,
        "hidden": HIDDEN,
        "expected": {text: expected(model, vocabulary, text) for text in ("", "Mar", "Jo")},
    }
    (folder / "names.json").write_text(json.dumps(about), "utf-8")


def setup(app: Any) -> dict[str, Any]:
    """Train before Sphinx copies the static files."""
    app.connect("config-inited", lambda app, config: write(app))
    return {"parallel_read_safe": True}
