"""Every optimizer, groups and schedules in the exact resume of a run, from inside an epoch."""

import numpy as np
import pytest

import minirnn as m
from minirnn import schedules
from minirnn.callbacks import Callback
from tests.contract import helpers
from tests.optimizers.reference import RULES

X = np.random.default_rng(0).normal(size=(14, 3, 2))
Y = np.random.default_rng(1).normal(size=(14, 3, 1))


class SaveInside(Callback):
    def __init__(self, path):
        self.path = path

    def on_batch_end(self, trainer):
        if (trainer.epoch, trainer.batch) == (2, 2):
            trainer.save(self.path)


def _run(rule, path):
    optimizer_class, _, keywords = RULES[rule]
    model = m.Sequential([m.GRU(2, 3, rng=0), m.Dense(3, 1, rng=1)])
    rate = schedules.Product(
        [schedules.WarmRestarts(0.02, 3, growth=2), schedules.Polynomial(1.0, 30)]
    )
    optimizer = optimizer_class(
        [m.ParameterGroup(model[0].parameters(), rate_factor=0.5), *model[1].parameters()],
        schedules.Join([rate, schedules.Piecewise([0.01, 0.005], [3])], [7]),
        weight_decay=0.01,
        **keywords,
    )
    return m.Trainer(model, m.Huber(), optimizer, callbacks=[SaveInside(path)], rng=0)


@pytest.mark.parametrize("rule", RULES)
def test_resumed_it_is_the_run_that_was_never_interrupted(rule, tmp_path):
    path = tmp_path / "run.safetensors"
    whole = _run(rule, path)
    expected = whole.fit(X, Y, epochs=4, batch_size=4, progress=False)
    again = _run(rule, tmp_path / "other.safetensors")
    again.resume(path)
    assert dict(again.fit(X, Y, epochs=4, batch_size=4, progress=False)) == dict(expected)
    helpers.assert_same(helpers.snapshot(again.model), helpers.snapshot(whole.model))
    assert again.optimizer.step_count == whole.optimizer.step_count == 16
