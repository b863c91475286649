"""What is refused before the first batch: each of these once cost an epoch, or was silent."""

from __future__ import annotations

import re

import numpy as np
import pytest

import minirnn as m
from minirnn.callbacks import Callback, Checkpoint, EarlyStopping, ReduceOnPlateau
from minirnn.data import Batches, PaddedBatches, StreamBatches
from tests.training.runs import assert_same, everything

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 5, 3)).astype(np.float32)
Y = RNG.integers(0, 4, (12, 5))
ONE = Y[:, 0]
MASK = np.arange(5) < RNG.integers(1, 6, 12)[:, None]


def trainer_of(*, steps=True, stateful=False, outputs=4, loss=None, end=(), **options):
    layers = [m.GRU(3, 5, stateful=stateful, rng=0)]
    layers += [] if steps else [m.LastStep()]
    model = m.Sequential([*layers, m.Dense(5, outputs, rng=1), *end])
    optimizer = m.Adam(model.parameters(), 0.01)
    return m.Trainer(model, loss or m.SoftmaxCrossEntropy(), optimizer, rng=0, **options)


def refused(trainer, message, *arguments, kind=ValueError, **options):
    """Fit, be refused, and find everything as it was: no batch was trained, no number drawn."""
    before = everything(trainer)
    options = {"epochs": 2, "batch_size": 4, "progress": False} | options
    with pytest.raises(kind, match=message):
        trainer.fit(*arguments, **options)
    assert_same(everything(trainer), before)


# ---------------------------------------------------------------- what callbacks watch


class F1(m.Metric):
    name = "f1"
    values = (0.29, 0.92, 0.5, 0.4)

    def __init__(self):
        self.k = -1

    def reset(self):
        self.k += 1

    def update(self, prediction, target, mask=None):
        pass

    @property
    def value(self):
        return self.values[self.k % 4]


@pytest.mark.parametrize("callback", [EarlyStopping, ReduceOnPlateau])
@pytest.mark.parametrize(
    ("monitor", "validation", "message"),
    [
        (
            "val_acc",
            True,
            "no 'val_acc' to monitor; .* have loss, accuracy, val_loss, val_accuracy$",
        ),
        (
            "val_loss",
            False,
            "no 'val_loss' to monitor; .* have loss, accuracy; pass validation= to f",
        ),
        ("val_perplexity", True, "no 'val_perplexity'"),
    ],
)
def test_a_name_that_the_run_will_not_have(callback, monitor, validation, message):
    trainer = trainer_of(metrics=[m.Accuracy()], callbacks=[callback(monitor)])
    refused(trainer, message, X, Y, validation=(X, Y) if validation else None)


def test_a_callback_of_ones_own_says_what_it_watches():
    class Monitoring(Callback):
        monitor = "val_accuracy"

    refused(trainer_of(callbacks=[Monitoring()]), "Monitoring: there will be no", X, Y)


@pytest.mark.parametrize(
    "make",
    [
        EarlyStopping,
        ReduceOnPlateau,
        lambda *a, **o: Checkpoint("run.safetensors", monitor=a[0], **o),
    ],
)
def test_which_way_is_better_has_to_be_known(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer = trainer_of(metrics=[F1()], callbacks=[make("f1")])
    message = "it is not known whether 'f1' is better when it is higher; write mode=\"max\" or"
    with pytest.raises(ValueError, match=message):
        trainer.fit(X, Y, epochs=1, progress=False)
    assert trainer.epoch == 0
    trainer = trainer_of(metrics=[F1()], callbacks=[make("f1", mode="max")])
    trainer.fit(X, Y, epochs=1, progress=False)


@pytest.mark.parametrize("higher", [True, False])
def test_the_metric_says_which_way_is_better(higher):
    metric = F1()
    metric.higher_is_better = higher
    stopping = EarlyStopping("f1", patience=9)
    trainer = trainer_of(metrics=[metric], callbacks=[stopping])
    history = trainer.fit(X, Y, epochs=3, progress=False)
    assert stopping.best == (max if higher else min)(history["f1"])
    assert f"{stopping.best:.4g}  (epoch {stopping.best_epoch})" in repr(history)


# ---------------------------------------------------------------- validation


@pytest.mark.parametrize(
    ("validation", "kind", "message"),
    [
        ((X[:, :, :2], Y), ValueError, "validation, first batch: GRU .layer 0.*axis 2 .features"),
        ((X, Y[:, :4]), ValueError, "validation, first batch: SoftmaxCrossEntropy: the target sh"),
        ([(X[:2], Y[:2, :3])], ValueError, "validation, first batch: SoftmaxCrossEntropy: the ta"),
        ((X, Y[:5]), ValueError, "Batches: axis 0 .batch. of the targets should be as long as"),
        ((X, Y.astype(float)), TypeError, "validation: Softmax.*should be integers in 0..3"),
        ({"x": X, "y": Y}, TypeError, "validation should be .inputs, targets. .*got a dictionary"),
    ],
)
def test_validation_that_would_fail_after_the_epoch(validation, kind, message):
    refused(trainer_of(), message, X, Y, validation=validation, kind=kind)


def test_the_validation_batch_costs_no_random_number():
    model = m.Sequential([m.Dense(3, 4, rng=0), m.Dropout(0.5, rng=1)])
    runs = []
    for validation in (None, (X, Y)):
        model = m.Sequential([m.GRU(3, 5, rng=0), m.Dropout(0.5, rng=1), m.Dense(5, 4, rng=2)])
        trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), m.Adam(model.parameters(), 0.01), rng=0)
        trainer.fit(X, Y, epochs=2, batch_size=5, validation=validation, progress=False)
        runs.append(model.state_dict())
    assert_same(runs[0], runs[1])


@pytest.mark.parametrize("masked", ["training", "validation"])
def test_a_mask_on_one_side_only(masked):
    mask = MASK if masked == "training" else None
    validation = (X, Y) if masked == "training" else (X, Y, MASK)
    message = f"{masked} has a mask, .* has none, so its padding would count"
    refused(trainer_of(), message, X, Y, mask=mask, validation=validation)
    sequences = [x[: k + 1] for k, x in enumerate(X[:5])]
    padded = PaddedBatches(sequences, [y[: len(x)] for x, y in zip(sequences, Y, strict=False)],
                           batch_size=2)  # fmt: skip
    if masked == "training":
        refused(trainer_of(), message, padded, validation=(X, Y), batch_size=None)


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf])
def test_a_weight_that_some_later_batch_would_refuse(wrong):
    weights = np.ones(len(X))
    weights[-1] = wrong
    message = "sample_weight should be finite and at least 0"
    refused(trainer_of(), message, X, Y, sample_weight=weights)
    held_out = (X, Y, None, None, weights)
    refused(trainer_of(), f"validation: .*{message}", X, Y, validation=held_out)
    weights = np.ones(Y.shape)
    weights[~MASK] = wrong  # nobody looks at it there
    trainer_of().fit(X, Y, mask=MASK, sample_weight=weights, epochs=1, progress=False)


def test_a_batch_that_may_come_without_a_valid_step():
    mask = np.ones((12, 5), bool)
    mask[[1, 5]] = False
    message = "2 of 12 rows of the mask have no valid step, so a batch of 2 could have none at all"
    refused(trainer_of(), message, X, Y, mask=mask, batch_size=2)
    refused(trainer_of(), message, X, Y, target_mask=mask, batch_size=2)
    for options in ({"batch_size": 4}, {"batch_size": 2, "shuffle": False}):
        trainer_of().fit(X, Y, mask=mask, epochs=1, progress=False, **options)


def test_labels_that_some_later_batch_would_refuse():
    labels = np.ones((12, 2), int)
    labels[-1, 1] = 4
    refused(trainer_of(loss=m.CTCLoss()), "target labels should be in 0..3", X, labels)
    mask = np.ones(labels.shape, bool)
    mask[-1, 1] = False
    trainer = trainer_of(loss=m.CTCLoss())
    trainer.fit(X, labels, target_mask=mask, epochs=1, progress=False)


def test_nothing_to_validate_with():
    refused(trainer_of(), "^validation: there are no batches at all", X, Y, validation=[])


def test_one_callback_sets_the_weights_at_the_end():
    stopping, average = EarlyStopping("loss"), m.callbacks.AverageWeights
    for callbacks in ([stopping, EarlyStopping("loss")], [stopping, average()]):
        trainer = trainer_of(callbacks=callbacks)
        refused(trainer, "each leave their weights in the model at the end", X, Y)
    with pytest.raises(ValueError, match="callbacks has the same EarlyStopping twice"):
        trainer_of(callbacks=[stopping, stopping])
    one = EarlyStopping("loss", restore_best=False)
    trainer_of(callbacks=[one, stopping]).fit(X, Y, epochs=1, progress=False)


@pytest.mark.parametrize("callback", [EarlyStopping, ReduceOnPlateau])
def test_nothing_to_monitor(callback):
    for monitor in (None, 5, ["loss"]):
        with pytest.raises(TypeError, match="monitor should be a str"):
            callback(monitor)


def test_none_does_not_end_an_epoch():
    with pytest.raises(TypeError, match=r"a batch should be \(inputs, targets\).*got NoneType"):
        trainer_of().fit([(X, Y), None, (X, Y)], epochs=1, progress=False)


def test_a_metric_whose_value_is_a_method():
    class Wrong:
        name, higher_is_better = "wrong", True

        def update(self, prediction, target, mask=None):
            pass

        def reset(self):
            pass

        def value(self):
            return 1.0

    with pytest.raises(TypeError, match="value of Wrong should be a property"):
        trainer_of(metrics=[Wrong()])


# ---------------------------------------------------------------- sizes


def test_layers_that_carry_a_state_and_a_smaller_last_batch():
    message = r"the data: .*stateful=True.* these have 5, the last 2; take a batch_size"
    refused(trainer_of(stateful=True), message, X, Y, shuffle=False, batch_size=5)
    batches = Batches(X, Y, batch_size=5)
    refused(trainer_of(stateful=True), message, batches, batch_size=None)
    message = "validation: .*these have 6, the last 4"
    validation = (X[:10], Y[:10])
    refused(
        trainer_of(stateful=True), message, X, Y, shuffle=False, batch_size=6, validation=validation
    )
    whole = Batches(X, Y, batch_size=5, drop_last=True)
    assert trainer_of(stateful=True).fit(whole, epochs=1, progress=False).epochs == 1


# ---------------------------------------------------------------- targets


def with_nan(y, count):
    y = np.array(y, float)
    y.flat[3 : 3 + count] = np.nan
    return y


@pytest.mark.parametrize(
    ("targets", "options", "kind", "message"),
    [
        (with_nan(np.zeros((12, 5, 4)), 2), {"loss": m.MeanSquaredError()}, ValueError,
         "the data: MeanSquaredError: the target has 2 of 240 numbers that are not finite"),
        (Y + 1, {}, ValueError, r"target classes should be in 0..3 .*; they are from 1 to 4"),
        (Y - 1, {}, ValueError, "should be in 0..3 .*; they are from -1 to 2"),
        (ONE + 9, {"steps": False}, ValueError, "should be in 0..3 .*, got 9 at position"),
        (np.array(list("abcdabcdabcd")), {"steps": False}, TypeError,
         "np.unique.x, return_inverse=True"),
        (ONE > 1, {"steps": False}, TypeError, r"array of bool; write x.astype\(int\)"),
        (np.full((12, 5, 4), 2.0), {"loss": m.SigmoidCrossEntropy()}, ValueError,
         "SigmoidCrossEntropy: targets should be in 0..1, got numbers from 2 to 2"),
    ],
)  # fmt: skip
def test_targets_against_the_loss(targets, options, kind, message):
    refused(trainer_of(**options), message, X, targets, kind=kind)


def test_targets_that_are_right():
    for loss, targets, mask in [
        (m.SoftmaxCrossEntropy(), np.where(MASK, Y, 99), MASK),
        (m.SoftmaxCrossEntropy(), np.eye(4)[Y], None),
        (m.SoftmaxCrossEntropy(ignore_class=-1), np.where(MASK, Y, -1), None),
        (m.MeanSquaredError(), np.where(MASK[..., None], 0.5, np.full((12, 5, 4), np.nan)), MASK),
        (m.SigmoidCrossEntropy(), np.eye(4, dtype=bool)[Y], None),
    ]:
        trainer_of(loss=loss).fit(X, targets, mask=mask, epochs=1, progress=False)


def test_a_row_of_the_mask_without_a_valid_step_is_the_users_row():
    mask = MASK.copy()
    mask[[7, 9]] = False
    trainer = trainer_of(steps=False)
    refused(trainer, r"row 7 of the mask has no valid step \(2 of 12 rows", X, ONE, mask=mask)
    refused(trainer, "validation: .*row 7 of the", X, ONE, mask=MASK, validation=(X, ONE, mask))
    trainer_of().fit(X, Y, mask=mask, epochs=1, progress=False)  # each step by itself


# ---------------------------------------------------------------- the last layer and the loss


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"end": [m.Softmax()]}, "ends in Softmax, and SoftmaxCrossEntropy works on logits"),
        ({"end": [m.Sigmoid()], "loss": m.SigmoidCrossEntropy()}, "ends in Sigmoid, and SigmoidC"),
        ({"outputs": 1}, "has one output, and SoftmaxCrossEntropy is over classes"),
        (
            {"outputs": 1, "end": [m.Softmax()], "loss": m.CrossEntropy()},
            "has one output, and Cros",
        ),
        (
            {"end": [m.Softmax()], "loss": m.CrossEntropy(), "metrics": [m.Perplexity()]},
            r"in Softmax, and Perplexity expects logits; write Perplexity\(from_logits=False\)",
        ),
        ({"end": [m.Sequential([m.Softmax()])]}, "ends in Softmax"),
        ({"end": [m.Softmax()], "loss": m.CTCLoss()}, "CTCLoss works on logits.*layer out$"),
    ],
)
def test_what_does_not_go_together(options, message):
    with pytest.raises(ValueError, match=f"^Trainer: .*{message}"):
        trainer_of(**options)


def test_the_same_metric_twice():
    with pytest.raises(ValueError, match="two of the values to report would be named 'accuracy'"):
        trainer_of(metrics=[m.Accuracy(), m.Accuracy()])


# ---------------------------------------------------------------- parameters nobody trains


class Lazy(m.Layer):
    """A layer that makes its parameter when it first sees data."""

    W = None

    def forward(self, x):
        if self.W is None:
            self.W = m.Parameter(np.ones(x.shape[-1], np.float32))
        self.x = x
        return x * self.W.value

    def backward(self, grad):
        self.W.grad += (grad * self.x).reshape(-1, self.x.shape[-1]).sum(axis=0)
        return grad * self.W.value


def test_parameters_made_after_the_optimizer():
    model = m.Sequential([Lazy(), m.Dense(3, 4, rng=0)])
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), m.SGD(model.parameters(), 0.1))
    before = model[1].state_dict()
    with pytest.raises(RuntimeError, match=r"layers\.0\.W was made after the optimizer"):
        trainer.fit(X, Y, epochs=1, progress=False)
    assert_same(model[1].state_dict(), before)
    model.forward(X)
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), m.SGD(model.parameters(), 0.1))
    trainer.fit(X, Y, epochs=1, progress=False)


class Two(m.Layer):
    """A composite layer of a user's."""

    def __init__(self):
        self.first, self.second = m.Dense(3, 5, rng=0), m.Dense(5, 4, rng=1)

    def forward(self, x):
        return self.second.forward(self.first.forward(x))

    def backward(self, grad):
        return self.first.backward(self.second.backward(grad))


def test_layers_replaced_after_the_optimizer():
    model = Two()
    optimizer = m.SGD(model.parameters(), 0.1)
    model.second = m.Dense(5, 4, rng=2)
    with pytest.raises(
        ValueError, match=r"holds none of .* second\.W, second\.b, but 2 that the model does"
    ):
        m.Trainer(model, m.SoftmaxCrossEntropy(), optimizer)
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), m.SGD(model.parameters(), 0.1))
    model.first = m.Dense(3, 5, rng=3)
    with pytest.raises(RuntimeError, match=r"first\.W, first\.b was made after the optimizer"):
        trainer.train_step(X, Y)


def test_freezing_is_legal():
    model = m.Sequential([m.Dense(3, 5, rng=0), m.Dense(5, 4, rng=1)])
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), m.SGD(model[1].parameters(), 0.1))
    before = model[0].state_dict()
    trainer.fit(X, Y, epochs=1, progress=False)
    assert_same(model[0].state_dict(), before)


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_data": (X, Y)}, "^fit: .*keyword validation_data; .* it is validation$"),
        ({"validation_split": 0.1}, "^fit: .*validation_split; .*cut off"),
        ({"nonsense": 1}, "unexpected keyword argument 'nonsense'$"),
        ({"progress": 2}, "progress should be True or False, got 2"),
    ],
)
def test_keywords_of_others(options, message):
    refused(trainer_of(), message, X, Y, kind=TypeError, **options)


def test_batch_size_beside_batches():
    message = "batch_size goes with arrays of inputs and targets; batches bring their own size"
    refused(trainer_of(), message, Batches(X, Y, batch_size=3), kind=TypeError)
    refused(trainer_of(), "mask and batch_size go with arrays", [(X, Y)], mask=MASK, kind=TypeError)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("mse", r"loss is the text 'mse': write MeanSquaredError\(\)"),
        (m.MeanSquaredError, r"got the class MeanSquaredError: write MeanSquaredError\(...\)"),
    ],
)
def test_a_loss_that_is_none(loss, message):
    with pytest.raises(TypeError, match=f"^Trainer: .*{message}"):
        trainer_of(loss=loss)


def test_a_loss_without_a_mask():
    class Loss:
        def forward(self, prediction, target):
            return 0.0

        def backward(self):
            return 0.0

    with pytest.raises(TypeError, match="does not take mask; write def forward"):
        trainer_of(loss=Loss())


def test_a_gradient_of_another_shape_is_the_losss_own():
    class Squares(m.Loss):
        def forward(self, prediction, target, mask=None):
            return 1.0

        def backward(self):
            return self.grad

    for Squares.grad, kind, got in [
        (None, TypeError, r"got None; is there a return\?"),
        (np.ones((12, 5, 3)), ValueError, r"\(12, 5, 4\), got shape \(12, 5, 3\)"),
    ]:
        with pytest.raises(kind, match=f"^Squares: backward should return .*{got}"):
            trainer_of(loss=Squares()).train_step(X, Y)


def test_a_loss_that_is_no_number():
    class Squares(m.Loss):
        def forward(self, prediction, target, mask=None):
            return self.value

    for Squares.value, got in [(np.ones((3, 1)), r"an array of shape \(3, 1\)"), (None, "None")]:
        with pytest.raises(TypeError, match=f"Squares: forward should return one number.*{got}"):
            trainer_of(loss=Squares()).train_step(X, Y)


def test_a_loss_that_does_not_say_what_it_weighs_counts_numbers_one_a_sequence():
    class Squares(m.Loss):
        def forward(self, prediction, target, mask=None):
            return float(np.square(prediction - target).mean())

    class First(m.Layer):
        def forward(self, x):
            return x[:, 0]

    trainer = m.Trainer(First(), Squares(), m.SGD([m.Parameter([1.0])], 0.1))
    x, y = np.array([[1.0], [2.0], [7.0]]), np.zeros(3)
    assert trainer.evaluate(x, y, batch_size=2)["loss"] == pytest.approx(54 / 3)


def test_float_tokens():
    with pytest.raises(
        TypeError, match=r"tokens \(length,\) should be integers, .*series\[:, None"
    ):
        StreamBatches(np.linspace(0, 1, 50), batch_size=2, steps=3)
    assert len(StreamBatches(np.linspace(0, 1, 50)[:, None], batch_size=2, steps=3)) == 8


def test_a_callback_as_keras_calls_it():
    with pytest.raises(TypeError, match=r"Own.on_epoch_end .*: write def on_epoch_end\(self, tr"):

        class Own(Callback):
            def on_epoch_end(self, epoch, logs=None):
                pass

    with pytest.raises(TypeError, match=r"Own.on_batch_end .*: write def on_batch_end\(self, tr"):

        class Own(Callback):
            def on_batch_end(self, trainer, batch):
                pass

    class Loose(Callback):
        def on_epoch_end(self, *arguments):
            pass

        def on_batch_end(self, trainer, often=True):
            pass


def test_a_method_that_nobody_calls():
    with pytest.raises(
        TypeError, match="Own.on_epoch_finish is never called: a callback has on_tr"
    ):

        class Own(Callback):
            def on_epoch_finish(self, trainer):
                pass


# ---------------------------------------------------------------- numbers that are not finite


def test_an_overflow_of_the_loss_names_the_rate():
    trainer = trainer_of(loss=m.MeanSquaredError())
    trainer.optimizer.learning_rate = 1e30
    with pytest.raises(m.NotFiniteError, match=r"learning rate below 1e\+30"):
        trainer.fit(X, np.zeros((12, 5, 4)), epochs=5, progress=False)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_gradient_that_is_not_finite_is_caught_without_clip_norm(accumulate):
    class Steep(m.Layer):
        def forward(self, x):
            return x

        def backward(self, grad):
            return grad * np.nan

    model = m.Sequential([m.Dense(3, 4, rng=0), Steep()])
    optimizer = m.SGD(model.parameters(), 0.1)
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), optimizer, accumulate=accumulate)
    before = model.state_dict()
    with pytest.raises(m.NotFiniteError, match=r"the gradient of parameter layers\.0\.W has"):
        trainer.train_step(X, Y)
    assert_same(model.state_dict(), before)


# ---------------------------------------------------------------- what is told at the end


def test_the_end_tells_the_last_epoch_and_what_was_restored(capsys):
    class Falls(F1):
        values = tuple(range(50))
        higher_is_better = False

        @property
        def value(self):
            return abs(self.k - 31)

    trainer = trainer_of(metrics=[Falls()], callbacks=[EarlyStopping("f1", patience=3)])
    trainer.fit(X, Y, epochs=500, batch_size=12)
    lines = capsys.readouterr().err.splitlines()
    last, best = trainer.epoch, trainer.epoch - 3
    assert re.match(rf"epoch {last}/500  loss .* f1 3$", lines[-2])
    assert lines[-1] == f"stopped at epoch {last}, weights of epoch {best} restored"
    trainer.fit(X, Y, epochs=1, progress=False)
    assert capsys.readouterr().err == ""


def test_a_softmax_at_the_end_of_a_decoder_is_seen():
    encoder, decoder = m.Sequential([m.GRU(2, 3)]), m.Sequential([m.GRU(2, 3), m.Softmax()])
    model = m.EncoderDecoder(encoder, decoder)
    with pytest.raises(ValueError, match="ends in Softmax, and SoftmaxCrossEntropy works on logi"):
        m.Trainer(model, m.SoftmaxCrossEntropy(), m.SGD(model.parameters(), 0.1))


def test_a_stream_is_not_read_from_its_end():
    trainer = trainer_of(stateful=True)
    trainer.model[0].reverse = True
    stream = StreamBatches(np.zeros((50, 4), np.float32), batch_size=2, steps=3)
    refused(trainer, "reads a stream from its end", stream, batch_size=None)
