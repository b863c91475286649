"""Everything says what it is: no object shows itself by its address in memory."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
import tempfile

import numpy as np

import minirnn as mr
from minirnn import callbacks, data, gradcheck, insight, schedules, tasks, testing, training
from minirnn.reprs import as_call, html_table
from tests.contract import other_things, table
from tests.contract.losses import LOSSES


def make_model():
    return mr.Sequential([mr.Embedding(5, 3, rng=0), mr.LSTM(3, 4, rng=0), mr.Dense(4, 2, rng=0)])


def make_trainer():
    model = make_model()
    optimizer = mr.Adam(model.parameters(), lambda step: 0.1, weight_decay=0.5)
    return mr.Trainer(
        model,
        mr.SoftmaxCrossEntropy(),
        optimizer,
        metrics=[mr.Accuracy()],
        callbacks=[callbacks.EarlyStopping("val_loss", patience=3), callbacks.CSVLogger("a.csv")],
        rng=0,
    )


class Encoder(mr.Layer):
    """A composite layer, and arguments that it does not keep."""

    def __init__(self, size):
        self.recurrent = mr.Bidirectional(mr.GRU(3, size, rng=0), mr.GRU(3, size, rng=0))
        self.outputs = [mr.Dense(2 * size, 2, rng=0), mr.Tanh()]


class OwnCell(mr.GRUCell):
    pass


def things():
    trainer = make_trainer()
    tokens = np.zeros((4, 3), int)
    targets = np.zeros((4, 3), int)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # for the logger's file
        trainer.fit(tokens, targets, epochs=1, validation=(tokens, targets), progress=False)
    with insight.Recorder(trainer) as record:
        trainer.train_step(tokens, targets)
    recurrent = mr.Recurrent(OwnCell(3, 4, rng=0), reverse=True)
    return [
        trainer,
        trainer.model,
        trainer.loss,
        trainer.optimizer,
        trainer.history,
        *trainer.metrics,
        *trainer.callbacks,
        callbacks.Checkpoint("run.ckpt"),
        callbacks.ReduceOnPlateau("val_loss"),
        *trainer.model.parameters()[:1],
        recurrent,
        recurrent.cell,
        Encoder(4),
        mr.Sequential([Encoder(4), recurrent]),
        mr.Dropout(0.5, rng=0),
        record,
        record["layers.1"],
        record.report(),
        record.findings(),
        data.Batches(np.ones((30, 2)), np.ones(30), batch_size=2, shuffle=True, rng=0),
        data.PaddedBatches([np.ones((3, 2))], [np.ones((3, 2))], batch_size=1),
        data.StreamBatches(np.arange(9), batch_size=2, steps=2),
        data.Vocabulary("abc"),
        schedules.Warmup(schedules.Cosine(0.1, steps=5), steps=2),
        mr.check_gradients(mr.Tanh(), np.ones((2, 3))),
    ]


def test_nothing_shows_its_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the callbacks write
    for thing in things():
        text = repr(thing)
        assert not re.search(r"at 0x|\.\.\.\)", text), text
        assert not isinstance(thing, mr.Layer) or type(thing).__name__ in text
        show = getattr(thing, "_repr_html_", None)
        if show is not None:
            assert show().startswith("<")


def test_a_repr_is_the_call_that_makes_the_object():
    assert repr(mr.Recurrent(mr.GRUCell(3, 4), reverse=True)) == (
        "Recurrent(cell=GRUCell(input_size=3, hidden_size=4), reverse=True)"
    )
    assert repr(Encoder(4)) == (
        "Encoder(\n"
        "    recurrent=Bidirectional(\n"
        "        forward_layer=GRU(input_size=3, hidden_size=4),\n"
        "        backward_layer=GRU(input_size=3, hidden_size=4, reverse=True),\n"
        "    ),\n"
        "    outputs=[Dense(input_size=8, output_size=2), Tanh()],\n"
        ")"
    )
    model = make_model()
    rate = schedules.Constant(0.1)
    assert repr(mr.SGD(model.parameters(), rate, momentum=0.9)) == (
        "SGD(learning_rate=Constant(rate=0.1), momentum=0.9)"
    )


def instances():
    """An object of every public class."""
    layers = [case.make(2, np.float32) for case in [*table.LAYERS, *table.CELLS]]
    losses = [*(case.make() for case in LOSSES), mr.CTCLoss()]
    metrics = [metric for metric, _ in other_things.METRICS]
    model, rate = make_model(), schedules.Constant(0.1)
    trainer = mr.Trainer(model, mr.SoftmaxCrossEntropy(), mr.SGD(model.parameters(), rate), rng=0)
    tokens = np.zeros((4, 3), int)
    with insight.Recorder(mr.Sequential([mr.Tanh()])) as record:
        record.model.forward(np.ones((2, 3)))
    return [
        *things(),
        *record.activations.values(),
        *layers,
        *(part for layer in layers for _, part in layer.named_layers()),
        *losses,
        *metrics,
        *other_things.OPTIMIZERS,
        *other_things.CALLBACKS,
        mr.Attention(2, 3, score="additive"),
        mr.EncoderDecoder(mr.Sequential([mr.GRU(2, 3)]), mr.Sequential([mr.GRU(2, 3)])),
        mr.ParameterGroup(model.parameters(), rate_factor=0.1),
        mr.WeightAverage(model.parameters(), decay=0.9),
        data.Scaler(),
        data.Scaler().fit(np.ones((3, 2))),
        training.find_learning_rate(trainer, tokens, tokens, steps=5),
        testing.check_layer(mr.Tanh(), np.ones((2, 3))),
        rate,
        schedules.StepDecay(0.1, every=5),
        schedules.Piecewise([0.1, 0.2], [5]),
        schedules.Exponential(0.1, steps=5),
        schedules.Polynomial(0.1, steps=5),
        schedules.WarmRestarts(0.1, steps=5),
        schedules.OneCycle(0.1, steps=5),
        schedules.Join([rate, rate], [5]),
        schedules.Product([rate, lambda step: 0.5]),
    ]


def test_no_public_class_shows_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = {type(thing): repr(thing) for thing in instances()}
    assert [text for text in shown.values() if " at 0x" in text] == []
    modules = [mr, callbacks, schedules, data, insight, training, testing, tasks, gradcheck]
    public = [getattr(module, name) for module in modules for name in module.__all__]
    bases = {mr.Layer, mr.Cell, mr.Loss, mr.Metric, mr.Optimizer, callbacks.Callback}
    left_out = {
        kind
        for kind in filter(inspect.isclass, public)
        if kind not in bases | set(shown)
        and not issubclass(kind, Exception | tuple)  # these show their fields
        and not dataclasses.is_dataclass(kind)
    }
    assert left_out == set()


def test_what_is_shown_of_an_argument():
    class Thing:
        def __init__(self, *parts, size=3, function=None, rng=None, path=None):
            self.parts, self.size, self.function = parts, size, function
            self.rng, self.path = rng, path

        __repr__ = as_call

    assert repr(Thing()) == "Thing()"
    thing = Thing(np.ones((3, 2)), object(), size=0.5, function=np.mean, rng=0)
    assert repr(thing) == "Thing(array(shape=(3, 2)), object(...), size=0.5, function=mean)"
    assert repr(Thing({"a": (1,)}, list(range(20)))) == "Thing({'a': (1,)}, list of 20)"


def test_a_table_of_html_escapes_what_it_is_given():
    table = html_table(["name", "value"], [["<b>", 1234.5678]], title="x & y")
    assert "&lt;b&gt;" in table
    assert "x &amp; y" in table
    assert "1,234.57" in table
