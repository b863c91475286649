"""Whole models in files: every public layer comes back, and a stranger's file builds nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import minirnn as m
from minirnn.cells import Cell
from minirnn.data import Scaler, Vocabulary
from minirnn.files.safetensors import MODEL, read_safetensors, write_safetensors
from tests.training.hostile import damaged
from tests.training.runs import assert_same

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
TOKENS = np.array([[0, 1, 2], [3, 4, 5]])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture(autouse=True)
def without_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


class Highway(m.Layer):
    """A layer of a user's, around another."""

    def __init__(self, size, layer, names=("a", "b"), *, scale=1.0):
        self.size, self.layer, self.names, self.scale = size, layer, names, scale
        self.gate = m.Parameter(np.full(size, 0.5, np.float32))

    def forward(self, x):
        return self.scale * self.gate.value * self.layer.forward(x)


class Decay(Cell):
    """A cell of a user's."""

    def __init__(self, size):
        self.input_size = self.hidden_size = self.output_size = self.size = size
        self.a = m.Parameter(np.full(size, 0.9, np.float32))

    def initial_state(self, batch_size):
        return (np.zeros((batch_size, self.size), np.float32),)

    def forward(self, x_t, state):
        h = self.a.value * state[0] + x_t
        return h, (h,), None


def translator():
    encoder = m.Sequential([m.Embedding(6, 3, rng=0), m.GRU(3, 4, rng=1)])
    decoder = m.Sequential([m.Embedding(6, 3, rng=2), m.GRU(3, 4, rng=3), m.Dense(4, 6, rng=4)])
    return m.EncoderDecoder(encoder, decoder)


MODELS = {
    "Dense": lambda: m.Dense(4, 2, bias=False, rng=0, dtype=np.float64),
    "Embedding": lambda: m.Embedding(6, 4, rng=0),
    "Dropout": lambda: m.Dropout(0.3, shared_over_time=True),
    "LayerNorm": lambda: m.LayerNorm(4, epsilon=1e-3),
    "LeakyReLU": lambda: m.LeakyReLU(0.2),
    "ELU": lambda: m.ELU(0.7),
    "RNN": lambda: m.RNN(4, 3, activation="relu", reverse=True, rng=0),
    "LSTM": lambda: m.LSTM(4, 3, forget_bias=2.0, stateful=True, rng=0),
    "GRU": lambda: m.GRU(4, 3, reset_after=False, rng=0, dtype=np.float64),
    "Recurrent": lambda: m.Recurrent(m.LSTMCell(4, 3, forget_bias=0.5, rng=0), reverse=True),
    "RNNCell": lambda: m.Recurrent(m.RNNCell(4, 3, activation="sigmoid", rng=0)),
    "LSTMCell": lambda: m.Recurrent(m.LSTMCell(4, 3, rng=0)),
    "GRUCell": lambda: m.Recurrent(m.GRUCell(4, 3, reset_after=False, rng=0)),
    "Bidirectional": lambda: m.Bidirectional(m.LSTM(4, 3, rng=0), m.GRU(4, 2, rng=1)),
    "StateDropout": lambda: m.StateDropout(m.LSTM(4, 3, rng=0), 0.4, weights=("Wh", "Wx")),
    "Sequential": lambda: m.Sequential(
        [m.GRU(4, 3, rng=0), m.Sequential([m.Dense(3, 5, rng=1), m.ReLU()]), m.LastStep()]
    ),
    "Residual": lambda: m.Residual(m.GRU(4, 4, rng=0)),
    "Parallel": lambda: m.Parallel([m.GRU(4, 3, rng=0), m.Dense(4, 3, rng=1)], merge="sum"),
    "EncoderDecoder": translator,
    "Attention": lambda: m.Attention(4, 3, score="additive", rng=0),
    "Highway": lambda: Highway(2, m.Dense(4, 2, rng=0), ("x", "y"), scale=2.0),
    "Decay": lambda: m.Recurrent(Decay(4)),
}
OWN = (Highway, Decay)


def public_layers() -> set[str]:
    found = {name for name in m.__all__ if isinstance(getattr(m, name), type)}
    return {n for n in found if issubclass(getattr(m, n), m.Layer)} - {"Layer", "Cell"}


@pytest.mark.parametrize("name", sorted({*MODELS, *public_layers()}))
def test_round_trip(name, path):
    """A new public layer with arguments goes into MODELS."""
    model = MODELS[name]() if name in MODELS else getattr(m, name)()
    rng = np.random.default_rng(7)
    for parameter in model.parameters():
        parameter.value = rng.standard_normal(parameter.shape)
    m.save(model, path)
    again = m.load(path, classes=OWN)
    assert type(again) is type(model)
    assert repr(again) == repr(model)
    assert_same(again.state_dict(), model.state_dict())
    if name not in ("Attention", "EncoderDecoder", "LastState"):
        x = TOKENS if name == "Embedding" else X
        assert_same(again.eval().forward(x), model.eval().forward(x))
    for _, layer in again.named_layers():
        for value in vars(layer).values():
            assert not isinstance(value, np.random.Generator) or type(value) is np.random.Generator


def test_it_can_be_trained_on(path):
    model = m.Sequential([m.GRU(4, 3, rng=0), m.Dropout(0.5, rng=0), m.Dense(3, 2, rng=1)])
    m.save(model, path)
    again = m.load(path)
    trainer = m.Trainer(again, m.SoftmaxCrossEntropy(), m.Adam(again.parameters(), 0.1))
    trainer.fit(X, (X[..., 0] > 0).astype(int), epochs=2, progress=False)


def test_a_layer_that_was_made_with_an_array(path):
    class Centred(m.Layer):
        def __init__(self, mean):
            self.mean = mean

        def forward(self, x):
            return x - self.mean

    model = m.Sequential([Centred(np.linspace(0, 1, 4)), m.Dense(4, 2, rng=0)])
    m.save(model, path)
    assert_same(m.load(path, classes=[Centred]).predict(X), model.predict(X))


def test_a_program_that_has_asked_for_nothing_else_yet(path):
    program = f"""
import minirnn
from minirnn.layers import Dense
minirnn.save(Dense(2, 3), {str(path)!r})
print(minirnn.load({str(path)!r}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.startswith("Dense(input_size=2, output_size=3"), done.stderr


def test_nothing_is_built_where_a_later_class_is_unknown(path, monkeypatch):
    m.save(m.Sequential([Highway(4, m.Dense(4, 4, rng=0)), m.Recurrent(Decay(4))]), path)
    made = []
    monkeypatch.setattr(Highway, "__init__", lambda *args, **options: made.append(args))
    with pytest.raises(m.CheckpointError, match=r"names Decay, .* classes=\[Decay\]"):
        m.load(path, classes=[Highway])
    assert not made
    with pytest.raises(m.CheckpointError, match=r"names Decay, Highway, .*\[Decay, Highway\]"):
        m.load(path)


def test_shared_weights_stay_shared(path):
    one, two = m.Dense(4, 4, rng=0), m.Dense(4, 4, rng=1)
    two.W = one.W
    model = m.Sequential([one, m.Tanh(), two])
    m.save(model, path)
    again = m.load(path)
    assert again[0].W is again[2].W
    assert again[0].b is not again[2].b
    assert_same(again.predict(X), model.predict(X))


def test_a_parameter_that_a_layer_was_given_later_is_refused(path):
    model = m.Sequential([m.Dense(4, 4, rng=0), m.Tanh()])
    model[1].W = model[0].W  # shared, by a layer that has none of its own
    with pytest.raises(ValueError, match=r"changed after it was made\? layers\.1\.W is no param"):
        m.save(model, path)
    assert not path.exists()


def test_extras(path):
    scaler = Scaler().fit(X)
    extras = {
        "vocabulary": Vocabulary("añ✓\n"),
        "scaler": scaler,
        "rate": 0.1,
        "notes": {"scores": [1, 2.5, None, True], "text": "é"},
        "table": np.linspace(0, 1, 5),
    }
    m.save(m.Dense(4, 2), path, **extras)
    again = m.load(path)
    assert set(again.extras) == set(extras)
    assert again.extras["vocabulary"].characters == "añ✓\n"
    assert_same(again.extras["scaler"].transform(X), scaler.transform(X))
    assert again.extras["notes"] == extras["notes"]
    np.testing.assert_array_equal(again.extras["table"], extras["table"])
    m.save(again, path, rate=0.2)
    assert m.load(path).extras["rate"] == 0.2
    assert m.load(path).extras["vocabulary"].characters == "añ✓\n"


def test_others_read_the_weights_and_load_takes_them(path):
    model = m.Sequential([m.Dense(4, 2, rng=0)])
    m.save(model, path)
    arrays, metadata = read_safetensors(path, MODEL)
    assert set(arrays) == {"model.layers.0.W", "model.layers.0.b"}
    assert json.loads(metadata["content"])["model"]["minirnn.class"] == "Sequential"


# ---------------------------------------------------------------- what cannot be saved


class Forgetful(m.Layer):
    def __init__(self, size):
        self.n = size


class Wild(m.Layer):
    def __init__(self, function):
        self.function = function


class Dense(m.Layer):
    """Of the name of one of ours."""


@pytest.mark.parametrize(
    ("model", "extras", "kind", "message"),
    [
        (Forgetful(3), {}, TypeError, "model .Forgetful. does not keep its argument 'size'; write"),
        (Wild(np.tanh), {}, TypeError, "model/function is a ufunc, which a file cannot hold"),
        (Dense(), {}, ValueError, "two classes named Dense: rename yours"),
        (m.ReLU(), {"a": {1: 2}}, TypeError, "extras/a has the key 1, which is not a str"),
        (np.ones(3), {}, TypeError, "save: model should be a Layer, got ndarray"),
        (m.ReLU(), {"a": {1, 2}}, TypeError, "extras/a is a set, which a file cannot hold"),
        (m.ReLU(), {"a": m.ReLU()}, TypeError, "extras/a is a ReLU, which a file cannot hold"),
        (m.ReLU(), {"a": np.arange(3)}, TypeError, "extras/a is a ndarray, which a file cannot"),
    ],
)
def test_what_cannot_be_saved(model, extras, kind, message, path):
    with pytest.raises(kind, match=message):
        m.save(model, path, **extras)
    assert not path.exists()


def test_a_layer_that_was_changed_after_it_was_made(path):
    model = m.Dense(4, 2)
    model.W = m.Parameter(np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"(?s)cannot be built again .*W should be \(4, 2\), got"):
        m.save(model, path)
    model.W = m.Parameter(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="cannot be built again .* its b is of another dtype"):
        m.save(model, path)
    assert not path.exists()


# ---------------------------------------------------------------- files from strangers


def node(name, **arguments):
    return {"minirnn.class": name, "arguments": arguments}


def write(path, model, arrays=None, *, shared=(), extras=None, **metadata):
    content = {"model": model, "shared": list(shared), "extras": extras or {}}
    metadata = {
        "format": "minirnn model",
        "version": "1",
        "content": json.dumps(content),
    } | metadata
    write_safetensors(path, arrays or {}, metadata)


W, B = np.zeros((4, 2), np.float32), np.zeros(2, np.float32)
DENSE = {"model.W": W, "model.b": B}
RIGHT = node("Dense", input_size=4, output_size=2)
HOSTILE = {
    "a module's function": (node("os.system", command="true"), DENSE, "names os.system, not among"),
    "a builtin": (node("eval", source="1"), DENSE, "names eval, not among"),
    "an own class": (node("Highway", size=2, layer=RIGHT), DENSE, r"classes=\[Highway\]"),
    "no layer": (node("Vocabulary", characters="ab"), {}, "its model is no layer"),
    "text": ("Dense", {}, "its model is no layer"),
    "huge": (node("Dense", input_size=10**7, output_size=10**7), DENSE, "larger than the weights"),
    "huge and thin": (node("LayerNorm", size=10**12), {}, "larger than the weights"),
    "huge bias": (node("Dense", input_size=1, output_size=10**12), DENSE, "larger than the weigh"),
    "huge recurrent": (node("LSTM", input_size=1, hidden_size=10**6), DENSE, "larger than the we"),
    "many": (
        node("Sequential", layers=[node("Dense", input_size=30, output_size=30)] * 1000), DENSE,
        "larger than the weights",
    ),
    "negative": (node("Dense", input_size=-4, output_size=2), DENSE, "should be at least 1"),
    "unknown argument": (node("Dense", inputs=4), DENSE, "Dense has no argument 'inputs'"),
    "a generator": (node("Dropout", rate=0.5, rng=[1]), {}, "Dropout has no argument 'rng'"),
    "missing argument": (node("Dense", input_size=4), DENSE, "missing 1 required positional"),
    "wrong kind": (node("Dense", input_size="4", output_size=2), DENSE, "should be a whole number"),
    "no arguments": ({"minirnn.class": "Dense"}, DENSE, "holds no complete model"),
    "a list of classes": ({"minirnn.class": ["Dense"], "arguments": {}}, DENSE, r"names "),
    "weights missing": (RIGHT, {"model.W": W}, r"missing: b \(2,\)"),
    "weights too many": (RIGHT, DENSE | {"model.c": B}, "unexpected: c"),
    "weights misshapen": (RIGHT, {"model.W": W.T, "model.b": B}, r"W should be \(4, 2\)"),
    "another dtype": (RIGHT, {"model.W": W.astype(float), "model.b": B}, "another dtype"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_strangers_architecture(kind, path):
    model, arrays, message = HOSTILE[kind]
    write(path, model, arrays)
    with pytest.raises(m.CheckpointError, match=message) as caught:
        m.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"shared": [["W", "nowhere.W"]]},
        {"shared": [["W"], []]},
        {"shared": [[".W", ".b"]]},
        {"shared": [[".W", ".forward"]]},
        {"extras": {"a": node("Dense", input_size=10**9, output_size=10**9)}},
        {"extras": {"a": {"minirnn.array": "nowhere"}}},
        {"content": "["},
        {"content": "[" * 100_000},
        {"content": "{}"},
        {"version": "2"},
        {"format": "minirnn"},
    ],
    ids=lambda options: ", ".join(options),
)
def test_a_strangers_other_contents(options, path):
    write(path, RIGHT, DENSE, **options)
    with pytest.raises(m.CheckpointError):
        m.load(path)


def test_damaged_anywhere(path):
    m.save(m.Dense(1, 1, rng=0), path, rate=0.5)
    model, accepted = m.load(path), 0
    for what in damaged(path):
        try:
            again = m.load(path)
        except m.CheckpointError:
            continue
        accepted += 1
        assert what.startswith("bit")
        assert_same(again.state_dict(), model.state_dict())
        assert again.extras == model.extras
    assert accepted < 200, "only in the name of the checksum, and what texts about the file say"


def test_other_files(path):
    model = m.Dense(4, 2)
    model.save(path)
    with pytest.raises(
        m.CheckpointError, match="weights alone, and no architecture: build the mod"
    ):
        m.load(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        m.load(path.with_name("nowhere"))
    with pytest.raises(TypeError, match="classes should be classes, got a Dense"):
        m.load(path, classes=[model])
    with pytest.raises(TypeError, match=r"classes go in a list: write classes=\[Dense\]"):
        m.load(path, classes=m.Dense)
    m.save(model, path)
    with pytest.raises(
        m.CheckpointError, match=r"holds a complete model, .* with minirnn.load\(path"
    ):
        model.load(path)
    with pytest.raises(TypeError, match="Dense is the name of a class of minirnn"):
        m.load(path, classes=[Dense])
