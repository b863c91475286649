"""Every metric that streams: against scikit-learn, in pieces, under masks, weighted, saved."""

import copy
import math
from functools import partial

import numpy as np
import pytest

import minirnn as m
from minirnn.callbacks import Callback
from minirnn.files import read_tree, write_tree
from tests.contract import helpers

CLASSES = 4


def _scores(rng, shape):
    return rng.normal(size=(*shape, CLASSES))


def _classes(rng, shape):
    return rng.integers(0, CLASSES, shape)


def _logit(rng, shape):
    return rng.normal(size=(*shape, 1))


def _yes(rng, shape):
    return rng.integers(0, 2, (*shape, 1))


def _spread(prediction, target, sample_weight=None):
    return np.average(np.abs(prediction - target).max(axis=1), weights=sample_weight)


# name: (make, draw predictions, draw targets, scikit-learn's number from (module, t, y, weights))
def _softmax(y):
    p = np.exp(y - y.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def _of_classes(name, average):
    return lambda s, t, y, w: getattr(s, name)(
        t, y.argmax(axis=1), average=average, sample_weight=w, zero_division=0
    )


def _of_yes(name):
    return lambda s, t, y, w: getattr(s, name)(
        t[:, 0], y[:, 0] > 0, sample_weight=w, zero_division=0
    )


METRICS = {
    "Accuracy": (
        m.Accuracy,
        _scores,
        _classes,
        lambda s, t, y, w: s.accuracy_score(t, y.argmax(axis=1), sample_weight=w),
    ),
    "TopKAccuracy": (
        lambda: m.TopKAccuracy(2),
        _scores,
        _classes,
        lambda s, t, y, w: s.top_k_accuracy_score(
            t, y, k=2, sample_weight=w, labels=range(CLASSES)
        ),
    ),
    "BinaryAccuracy": (
        m.BinaryAccuracy,
        _logit,
        _yes,
        lambda s, t, y, w: s.accuracy_score(t[:, 0], y[:, 0] > 0, sample_weight=w),
    ),
    "LogLoss": (
        m.LogLoss,
        _scores,
        _classes,
        lambda s, t, y, w: s.log_loss(t, _softmax(y), sample_weight=w, labels=range(CLASSES)),
    ),
    "Perplexity": (
        m.Perplexity,
        _scores,
        _classes,
        lambda s, t, y, w: math.exp(
            s.log_loss(t, _softmax(y), sample_weight=w, labels=range(CLASSES))
        ),
    ),
    "MAE": (
        m.MAE,
        _scores,
        _scores,
        lambda s, t, y, w: s.mean_absolute_error(t, y, sample_weight=w),
    ),
    "RMSE": (
        m.RMSE,
        _scores,
        _scores,
        lambda s, t, y, w: math.sqrt(s.mean_squared_error(t, y, sample_weight=w)),
    ),
    "R2": (m.R2, _scores, _scores, lambda s, t, y, w: s.r2_score(t, y, sample_weight=w)),
    "ConfusionMatrix": (
        m.ConfusionMatrix,
        _scores,
        _classes,
        lambda s, t, y, w: s.confusion_matrix(
            t, y.argmax(axis=1), sample_weight=w, labels=range(CLASSES)
        ),
    ),
    "ConfusionMatrix of one output": (
        m.ConfusionMatrix,
        _logit,
        _yes,
        lambda s, t, y, w: s.confusion_matrix(
            t[:, 0], y[:, 0] > 0, sample_weight=w, labels=[False, True]
        ),
    ),
    "FunctionMetric": (
        lambda: m.FunctionMetric(_spread, name="spread", higher_is_better=False),
        _scores,
        _scores,
        lambda s, t, y, w: _spread(y, t, w),
    ),
}
for _kind, _function in [
    (m.Precision, "precision_score"),
    (m.Recall, "recall_score"),
    (m.F1, "f1_score"),
]:
    METRICS[f"{_kind.__name__} of yes"] = (_kind, _logit, _yes, _of_yes(_function))
    for _average in ("macro", "micro", "weighted"):
        METRICS[f"{_kind.__name__} {_average}"] = (
            lambda kind=_kind, average=_average: kind(average),
            _scores,
            _classes,
            _of_classes(_function, _average),
        )
BY_NAME = pytest.mark.parametrize("name", METRICS)


def _drawn(name, shape, seed=0):
    _, prediction, target, _ = METRICS[name]
    rng = np.random.default_rng(seed)
    return prediction(rng, shape), target(rng, shape)


def _value(metric, *arguments):
    metric.update(*arguments)
    return metric.value


@BY_NAME
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("count", [40, 3])
def test_as_scikit_learn(name, weighted, count):
    reference = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    make, _, _, theirs = METRICS[name]
    y, t = _drawn(name, (count,))
    weights = np.random.default_rng(1).uniform(0.1, 2, count) if weighted else None
    expected = theirs(reference, t, y, weights)
    np.testing.assert_allclose(_value(make(), y, t, None, weights), expected, rtol=1e-12)


@BY_NAME
@pytest.mark.parametrize("weighted", [False, True])
def test_in_chunks_under_a_mask_it_is_that_of_all_valid_steps(name, weighted):
    make = METRICS[name][0]
    y, t = _drawn(name, (7, 4))
    mask = np.random.default_rng(2).random((7, 4)) < 0.6
    mask[:, 1] = True
    weights = np.random.default_rng(3).uniform(0.1, 2, (7, 4))
    arguments = [weights] if weighted else []
    expected = _value(make(), y[mask], t[mask], None, *[w[mask] for w in arguments])
    dirty_y = helpers.with_padding(y, mask, np.nan)
    dirty_t = helpers.with_padding(t, mask, np.nan if t.dtype == float else -99)
    metric = make()
    for rows in [slice(0, 1), slice(1, 5), slice(5, 7)]:
        metric.update(dirty_y[rows], dirty_t[rows], mask[rows], *[w[rows] for w in arguments])
    np.testing.assert_allclose(metric.value, expected, rtol=1e-12)


@BY_NAME
def test_after_last_step_there_is_one_prediction_a_sequence(name):
    make = METRICS[name][0]
    y, t = _drawn(name, (4,))
    by_chance = np.ones((4, y.shape[-1]), bool)
    metric = make()
    metric.update(y, t)
    before = metric.value
    with pytest.raises(ValueError, match="without a time axis"):
        metric.update(y, t, by_chance)
    np.testing.assert_array_equal(metric.value, before)


@BY_NAME
def test_reset_and_copies(name):
    make = METRICS[name][0]
    metric, fresh = make(), make()
    metric.update(*_drawn(name, (10,), seed=4))
    before, twin = copy.deepcopy(metric.value), copy.deepcopy(metric)
    metric.reset()
    with pytest.raises(RuntimeError, match="value was read before any update"):
        metric.value  # noqa: B018
    for one in (metric, fresh):
        one.update(*_drawn(name, (9,), seed=5))
    np.testing.assert_array_equal(metric.value, fresh.value)
    np.testing.assert_array_equal(twin.value, before)


@BY_NAME
def test_saved_and_gone_on_with(name, tmp_path):
    make = METRICS[name][0]
    metric, other = make(), make()
    other.update(*_drawn(name, (5,), seed=1))
    for seed in (4, 5, 6):
        write_tree(tmp_path / "state.safetensors", metric.state_dict())
        other.load_state_dict(read_tree(tmp_path / "state.safetensors"))
        for one in (metric, other):
            one.update(*_drawn(name, (9,), seed=seed))
        np.testing.assert_array_equal(metric.value, other.value)


@BY_NAME
def test_which_way_is_better(name):
    metric = METRICS[name][0]()
    lower = {"LogLoss", "Perplexity", "MAE", "RMSE", "FunctionMetric"}
    expected = None if name.startswith("Confusion") else name not in lower
    assert metric.higher_is_better is expected
    assert metric.name.isidentifier()


@BY_NAME
@pytest.mark.parametrize("wrong", ["targets", "weights"])
def test_a_refused_update_changes_nothing(name, wrong):
    metric = METRICS[name][0]()
    y, t = _drawn(name, (5,))
    metric.update(y, t)
    before = copy.deepcopy(metric.value)
    arguments = (y, t[:3]) if wrong == "targets" else (y, t, None, np.ones(7))
    with pytest.raises(ValueError, match=r"sample_weight should|got shape|got \("):
        metric.update(*arguments)
    np.testing.assert_array_equal(metric.value, before)


# ---------------------------------------------------------------- by hand


def test_scores_by_hand():
    y = np.eye(3)[[0, 0, 1, 1, 1]]
    t = np.array([0, 1, 1, 1, 0])
    assert _value(m.Precision("macro"), y, t) == pytest.approx((1 / 2 + 2 / 3) / 2)  # 2 not there
    assert _value(m.Recall("macro"), y, t) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert _value(m.F1("micro"), y, t) == pytest.approx(3 / 5)
    assert _value(m.F1("weighted"), y, t) == pytest.approx((2 * 0.5 + 3 * 2 / 3) / 5)
    matrix = _value(m.ConfusionMatrix(), y, t)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [1, 2, 0], [0, 0, 0]])


@pytest.mark.parametrize("mask", [None, np.array([True, True, False, True])], ids=["all", "some"])
@pytest.mark.parametrize("name", ["MAE", "RMSE", "R2", "BinaryAccuracy"])
def test_one_number_a_sequence_is_one_feature(name, mask):
    make = getattr(m, name)
    y, t = np.array([0.5, 1.0, -1.0, 3.0]), np.array([0.0, 1.0, 1.0, 1.0])
    assert _value(make(), y, t, mask) == _value(make(), y[:, None], t[:, None], mask)


def test_a_function_of_one_number_a_sequence():
    metric = m.FunctionMetric(lambda y, t: y @ t, name="dot", higher_is_better=True)
    metric.update([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [True, False, True])
    assert metric.value == 22


def test_a_class_that_is_only_predicted_counts_in_the_mean_over_classes():
    """As in scikit-learn: `precision_score([0, 1, 1], [0, 1, 2], average="macro")` is 2/3."""
    y, t = np.eye(4)[[0, 1, 2]], np.array([0, 1, 1])
    assert _value(m.Precision("macro"), y, t) == pytest.approx(2 / 3)
    assert _value(m.Recall("macro"), y, t) == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert _value(m.F1("macro"), y, t) == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_two_classes_are_binary_too():
    y, t = np.array([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0]]), np.array([1, 1, 0])
    assert _value(m.F1(), y, t) == pytest.approx(2 / (2 + 1 + 1))


def test_nothing_found_and_nothing_to_find():
    y, t = np.array([[-1.0], [-2.0]]), np.array([[0], [0]])
    for kind in (m.Precision, m.Recall, m.F1):
        assert _value(kind(), y, t) == 0


def test_thresholds_and_probabilities():
    p, t = np.array([[0.3], [0.6], [0.8]]), np.array([[1], [1], [0]])
    logits = np.log(p / (1 - p))
    for threshold, expected in [(0.5, 1 / 3), (0.25, 2 / 3), (0.7, 0)]:
        for y, from_logits in [(p, False), (logits, True)]:
            metric = m.BinaryAccuracy(threshold=threshold, from_logits=from_logits)
            assert _value(metric, y, t) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"should be probabilities.*write from_logits=True"):
        m.BinaryAccuracy(from_logits=False).update(logits, t)
    with pytest.raises(ValueError, match=r"threshold should be between 0 and 1, got 1"):
        m.F1(threshold=1.0)
    with pytest.raises(ValueError, match=r"targets should be 0 or 1, got numbers from 0 to 2"):
        m.Recall().update(p, t * 2)


@pytest.mark.parametrize(
    "metric", [m.Accuracy(), m.TopKAccuracy(1), m.F1("macro"), m.ConfusionMatrix()]
)
def test_nan_is_not_taken_for_the_first_class(metric):
    scores, target = np.ones((2, 3, 4)), np.ones((2, 3, 4))
    scores[1, 2, 3] = np.nan
    mask = np.array([[True, True, True], [True, True, False]])
    metric.update(scores, target.argmax(axis=-1), mask)
    with pytest.raises(ValueError, match=r"the prediction is nan at position \(1, 2, 3\)"):
        metric.update(scores, target)
    target[0, 1, 0] = np.nan
    with pytest.raises(ValueError, match=r"the target is nan at position \(0, 1, 0\)"):
        metric.update(np.ones((2, 3, 4)), target)


def test_nan_is_no_no():
    for metric in [m.BinaryAccuracy(), m.F1()]:
        with pytest.raises(ValueError, match="the prediction is nan at position"):
            metric.update(np.array([[1.0], [np.nan]]), np.zeros((2, 1)))


def test_top_k_of_equal_predictions():
    """A model that says the same of every class is not right because of that."""
    same, t = np.zeros((4, 5)), np.arange(4)
    assert _value(m.TopKAccuracy(2), same, t) == 0.5
    assert _value(m.TopKAccuracy(1), same, t) == _value(m.Accuracy(), same, t)
    with pytest.raises(ValueError, match="k should be below the number of classes, 5, got 5"):
        m.TopKAccuracy().update(same, t)


def test_r2_far_from_zero_and_of_what_does_not_vary():
    rng = np.random.default_rng(0)
    t = rng.normal(size=(50, 1))
    y = t + 0.1 * rng.normal(size=(50, 1))
    metric, far = m.R2(), m.R2()
    for rows in (slice(0, 5), slice(5, 50)):
        metric.update(y[rows], t[rows])
        far.update(y[rows] + 1e6, t[rows] + 1e6)
    assert far.value == pytest.approx(metric.value, rel=1e-7)
    assert _value(m.R2(), np.ones((3, 1)), np.ones((3, 1))) == 1
    assert _value(m.R2(), np.full((3, 1), 2.0), np.ones((3, 1))) == 0
    assert math.isnan(_value(m.R2(), np.ones((1, 1)), np.ones((1, 1))))


@pytest.mark.parametrize(
    "kind", [m.Accuracy, m.Perplexity, m.LogLoss, m.ConfusionMatrix, lambda **k: m.F1("macro", **k)]
)
def test_ignored_classes_do_not_count(kind):
    y, t = _drawn("Accuracy", (6, 4))
    t[0] = t[3, 2] = -100
    metric = kind(ignore_class=-100)
    metric.update(y[:1], t[:1])  # ignored steps only
    metric.update(y[1:], t[1:])
    np.testing.assert_allclose(metric.value, _value(kind(), y[t != -100], t[t != -100]))
    alone = kind(ignore_class=-100)
    alone.update(y[:1], t[:1])
    with pytest.raises(ValueError, match="got -100 at position"):
        kind().update(y, t)


@pytest.mark.parametrize("kind", [m.ConfusionMatrix, partial(m.F1, "macro"), m.Accuracy])
def test_classes_in_the_smallest_integers(kind):
    rng = np.random.default_rng(0)
    prediction, target = rng.normal(size=(60, 20)), rng.integers(0, 20, 60)
    small, large = kind(), kind()
    small.update(prediction, target.astype(np.uint8))
    large.update(prediction, target)
    np.testing.assert_array_equal(small.value, large.value)


def test_the_number_of_classes_stays():
    metric = m.F1("macro")
    metric.update(np.eye(3), [0, 1, 2])
    with pytest.raises(
        ValueError, match=r"F1: the sums of this batch have shape \(2, 2\).*\(3, 3\)"
    ):
        metric.update(np.eye(2), [0, 1])
    with pytest.raises(ValueError, match=r"average='binary' is for two classes, and there are 3"):
        m.F1().update(np.eye(3), [0, 1, 2])
    with pytest.raises(ValueError, match=r"F1: the prediction is not a rectangular array"):
        m.F1().update([[1.0, 2.0], [3.0]], [0, 1])
    with pytest.raises(ValueError, match=r"average should be one of 'binary'"):
        m.F1("mean")
    with pytest.raises(ValueError, match=r"ignore_class is for integer targets.*with a mask"):
        m.F1(ignore_class=0).update(np.ones((2, 1)), np.ones((2, 1)))


# ---------------------------------------------------------------- functions


def test_a_function_of_everything():
    calls = []

    def count(prediction, target):
        calls.append((prediction.shape, target.shape))
        return np.float32(len(target))

    metric = m.FunctionMetric(count, name="count", higher_is_better=None)
    metric.update(np.zeros((2, 3, 4)), np.zeros((2, 3), int), helpers.make_mask("gaps", 2, 3))
    metric.update(np.zeros((1, 3, 4)), np.zeros((1, 3), int))
    valid = 3 + helpers.make_mask("gaps", 2, 3).sum()
    assert metric.value == valid
    assert calls == [((valid, 4), (valid,))]
    assert repr(metric).endswith("name='count', higher_is_better=None)")


def test_a_function_is_given_what_the_batches_held_at_their_update():
    metric = m.FunctionMetric(lambda y, t: (y - t).sum(), name="sum", higher_is_better=None)
    y, t = np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)
    metric.update(y, t)
    y[:], t[:] = 5, 1
    assert metric.value == 6


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: m.FunctionMetric("f1", name="f1", higher_is_better=True), TypeError, "callable"),
        (
            lambda: m.FunctionMetric(max, name="", higher_is_better=True),
            TypeError,
            "a text, got ''",
        ),
        (
            lambda: m.FunctionMetric(max, name="a", higher_is_better="yes"),
            TypeError,
            "True or False",
        ),
    ],
)
def test_wrong_functions(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_function_that_returns_something_else():
    metric = m.FunctionMetric(lambda y, t: y, name="copy", higher_is_better=None)
    metric.update(np.zeros((2, 1)), np.zeros((2, 1)))
    with pytest.raises(TypeError, match="copy: the function should return a number, got ndarray"):
        metric.value  # noqa: B018
    with pytest.raises(ValueError, match="some batches have sample_weight and some have not"):
        metric.update(np.zeros((2, 1)), np.zeros((2, 1)), None, np.ones(2))


# ---------------------------------------------------------------- in training


def _classifier():
    return m.Sequential([m.GRU(2, 3, rng=0), m.Dense(3, CLASSES, rng=1)])


def test_in_training_on_masked_sequences_and_resumed_inside_an_epoch(tmp_path):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(10, 4, 2)), rng.integers(0, CLASSES, (10, 4))
    mask = np.arange(4) < rng.integers(1, 5, 10)[:, None]

    def trainer(callbacks=()):
        model = _classifier()
        metrics = [
            m.F1("macro"),
            m.LogLoss(),
            m.FunctionMetric(lambda y, t: len(y), name="steps", higher_is_better=None),
        ]
        optimizer = m.Adam(model.parameters(), 0.01)
        return m.Trainer(
            model, m.SoftmaxCrossEntropy(), optimizer, metrics=metrics, callbacks=callbacks, rng=0
        )

    def fit(one):
        return one.fit(
            x, t, mask=mask, epochs=2, batch_size=3, validation=(x, t, mask), progress=False
        )

    class StopInside(Callback):
        def on_batch_end(self, trainer):
            if (trainer.epoch, trainer.batch) == (1, 2):
                trainer.save(tmp_path / "run.safetensors")

    whole = fit(trainer([StopInside()]))
    assert whole["steps"] == whole["val_steps"] == [mask.sum()] * 2
    np.testing.assert_allclose(whole["val_log_loss"], whole["val_loss"], rtol=1e-12)

    class Quiet(StopInside):
        def on_batch_end(self, trainer):
            pass

    Quiet.__name__ = "StopInside"
    again = trainer([Quiet()])
    again.resume(tmp_path / "run.safetensors")
    assert dict(fit(again)) == dict(whole)


def test_a_mask_of_the_targets_is_the_metrics_too():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(6, 4, 2)), rng.integers(0, CLASSES, (6, 4))
    mask = np.arange(4) < rng.integers(2, 5, 6)[:, None]
    target_mask = mask & (np.arange(4) >= 1)  # the first step has no target
    model = _classifier()
    metrics = [m.Accuracy(), m.F1("macro"), m.ConfusionMatrix()]
    trainer = m.Trainer(
        model, m.SoftmaxCrossEntropy(), m.Adam(model.parameters(), 0.01), metrics=metrics
    )
    found = trainer.evaluate(x, t, mask=mask, target_mask=target_mask, batch_size=4)
    y = trainer.predict(x, mask=mask)
    for metric in metrics:
        metric.reset()
        expected = _value(metric, y[target_mask], t[target_mask])
        np.testing.assert_allclose(found[metric.name], expected)


def test_in_training_after_last_step():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(12, 5, 2)), rng.integers(0, 2, (12, 1))
    model = m.Sequential([m.GRU(2, 3, rng=0), m.LastStep(), m.Dense(3, 1, rng=1)])
    trainer = m.Trainer(
        model,
        m.SigmoidCrossEntropy(),
        m.Adam(model.parameters(), 0.01),
        metrics=[m.BinaryAccuracy(), m.F1(), m.ConfusionMatrix()],
    )
    found = trainer.evaluate(x, t, lengths=np.full(12, 3), batch_size=5)
    y = trainer.predict(x, lengths=np.full(12, 3))
    assert found["binary_accuracy"] == np.mean((y > 0) == t)
    assert found["confusion_matrix"].sum() == 12


# ---------------------------------------------------------------- one's own


class Share(m.Metric):
    name = "share"

    def measure(self, prediction, target, mask):
        return 1.0, 2.0


def test_an_own_metric_that_takes_no_weights_says_so():
    metric = Share()
    metric.update([[1.0]], [[1.0]])
    assert metric.value == 0.5
    with pytest.raises(TypeError, match=r"Share: measure does not take sample_weight; write def"):
        metric.update([[1.0]], [[1.0]], None, [1.0])


def test_what_a_trainer_may_ask_of_any_metric():
    class Loose:
        name = "loose"

        def update(self, prediction, target, mask=None):
            pass

        def reset(self):
            pass

    class Method(Loose):
        def value(self):
            return 0.5

    check = m.metrics.check_metric
    check("Trainer", m.Accuracy())
    check("Trainer", Share())
    with pytest.raises(TypeError, match=r"Trainer: a metric should be a Metric, .* has no value"):
        check("Trainer", Loose())
    with pytest.raises(TypeError, match=r"value of Method should be a property.*write @property"):
        check("Trainer", Method())
    with pytest.raises(TypeError, match=r"got the class Accuracy: write Accuracy\(...\)"):
        check("Trainer", m.Accuracy)
    with pytest.raises(TypeError, match=r"'accuracy' \(str\) has no update, reset, value, name"):
        check("Trainer", "accuracy")
    with pytest.raises(TypeError, match=r"no update, .*write FunctionMetric\(f, name="):
        check("Trainer", lambda prediction, target: 1.0)


def test_a_method_that_takes_too_little_is_refused_before_training():
    class Plain(m.Metric):
        name, higher_is_better = "plain", True

        def measure(self, prediction, target):
            return 1.0, 1

    class Updates(m.Metric):
        def update(self, prediction, target):
            pass

    for metric, method in [(Plain(), "measure"), (Updates(), "update")]:
        message = f"^Trainer: the {method} of .* three arguments; write def {method}"
        with pytest.raises(TypeError, match=message):
            m.metrics.check_metric("Trainer", metric)


@pytest.mark.parametrize("sums", [1.0, [1.0, 2.0, 3.0]])
def test_sums_that_are_no_total_and_count_are_named(sums):
    class Sums(m.Metric):
        def measure(self, prediction, target, mask):
            return sums

    metric = Sums()
    metric.update([[1.0]], [[1.0]])
    with pytest.raises(
        TypeError, match=r"Sums: measure should return \(total, count\), got an arr"
    ):
        metric.value  # noqa: B018


def test_what_metrics_show_of_themselves():
    assert repr(m.Accuracy()) == "Accuracy()"
    assert repr(m.F1("macro", threshold=0.25)) == "F1(average='macro', threshold=0.25)"
    assert repr(m.TopKAccuracy(3)) == "TopKAccuracy(k=3)"
