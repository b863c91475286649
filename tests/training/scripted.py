"""A small trainer, a figure that follows a script, and callbacks that write down what happens."""

from __future__ import annotations

import numpy as np

from minirnn import Adam, Dense, MeanSquaredError, Metric, Trainer
from minirnn.callbacks import Callback

X = np.random.default_rng(0).standard_normal((8, 2))
EVENTS = ["on_train_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end", "on_train_end"]


class Scripted(Metric):
    """A figure that takes the values of a list, one an epoch; of the validation data, too."""

    name = "scripted"
    higher_is_better = False

    def __init__(self, values):
        self.values = list(values)
        self.epoch = -2  # the trainer resets it when it is made, and at every epoch

    def update(self, prediction, target, mask=None):
        pass

    def reset(self):
        self.epoch += 1

    @property
    def value(self):
        return self.values[self.epoch]


class Recorder(Callback):
    """Write down every call, and fail where that is asked for."""

    def __init__(self, name="recorder", calls=None, fail=None, error=None):
        self.calls = [] if calls is None else calls
        for event in EVENTS:

            def record(trainer, event=event):
                self.calls.append((name, event, trainer.epoch, trainer.batch))
                if event == fail:
                    raise error or ValueError("something is wrong")

            setattr(self, event, record)


def trainer_with(*callbacks, values=None, rate=0.1) -> Trainer:
    layer = Dense(2, 1, rng=0)
    metrics = [] if values is None else [Scripted(values)]
    return Trainer(
        layer,
        MeanSquaredError(),
        Adam(layer.parameters(), rate),
        metrics=metrics,
        callbacks=callbacks,
        rng=0,
    )


def fit(trainer, epochs=2, **options):
    return trainer.fit(X, X[:, :1], epochs=epochs, batch_size=4, progress=False, **options)


class Snapshots(Callback):
    """The weights at the end of each epoch."""

    def __init__(self):
        self.weights = []

    def on_epoch_end(self, trainer):
        self.weights.append(trainer.model.W.value.copy())
