"""predict: nothing is kept, nothing changes, and threads do not meet."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

import minirnn as m
from tests.contract import helpers

X = np.random.default_rng(0).standard_normal((3, 5, 2))


def model(**options):
    return m.Sequential(
        [m.LSTM(2, 4, rng=0, **options), m.Dropout(0.5, rng=1), m.Dense(4, 2, rng=2)]
    )


def test_a_carried_state_is_neither_read_nor_moved():
    one = model(stateful=True)
    expected = one.predict(X)
    one.forward(X)
    before = helpers.snapshot(one)
    np.testing.assert_array_equal(one.predict(X), expected)
    helpers.assert_same(before, helpers.snapshot(one))
    one[0].step(np.ones((3, 2)))
    before = helpers.snapshot(one)
    one[0].predict(X)
    helpers.assert_same(before, helpers.snapshot(one))


@pytest.mark.parametrize("training", [True, False])
def test_backward_still_belongs_to_the_forward_before(training):
    one, two = model(), model()
    for net in (one, two):
        net.train() if training else net.eval()
        net.forward(X)
    one.predict(np.ones((1, 2, 2)))
    g = np.ones((3, 5, 2))
    np.testing.assert_array_equal(one.backward(g), two.backward(g))


class Halved(m.Layer):
    """A layer of a user's own, with layers inside and no step."""

    def __init__(self):
        self.inside = [m.Dense(4, 4, rng=3), m.Dropout(0.5, rng=4)]
        self.w = m.Parameter(np.full(4, 0.5))

    def forward(self, x):
        self.x = self.inside[1].forward(self.inside[0].forward(x))
        return self.x * self.w.value

    def backward(self, grad):
        self.w.grad += (grad * self.x).reshape(-1, 4).sum(0)
        return self.inside[0].backward(self.inside[1].backward(grad * self.w.value))


def test_backward_still_belongs_to_the_forward_before_some_steps():
    one, two = (m.Sequential([m.LSTM(2, 4, rng=0), Halved()]) for _ in range(2))
    for net in (one, two):
        net.forward(X[:1])
    steps = [one.step(X[:1, t]) for t in range(5)]
    np.testing.assert_allclose(np.stack(steps, axis=1), one.predict(X[:1]), rtol=1e-5)
    g = np.ones((1, 5, 4))
    np.testing.assert_array_equal(one.backward(g), two.backward(g))
    for mine, other in zip(one.parameters(), two.parameters(), strict=True):
        np.testing.assert_array_equal(mine.grad, other.grad)


def test_what_an_own_layer_keeps_in_a_dictionary_stays():
    class Scale(m.Layer):
        def __init__(self):
            self.w = m.Parameter(np.full(2, 3.0))
            self.kept = {}

        def forward(self, x):
            self.kept["x"] = x
            return x * self.w.value

        def backward(self, grad):
            self.w.grad += (grad * self.kept["x"]).sum((0, 1))
            return grad * self.w.value

    layer = Scale()
    layer.forward(X)
    layer.predict(X + 1)
    layer.backward(np.ones_like(X))
    np.testing.assert_allclose(layer.w.grad, X.sum((0, 1)))


def test_every_thread_gets_what_it_would_get_alone():
    one = model().train()
    inputs = [np.random.default_rng(k).standard_normal((2, 3 + k, 2)) for k in range(4)]
    expected = [one.predict(x) for x in inputs]
    wrong, interval = [], sys.getswitchinterval()

    def work(k):
        for _ in range(60):
            if not np.array_equal(one.predict(inputs[k]), expected[k]) or not one.training:
                wrong.append(k)

    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []
    assert all(layer.training for _, layer in one.named_layers())


def test_every_layer_predicts_with_a_mask_or_without():
    mask = np.array([[True] * 5, [True] * 3 + [False] * 2, [True] + [False] * 4])
    for layer in (m.GRU(2, 3, rng=0), m.LastStep(), m.Dense(2, 3, rng=0)):
        plain = layer.forward(X, mask) if layer.uses_mask else layer.forward(X)
        np.testing.assert_array_equal(layer.predict(X, mask), plain)


def test_a_copy_for_evaluation_shares_parameters_and_aliases():
    one = model()
    one.alias = one[0]
    twin = one.evaluation_copy()
    assert twin.alias is twin[0]
    assert twin[0] is not one[0]
    assert [id(p) for p in twin.parameters()] == [id(p) for p in one.parameters()]
    assert not any(layer.training for _, layer in twin.named_layers())


# ---------------------------------------------------------------- putting back


class Refuses(m.Layer):
    def __init__(self, error):
        self.error = error

    def forward(self, x):
        self.left_behind = x
        raise self.error

    def backward(self, grad):
        raise self.error


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_refused_forward_leaves_everything(error):
    one = m.Sequential([m.LSTM(2, 4, stateful=True, rng=0), Refuses(error)])
    before, attributes = helpers.snapshot(one), [dict(vars(k)) for _, k in one.named_layers()]
    with pytest.raises(type(error)):
        one.forward(X)
    helpers.assert_same(before, helpers.snapshot(one))
    assert [set(vars(k)) for _, k in one.named_layers()] == [set(k) for k in attributes]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_refused_backward_leaves_the_gradients(error):
    class Fails(m.Tanh):
        def backward(self, grad):
            raise error

    one = m.Sequential([m.Dense(2, 3, rng=0), Fails(), m.Dense(3, 2, rng=1)])
    for parameter in one.parameters():
        parameter.grad += 1
    one.forward(X)
    before = helpers.snapshot(one)
    with pytest.raises(type(error)):
        one.backward(np.ones((3, 5, 2)))
    helpers.assert_same(before, helpers.snapshot(one))


def test_a_layer_is_never_empty_while_it_is_put_back():
    """A refused call in one thread does not disturb a good one in another."""
    one = m.Sequential([m.LSTM(2, 4, rng=0), m.Dense(4, 2, rng=1)]).eval()
    one.forward(X)
    attributes, missing = [(layer, set(vars(layer))) for layer in (one, *one)], set()

    def look(frame, event, argument):
        for layer, names in attributes:
            missing.update(names - vars(layer).keys())
        return look

    before = sys.gettrace()
    sys.settrace(look)  # before every line of the call, as another thread might
    try:
        with pytest.raises(ValueError, match="features"):
            one.forward(np.ones((1, 2, 9)))
    finally:
        sys.settrace(before)
    assert missing == set()


# ---------------------------------------------------------------- storage that moved


@pytest.mark.parametrize("engine", ["auto", "off"])
@pytest.mark.parametrize("kind", [m.RNN, m.LSTM, m.GRU])
def test_backward_after_an_optimizer_moved_the_parameters(kind, engine):
    def run(moved):
        layer = kind(2, 4, rng=0, dtype=np.float64, engine=engine)
        if not moved:
            m.SGD(layer.parameters(), 0.1)
        layer.forward(X)
        if moved:
            m.SGD(layer.parameters(), 0.1)
        other = kind(2, 4, rng=9, dtype=np.float64).state_dict()
        layer.load_state_dict(other)
        return layer.backward(np.ones((3, 5, 4))), [p.grad.copy() for p in layer.parameters()]

    late, early = run(True), run(False)
    np.testing.assert_allclose(late[0], early[0], rtol=1e-12)
    for a, b in zip(late[1], early[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
