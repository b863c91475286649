"""The estimators: scikit-learn's own checks, and sequences of unequal length in its tools."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")

from sklearn.base import clone  # noqa: E402
from sklearn.dummy import DummyClassifier  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import FunctionTransformer, StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from minirnn import Cell, Parameter  # noqa: E402
from minirnn.sklearn import SequenceClassifier, SequenceRegressor  # noqa: E402


@parametrize_with_checks([SequenceClassifier(), SequenceRegressor()])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def unequal(count=60, seed=0):
    """Return sequences of unequal length, labels in words, and the numbers behind them."""
    rng = np.random.default_rng(seed)
    sequences = [rng.standard_normal((length, 2)) for length in rng.integers(3, 12, size=count)]
    numbers = np.array([sequence[:, 0].mean() for sequence in sequences])
    return sequences, np.where(numbers > 0, "up", "down"), numbers


def small(**settings):
    return SequenceClassifier(hidden_size=8, random_state=0, **{"epochs": 40, **settings})


def test_lists_of_unequal_length_are_classified_as_each_alone():
    sequences, labels, _ = unequal()
    model = small().fit(sequences[:40], labels[:40])
    assert model.classes_.tolist() == ["down", "up"]
    together = model.predict_proba(sequences[40:])
    alone = np.concatenate([model.predict_proba([one]) for one in sequences[40:]])
    np.testing.assert_allclose(together, alone, rtol=1e-10)
    np.testing.assert_allclose(together.sum(axis=1), 1, rtol=1e-12)
    assert (model.predict(sequences[40:]) == model.classes_[together.argmax(axis=1)]).all()
    assert model.score(sequences[40:], labels[40:]) >= 0.8


def test_the_default_is_better_than_the_naive_baseline():
    sequences, labels, _ = unequal(80, seed=3)
    naive = cross_val_score(DummyClassifier(), np.zeros((80, 1)), labels, cv=3)
    scores = cross_val_score(SequenceClassifier(), sequences, labels, cv=3)
    assert scores.min() > naive.max()


def test_an_object_array_and_three_axes_are_the_same_sequences():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 5, 2)), np.arange(20) % 2
    objects = np.empty(20, dtype=object)
    objects[:] = list(x)
    expected = small(epochs=3).fit(x, y).predict_proba(x)
    for same in (list(x), objects):
        np.testing.assert_allclose(small(epochs=3).fit(same, y).predict_proba(same), expected)
    swapped = small(epochs=3, channels_first=True).fit(x.transpose(0, 2, 1), y)
    np.testing.assert_allclose(swapped.predict_proba(x.transpose(0, 2, 1)), expected)
    channels = [one.T for one in x]
    np.testing.assert_allclose(swapped.predict_proba(channels), expected)


def test_two_axes_are_one_feature():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 6)), np.arange(20) % 2
    two, three = small(epochs=3).fit(x, y), small(epochs=3).fit(x[:, :, None], y)
    np.testing.assert_allclose(two.predict_proba(x), three.predict_proba(x[:, :, None]))


def test_grid_search_clone_and_pickle_with_lists():
    sequences, labels, _ = unequal(30)
    search = GridSearchCV(small(epochs=5), {"hidden_size": [4, 6]}, cv=2, n_jobs=2)
    search.fit(sequences, labels)
    assert search.best_params_["hidden_size"] in (4, 6)
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(
        again.predict_proba(sequences), search.best_estimator_.predict_proba(sequences)
    )
    fresh = clone(search.best_estimator_).fit(sequences, labels)
    np.testing.assert_array_equal(
        fresh.predict_proba(sequences), search.best_estimator_.predict_proba(sequences)
    )


def test_pipelines():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((24, 6)), np.arange(24) % 2
    make_pipeline(StandardScaler(), small(epochs=2)).fit(x, y).predict(x)
    shorter = FunctionTransformer(lambda sequences: [one[-5:] for one in sequences])
    sequences, labels, _ = unequal(24)
    assert (
        len(make_pipeline(shorter, small(epochs=2)).fit(sequences, labels).predict(sequences)) == 24
    )


def test_partial_fit_goes_on_where_fit_would():
    sequences, labels, numbers = unequal(20)
    whole = small(epochs=3).fit(sequences, labels)
    pieces = small()
    pieces.partial_fit(sequences, labels, classes=["down", "up"])
    for _ in range(2):
        pieces.partial_fit(sequences, labels)
    np.testing.assert_allclose(
        pieces.decision_function(sequences), whole.decision_function(sequences), rtol=1e-9
    )
    regressor = SequenceRegressor(hidden_size=4, epochs=3, random_state=0)
    expected = clone(regressor).fit(sequences, numbers).predict(sequences)
    for _ in range(3):
        regressor.partial_fit(sequences, numbers)
    np.testing.assert_allclose(regressor.predict(sequences), expected, rtol=1e-9)


def test_early_stopping_holds_sequences_out_and_stops():
    sequences, labels, _ = unequal(40)
    rng = np.random.default_rng(1)
    model = small(early_stopping=True, patience=2, epochs=60).fit(
        sequences, rng.permutation(labels)
    )
    assert model.n_iter_ < 60
    assert "val_loss" in model.history_


def test_weights_of_classes_and_examples():
    sequences, labels, _ = unequal(40)
    weight = np.where(labels == "up", 3.0, 1.0)
    by_class = small(class_weight={"up": 3.0, "down": 1.0}).fit(sequences, labels)
    by_example = small().fit(sequences, labels, sample_weight=weight)
    np.testing.assert_allclose(
        by_class.decision_function(sequences), by_example.decision_function(sequences), rtol=1e-9
    )
    assert (by_example.predict(sequences) == "up").sum() >= (
        small().fit(sequences, labels).predict(sequences) == "up"
    ).sum()


def test_a_cell_of_ones_own():
    class Decay(Cell):
        def __init__(self, input_size, hidden_size, rng):
            self.input_size, self.hidden_size = input_size, hidden_size
            self.W = Parameter(rng.standard_normal((input_size, hidden_size)))

        def forward(self, x_t, state):
            h = 0.9 * state[0] + x_t @ self.W.value
            return h, (h,), x_t

        def backward(self, grad_y, grad_state, cache):
            grad = grad_y + grad_state[0]
            self.W.grad += cache.T @ grad
            return grad @ self.W.value.T, (0.9 * grad,)

    sequences, _, numbers = unequal()
    model = SequenceRegressor(cell=Decay, hidden_size=4, bidirectional=True, random_state=0)
    assert model.fit(sequences[:40], numbers[:40]).score(sequences[40:], numbers[40:]) > 0.5


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ([np.zeros((3, 2)), np.zeros((4, 3))], "same number of features"),
        ([np.zeros((3, 2)), np.full((4, 2), np.nan)], "sequence 1 has NaN"),
        ([np.zeros((3, 2)), np.zeros((0, 2))], "sequence 1 should be"),
    ],
)
def test_sequences_that_do_not_fit_are_named(sequences, message):
    with pytest.raises(ValueError, match=message):
        small().fit(sequences, ["a", "b"])


def test_another_number_of_features_is_refused():
    sequences, labels, _ = unequal(10)
    model = small(epochs=1).fit(sequences, labels)
    with pytest.raises(ValueError, match="a time step has 3 features"):
        model.predict([np.zeros((4, 3))])


@pytest.mark.parametrize("kind", [SequenceClassifier, SequenceRegressor])
def test_a_later_partial_fit_looks_at_its_arguments(kind):
    x = np.random.default_rng(0).standard_normal((20, 5))
    y = (x[:, 0] > 0).astype(int)
    model = kind(random_state=0)
    model.partial_fit(x, y, **({"classes": [0, 1]} if kind is SequenceClassifier else {}))
    before = model.model_.state_dict()
    with pytest.raises(ValueError, match="there are 20 sequences and 3 targets"):
        model.partial_fit(x, y[:3])
    with pytest.raises(ValueError, match="sample_weight should be at least 0"):
        model.partial_fit(x, y, sample_weight=-np.ones(20))
    for name, value in model.model_.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_later_classes_are_those_of_the_first_call():
    model = SequenceClassifier(hidden_size=2, epochs=1, random_state=0)
    x, y = np.arange(12.0).reshape(4, 3), np.array([0, 1, 0, 1])
    model.partial_fit(x, y, classes=[1, 0]).partial_fit(x, y, classes=[0, 1])
    with pytest.raises(ValueError, match="those of the first call"):
        model.partial_fit(x, y, classes=[0, 1, 2])


def test_holding_out_nearly_all_leaves_one_sequence():
    model = SequenceRegressor(
        hidden_size=2, epochs=1, random_state=0, early_stopping=True, validation_fraction=0.99
    )
    model.fit(np.arange(12.0).reshape(4, 3), np.arange(4.0))
    with pytest.raises(ValueError, match="at least two sequences"):
        model.fit(np.ones((1, 3)), [1.0])
