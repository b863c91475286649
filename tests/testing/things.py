"""Metrics, optimizers and callbacks as a user would write them, all sound as they stand."""

import numpy as np

from minirnn import Metric, Optimizer
from minirnn.callbacks import Callback


class Hits(Metric):
    """Share of right classes."""

    name = "hits"
    higher_is_better = True

    def measure(self, prediction, target, mask):
        hit = prediction.argmax(axis=-1) == target
        mask = np.ones(hit.shape, bool) if mask is None else mask
        return hit[mask].sum(), mask.sum()


class Streamed:
    """Mean squared error, without the base class."""

    name = "error"
    higher_is_better = False

    def __init__(self):
        self.reset()

    def reset(self):
        self.total, self.count = 0.0, 0

    def update(self, prediction, target, mask=None):
        mask = np.ones(prediction.shape[:-1], bool) if mask is None else mask
        gap = prediction[mask] - target[mask]
        self.total += (gap**2).sum()
        self.count += gap.size

    @property
    def value(self):
        if self.count == 0:
            raise RuntimeError("Streamed: nothing yet")
        return self.total / self.count

    def state_dict(self):
        return {"total": self.total, "count": self.count}

    def load_state_dict(self, state):
        self.total, self.count = state["total"], state["count"]


class Momentum(Optimizer):
    """Gradients scaled by their root mean square, then with momentum."""

    def update(self, value, grad, learning_rate, slots):
        m = slots["m"]
        v = slots["v"]
        v *= 0.9
        v += 0.1 * grad**2
        m *= 0.9
        m += grad / (np.sqrt(v) + 1e-8)
        value -= learning_rate * m


class BestLoss(Callback):
    """Remembers the best loss, and slows down when it has not been beaten."""

    def __init__(self):
        self.best = np.inf

    def on_epoch_end(self, trainer):
        loss = trainer.history["loss"][-1]
        if loss >= self.best:
            trainer.optimizer.learning_rate *= 0.5
        self.best = min(self.best, loss) * 0.5

    def state_dict(self):
        return {"best": self.best}

    def load_state_dict(self, state):
        self.best = state["best"]
