"""The training loop against loops written out, and what it leaves as it found it."""

from __future__ import annotations

import copy
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import minirnn as m
from minirnn.callbacks import Callback
from minirnn.data import PaddedBatches, StreamBatches

RNG = np.random.default_rng(0)
X = RNG.standard_normal((10, 6, 3))
Y = RNG.integers(0, 4, (10, 6))
LENGTHS = np.array([6, 2, 5, 1, 6, 3, 4, 6, 2, 5])
MASK = np.arange(6) < LENGTHS[:, None]


def model_of(last_step=False, **options) -> m.Sequential:
    layers = [m.LSTM(3, 5, rng=0, dtype=np.float64, **options)]
    if last_step:
        layers.append(m.LastStep())
    return m.Sequential([*layers, m.Dense(5, 4, rng=1, dtype=np.float64)])


def trainer_of(model, rate=0.05, **options) -> m.Trainer:
    optimizer = m.Adam(model.parameters(), rate, clip_norm=1.0)
    return m.Trainer(model, m.SoftmaxCrossEntropy(), optimizer, rng=0, **options)


def same_weights(one, two) -> None:
    for name, value in one.state_dict().items():
        np.testing.assert_array_equal(two.state_dict()[name], value, err_msg=name)


@pytest.mark.parametrize("mask", [None, MASK])
def test_a_step_is_the_loop_of_every_textbook(mask):
    ours, by_hand = model_of(), model_of()
    trainer = trainer_of(ours)
    loss, optimizer = m.SoftmaxCrossEntropy(), m.Adam(by_hand.parameters(), 0.05, clip_norm=1.0)
    for _ in range(5):
        value = loss.forward(by_hand.forward(X, mask), Y, mask)
        optimizer.zero_grad()
        by_hand.backward(loss.backward())
        optimizer.step()
        assert trainer.train_step(X, Y, mask) == value
    same_weights(ours, by_hand)


@pytest.mark.parametrize("how", ["mask", "lengths", "batches", "batches with mask"])
def test_fit_is_its_steps(how):
    ours, by_hand = model_of(), model_of()
    trainer, steps = trainer_of(ours), trainer_of(by_hand)
    pieces = [slice(0, 4), slice(4, 8), slice(8, 10)]
    masked = how != "batches"
    if how == "mask":
        arguments = {"inputs": X, "targets": Y, "mask": MASK, "batch_size": 4, "shuffle": False}
    elif how == "lengths":
        arguments = {"inputs": X, "targets": Y, "lengths": LENGTHS, "batch_size": 4}
        arguments["shuffle"] = False
    else:
        arguments = {"inputs": [(X[p], Y[p], MASK[p])[: 2 + masked] for p in pieces]}
    history = trainer.fit(**arguments, epochs=2, progress=False)
    for epoch in range(2):
        losses, counts = [], []
        for p in pieces:
            losses.append(steps.train_step(X[p], Y[p], MASK[p] if masked else None))
            counts.append(MASK[p].sum() if masked else Y[p].size)
        # weighted by real steps: the last batch is smaller, and no two have as many
        assert history["loss"][epoch] == pytest.approx(np.average(losses, weights=counts))
    same_weights(ours, by_hand)


def test_after_last_step_the_mask_reaches_neither_loss_nor_metric():
    """Batch 4, time 5, and 5 outputs: the mask has the shape of the prediction by chance."""
    x, y = X[:4, :5], np.array([0, 4, 2, 1])
    mask = np.arange(5) < np.array([5, 1, 2, 3])[:, None]
    layers = [m.GRU(3, 5, rng=0, dtype=np.float64), m.LastStep()]
    trainer = trainer_of(m.Sequential(layers), metrics=[m.Accuracy()])
    prediction = trainer.predict(x, mask=mask)
    assert prediction.shape == mask.shape
    by_hand = m.SoftmaxCrossEntropy().forward(prediction, y)
    right = (prediction.argmax(axis=-1) == y).mean()
    figures = trainer.evaluate(x, y, mask=mask)
    assert figures == pytest.approx({"loss": by_hand, "accuracy": right})
    assert trainer.train_step(x, y, mask) == pytest.approx(by_hand)


def test_evaluate_is_the_loss_over_everything_whatever_the_batches():
    trainer = trainer_of(model_of(), metrics=[m.Accuracy(), m.Perplexity()])
    whole = trainer.evaluate(X, Y, mask=MASK, batch_size=100)
    for size in (1, 3, 7):
        pieces = trainer.evaluate(X, Y, mask=MASK, batch_size=size)
        assert pieces == pytest.approx(whole)
    prediction = trainer.predict(X, mask=MASK)
    right = (prediction.argmax(axis=-1) == Y)[MASK].mean()
    assert whole["accuracy"] == pytest.approx(right)
    assert whole["perplexity"] == pytest.approx(np.exp(whole["loss"]))
    np.testing.assert_allclose(trainer.predict(X, lengths=LENGTHS, batch_size=3), prediction)


def test_validation_is_evaluated_after_each_epoch():
    trainer = trainer_of(model_of())
    history = trainer.fit(X, Y, mask=MASK, epochs=2, validation=(X, Y, MASK), progress=False)
    assert set(history) == {"loss", "val_loss"}
    assert history["val_loss"][-1] == trainer.evaluate(X, Y, mask=MASK)["loss"]


def test_shuffling_is_the_generators():
    runs = []
    for seed in (1, 1, 2):
        model = model_of()
        optimizer = m.SGD(model.parameters(), 0.1)
        trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), optimizer, rng=seed)
        trainer.fit(X, Y, epochs=2, batch_size=3, progress=False)
        runs.append(model)
    same_weights(runs[0], runs[1])
    one, other = runs[0].state_dict(), runs[2].state_dict()
    assert any((one[name] != other[name]).any() for name in one)


def test_modes_and_carried_states_are_as_before():
    model = m.Sequential(
        [m.LSTM(3, 5, stateful=True, rng=0), m.Dropout(0.5, rng=1), m.Dense(5, 4, rng=2)]
    )
    trainer = trainer_of(model)
    model.forward(X[:2])
    carried = [array.copy() for array in model[0].carried_state]
    model[1].eval()
    trainer.evaluate(X, Y)
    trainer.predict(X)
    assert [layer.training for layer in model] == [True, False, True]
    for array, before in zip(model[0].carried_state, carried, strict=True):
        np.testing.assert_array_equal(array, before)
    trainer.fit([(X, Y)], epochs=1, progress=False)
    assert [layer.training for layer in model] == [True, False, True]


def test_a_stream_carries_its_state_within_an_epoch_and_begins_anew_with_the_next():
    tokens = np.random.default_rng(3).integers(0, 4, 61)
    model = m.Sequential(
        [m.Embedding(4, 3, rng=0), m.GRU(3, 5, stateful=True, rng=1), m.Dense(5, 4, rng=2)]
    )
    seen = []

    class Monitoring(Callback):
        def on_batch_end(self, trainer):
            seen.append(trainer.model[1].carried_state[0].copy())

    optimizer = m.SGD(model.parameters(), 1e-12)  # as good as none: the states can be compared
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), optimizer, callbacks=[Monitoring()])
    batches = StreamBatches(tokens, batch_size=2, steps=10)
    trainer.fit(batches, epochs=2, progress=False)
    whole = m.Sequential(model.layers[:1])
    plain = m.GRU(3, 5)
    plain.load_state_dict(model[1].state_dict())
    states = plain.forward(whole.predict(batches.inputs))[:, 9::10]
    for k, state in enumerate(seen):
        np.testing.assert_allclose(state, states[:, k % len(batches)], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"stateful=True.*cannot be shuffled.*shuffle=False"):
        trainer.fit(tokens[:60].reshape(6, 10), tokens[:60].reshape(6, 10), epochs=1)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("input", r"epoch 2, batch 3: the loss is nan; the input itself has 1 of 12 numbers"),
        ("parameter", r"epoch 2, batch 3: .*parameter layers\.1\.W has 1 of 20 numbers"),
        ("layer", r"epoch 2, batch 3: .*the output of layers\.1 \(Log\) has \d+ of \d+ numbers"),
    ],
)
def test_a_loss_that_is_not_finite_stops_with_where_and_what(spoil, message):
    class Log(m.Layer):
        def forward(self, x):
            self.x = x
            return np.log(x - x.min() + (spoil != "layer" or not self.armed))

        def backward(self, grad):
            return grad / (self.x - self.x.min() + 1)

        armed = False

    log = Log()
    layers = [m.RNN(3, 5, rng=0), m.Dense(5, 4, rng=1)]
    if spoil == "layer":
        layers.insert(1, log)
    model = m.Sequential(layers)
    batches = [(X[k : k + 1, :4].copy(), Y[k : k + 1, :4]) for k in range(4)]
    before = {}

    class Spoil(Callback):
        def on_batch_end(self, trainer):
            if (trainer.epoch, trainer.batch) == (2, 2):
                if spoil == "input":
                    batches[2][0][0, 1, 2] = np.nan
                elif spoil == "parameter":
                    model[1].W.value[2, 1] = np.inf
                log.armed = True
                before.update(copy.deepcopy(trainer.optimizer.state_dict()), **model.state_dict())

    trainer = m.Trainer(
        model, m.SoftmaxCrossEntropy(), m.Adam(model.parameters(), 0.01), callbacks=[Spoil()]
    )
    with pytest.raises(m.NotFiniteError, match=message):
        trainer.fit(batches, epochs=3, progress=False)
    assert trainer.history.epochs == 1
    assert trainer.optimizer.step_count == before["step"]
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_gradient_that_is_not_finite_is_named_before_it_does_harm():
    class Steep(m.Layer):
        def forward(self, x):
            return x

        def backward(self, grad):
            return grad * np.inf

    model = m.Sequential([m.Dense(3, 4, rng=0), Steep()])
    trainer = trainer_of(model)
    before = model.state_dict()
    with pytest.raises(m.NotFiniteError, match=r"the gradient of parameter layers\.0\.W has"):
        trainer.train_step(X[:, 0], Y[:, 0])
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_refused_batch_changes_nothing():
    model = model_of(stateful=True)
    trainer = trainer_of(model, metrics=[m.Accuracy()])
    trainer.train_step(X[:4], Y[:4])
    weights, gradients = model.state_dict(), [p.grad.copy() for p in model.parameters()]
    carried = [array.copy() for array in model[0].carried_state]
    for inputs, targets in [(X[:4], Y[:4] + 9), (X[:4], Y[:4, :3]), (X[:3], Y[:3]), (Y[:4], Y[:4])]:
        with pytest.raises((ValueError, TypeError)):
            trainer.train_step(inputs, targets)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, weights[name])
    for parameter, grad in zip(model.parameters(), gradients, strict=True):
        np.testing.assert_array_equal(parameter.grad, grad)
    for array, before in zip(model[0].carried_state, carried, strict=True):
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("progress", [False, True])
def test_what_is_shown_where_there_is_no_terminal(progress, capsys):
    trainer = trainer_of(model_of())
    trainer.fit(X, Y, epochs=120, batch_size=10, progress=progress)
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert len(lines) == 0 if not progress else 10 <= len(lines) <= 60
    if progress:
        assert lines[-1].startswith("epoch 120/120  loss ")
        assert "\r" not in shown.err


@pytest.mark.parametrize("shell", [None, SimpleNamespace(kernel=None)], ids=["script", "notebook"])
def test_a_notebook_gets_a_bar_and_a_script_that_imports_ipython_does_not(
    shell, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    trainer_of(model_of()).fit(X, Y, epochs=3, batch_size=10)
    assert ("\r" in capsys.readouterr().err) == (shell is not None)


def test_only_the_parameters_of_the_optimizer_move():
    model = model_of()
    optimizer = m.SGD(model[1].parameters(), 0.1)
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), optimizer)
    before = model.state_dict()
    trainer.train_step(X, Y)
    moved = {n for n, value in model.state_dict().items() if (value != before[n]).any()}
    assert moved == {"layers.1.W", "layers.1.b"}
    with pytest.raises(ValueError, match="holds none of the model's parameters"):
        m.Trainer(model_of(), m.SoftmaxCrossEntropy(), optimizer)


def test_unequal_lengths_in_batches_of_their_own_length():
    sequences = [row[:length] for row, length in zip(Y, LENGTHS, strict=True)]
    model = m.Sequential([m.Embedding(4, 3, rng=0), m.RNN(3, 5, rng=1), m.Dense(5, 4, rng=2)])
    trainer = trainer_of(model)
    batches = PaddedBatches(sequences, sequences, batch_size=3)
    padded = trainer.evaluate(Y, Y, lengths=LENGTHS)
    assert trainer.evaluate(batches)["loss"] == pytest.approx(padded["loss"], rel=1e-5)


def test_history_names_what_it_has():
    history = trainer_of(model_of()).fit(X, Y, epochs=1, progress=False)
    assert dict(history) == {"loss": history["loss"]}
    with pytest.raises(KeyError, match="there is no 'acuracy' in this history; it has loss"):
        history["acuracy"]


def test_evaluation_and_prediction_are_without_dropout():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.integers(0, 2, 20)
    model = m.Sequential([m.Dense(3, 30, rng=0), m.Dropout(0.5, rng=1), m.Dense(30, 2, rng=2)])
    loss = m.SoftmaxCrossEntropy()
    trainer = m.Trainer(model, loss, m.SGD(model.parameters(), 0.1), rng=0)
    history = trainer.fit(x, y, epochs=1, batch_size=5, validation=(x, y), progress=False)
    hidden = x.astype(np.float32) @ model[0].W.value + model[0].b.value
    logits = hidden @ model[2].W.value + model[2].b.value
    np.testing.assert_allclose(trainer.predict(x, batch_size=7), logits, rtol=1e-4, atol=1e-5)
    expected = loss.forward(logits, y)
    assert trainer.evaluate(x, y, batch_size=7)["loss"] == pytest.approx(expected, rel=1e-5)
    assert history["val_loss"][-1] == pytest.approx(expected, rel=1e-5)


def test_after_training_each_layer_is_in_its_mode_of_before():
    model = m.Sequential([m.Dense(3, 4, rng=0), m.Dropout(0.5, rng=1), m.Dense(4, 2, rng=2)])
    model.eval()
    model[2].train()
    trainer = m.Trainer(model, m.MeanSquaredError(), m.SGD(model.parameters(), 0.1), rng=0)
    trainer.fit(np.ones((4, 3)), np.ones((4, 2)), epochs=1, progress=False)
    modes = [layer.training for _, layer in model.named_layers()]
    assert modes == [False, False, False, True]
