"""Layers that are copied, pickled, or used by several threads at a time."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

from minirnn import GRU, LSTM, RNN, Dense, Sequential

KINDS = [RNN, LSTM, GRU]
X = np.random.default_rng(0).standard_normal((3, 5, 2))
G = np.random.default_rng(1).standard_normal((3, 5, 4))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_after_forward_goes_back_by_itself(kind, copied):
    layer = kind(2, 4, rng=0, dtype=np.float64)
    layer.forward(X)
    other = copied(layer)
    grad_x = layer.backward(G)
    np.testing.assert_array_equal(other.backward(G), grad_x)
    for one, two in zip(layer.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(one.grad, two.grad)
        assert not np.shares_memory(one.value, two.value)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_may_share_a_model_in_evaluation_mode(kind):
    model = Sequential([kind(4, 24, rng=0), Dense(24, 3, rng=1)]).eval()
    rng = np.random.default_rng(2)
    inputs = [rng.standard_normal((8, 30, 4)).astype(np.float32) for _ in range(4)]
    expected = [model.forward(x) for x in inputs]
    wrong = []

    def work(k):
        for _ in range(30):
            if not np.array_equal(model.forward(inputs[k]), expected[k]):
                wrong.append(k)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_step_returns_is_the_callers(kind):
    layer, untouched = kind(2, 4, rng=0), kind(2, 4, rng=0)
    for t in range(5):
        y = layer.step(X[:, t])
        np.testing.assert_array_equal(y, untouched.step(X[:, t]))
        y[...] = np.nan
