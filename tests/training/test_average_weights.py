"""AverageWeights: what is evaluated, what remains, and exact resume."""

import numpy as np
import pytest

import minirnn as m
from minirnn.callbacks import AverageWeights, Callback, Checkpoint, EarlyStopping
from tests.contract import helpers

X = np.random.default_rng(0).normal(size=(20, 3))
Y = X @ [[1.0], [-2.0], [0.5]]


class Weights(Callback):
    """The weights after each batch, and when each epoch ended."""

    def __init__(self):
        self.seen, self.ends = [], []

    def on_batch_end(self, trainer):
        self.seen.append(trainer.model.W.value.copy())

    def on_epoch_end(self, trainer):
        self.ends.append(len(self.seen))


def _trainer(*callbacks, **keywords):
    model = m.Dense(3, 1, bias=False, rng=0, dtype=np.float64)
    optimizer = m.Adam(model.parameters(), 0.1)
    return m.Trainer(
        model, m.MeanSquaredError(), optimizer, callbacks=list(callbacks), rng=0, **keywords
    )


def _fit(trainer, epochs=3):
    return trainer.fit(X, Y, epochs=epochs, batch_size=6, validation=(X, Y), progress=False)


def _loss(weights):
    return np.mean((X @ weights - Y) ** 2)


def test_validation_and_the_end_have_the_average_and_training_has_not():
    weights, plain = Weights(), Weights()
    trainer = _trainer(AverageWeights(), weights)
    history = _fit(trainer)
    _fit(_trainer(plain))
    np.testing.assert_array_equal(weights.seen, plain.seen)
    averages = [np.mean(weights.seen[:end], axis=0) for end in weights.ends]
    np.testing.assert_allclose(history["val_loss"], [_loss(W) for W in averages], rtol=1e-11)
    np.testing.assert_allclose(trainer.model.W.value, averages[-1], rtol=1e-12)


def test_from_a_later_epoch_on():
    weights = Weights()
    trainer = _trainer(AverageWeights(start_epoch=2), weights)
    history = _fit(trainer, epochs=2)
    first = weights.ends[0]
    assert history["val_loss"][0] == pytest.approx(_loss(weights.seen[first - 1]), rel=1e-11)
    np.testing.assert_allclose(trainer.model.W.value, np.mean(weights.seen[first:], axis=0))


def test_several_batches_to_an_update_count_once():
    callback, weights = AverageWeights(), Weights()
    trainer = _trainer(callback, weights, accumulate=3)  # four batches: three, and the rest
    _fit(trainer, epochs=1)
    assert callback.average.count == trainer.optimizer.step_count == 2


@pytest.mark.parametrize("decay", [None, 0.9])
def test_resumed_it_is_the_run_that_was_never_interrupted(tmp_path, decay):
    def checkpoint():
        return Checkpoint(tmp_path / "{epoch}-{batch}.safetensors", every_batches=3)

    whole = _trainer(AverageWeights(decay=decay), checkpoint())
    expected = _fit(whole)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) == 3
    for file in files:
        again = _trainer(AverageWeights(decay=decay), checkpoint())
        again.resume(file)
        assert dict(_fit(again)) == dict(expected)
        helpers.assert_same(helpers.snapshot(again.model), helpers.snapshot(whole.model))


def test_a_run_that_came_to_its_end_goes_on_from_its_last_weights(tmp_path):
    short, long = _trainer(AverageWeights()), _trainer(AverageWeights())
    _fit(short, epochs=1)
    short.save(tmp_path / "end.safetensors")
    expected = _fit(long, epochs=3)
    again = _trainer(AverageWeights())
    again.resume(tmp_path / "end.safetensors")
    assert dict(_fit(again, epochs=3)) == dict(expected)
    helpers.assert_same(helpers.snapshot(again.model), helpers.snapshot(long.model))


def test_saved_between_resuming_and_training_it_has_the_average(tmp_path):
    whole, one, two, three = (_trainer(AverageWeights()) for _ in range(4))
    expected = _fit(whole)
    _fit(one, epochs=1)
    one.save(tmp_path / "end")
    two.resume(tmp_path / "end")
    two.save(tmp_path / "once more")
    three.resume(tmp_path / "once more")
    assert dict(_fit(three)) == dict(expected)


def test_two_that_decide_which_weights_remain_are_refused():
    with pytest.raises(ValueError, match=r"write EarlyStopping\(\.\.\., restore_best=False\)"):
        _fit(_trainer(AverageWeights(), EarlyStopping()))
    _fit(_trainer(AverageWeights(), EarlyStopping(restore_best=False)))
    with pytest.raises(ValueError, match="decay should be at least 0 and below 1"):
        AverageWeights(decay=1.0)
    with pytest.raises(ValueError, match="start_epoch should be at least 1"):
        AverageWeights(start_epoch=0)


@pytest.mark.parametrize(
    ("last", "loss", "metric", "refused"),
    [
        (m.Softmax, m.CrossEntropy, lambda: m.F1("macro"), False),
        (m.Softmax, m.CrossEntropy, m.ConfusionMatrix, False),
        (m.Softmax, m.CrossEntropy, m.LogLoss, True),
        (m.Softmax, m.CrossEntropy, lambda: m.LogLoss(from_logits=False), False),
        (m.Sigmoid, m.BinaryCrossEntropy, m.BinaryAccuracy, True),
        (m.Sigmoid, m.BinaryCrossEntropy, m.F1, True),
        (m.Sigmoid, m.BinaryCrossEntropy, lambda: m.F1(from_logits=False), False),
    ],
)
def test_metrics_and_the_last_layer(last, loss, metric, refused):
    model = m.Sequential([m.Dense(3, 2, rng=0), last()])
    optimizer = m.Adam(model.parameters(), 0.1)
    if not refused:
        m.Trainer(model, loss(), optimizer, metrics=[metric()])
        return
    with pytest.raises(ValueError, match=r"expects logits; write \w+\(from_logits=False\)"):
        m.Trainer(model, loss(), optimizer, metrics=[metric()])
