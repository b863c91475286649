"""Callbacks: when they are called, and what an error in one of them costs."""

from __future__ import annotations

import numpy as np
import pytest

from minirnn.callbacks import Callback, Checkpoint, CSVLogger, TensorBoard
from tests.training.scripted import EVENTS, Recorder, X, fit, trainer_with


def test_the_calls_of_a_run_in_their_order():
    calls = []
    fit(trainer_with(Recorder("a", calls), Recorder("b", calls)))
    expected = [("on_train_begin", 0, 0)]
    for epoch in (1, 2):
        expected += [("on_epoch_begin", epoch, 0)]
        expected += [("on_batch_end", epoch, 1), ("on_batch_end", epoch, 2)]
        expected += [("on_epoch_end", epoch, 2)]
    expected += [("on_train_end", 2, 2)]
    assert calls == [(name, *call) for call in expected for name in "ab"]


def test_one_method_is_enough_and_it_sees_the_figures():
    seen = []

    class Own(Callback):
        def on_epoch_end(self, trainer):
            seen.append((trainer.epoch, trainer.history["loss"][-1], list(trainer.history)))

    history = fit(trainer_with(Own()), validation=(X, X[:, :1]))
    assert seen == [(k + 1, history["loss"][k], ["loss", "val_loss"]) for k in range(2)]


@pytest.mark.parametrize("event", EVENTS[:-1])
def test_stop_ends_the_training_from_every_event(event):
    class Stop(Callback):
        pass

    calls = []
    stop = Stop()
    setattr(stop, event, lambda trainer: setattr(trainer, "stop", True))
    trainer = trainer_with(stop, Recorder("after", calls))
    fit(trainer)
    assert calls[-1][1] == "on_train_end"
    assert len(calls) <= 6, "it went on into the second epoch"


@pytest.mark.parametrize("event", EVENTS)
def test_an_error_names_the_callback_and_loses_nothing(event):
    calls = []
    trainer = trainer_with(
        Recorder("a", calls), Recorder("b", calls, fail=event), Recorder("c", calls)
    )
    with pytest.raises(ValueError, match=rf"in callback Recorder\.{event}: something is wrong"):
        fit(trainer)
    ended = [name for name, called, *_ in calls if called == "on_train_end"]
    assert ended == ["a", "b", "c"], "each gets its end call, once"
    epochs = {"on_epoch_end": 1, "on_train_end": 2}.get(event, 0)
    assert trainer.history.epochs == epochs
    assert np.isfinite(trainer.predict(X)).all()
    trainer.callbacks.clear()
    assert fit(trainer).epochs == 2, "the trainer can be used again"


def test_an_error_whose_message_is_no_text_is_named_too():
    trainer = trainer_with(Recorder(fail="on_batch_end", error=OSError(5, "no disk")))
    with pytest.raises(OSError, match="no disk") as caught:
        fit(trainer)
    assert "in callback Recorder.on_batch_end" in caught.value.__notes__


def test_an_error_at_the_end_does_not_hide_the_first():
    trainer = trainer_with(
        Recorder("a", fail="on_train_end", error=KeyError("second")),
        Recorder("b", fail="on_batch_end", error=ValueError("first")),
    )
    with pytest.raises(ValueError, match="first") as caught:
        fit(trainer)
    assert "on_train_end" in "".join(caught.value.__notes__)


@pytest.mark.parametrize("kind", [Checkpoint, CSVLogger, TensorBoard])
def test_what_is_no_path_is_refused_at_once(kind):
    with pytest.raises(TypeError, match=rf"{kind.__name__}: (path|folder) should be a path, got 5"):
        kind(5)
