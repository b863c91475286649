"""Metrics: in pieces or at once, the figure is the same."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minirnn as m
from minirnn import Metric
from tests.contract import helpers


def test_accuracy_by_hand():
    accuracy = m.Accuracy()
    accuracy.update([[[0.1, 0.9], [0.7, 0.3]], [[5, -5], [0, 1]]], [[1, 1], [0, 0]])
    assert accuracy.value == 0.5
    accuracy.update(np.array([[0.0, 1.0]]), np.array([[0.2, 0.8]]))  # soft target
    assert accuracy.value == 3 / 5
    accuracy.reset()
    accuracy.update([[1.0, 0.0]], [0])
    assert accuracy.value == 1


def test_perplexity_by_hand():
    p = np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    expected = math.exp(-(math.log(0.25) + math.log(0.8)) / 2)
    for metric, prediction in [
        (m.Perplexity(), np.log(p) + 3),
        (m.Perplexity(from_logits=False), p),
    ]:
        metric.update(prediction, [1, 2])
        assert metric.value == pytest.approx(expected, rel=1e-13)


def test_perplexity_that_overflows_is_infinite():
    perplexity = m.Perplexity()
    perplexity.update(np.array([[1e4, 0.0]]), [1])
    assert perplexity.value == math.inf


@pytest.mark.parametrize("kind", [m.Accuracy, m.Perplexity])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(1, 9), max_size=4, unique=True))
def test_streaming_is_all_at_once(kind, seed, cuts):
    rng = np.random.default_rng(seed)
    prediction, target = rng.normal(size=(10, 4, 3)), rng.integers(0, 3, (10, 4))
    mask = rng.random((10, 4)) < 0.6
    mask[:, 0] = True
    whole, pieces = kind(), kind()
    whole.update(prediction, target, mask)
    for part in np.split(np.arange(10), sorted(cuts)):
        pieces.update(prediction[part], target[part], mask[part])
    assert pieces.value == pytest.approx(whole.value, rel=1e-12)


@pytest.mark.parametrize("kind", [m.Accuracy, m.Perplexity])
def test_padding_does_not_count(kind):
    rng = np.random.default_rng(0)
    prediction, target = rng.normal(size=(3, 4, 5)), rng.integers(0, 5, (3, 4))
    mask = helpers.make_mask("gaps", 3, 4)
    dirty, clean = kind(), kind()
    dirty.update(
        helpers.with_padding(prediction, mask, np.nan),
        helpers.with_padding(target, mask, 99),
        mask,
    )
    clean.update(prediction[mask], target[mask])
    assert dirty.value == pytest.approx(clean.value, rel=1e-13)


@pytest.mark.parametrize("kind", [m.Accuracy, m.Perplexity])
def test_a_refused_update_changes_nothing(kind):
    metric = kind()
    with pytest.raises(RuntimeError, match=f"{kind.__name__}: value was read before any"):
        metric.value  # noqa: B018
    metric.update(np.array([[2.0, 0.0], [0.0, 1.0]]), [0, 0])
    before = metric.value
    with pytest.raises(ValueError, match=r"got shape \(3,\)"):
        metric.update(np.zeros((2, 2)), [0, 0, 0])
    with pytest.raises(ValueError, match="got 2 at position"):
        metric.update(np.zeros((2, 2)), [0, 2])
    with pytest.raises(ValueError, match="without a time axis"):
        metric.update(np.zeros((4, 5)), [0, 0, 0, 0], np.ones((4, 5), bool))
    assert metric.value == before


def test_accuracy_of_a_single_output_is_refused():
    with pytest.raises(ValueError, match="Accuracy: the prediction has one output only"):
        m.Accuracy().update(np.zeros((3, 1)), np.zeros((3, 1)))


def test_a_metric_of_ones_own():
    class AbsoluteError(Metric):
        name = "absolute_error"

        def measure(self, prediction, target, mask):
            return float(np.abs(prediction - target).sum()), prediction.size

    metric = AbsoluteError()
    metric.update(np.array([1.0, 2.0]), np.array([0.0, 4.0]))
    metric.update(np.array([5.0]), np.array([2.0]))
    assert metric.value == 2
    with pytest.raises(NotImplementedError, match="Metric has no measure method"):
        Metric().update([1.0], [1.0])


def test_which_way_is_better_is_said_by_the_metric():
    assert m.Accuracy().higher_is_better is True
    assert m.Perplexity().higher_is_better is False
    assert Metric.higher_is_better is None


def test_value_as_a_method_is_refused_where_it_is_written():
    with pytest.raises(TypeError, match="Share: value should be a property, and it is a method"):

        class Share(Metric):
            def value(self):
                return 0.5
