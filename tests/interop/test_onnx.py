"""Conversions to ONNX and back, run by ONNX Runtime."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

import minirnn as mr  # noqa: E402
from minirnn.interop import weights  # noqa: E402
from minirnn.interop.counterparts import ConversionError  # noqa: E402
from minirnn.interop.onnx import from_onnx, to_onnx  # noqa: E402
from minirnn.layers import LastState, LogSoftmax, MaxOverTime, MeanOverTime  # noqa: E402
from minirnn.layers.normalization import LayerNorm  # noqa: E402
from minirnn.layers.rectifiers import ELU, GELU, LeakyReLU, SiLU, Softplus  # noqa: E402
from tests.interop.models import branching, disturb, everywhere, not_in_keras, not_in_torch  # noqa: E402

DTYPES = ["float32", "float64"]


def models(dtype):
    kw = {"dtype": dtype}
    return (
        everywhere(dtype)
        | not_in_torch(dtype)
        | not_in_keras(dtype)
        | {
            "both activations": mr.Bidirectional(
                mr.RNN(3, 4, **kw), mr.RNN(3, 4, activation="relu", **kw)
            ),
            "norm": LayerNorm(5, epsilon=1e-3, **kw),
            "activations": mr.Sequential(
                [
                    mr.Dense(3, 4, **kw),
                    LeakyReLU(0.2),
                    ELU(0.5),
                    SiLU(),
                    GELU(),
                    mr.Dense(4, 4, **kw),
                ]
            ),
            "softplus": mr.Sequential([mr.Dense(3, 4, **kw), Softplus(), LogSoftmax()]),
            "mean": mr.Sequential([mr.GRU(3, 4, **kw), MeanOverTime(), mr.Dense(4, 2, **kw)]),
            "max": mr.Sequential([mr.GRU(3, 4, **kw), MaxOverTime()]),
            "mean without recurrence": mr.Sequential([mr.Dense(3, 4, **kw), MeanOverTime()]),
            "last state": mr.Sequential(
                [mr.Bidirectional(mr.LSTM(3, 4, **kw), mr.LSTM(3, 4, **kw)), LastState()]
            ),
            "unequal, last state": mr.Sequential(
                [mr.Bidirectional(mr.LSTM(3, 4, **kw), mr.GRU(3, 5, **kw)), LastState()]
            ),
            "mean of three": mr.Parallel(
                [mr.RNN(3, 4, **kw), mr.Dense(3, 4, **kw), mr.GRU(3, 4, **kw)], "mean"
            ),
        }
        | branching(dtype)
    )


IN_FLOAT32 = {"activations", "softplus"}


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        (name, dtype)
        for dtype in DTYPES
        for name in models(dtype)
        if dtype == "float32" or name not in IN_FLOAT32
    ],
)
def test_there_and_back(name, dtype, lengths, tmp_path, capsys):
    model = disturb(models(dtype)[name])
    to_onnx(model, tmp_path / "model.onnx", lengths=lengths)
    runs = capsys.readouterr().out
    assert ("in 6 runs" in runs) == (lengths and model.uses_mask), runs
    if dtype == "float64" and name not in (
        "dense",
        "no bias",
        "embedding",
        "mean without recurrence",
    ):
        return  # a Scan, or operators put together: back from these there is no way
    again = from_onnx(tmp_path / "model.onnx")
    assert again.parameter_count == model.parameter_count
    ours = list(model.parameters())
    for one, two in zip(ours, again.parameters(), strict=True):
        np.testing.assert_array_equal(one.value, two.value)
        assert one.value.dtype == two.value.dtype == dtype


@pytest.mark.parametrize("layer", [LeakyReLU(), ELU(), GELU(), Softplus()])
def test_what_runtimes_have_in_float32_only(layer, tmp_path):
    model = mr.Sequential([mr.Dense(3, 4, dtype="float64"), layer])
    with pytest.raises(ConversionError, match=r"layer 1 .* in float32 only"):
        to_onnx(model, tmp_path / "model.onnx", verify=False)


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_last_state_further_behind(dtype, lengths, tmp_path):
    kw = {"dtype": dtype}
    for reader in (
        mr.Bidirectional(mr.GRU(3, 4, **kw), mr.GRU(3, 5, **kw)),
        mr.LSTM(3, 4, **kw),
        mr.LSTM(3, 4, reverse=True, **kw),
    ):
        model = disturb(mr.Sequential([reader, mr.Tanh(), LastState()]))
        to_onnx(model, tmp_path / "model.onnx", lengths=lengths)
        if dtype == "float32":  # else a Scan, from which there is no way back
            again = from_onnx(tmp_path / "model.onnx")
            last = "LastStep" if reader.directions == ((4, False),) else "LastState"
            assert [type(layer).__name__ for layer in again][1:] == ["Tanh", last]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_states_go_in_and_out(kind, dtype, tmp_path):
    layers = [getattr(mr, kind)(3, 4, dtype=dtype) for _ in range(2)]
    model = disturb(mr.Bidirectional(*layers))
    path = tmp_path / "model.onnx"
    to_onnx(model, path, lengths=True, states=True)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 6, 3)).astype(dtype)
    lengths = np.array([6, 1, 4, 2, 6], np.int32)
    names = ["h", "c"] if kind == "LSTM" else ["h"]
    places = [f"{direction}.{name}" for direction in ("forward", "backward") for name in names]
    state = {place: rng.standard_normal((5, 4)).astype(dtype) for place in places}
    mask = np.arange(6) < lengths[:, None]
    y = model.forward(x, mask, tuple(state.values()))
    session = onnxruntime.InferenceSession(path)
    feed = {f"initial.{place}": array for place, array in state.items()}
    theirs, *final = session.run(
        ["output", *(f"final.{place}" for place in places)],
        {"input": np.where(mask[..., None], x, np.nan), "lengths": lengths, **feed},
    )
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(theirs, y, atol=tolerance)
    for one, two in zip(final, model.state, strict=True):
        np.testing.assert_allclose(one, two, atol=tolerance)
    if dtype == "float32":
        again = from_onnx(path)
        np.testing.assert_allclose(again.forward(x, mask, tuple(state.values())), y, atol=1e-6)


def test_states_of_a_model_that_has_none(tmp_path, capsys):
    to_onnx(mr.Sequential([mr.Dense(3, 4), mr.Tanh()]), tmp_path / "model.onnx", states=True)
    assert "in 3 runs" in capsys.readouterr().out


class Gap(mr.Cell):
    """Uses where, division, slices, a sum of columns, a row broadcast; output is not a state."""

    output_size = 5

    def __init__(self, dtype):
        self.input_size, self.hidden_size = 3, 4
        rng = np.random.default_rng(0)
        self.W = mr.Parameter(rng.standard_normal((7, 8)).astype(dtype))
        self.V = mr.Parameter(rng.standard_normal((4, 5)).astype(dtype))
        self.a = mr.Parameter(rng.standard_normal(4).astype(dtype))

    def initial_state(self, batch_size):
        h = np.full((batch_size, 4), 0.25, self.W.value.dtype)
        return h, np.zeros((batch_size, 1), self.W.value.dtype)

    def forward(self, x_t, state):
        h, count = state
        z = np.concatenate([x_t, h], axis=1) @ self.W.value
        u, v = z[:, :4], z[:, 4:]
        s = np.exp(u - u.max(axis=1, keepdims=True))
        s = s / s.sum(axis=1)[:, None]
        h_next = np.where(v > self.a.value, s * h, np.minimum(np.abs(v), 1) * self.a.value)
        return np.tanh(h_next @ self.V.value), (h_next, count + 1.0), ()

    def backward(self, grad_y, grad_state, cache):
        return grad_y[:, :3] * 1.0, (grad_state[0] * 1.0, grad_state[1] * 1.0)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("states", [False, True])
def test_an_own_cell(dtype, reverse, states, tmp_path, capsys):
    model = mr.Sequential([mr.Recurrent(Gap(dtype), reverse=reverse), mr.Dense(5, 2, dtype=dtype)])
    path = tmp_path / "model.onnx"
    to_onnx(model, path, lengths=True, states=states)
    assert "in 6 runs" in capsys.readouterr().out
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert "Scan" in operators
    with pytest.raises(ConversionError, match=r"Scan .* has no counterpart"):
        from_onnx(path)


class Warm(mr.LSTMCell):
    """Begins with a state of its own: another number for each unit."""

    def initial_state(self, batch_size):
        h = np.tile(np.linspace(-1, 1, self.hidden_size, dtype=self.b.dtype), (batch_size, 1))
        return h, 0.5 - h


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("lengths", [False, True])
def test_a_scan_with_an_initial_state_of_its_own(lengths, both, dtype, tmp_path):
    layers = [mr.Recurrent(Warm(3, 4, dtype=dtype), reverse=reverse) for reverse in (False, True)]
    model = disturb(mr.Bidirectional(*layers) if both else layers[0])
    path = tmp_path / "model.onnx"
    to_onnx(model, path, lengths=lengths)
    rng = np.random.default_rng(0)
    for batch, time in ((1, 1), (5, 1), (3, 6)):
        x = rng.standard_normal((batch, time, 3)).astype(dtype)
        feed, mask = {"input": x}, None
        if lengths:
            feed["lengths"] = rng.integers(1, time + 1, batch).astype(np.int32)
            mask = np.arange(time) < feed["lengths"][:, None]
        (y,) = onnxruntime.InferenceSession(path).run(None, feed)
        tolerance = 1e-6 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(y, model.forward(x, mask), atol=tolerance)


def test_a_scan_that_is_given_the_state_which_it_would_begin_with(tmp_path):
    model = disturb(mr.Recurrent(Warm(3, 4)))
    path = tmp_path / "model.onnx"
    to_onnx(model, path, states=True)
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    h, c = model.cell.initial_state(2)
    feed = {"input": x, "initial.h": h, "initial.c": c}
    y, *final = onnxruntime.InferenceSession(path).run(None, feed)
    np.testing.assert_allclose(y, model.forward(x), atol=1e-6)
    for one, two in zip(final, model.state, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


class Uneven(Warm):
    def initial_state(self, batch_size):
        h, c = super().initial_state(batch_size)
        return h * np.arange(batch_size, dtype=h.dtype)[:, None], c


def test_an_initial_state_that_differs_from_row_to_row(tmp_path):
    with pytest.raises(ConversionError, match="initial state of Uneven.*: rows differ"):
        to_onnx(mr.Recurrent(Uneven(3, 4)), tmp_path / "model.onnx", verify=False)


class Draws(Gap):
    def forward(self, x_t, state):
        x_t = x_t + np.random.default_rng(0).standard_normal(np.shape(x_t))
        return super().forward(x_t, state)


def test_a_cell_that_cannot_be_traced(tmp_path):
    with pytest.raises(ConversionError, match=r"Draws.*cannot be traced: .*random"):
        to_onnx(mr.Recurrent(Draws("float64")), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


class Doubled(mr.Dense):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (mr.Sequential([mr.Tanh(), Doubled(3, 4)]), r"layer 1 \(Doubled\)"),
        (mr.LSTM(3, 4, stateful=True), "stateful=True"),
        (
            mr.Bidirectional(mr.GRU(3, 4, stateful=True), mr.GRU(3, 4)),
            r"stateful=True of layer forward \(GRU",
        ),
        (mr.LSTMCell(3, 4), r"Recurrent\(LSTMCell"),
    ],
)
def test_what_onnx_has_not(model, message, tmp_path):
    with pytest.raises(ConversionError, match=message):
        to_onnx(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_the_layer_that_differs_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(weights.ONNX, "gru", "rzn")
    model = disturb(mr.Sequential([mr.Dense(3, 3), mr.Sequential([mr.Tanh(), mr.GRU(3, 4)])]))
    with pytest.raises(ConversionError, match=r"first to differ is layer 1\.1 \(GRU\)"):
        to_onnx(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


node = onnx.helper.make_node
W = np.linspace(-1, 1, 9, dtype=np.float32).reshape(3, 3)
TO_TIME_FIRST = node("Transpose", ["x"], ["a"], perm=[1, 0, 2])


def write(path, nodes, inputs=(), **constants):
    """Write a graph from x to y, both (batch, time, 3) or unknown."""
    helper, element = onnx.helper, onnx.TensorProto.FLOAT
    if any(array.dtype == np.float16 for array in constants.values()):
        element = onnx.TensorProto.FLOAT16
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", element, ["b", "t", 3]), *inputs],
            [helper.make_tensor_value_info("y", element, None)],
            [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        (
            [node("Tanh", ["x"], ["h"]), node("Erf", ["h"], ["y"], "the_erf")],
            {},
            r"Erf \(the_erf\) has no counterpart",
        ),
        (
            [node("Transpose", ["x"], ["a"], perm=[0, 2, 1]), node("MatMul", ["a", "W"], ["y"])],
            {"W": W},
            "MatMul .* for the axes batch, features, time",
        ),
        (
            [node("MatMul", ["x", "W"], ["h"]), node("Add", ["h", "b"], ["y"])],
            {"W": W, "b": W[:, :1]},
            "Add .* with a tensor that is neither",
        ),
        (
            [
                node("MatMul", ["x", "W"], ["h"]),
                node("Transpose", ["h"], ["a"], perm=[0, 2, 1]),
                node("Add", ["a", "b"], ["c"]),  # to three steps, which could pass for features
                node("Transpose", ["c"], ["y"], perm=[0, 2, 1]),
            ],
            {"W": W, "b": W[0]},
            "Add .* but as the bias of a Dense layer",
        ),
        ([node("MatMul", ["x", "W"], ["y"])], {"W": W.astype(np.float16)}, "float16"),
        (
            [TO_TIME_FIRST, node("RNN", ["a", "V", "V", "", "", "h"], ["", "y"], hidden_size=3)],
            {"V": W[None], "h": np.ones((1, 1, 3), np.float32)},
            "RNN .* with an initial state in the graph that is not zero",
        ),
        (
            [
                TO_TIME_FIRST,
                node("RNN", ["a", "V", "V"], ["", "h"], hidden_size=3, direction="bidirectional"),
                node("Reshape", ["h", "shape"], ["y"]),
            ],
            {"V": np.stack([W, W]), "shape": np.array([-1, 6])},
            "Reshape .* for the axes directions, batch, features",
        ),
        (
            [TO_TIME_FIRST, node("ReduceSum", ["a", "axis"], ["y"], keepdims=0)],
            {"axis": np.array([1])},
            "ReduceSum .* but over time alone",
        ),
        (
            [node("ReduceSum", ["x", "axis"], ["s"], keepdims=0), node("Tanh", ["s"], ["y"])],
            {"axis": np.array([1])},
            "Tanh .* for a sum over time",
        ),
        (
            [node("ReduceSum", ["x", "axis"], ["y"], keepdims=0)],
            {"axis": np.array([1])},
            "the output has no counterpart for a sum over time",
        ),
        (
            [TO_TIME_FIRST, node("GRU", ["a", "G", "G", "", "n"], ["", "y"], hidden_size=3)],
            {"G": np.concatenate([W] * 3)[None], "n": np.array([2, 1], np.int32)},
            "GRU .* with lengths that are not an input",
        ),
        (
            [
                TO_TIME_FIRST,
                node("Shape", ["a"], ["batch"], start=1, end=2),
                node("Concat", ["one", "batch", "three"], ["shape"], axis=0),
                node("Expand", ["h", "shape"], ["h0"]),
                node("RNN", ["a", "V", "V", "", "", "h0"], ["", "y"], hidden_size=3),
            ],
            {
                "V": W[None],
                "h": np.ones((1, 1, 1), np.float32),
                "one": np.array([1]),
                "three": np.array([3]),
            },
            "RNN .* with an initial state in the graph that is not zero",
        ),
        (
            [TO_TIME_FIRST, node("RNN", ["a", "V", "V"], ["", "y"], hidden_size=3, clip=1.0)],
            {"V": W[None]},
            "RNN .* with clip",
        ),
        (
            [
                TO_TIME_FIRST,
                node("LSTM", ["a", "L", "L"], ["", "", "c"], hidden_size=3),
                node("Squeeze", ["c", "axis"], ["y"]),
            ],
            {"L": np.concatenate([W] * 4)[None], "axis": np.array([0])},
            "the output has no counterpart for the states of cells",
        ),
        (
            [node("Slice", ["x", "last", "end", "axis"], ["y"])],
            {"last": np.array([-1]), "end": np.array([2**60]), "axis": np.array([1])},
            "Slice .* but for the last step, or the features of one direction$",
        ),
        (
            [node("Slice", ["x", "two", "two", "two"], ["y"])],
            {"two": np.array([0, 1])},
            "Slice .* but along one axis$",
        ),
        (
            [
                node("Gather", ["x", "last"], ["h"], axis=1),
                node("Reshape", ["h", "shape"], ["r"]),
                node("Tanh", ["r"], ["y"]),
            ],
            {"last": np.array(-1), "shape": np.array([-1, 1])},
            "Reshape .* but for the axis of directions",
        ),
        (
            [node("GatherND", ["x", "steps"], ["y"], batch_dims=1)],
            {"steps": np.array([[0], [0]])},
            "GatherND .* for other steps than the last",
        ),
        (
            [node("Where", ["some", "x", "zero"], ["h"]), node("MatMul", ["h", "W"], ["y"])],
            {"some": np.array([True, False, True]), "zero": np.zeros((), np.float32), "W": W},
            "Where .* but for zeros after the lengths",
        ),
        ([node("If", ["x"], ["y"], "the_if")], {}, r"If \(the_if\) has no counterpart$"),
        (
            [node("MatMul", ["x", "W"], ["h"]), node("Transpose", ["h"], ["y"], perm=[1, 0, 2])],
            {"W": W},
            "the output has no counterpart for the axes time, batch, features",
        ),
    ],
)
def test_what_minirnn_has_not(nodes, constants, message, tmp_path):
    path = write(tmp_path / "model.onnx", nodes, **constants)
    with pytest.raises(ConversionError, match=message):
        from_onnx(path, verify=False)


def test_initial_states_that_are_not_all_inputs(tmp_path):
    info, element = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    lstm = node("LSTM", ["a", "L", "L", "", "", "h", "c"], ["", "y"], hidden_size=3)
    L, c = np.concatenate([W] * 4)[None], np.zeros((1, 1, 3), np.float32)
    inputs = [info("h", element, [1, "b", 3])]
    path = write(tmp_path / "model.onnx", [TO_TIME_FIRST, lstm], inputs, L=L, c=c)
    with pytest.raises(ConversionError, match="nor an input of it for each state"):
        from_onnx(path, verify=False)


def test_initial_states_in_the_form_of_pytorch(tmp_path, capsys):
    info, element = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    gru = node("GRU", ["a", "G", "G", "", "", "h"], ["", "s"], hidden_size=3)
    nodes = [TO_TIME_FIRST, gru, node("Squeeze", ["s", "axis"], ["y"])]
    constants = {"G": np.concatenate([W] * 3)[None], "axis": np.array([0])}
    inputs = [info("h", element, [1, "b", 3])]  # directions first, where ours is (batch, hidden)
    model = from_onnx(write(tmp_path / "model.onnx", nodes, inputs, **constants))
    assert [type(layer).__name__ for layer in model] == ["GRU", "LastState"]
    assert "in 3 runs" in capsys.readouterr().out


def test_lengths_that_no_recurrent_layer_reads_are_compared_too(tmp_path):
    lengths = onnx.helper.make_tensor_value_info("lengths", onnx.TensorProto.INT64, ["b"])
    nodes = [
        node("Shape", ["x"], ["time"], start=1, end=2),
        node("Squeeze", ["time"], ["end"]),
        node("Range", ["zero", "end", "one"], ["steps"]),
        node("Unsqueeze", ["lengths", "axis"], ["column"]),
        node("Less", ["steps", "column"], ["mask"]),
        node("Unsqueeze", ["mask", "last"], ["wide"]),
        node("Where", ["wide", "x", "none"], ["kept"]),
        node("ReduceMean", ["kept", "axis"], ["y"], keepdims=0),  # of all steps, not the valid ones
    ]
    constants = {"zero": np.array(0), "one": np.array(1), "axis": np.array([1])}
    constants |= {"last": np.array([2]), "none": np.zeros((), np.float32)}
    with pytest.raises(ConversionError, match="differ by .* mask"):
        from_onnx(write(tmp_path / "model.onnx", nodes, [lengths], **constants))


def test_a_bias_with_axes_of_its_own(tmp_path):
    nodes = [node("MatMul", ["x", "W"], ["h"]), node("Add", ["h", "b"], ["y"])]
    model = from_onnx(write(tmp_path / "model.onnx", nodes, W=W, b=W[None, :1]))
    np.testing.assert_array_equal(model.b.value, W[0])


def test_the_state_of_the_first_of_two_layers(tmp_path):
    weights = {"V": W[None], "U": 2 * W[None]}
    rnn = [
        node("RNN", ["a", "V", "V"], ["b", "h"], hidden_size=3),
        node("Squeeze", ["b", "one"], ["c"]),
        node("RNN", ["c", "U", "U"], ["d", "g"], hidden_size=3),
        node("Concat", ["h", "g"], ["both"], axis=0),
        node("Gather", ["both", "index"], ["y"], axis=0),
    ]
    constants = weights | {"one": np.array([1]), "index": np.array(0)}
    model = from_onnx(write(tmp_path / "model.onnx", [TO_TIME_FIRST, *rnn], **constants))
    assert [type(layer).__name__ for layer in model] == ["RNN", "LastState"]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        from_onnx(tmp_path / "other.onnx")


# ---------------------------------------------------------------- graphs that PyTorch exports


@pytest.fixture(scope="module")
def torch_models():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from torch import nn

    class Net(nn.Module):
        def __init__(self, kind, how, bidirectional, layers, batch_first=True):
            super().__init__()
            self.how, self.batch_first = how, batch_first
            width = 5 * (1 + bidirectional)
            self.embedding = nn.Embedding(11, 4)
            self.recurrent = kind(
                4, 5, num_layers=layers, batch_first=batch_first, bidirectional=bidirectional
            )
            self.norm, self.dense = nn.LayerNorm(width), nn.Linear(width, 3)

        def forward(self, tokens):
            y, state = self.recurrent(self.embedding(tokens))
            if self.how == "last step":
                y = y[:, -1] if self.batch_first else y[-1]
            elif self.how == "both ends":
                y = torch.cat((state[0][-2], state[0][-1]), dim=1)
            elif self.how == "largest":
                y = torch.max(y, dim=1)[0]
            elif self.how == "state":
                y = (state[0] if isinstance(state, tuple) else state)[-1]
            return torch.softmax(self.dense(torch.relu(self.norm(y))), -1)

    return torch, {
        "two lstm, both ways": Net(nn.LSTM, "last step", True, 2),
        "gru": Net(nn.GRU, "sequence", False, 2),
        "time first": Net(nn.RNN, "last step", False, 1, batch_first=False),
        "time first, sequence": Net(nn.LSTM, "sequence", True, 1, batch_first=False),
        "state": Net(nn.LSTM, "state", False, 1),
        "state of two": Net(nn.GRU, "state", False, 2),
        "both ends": Net(nn.LSTM, "both ends", True, 1),
        "largest": Net(nn.GRU, "largest", False, 1),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "two lstm, both ways",
        "gru",
        "time first",
        "time first, sequence",
        "state",
        "state of two",
        "both ends",
        "largest",
    ],
)
def test_exported_by_pytorch(torch_models, name, dynamo, tmp_path):
    if dynamo and name.startswith("time first"):
        pytest.skip("PyTorch's newer exporter writes the number of steps into the graph")
    if dynamo:
        pytest.importorskip("onnxscript", reason="PyTorch's newer exporter needs onnxscript")
    torch, networks = torch_models
    path = tmp_path / "model.onnx"
    module = networks[name].eval()
    tokens = torch.randint(0, 11, (2, 6), generator=torch.Generator().manual_seed(0))
    if dynamo:
        dims = {0: torch.export.Dim("b"), 1: torch.export.Dim("t")}
        torch.onnx.export(
            module, (tokens,), path, dynamo=True, verbose=False, dynamic_shapes=(dims,)
        )
    else:
        torch.onnx.export(
            module, (tokens,), path, dynamo=False, dynamic_axes={"x": {0: "b", 1: "t"}},
            input_names=["x"],
        )  # fmt: skip
    model = from_onnx(path)
    x = tokens.numpy() if module.batch_first else tokens.numpy().T
    y = module(tokens).detach().numpy()
    y = y.swapaxes(0, 1) if not module.batch_first and y.ndim == 3 else y
    np.testing.assert_allclose(model.predict(x), y, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True])
def test_branches_exported_by_pytorch(dynamo, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if dynamo:
        pytest.importorskip("onnxscript", reason="PyTorch's newer exporter needs onnxscript")

    class Skips(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = torch.nn.GRU(4, 4, batch_first=True)
            self.lstm = torch.nn.LSTM(4, 3, batch_first=True)
            self.dense, self.head = torch.nn.Linear(4, 3), torch.nn.Linear(6, 2)

        def forward(self, x):
            x = x + torch.relu(self.gru(x)[0])
            return self.head(torch.cat([self.lstm(x)[0], torch.tanh(self.dense(x))], dim=-1))

    x, path = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0)), tmp_path / "m.onnx"
    torch.onnx.export(Skips().eval(), (x,), path, dynamo=dynamo, input_names=["x"])
    model = from_onnx(path)
    assert [type(layer).__name__ for layer in model] == ["Residual", "Parallel", "Dense"]


def test_a_file_of_something_else(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"nonsense")
    with pytest.raises(ConversionError, match="model.onnx is not an ONNX file"):
        from_onnx(path)


def test_layers_of_two_dtypes(tmp_path):
    model = mr.Sequential([mr.Embedding(5, 3), mr.GRU(3, 4, dtype="float64")])
    with pytest.raises(ConversionError, match="give all layers the same dtype"):
        to_onnx(model, tmp_path / "model.onnx")


class NoBackward(mr.Cell):
    """A cell that is for inference only, so far."""

    def __init__(self):
        self.input_size = self.hidden_size = 3

    def forward(self, x_t, state):
        h = np.tanh(x_t + state[0])
        return h, (h,), ()

    def backward(self, grad_y, grad_state, cache):
        raise NotImplementedError


def test_the_reason_why_a_cell_cannot_be_traced(tmp_path):
    with pytest.raises(ConversionError, match="cannot be traced: NotImplementedError"):
        to_onnx(mr.Recurrent(NoBackward()), tmp_path / "model.onnx")
