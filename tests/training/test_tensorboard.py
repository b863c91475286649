"""What the TensorBoard callback writes."""

import struct

import numpy as np
import pytest

from minirnn import RNN, Accuracy, Adam, Dense, LastStep, Sequential, SoftmaxCrossEntropy, Trainer
from minirnn.callbacks import TensorBoard


def trainer(folder, **options):
    model = Sequential([RNN(2, 3, rng=0), LastStep(), Dense(3, 2, rng=1)])
    return Trainer(
        model,
        SoftmaxCrossEntropy(),
        Adam(model.parameters(), 0.01),
        metrics=[Accuracy()],
        callbacks=[TensorBoard(folder, **options)],
        rng=0,
    )


def events(folder):
    """Read the records of all event files: a length, its checksum, the data, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            yield Event.FromString(data[at + 12 : at + 12 + length])
            at += length + 16


def test_curves_and_histograms_are_those_of_the_run(tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((10, 4, 2)), rng.integers(0, 2, 10)
    run = trainer(tmp_path / "run", histograms_every=2)
    history = run.fit(x, y, epochs=3, batch_size=4, validation=(x, y), progress=False)
    curves, histograms = {}, {}
    for event in events(tmp_path / "run"):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                curves.setdefault(value.tag, []).append((event.step, value.simple_value))
            else:
                histograms.setdefault(value.tag, []).append((event.step, value.histo.num))
    for tag, name in [
        ("loss/training", "loss"),
        ("loss/validation", "val_loss"),
        ("accuracy/validation", "val_accuracy"),
    ]:
        assert [step for step, _ in curves[tag]] == [1, 2, 3]
        np.testing.assert_allclose([v for _, v in curves[tag]], history[name], rtol=1e-6)
    assert len(curves["gradient_norm"]) == len(curves["learning_rate"]) == 9
    assert curves["gradient_norm"][-1][1] == pytest.approx(run.optimizer.grad_norm, rel=1e-6)
    assert histograms["values/layers.0.cell.Wx"] == [(2, 6)]
    assert set(histograms) >= {"gradients/layers.0.cell.Wh", "values/layers.2.b"}


def test_without_the_library_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    rng = np.random.default_rng(0)
    with pytest.raises(ImportError, match=r'pip install "\.\[tensorboard\]"'):
        trainer(tmp_path).fit(rng.standard_normal((4, 3, 2)), np.zeros(4, int), epochs=1)
