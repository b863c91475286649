"""Callbacks that monitor a value of the history: stop, lower the rate, log."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from minirnn import Accuracy, Adam, Dense, SoftmaxCrossEntropy, Trainer
from minirnn.callbacks import Callback, CSVLogger, EarlyStopping, ReduceOnPlateau
from minirnn.schedules import Cosine
from tests.training.scripted import Snapshots, X, fit, trainer_with

# ---------------------------------------------------------------- early stopping


def stopped_after(values, **options) -> tuple[int, EarlyStopping]:
    """Return how many epochs there were, of as many as there are values."""
    stopping = EarlyStopping("scripted", **options)
    snapshots = Snapshots()
    trainer = trainer_with(snapshots, stopping, values=values)
    epochs = fit(trainer, epochs=len(values)).epochs
    if stopping.best_epoch is not None:
        best = snapshots.weights[stopping.best_epoch - 1]
        np.testing.assert_array_equal(trainer.model.W.value, best)
    return epochs, stopping


NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best_epoch"),
    [
        ([3, 2, 1, 0.5], {"patience": 1}, 4, 4),
        ([3, 2, 2, 2, 1], {"patience": 2}, 4, 2),
        ([3, 2, 2.5, 1, 2, 2, 0], {"patience": 2}, 6, 4),
        ([3, 2, 4, 5], {"patience": 9}, 4, 2),
        ([3, 2.9, 2.8, 2.0, 2.0], {"patience": 2, "minimum_improvement": 0.5}, 3, 1),
        ([3, 2.5, 2.0, 1.0], {"patience": 1, "minimum_improvement": 0.5}, 2, 1),
        ([1, 2, 3, 2, 2], {"patience": 2, "mode": "max"}, 5, 3),
        ([1, 2, 3, 2, 2], {"patience": 2, "mode": "auto"}, 3, 1),
        ([NAN, 2, 1, NAN, NAN, 0], {"patience": 2}, 5, 3),
        ([NAN, NAN, NAN], {"patience": 2}, 2, None),
        ([float("inf"), 5, 4, 4], {"patience": 1}, 4, 3),
    ],
)
def test_early_stopping(values, options, epochs, best_epoch):
    had, stopping = stopped_after(values, **options)
    assert (had, stopping.best_epoch) == (epochs, best_epoch)
    if best_epoch is not None:
        assert stopping.best == values[best_epoch - 1]


def test_accuracy_is_the_better_the_higher():
    layer = Dense(2, 2, rng=0)
    stopping = EarlyStopping("val_accuracy", patience=2)
    optimizer = Adam(layer.parameters(), 0.05)
    trainer = Trainer(
        layer, SoftmaxCrossEntropy(), optimizer, metrics=[Accuracy()], callbacks=[stopping], rng=0
    )
    y = (X[:, 0] > 0).astype(int)
    history = trainer.fit(X, y, epochs=30, validation=(X, y), progress=False)
    assert stopping.best == max(history["val_accuracy"])


def ctrl_c(trainer):
    signal.raise_signal(signal.SIGINT)


def fail(trainer):
    raise ValueError("on purpose")


@pytest.mark.parametrize("action", [ctrl_c, fail])
@pytest.mark.parametrize("first", [True, False])
def test_the_best_weights_are_restored_however_training_ends(action, first):
    class Act(Callback):
        def on_batch_end(self, trainer):
            if (trainer.epoch, trainer.batch) == (4, 1):
                action(trainer)

    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    snapshots, stopping = Snapshots(), EarlyStopping("scripted", patience=9)
    order = [Act(), stopping] if first else [stopping, Act()]
    trainer = trainer_with(snapshots, *order, values=[3, 1, 2, 9, 9])
    try:
        if action is fail:
            with pytest.raises(ValueError, match=r"Act\.on_batch_end: on purpose"):
                fit(trainer, epochs=5)
        else:
            fit(trainer, epochs=5)
    finally:
        signal.signal(signal.SIGINT, usual)
    assert trainer.history.epochs == 3
    np.testing.assert_array_equal(trainer.model.W.value, snapshots.weights[1])


def test_the_last_weights_stay_if_that_is_asked_for():
    snapshots = Snapshots()
    stopping = EarlyStopping("scripted", patience=1, restore_best=False)
    trainer = trainer_with(snapshots, stopping, values=[1, 2, 3])
    fit(trainer, epochs=3)
    np.testing.assert_array_equal(trainer.model.W.value, snapshots.weights[1])


def test_a_second_run_begins_anew():
    trainer = trainer_with(EarlyStopping("scripted", patience=1), values=[1, 5, 9, 8, 7, 6])
    assert fit(trainer, epochs=4).epochs == 2
    assert fit(trainer, epochs=4).epochs == 4, "9 is worse than 1, which was in another run"


@pytest.mark.parametrize("callback", [EarlyStopping, ReduceOnPlateau])
def test_a_figure_that_is_not_there(callback):
    with pytest.raises(
        ValueError, match=r"will be no 'val_loss' .*have loss; pass validation= to f"
    ):
        fit(trainer_with(callback()))
    with pytest.raises(
        ValueError, match=r"will be no 'acuracy' to monitor; this run will have loss$"
    ):
        fit(trainer_with(callback("acuracy")))


# ---------------------------------------------------------------- lower the rate


def plateau_by_hand(values, rate, factor, patience, minimum, improvement):
    rates, best, waited = [], None, 0
    for value in values:
        if best is None or best - value > improvement:
            best, waited = value, 0
        else:
            waited += 1
        if waited == patience:
            rate, waited = max(rate * factor, minimum), 0
        rates.append(rate)
    return rates


@pytest.mark.parametrize("seed", range(8))
def test_reduce_on_plateau(seed):
    draw = np.random.default_rng(seed)
    values = list(np.round(np.exp(-np.arange(15) / 2) + 0.2 * draw.random(15), 2))
    options = {"factor": 0.3, "patience": int(draw.integers(1, 4)), "minimum_rate": 0.002}
    rates = []

    class Rates(Callback):
        def on_epoch_end(self, trainer):
            rates.append(trainer.optimizer.learning_rate)

    plateau = ReduceOnPlateau("scripted", minimum_improvement=0.05, **options)
    fit(trainer_with(plateau, Rates(), values=values), epochs=15)
    by_hand = plateau_by_hand(values, 0.1, 0.3, options["patience"], 0.002, 0.05)
    assert rates == pytest.approx(by_hand, rel=1e-14)
    assert rates[-1] < 0.1


def test_reduce_on_plateau_never_raises_the_rate():
    trainer = trainer_with(
        ReduceOnPlateau("scripted", patience=1, minimum_rate=0.5), values=[1] * 5, rate=0.1
    )
    fit(trainer, epochs=5)
    assert trainer.optimizer.learning_rate == 0.1


def test_reduce_on_plateau_and_a_schedule_would_fight():
    trainer = trainer_with(ReduceOnPlateau("loss"), rate=Cosine(0.1, 10))
    with pytest.raises(TypeError, match="the optimizer's learning rate is a schedule"):
        fit(trainer)


# ---------------------------------------------------------------- log


def test_the_log_is_the_history_at_every_moment(tmp_path):
    class Compare(Callback):
        def on_epoch_end(self, trainer):
            trainer.history.to_csv(tmp_path / "now.csv")
            assert logger.path.read_text() == (tmp_path / "now.csv").read_text()

    logger = CSVLogger(tmp_path / "log.csv")
    trainer = trainer_with(logger, Compare(), values=[1.5, NAN, 1e-30])
    history = fit(trainer, epochs=3)
    history.to_csv(tmp_path / "end.csv")
    assert logger.path.read_text() == (tmp_path / "end.csv").read_text()
    assert logger.path.read_text().splitlines()[0] == "epoch,loss,scripted"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStopping(patience=0), "EarlyStopping: patience should be at least 1, got 0"),
        (lambda: EarlyStopping(mode="up"), "mode should be one of 'auto', 'min', 'max', got 'up'"),
        (lambda: EarlyStopping(minimum_improvement=-1), "minimum_improvement should be at least 0"),
        (lambda: ReduceOnPlateau(factor=2), "factor should be between 0 and 1, got 2"),
        (lambda: ReduceOnPlateau(factor=0), "factor should be between 0 and 1, got 0"),
        (lambda: ReduceOnPlateau(minimum_rate=-1), "minimum_rate should be at least 0, got -1"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_refused_state_changes_nothing():
    callback = EarlyStopping("loss")
    before = callback.state_dict()
    with pytest.raises(ValueError, match="epochs_since should be at least 0, got -1"):
        callback.load_state_dict(before | {"best": 1.0, "epochs_since": -1})
    assert callback.state_dict() == before
