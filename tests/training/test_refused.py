"""Files that no run can go on from: refused with a reason, and the trainer is as it was."""

from __future__ import annotations

import io
import re
import zipfile
from functools import partial

import numpy as np
import pytest

from minirnn import (
    GRU,
    LSTM,
    RNN,
    SGD,
    Accuracy,
    Adam,
    Bidirectional,
    CheckpointError,
    Dense,
    Dropout,
    Embedding,
    FunctionMetric,
    Huber,
    LastState,
    LastStep,
    MeanSquaredError,
    ParameterGroup,
    Perplexity,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
)
from minirnn.callbacks import Callback, EarlyStopping, ReduceOnPlateau
from minirnn.files import read_tree, write_tree
from tests.training.hostile import checkpoint, leaf, safetensors, tensor
from tests.training.runs import assert_same, everything


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


def trainer_of(layers=None, optimizer=Adam, **options) -> Trainer:
    if layers is None:
        layers = [
            Embedding(6, 3, rng=0),
            LSTM(3, 4, stateful=True, rng=1),
            Dropout(0.5, rng=2),
            LastStep(),
            Dense(4, 2, rng=3),
        ]
    model = Sequential(layers)
    options.setdefault("metrics", [Accuracy()])
    options.setdefault("callbacks", [EarlyStopping("loss", patience=2)])
    return Trainer(
        model, SoftmaxCrossEntropy(), optimizer(model.parameters(), 0.1), rng=0, **options
    )


def trained(trainer: Trainer, epochs: int = 2) -> Trainer:
    x = np.random.default_rng(0).integers(0, 6, (6, 5))
    trainer.fit(x, x[:, 0] % 2, epochs=epochs, batch_size=2, shuffle=False, progress=False)
    return trainer


def whole_state(trainer: Trainer) -> dict:
    """Return what a file has, and also what no file has: for comparison."""
    layers = [layer for _, layer in trainer.model.named_layers()]
    return everything(trainer) | {
        "states": [getattr(layer, "state", None) for layer in layers],
        "modes": [layer.training for layer in layers],
        "gradients": [parameter.grad.copy() for parameter in trainer.model.parameters()],
        "resumed": trainer.resumed,
        "objects": [id(trainer.history), id(trainer.position), id(trainer.averages)],
        "averages of": [id(metric) for metric in trainer.averages.metrics],
    }


def refused(trainer: Trainer, path, message: str) -> None:
    before = whole_state(trainer)
    with pytest.raises(CheckpointError, match=message) as caught:
        trainer.resume(path)
    assert str(path) in str(caught.value)
    assert_same(whole_state(trainer), before)


# ---------------------------------------------------------------- no checkpoint at all


def zipped(**entries: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive_:
        for name, data in entries.items():
            archive_.writestr(name.replace("_", "."), data)
    return file.getvalue()


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


FOREIGN = {
    "nothing": (b"", "is empty"),
    "text": (b"loss,accuracy\n1,2\n", "is not a minirnn checkpoint"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(50), "is not a minirnn checkpoint"),
    "array": (npy(np.arange(3)), "is not a minirnn checkpoint"),
    "arrays": (zipped(x_npy=npy(np.arange(3))), "is not a minirnn checkpoint"),
    "zip": (zipped(notes_txt=b"hello"), "is not a minirnn checkpoint"),
    "other json": (safetensors(b"[1]"), "is not a minirnn checkpoint"),
    "no json": (safetensors(b"\xff{"), "is truncated or corrupted"),
    "weights": (safetensors(b"{}"), "holds weights alone"),
    "future": (checkpoint(b"{}", version="6"), r"another version .*format 6; this one reads 5"),
    "bomb": (checkpoint(b"[" + b"[]," * 2_000_000 + b"0]"), "of JSON that would take"),
    "claim": (
        checkpoint(leaf("x"), tensor("x", "F64", [10**12], [0, 8 * 10**12])),
        "the data of x are not where they should be",
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_and_future_files(kind, path):
    data, message = FOREIGN[kind]
    path.write_bytes(data)
    refused(trained(trainer_of()), path, message)


def test_a_file_that_is_not_there(path):
    trainer = trained(trainer_of())
    before = whole_state(trainer)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*run\.safetensors"):
        trainer.resume(path)
    assert_same(whole_state(trainer), before)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95, 0.999])
def test_a_truncated_file(share, path):
    trained(trainer_of()).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    refused(trained(trainer_of(), epochs=3), path, "is truncated or corrupted")


# ---------------------------------------------------------------- that of another trainer


def test_another_architecture_lists_names_and_shapes(path):
    trained(trainer_of()).save(path)
    layers = [Embedding(6, 5), LSTM(5, 4), LastStep(), Dense(4, 2)]
    trainer = trainer_of(layers)
    refused(trainer, path, "does not fit this trainer, which is as it was")
    with pytest.raises(CheckpointError) as caught:
        trainer.resume(path)
    for line in (
        "missing: layers.3.W (4, 2)",
        "missing: layers.3.b (2,)",
        "unexpected: layers.4.W",
        "unexpected: layers.4.b",
        "misshapen: layers.0.W should be (6, 5), got (6, 3)",
        "misshapen: layers.1.cell.Wx should be (5, 16), got (3, 16)",
    ):
        assert line in str(caught.value)


def layers_with(recurrent, *others, last=LastStep):
    return [Embedding(6, 3), recurrent, *others, last(), Dense(recurrent.output_size, 2)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": SGD}, "the file has optimizer Adam, the trainer SGD"),
        ({"metrics": []}, r"the file has metrics \['accuracy'\], the trainer \[\]"),
        ({"metrics": [Perplexity()]}, r"\['accuracy'\], the trainer \['perplexity'\]"),
        ({"callbacks": []}, r"callbacks \['EarlyStopping'\], the trainer \[\]"),
        (
            {"callbacks": [ReduceOnPlateau("loss"), EarlyStopping("loss")]},
            r"callbacks \['EarlyStopping'\], the trainer \['ReduceOnPlateau', 'EarlyStopping'\]",
        ),
        ({"layers": layers_with(GRU(3, 4), Dropout(0.5))}, "misshapen: layers.1.cell.Wx"),
        (
            {
                "layers": layers_with(
                    Bidirectional(LSTM(3, 4), LSTM(3, 4)), Dropout(0.5), last=LastState
                )
            },
            "missing: layers.1.forward_layer.cell.Wx",
        ),
        (
            {
                "layers": layers_with(
                    LSTM(3, 4, stateful=True),
                    Dropout(0.5, rng=np.random.Generator(np.random.MT19937(0))),
                )
            },
            "the generator layers.2.rng was a PCG64, now it is a MT19937",
        ),
    ],
    ids=str,
)
def test_built_otherwise(options, message, path):
    trained(trainer_of()).save(path)
    refused(trainer_of(**options), path, message)


def square(*, loss=None, order=slice(None), dtype=np.float32) -> Trainer:
    """Return a trainer over two layers of the same size."""
    model = Sequential([Dense(3, 3, rng=0, dtype=dtype), Dense(3, 3, rng=1, dtype=dtype)])
    return Trainer(model, loss or MeanSquaredError(), SGD(model.parameters()[order], 0.1), rng=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": Huber()}, "the file has loss MeanSquaredError, the trainer Huber"),
        ({"dtype": np.float64}, "parameter layers.0.W of dtype float32, the trainer float64"),
        ({"order": slice(None, None, -1)}, r"in its optimizer \['layers.0.W', .*the trainer"),
        ({"order": slice(2)}, "in its optimizer"),
    ],
)
def test_another_loss_dtype_or_order_where_every_shape_fits(options, message, path):
    square().save(path)
    square().resume(path)
    refused(square(**options), path, message)


def adam(parameters, rate=0.1, **options):
    return Adam(parameters, rate, **{"betas": (0.9, 0.99), "clip_norm": 1.0, **options})


def small(layer=None, loss=None, optimizer=adam, metric=None) -> Trainer:
    """Return a trainer whose parts have settings."""
    model = Sequential([layer or RNN(3, 4, rng=0), LastStep(), Dense(4, 3, rng=1)])
    return Trainer(
        model,
        loss or Huber(1.0),
        optimizer(model.parameters()),
        metrics=[metric or FunctionMetric(np.mean, name="mean", higher_is_better=True)],
        callbacks=[EarlyStopping("loss", patience=2)],
        rng=0,
    )


def weighted(*weights, **options):
    return SoftmaxCrossEntropy(class_weight=list(weights), **options)


def slow_first(parameters, factor=0.1):
    return Adam([ParameterGroup(parameters[:2], rate_factor=factor), *parameters[2:]], 0.1)


@pytest.mark.parametrize(
    ("one", "two", "message"),
    [
        ({}, {"loss": Huber(2.0)}, "Huber with delta 1.0, the trainer 2.0; to go on with another"),
        (
            {"loss": weighted(1, 2, 3)},
            {"loss": weighted(1, 2, 4)},
            r"with class_weight \[1.0, 2.0, 3.0\], the trainer \[1.0, 2.0, 4.0\]",
        ),
        (
            {"loss": weighted(1, 2, 3)},
            {"loss": weighted(1, 2, 3, label_smoothing=0.1)},
            "with label_smoothing 0.0, the trainer 0.1",
        ),
        (
            {"loss": SoftmaxCrossEntropy()},
            {"loss": SoftmaxCrossEntropy(ignore_class=0)},
            "with ignore_class None, the trainer 0",
        ),
        ({}, {"optimizer": partial(adam, betas=(0.8, 0.99))}, r"Adam with betas \[0.9, 0.99\]"),
        ({}, {"optimizer": partial(adam, clip_norm=None)}, "with clip_norm 1.0, the trainer None"),
        ({}, {"optimizer": partial(adam, weight_decay=0.1)}, "with weight_decay 0.0, the trainer"),
        (
            {"optimizer": slow_first},
            {"optimizer": partial(slow_first, factor=0.2)},
            r"groups of parameters \[.*\[0.1, None\].*the trainer \[.*\[0.2, None\]",
        ),
        ({}, {"layer": RNN(3, 4, activation="relu")}, "with activation tanh, the trainer relu"),
        (
            {"layer": Sequential([Dense(3, 4, rng=0), Tanh()])},
            {"layer": Sequential([Dense(3, 4, rng=0), ReLU()])},
            "as layers.0.layers.1 Tanh, the trainer ReLU",
        ),
    ],
)
def test_settings_that_the_numbers_depend_on(one, two, message, path):
    small(**one).save(path)
    refused(small(**two), path, message)


def test_dropout_that_is_missing_is_named(path):
    """Parameters alike, yet the rest of the run would not be the same."""
    one = [Dense(6, 4), Dropout(0.5), Dense(4, 2)]
    two = [Dense(6, 4), LastStep(), Dense(4, 2)]
    trainer_of(one).save(path)
    refused(trainer_of(two), path, r"random generators \['layers.1.rng'\], the trainer \[\]")


@pytest.mark.parametrize("entry", ["averages", "history", "callbacks", "position", "optimizer"])
def test_an_entry_that_makes_no_sense_changes_nothing(entry, path):
    trained(trainer_of()).save(path)
    write_tree(path, read_tree(path) | {entry: ["nonsense"]})
    refused(trained(trainer_of(), epochs=1), path, "does not fit this trainer")


class Unwilling(Callback):
    """A callback that does not take its state back."""

    def state_dict(self):
        return {"kind": "willing"}

    def load_state_dict(self, state):
        if state["kind"] == "willing":
            raise ValueError("not this one")


def test_a_callback_that_does_not_take_its_state_is_named(path):
    trained(trainer_of(callbacks=[Unwilling()])).save(path)
    trainer = trainer_of(callbacks=[Unwilling()])
    with pytest.raises(CheckpointError, match=re.escape("callback Unwilling: not this one")):
        trainer.resume(path)
    assert trainer.epoch == 0


def test_settings_that_may_change(path):
    """The learning rate, what callbacks do, and what runs the cells."""
    small().save(path)
    other = small(layer=RNN(3, 4, rng=0, engine="off"), optimizer=partial(adam, rate=lambda k: 0.5))
    other.callbacks[0].patience = 7
    other.resume(path)
    assert other.optimizer.current_learning_rate() == 0.5


class Interrupted(Callback):
    """A callback during whose load_state_dict Ctrl-C is pressed until it is heard."""

    def state_dict(self):
        return {"epochs": 2}

    def load_state_dict(self, state):
        raise KeyboardInterrupt


def test_a_resume_that_is_interrupted_leaves_the_trainer_as_it_was(path):
    trained(trainer_of(callbacks=[Interrupted()])).save(path)
    trainer = trained(trainer_of(callbacks=[Interrupted()]), epochs=1)
    before = whole_state(trainer)
    with pytest.raises(KeyboardInterrupt):
        trainer.resume(path)
    assert_same(whole_state(trainer), before)


def test_a_refused_file_does_not_disturb_the_run(path):
    """Train, be refused, train on: as if the file had never been tried."""
    path.write_bytes(b"nothing of the kind")
    one, two = trained(trainer_of()), trained(trainer_of())
    with pytest.raises(CheckpointError):
        one.resume(path)
    assert_same(everything(trained(one)), everything(trained(two)))
