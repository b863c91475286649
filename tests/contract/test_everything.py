"""Everything public keeps its contract, as `minirnn.testing.check_layer` tells it to users."""

import sys

import numpy as np
import pytest

import minirnn as m
from minirnn.testing import check_layer
from tests.contract import losses, other_things, table

X_T = np.random.default_rng(0).normal(size=(2, table.INPUT))


def name(value):
    return str(value) if hasattr(value, "make") else type(value).__name__


def sound(report):
    """Our own things take no advice."""
    assert report.passed
    assert report.advice == ()
    return report


# Layers over a cell, and nothing else, are checked with the cell; those of the built-in cells in
# reverse are `RNN`, `LSTM` and `GRU` in reverse, further down in the table.
WITH_THE_CELL = {f"Recurrent {case.name}" for case in table.CELLS}
WITH_THE_CELL |= {
    f"Recurrent {case.name} reverse" for case in table.CELLS if not case.name.startswith("own ")
}
LAYERS = [case for case in table.LAYERS if case.name not in WITH_THE_CELL]


@pytest.mark.parametrize("case", LAYERS, ids=name)
def test_layers(case):
    sound(check_layer(case.make(2, np.float32), case.input(2, 3)))


@pytest.mark.parametrize("case", table.CELLS, ids=name)
def test_cells(case):
    report = check_layer(case.make(2, np.float32), X_T)
    assert report.passed
    # cells of a user's own look at nothing themselves, the layer over them does
    assert report.advice == () or case.name.startswith("own ")


@pytest.mark.parametrize("case", losses.LOSSES, ids=name)
@pytest.mark.parametrize("shape", [(3,), (3, 4)], ids=str)
def test_losses(case, shape):
    sound(check_layer(case.make(), *case.draw(shape)))


def test_ctc():
    report = check_layer(m.CTCLoss(), _drawn(3, 6, 4), np.array([[1, 2], [3, 3], [2, 1]]))
    assert sound(report).skipped.keys() == {"padding", "broadcasting"}


@pytest.mark.parametrize(("metric", "inputs"), other_things.METRICS, ids=name)
def test_metrics(metric, inputs):
    report = check_layer(metric, *inputs)
    assert report.passed
    assert report.advice == () or metric.higher_is_better is None


@pytest.mark.parametrize("optimizer", other_things.OPTIMIZERS, ids=repr)
def test_optimizers(optimizer):
    sound(check_layer(optimizer))


@pytest.mark.parametrize("callback", other_things.CALLBACKS, ids=name)
def test_callbacks(callback, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", other_things)  # with its SummaryWriter
    sound(check_layer(callback))


KEYS_MASK = np.array([[True, True, True, False], [True, True, False, False]])


def _drawn(*shape):
    return np.random.default_rng(1).normal(size=shape)


def _translator(attention):
    encoder = m.Sequential([m.Embedding(4, 2, rng=0), m.GRU(2, 2, rng=1)])
    decoder = [m.Embedding(5, 1, rng=2), m.GRU(1, 2, rng=3)]
    if attention:
        return m.EncoderDecoder(encoder, [*decoder, m.Dense(4, 3, rng=4)], m.Attention(2, 2))
    return m.EncoderDecoder(encoder, m.Sequential([*decoder, m.Dense(2, 3, rng=4)]))


SOURCE_AND_TARGET = np.array([[1, 2, 3, 0], [3, 3, 1, 2]]), np.array([[0, 4, 1], [0, 2, 2]])
SEVERAL_INPUTS = [
    (m.Attention(3, 3), (_drawn(2, 5, 3), _drawn(2, 4, 3)), KEYS_MASK),
    (m.Attention(2, 3, score="general", rng=0), (_drawn(2, 5, 2), _drawn(2, 4, 3)), KEYS_MASK),
    (
        m.Attention(2, 3, score="additive", rng=0),
        (_drawn(2, 5, 2), _drawn(2, 4, 3), _drawn(2, 4, 6)),
        KEYS_MASK,
    ),
    (_translator(attention=False), (SOURCE_AND_TARGET,), (KEYS_MASK, None)),
    (_translator(attention=True), (SOURCE_AND_TARGET,), (KEYS_MASK, None)),
]


@pytest.mark.parametrize(("layer", "inputs", "mask"), SEVERAL_INPUTS, ids=name)
def test_layers_of_several_inputs(layer, inputs, mask):
    sound(check_layer(layer, *inputs, mask=mask))


def test_nothing_public_is_left_out():
    layers = [case.make(2, np.float32) for case in [*table.LAYERS, *table.CELLS]]
    parts = {type(part) for layer in layers for _, part in layer.named_layers()}
    parts |= {type(layer) for layer, _, _ in SEVERAL_INPUTS}
    checked = parts | {m.CTCLoss} | {type(case.make()) for case in losses.LOSSES}
    checked |= {type(metric) for metric, _ in other_things.METRICS}
    checked |= {type(optimizer) for optimizer in other_things.OPTIMIZERS}
    checked |= {type(callback) for callback in other_things.CALLBACKS}
    for kind in (m.Layer, m.Loss, m.Metric, m.Optimizer):
        assert other_things.public(kind) <= checked
    hooked = {one for one in other_things.public(object) if hasattr(one, "on_epoch_end")}
    assert hooked <= checked
