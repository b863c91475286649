"""What a beginner hands to the trainer by mistake, and what the answer says."""

from __future__ import annotations

import numpy as np
import pytest

from minirnn import Accuracy, Adam, Dense, MeanSquaredError, Trainer
from minirnn.callbacks import Checkpoint, EarlyStopping, ReduceOnPlateau
from minirnn.files import read_tree
from minirnn.schedules import Cosine

X = np.ones((6, 2), np.float32)


def trainer(**options) -> Trainer:
    layer = Dense(2, 2, rng=0)
    return Trainer(layer, MeanSquaredError(), Adam(layer.parameters(), 0.1), rng=0, **options)


class NoCallback:
    def on_epoch_end(self, trainer):
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"callbacks": EarlyStopping()}, r"callbacks should be a list, got EarlyStopping"),
        (
            {"callbacks": [EarlyStopping]},
            r"a Callback, got the class EarlyStopping: write Earl",
        ),
        ({"callbacks": [NoCallback()]}, r"a callback should be a Callback, got NoCallback"),
        ({"callbacks": ["csv"]}, r"a callback should be a Callback, got str"),
        ({"metrics": Accuracy()}, r"metrics should be a list, got Accuracy; write metrics=\["),
        ({"metrics": ["accuracy"]}, r"metrics has the text 'accuracy': write Accuracy\(\)"),
        (
            {"metrics": [Accuracy]},
            r"a Metric, got the class Accuracy: write Accuracy\(",
        ),
    ],
)
def test_wrong_metrics_and_callbacks(options, message):
    with pytest.raises(TypeError, match=f"^Trainer: .*{message}"):
        trainer(**options)


@pytest.mark.parametrize("validation", [0.2, [X, X], X, True])
def test_wrong_validation(validation):
    one = trainer()
    before = one.model.state_dict()
    with pytest.raises(TypeError, match=r"^Trainer: validation should be \(inputs, targets\)"):
        one.fit(X, X, epochs=1, validation=validation, progress=False)
    for name, value in one.model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    ("validation", "keys"),
    [({"x": X, "y": X}, "'x', 'y'"), ({"inputs": X, "targets": X}, "'inputs', 'targets'")],
)
def test_validation_in_a_dictionary_is_told_its_keys(validation, keys):
    with pytest.raises(TypeError, match=f"^validation: Trainer: a batch .* keys {keys}$"):
        trainer().fit(X, X, epochs=1, validation=[validation], progress=False)
    with pytest.raises(TypeError, match=f"a dictionary with the keys {keys}; take inputs and"):
        trainer().fit(X, X, epochs=1, validation=validation, progress=False)


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (Cosine, "learning_rate is the class Cosine: write Cosine"),
        (ReduceOnPlateau(), r"ReduceOnPlateau is a callback: it goes into Trainer\(..., callbacks"),
        ("fast", "learning_rate should be a number, got 'fast'"),
    ],
)
def test_wrong_learning_rates(rate, message):
    with pytest.raises(TypeError, match=f"^Adam: {message}"):
        Adam(Dense(2, 2).parameters(), rate)


class PlainMetric:
    name = "batches"

    def __init__(self):
        self.value = 0.0

    def update(self, prediction, target, mask=None):
        self.value += 1

    def reset(self):
        self.value = 0.0


def test_a_plain_metric_will_do_but_for_a_file_inside_an_epoch(tmp_path):
    """Its half-done sum could not be continued; at the end of an epoch there is none."""
    path = tmp_path / "run.safetensors"
    one = trainer(metrics=[PlainMetric()], callbacks=[Checkpoint(path)])
    history = one.fit(X, X, epochs=2, batch_size=2, progress=False)
    assert history["batches"] == [3, 3]
    assert read_tree(path)["epoch"] == 2
    one = trainer(metrics=[PlainMetric()], callbacks=[Checkpoint(path, every_batches=1)])
    with pytest.raises(TypeError, match="PlainMetric: a run cannot be saved inside an epoch"):
        one.fit(X, X, epochs=2, batch_size=2, progress=False)


def test_a_generator_of_batches_is_refused_without_being_touched():
    drawn = []

    def generate():
        drawn.append(1)
        yield X, X

    one = trainer()
    with pytest.raises(TypeError, match="used up after one epoch"):
        one.fit(generate(), epochs=2, progress=False)
    assert drawn == []
    one.fit(generate(), epochs=1, progress=False)
    assert drawn == [1]
