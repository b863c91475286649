"""Sample weights, class weights, smoothing and ignored classes, and what is refused of them."""

import numpy as np
import pytest

import minirnn as m
from tests.contract import helpers
from tests.contract.losses import CLASSES, LOSSES
from tests.differences import central_differences

CASES = pytest.mark.parametrize("case", LOSSES, ids=str)


def _draw_weights(shape, seed=5):
    return np.random.default_rng(seed).integers(0, 4, shape).astype(float)


# ---------------------------------------------------------------- sample weights


@CASES
def test_a_weight_is_how_often_an_example_counts(case):
    prediction, target = case.draw((6,))
    weights = np.array([2, 0, 1, 3, 0, 1])
    weighted, repeated = case.make(), case.make()
    value = weighted.forward(prediction, target, sample_weight=weights)
    again = np.repeat(np.arange(6), weights)
    expected = repeated.forward(prediction[again], target[again])
    assert value == pytest.approx(expected, rel=1e-12)
    assert weighted.batch_weight == pytest.approx(repeated.batch_weight)
    summed = np.zeros_like(prediction)
    np.add.at(summed, again, repeated.backward())
    np.testing.assert_allclose(weighted.backward(), summed, rtol=1e-12, atol=1e-15)


@CASES
def test_equal_weights_of_any_size_change_nothing(case):
    prediction, target = case.draw((3, 4))
    mask = helpers.make_mask("gaps", 3, 4)
    loss = case.make()
    value = loss.forward(prediction, target, mask)
    grad = loss.backward()
    for weights in [np.full(3, 7.0), np.full((3, 4), 1e-3)]:
        assert loss.forward(prediction, target, mask, weights) == pytest.approx(value, rel=1e-13)
        np.testing.assert_allclose(loss.backward(), grad, rtol=1e-12, atol=1e-16)


@CASES
def test_a_weight_of_a_sequence_is_that_of_its_steps(case):
    prediction, target = case.draw((3, 4))
    mask = helpers.make_mask("gaps", 3, 4)
    weights = np.array([2.0, 0.5, 1.0])
    one, other = case.make(), case.make()
    whole = one.forward(prediction, target, mask, weights)
    assert whole == other.forward(prediction, target, mask, np.repeat(weights[:, None], 4, axis=1))
    np.testing.assert_array_equal(one.backward(), other.backward())


@CASES
@pytest.mark.parametrize("masked", [False, True])
def test_the_gradient_under_weights(case, masked):
    prediction, target = case.draw((3, 4))
    mask = helpers.make_mask("gaps", 3, 4) if masked else None
    weights = _draw_weights((3, 4)) + 0.5
    loss = case.make()
    loss.forward(prediction, target, mask, weights)
    grad = loss.backward()
    numeric = central_differences(
        lambda: loss.forward(prediction, target, mask, weights), prediction
    )
    helpers.assert_gradient("prediction", grad, numeric)


@CASES
def test_weights_in_the_padding_are_ignored(case):
    prediction, target = case.draw((3, 4))
    mask = helpers.make_mask("gaps", 3, 4)
    weights = _draw_weights((3, 4)) + 1
    dirty = np.where(mask, weights, np.nan)
    loss = case.make()
    value = loss.forward(prediction, target, mask, weights)
    assert loss.forward(prediction, target, mask, dirty) == value


@CASES
def test_a_batch_that_does_not_count_at_all_has_no_loss_and_no_gradient(case):
    prediction, target = case.draw((3, 4))
    loss = case.make()
    assert loss.forward(prediction, target, sample_weight=np.zeros(3)) == 0
    assert loss.batch_weight == 0
    np.testing.assert_array_equal(loss.backward(), np.zeros_like(prediction))


@CASES
@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.ones(4), ValueError, r"should have shape \(3,\).*or \(3, 4\).*got \(4,\)"),
        (np.ones((4, 3)), ValueError, r"got \(4, 3\)"),
        (np.ones((3, 1)), ValueError, r"got \(3, 1\)"),
        (2.0, ValueError, r"got \(\)"),
        ([1, -1, 1], ValueError, r"at least 0, got numbers from -1 to 1"),
        ([1, np.nan, 1], ValueError, "should be finite"),
        ([1, np.inf, 1], ValueError, "should be finite"),
        (["a", "b", "c"], TypeError, "sample_weight should hold real numbers"),
    ],
)
def test_wrong_weights(case, weights, error, message):
    loss = case.make()
    prediction, target = case.draw((3, 4))
    loss.forward(prediction, target)
    before = loss.backward()
    with pytest.raises(error, match=f"^{type(loss).__name__}: .*{message}"):
        loss.forward(prediction, target, sample_weight=weights)
    np.testing.assert_array_equal(loss.backward(), before)


@CASES
def test_means_over_batches_by_their_weights_are_the_mean_over_all(case):
    prediction, target = case.draw((7, 4))
    mask = np.random.default_rng(0).random((7, 4)) < 0.7
    mask[:, 0] = True
    loss = case.make()
    whole = loss.forward(prediction, target, mask)
    total = weight = 0.0
    for rows in [slice(0, 2), slice(2, 3), slice(3, 7)]:
        total += loss.forward(prediction[rows], target[rows], mask[rows]) * loss.batch_weight
        weight += loss.batch_weight
    assert total / weight == pytest.approx(whole, rel=1e-12)


# ---------------------------------------------------------------- classes


@pytest.mark.parametrize("choice", ["auto", "off"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_an_ignored_class_is_a_mask(choice, smoothing):
    case = next(case for case in LOSSES if case.name == "softmax classes")
    prediction, target = case.draw((3, 4))
    for ignored in [2, -100]:
        marked = target.copy()
        marked[0, :2] = marked[2, 3] = ignored
        prediction[2, 3] = np.nan  # what nobody looks at may be anything
        mask = marked != ignored
        plain = m.SoftmaxCrossEntropy(label_smoothing=smoothing)
        loss = m.SoftmaxCrossEntropy(label_smoothing=smoothing, ignore_class=ignored)
        with m.engine.use(choice):
            assert loss.forward(prediction, marked) == plain.forward(
                prediction, np.where(mask, marked, 0), mask
            )
            np.testing.assert_array_equal(loss.backward(), plain.backward())
        assert not loss.backward()[~mask].any()


def test_a_batch_of_ignored_steps_only():
    loss = m.SoftmaxCrossEntropy(ignore_class=0)
    assert loss.forward(np.ones((2, 3)), [0, 0]) == 0
    np.testing.assert_array_equal(loss.backward(), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="got 4 at position"):
        loss.forward(np.ones((2, 3)), [0, 4])


def test_soft_targets_have_no_class_to_ignore():
    loss = m.SoftmaxCrossEntropy(ignore_class=0)
    with pytest.raises(ValueError, match="ignore_class needs integer targets.*with a mask"):
        loss.forward(np.ones((2, 3)), np.full((2, 3), 1 / 3))


def test_options_of_both_kinds_of_targets_have_one_gradient():
    """The normalisation differs, as in PyTorch; up to that, one-hot and integer are the same."""
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(6, 4)), rng.integers(0, 4, 6)
    weights = np.array([0.5, 1.0, 2.0, 0.25])
    loss = m.SoftmaxCrossEntropy(class_weight=weights, label_smoothing=0.1)
    hard = loss.forward(x, target) * weights[target].sum()
    hard_grad = loss.backward() * weights[target].sum()
    assert loss.forward(x, np.eye(4)[target]) * 6 == pytest.approx(hard, rel=1e-13)
    np.testing.assert_allclose(loss.backward() * 6, hard_grad, rtol=1e-12)


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        (
            {"class_weight": [1, -1]},
            ValueError,
            "class_weight should be one number of at least 0 for each class",
        ),
        (
            {"class_weight": [[1.0]]},
            ValueError,
            "class_weight should be one number of at least 0 for each class",
        ),
        (
            {"class_weight": [1, np.nan]},
            ValueError,
            "class_weight should be one number of at least 0",
        ),
        ({"class_weight": {0: 1.0}}, TypeError, "class_weight should be a list .* got {0: 1.0}"),
        ({"class_weight": "balanced"}, TypeError, r".*balanced ones are .*np\.bincount\(y\)"),
        ({"label_smoothing": 1.0}, ValueError, "label_smoothing should be at least 0 and below 1"),
        ({"label_smoothing": True}, TypeError, "label_smoothing should be a number"),
        ({"ignore_class": 1.5}, TypeError, "ignore_class should be a whole number, got 1.5"),
        ({"ignore_class": True}, TypeError, "ignore_class should be a whole number, got True"),
    ],
)
def test_wrong_options(keywords, error, message):
    with pytest.raises(error, match=f"^SoftmaxCrossEntropy: {message}"):
        m.SoftmaxCrossEntropy(**keywords)


def test_class_weights_for_another_number_of_classes():
    loss = m.SoftmaxCrossEntropy(class_weight=[1, 2])
    with pytest.raises(ValueError, match=r"class_weight has 2 numbers.*5 classes \(axis 2\)"):
        loss.forward(np.zeros((2, 3, CLASSES)), np.zeros((2, 3), int))


@pytest.mark.parametrize("delta", [0, -1.0, np.nan])
def test_wrong_deltas(delta):
    with pytest.raises(ValueError, match="^Huber: delta should be"):
        m.Huber(delta)


# ---------------------------------------------------------------- targets that are no numbers


@pytest.mark.parametrize("case", [c for c in LOSSES if c.draw((1, 1))[1].dtype == float], ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_targets_that_are_not_finite_are_counted(case, bad):
    prediction, target = case.draw((3, 4))
    target[1, 2, 0] = target[2, 0, 3] = bad
    loss = case.make()
    with pytest.raises(
        ValueError, match=rf"the target has 2 of 60 .* first is {bad} at .*\(1, 2, 0\)|0\.\.1"
    ):
        loss.forward(prediction, target)
    mask = np.ones((3, 4), bool)
    mask[1, 2] = mask[2, 0] = False
    assert np.isfinite(loss.forward(prediction, target, mask))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (["b", "a"], r"np\.unique\(x, return_inverse=True\)"),
        (np.array(["b", "a"], object), r"np\.unique\(x, return_inverse=True\)"),
        ([True, False], r"write x\.astype\(int\)"),
        ([1.0, 0.0], r"whole numbers stored as floats, write x\.astype\(int\)"),
        ([1.0, np.nan], "1 of 2 are NaN"),
    ],
)
def test_labels_of_another_kind_say_how_to_turn_them_into_classes(target, message):
    with pytest.raises(TypeError, match=message):
        m.SoftmaxCrossEntropy().forward(np.zeros((2, 3)), target)


# ---------------------------------------------------------------- a loss of one's own


class Own:
    def forward(self, prediction, target, mask=None):
        return 0.0

    def backward(self):
        return np.zeros((1, 1))


def test_what_takes_no_mask_is_named_before_training():
    class Short(Own):
        def forward(self, prediction, target):
            return 0.0

    class Open(Own):
        def forward(self, prediction, target, **keywords):
            return 0.0

    check = m.losses.check_loss
    check("Trainer", Own())
    check("Trainer", Open(), sample_weight=True)
    check("Trainer", m.MeanSquaredError(), sample_weight=True)
    with pytest.raises(
        TypeError, match=r"Trainer: the forward of Short does not take mask; write "
    ):
        check("Trainer", Short())
    with pytest.raises(TypeError, match=r"Own does not take sample_weight.*sample_weight=None\)"):
        check("Trainer", Own(), sample_weight=True)
    with pytest.raises(TypeError, match=r"got the class Huber: write Huber\(...\)"):
        check("Trainer", m.Huber)
    with pytest.raises(TypeError, match="loss should be a Loss, got str"):
        check("Trainer", "mse")


def test_a_call_hands_weights_on_only_where_there_are_any():
    class Counting(m.Loss):
        def forward(self, prediction, target, mask=None):
            return 1.0

    assert Counting()(np.zeros((1, 1)), np.zeros((1, 1))) == 1.0


def test_what_a_loss_shows_of_itself():
    assert repr(m.MeanSquaredError()) == "MeanSquaredError()"
    assert repr(m.Huber(0.5)) == "Huber(delta=0.5)"
    loss = m.SoftmaxCrossEntropy(class_weight=[1, 2], ignore_class=0)
    assert repr(loss) == "SoftmaxCrossEntropy(class_weight=array([1., 2.]), ignore_class=0)"
