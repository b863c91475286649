"""What the course's functions refuse, in the course's words, and what they leave alone."""

import copy
import re

import numpy as np
import pytest

from minirnn.course import (
    lstm_backward,
    lstm_cell_backward,
    lstm_cell_forward,
    lstm_forward,
    rnn_backward,
    rnn_cell_backward,
    rnn_cell_forward,
    rnn_forward,
)
from tests.course.drawing import lstm_parameters, rnn_parameters

r = np.random.RandomState(0)
XT, X, STATE, A = r.randn(3, 10), r.randn(3, 10, 4), r.randn(5, 10), r.randn(5, 10, 4)
RNN, LSTM = rnn_parameters(r), lstm_parameters(r)
RNN_CACHE = rnn_cell_forward(XT, STATE, RNN)[-1]
LSTM_CACHE = lstm_cell_forward(XT, STATE, STATE, LSTM)[-1]
RNN_CACHES = rnn_forward(X, STATE, RNN)[-1]
LSTM_CACHES = lstm_forward(X, STATE, LSTM)[-1]

CALLS = {
    "rnn_cell_forward": (rnn_cell_forward, (XT, STATE, RNN)),
    "rnn_forward": (rnn_forward, (X, STATE, RNN)),
    "rnn_cell_backward": (rnn_cell_backward, (STATE, RNN_CACHE)),
    "rnn_backward": (rnn_backward, (A, RNN_CACHES)),
    "lstm_cell_forward": (lstm_cell_forward, (XT, STATE, STATE, LSTM)),
    "lstm_forward": (lstm_forward, (X, STATE, LSTM)),
    "lstm_cell_backward": (lstm_cell_backward, (STATE, STATE, LSTM_CACHE)),
    "lstm_backward": (lstm_backward, (A, LSTM_CACHES)),
}


def arrays_in(value):
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from arrays_in(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from arrays_in(item)


@pytest.mark.parametrize("name", CALLS)
def test_inputs_stay_as_they_are(name):
    function, arguments = CALLS[name]
    arguments = copy.deepcopy(arguments)
    for array in arrays_in(arguments):
        array.flags.writeable = False
    before = copy.deepcopy(arguments)
    first = function(*arguments)
    kept = copy.deepcopy(first)
    second = function(*arguments)
    for now, then in zip(arrays_in(arguments), arrays_in(before), strict=True):
        assert np.array_equal(now, then)
    for one, two, three in zip(arrays_in(first), arrays_in(kept), arrays_in(second), strict=True):
        assert np.array_equal(one, two), "a later call changed what an earlier one returned"
        assert np.array_equal(one, three), "the same call gave other numbers"
        assert one.dtype == np.float64


@pytest.mark.parametrize("name", CALLS)
def test_strided_and_integer_arrays(name):
    """Numbers do not depend on the memory they stand in; integers are computed in float64."""
    function, arguments = CALLS[name]

    def rounded(value):
        if isinstance(value, np.ndarray):
            return np.asfortranarray(np.round(2 * value).astype(int))
        if isinstance(value, dict):
            return {key: rounded(item) for key, item in value.items()}
        return type(value)(rounded(item) for item in value)

    integers = rounded(arguments)
    floats = copy.deepcopy(integers)

    def as_floats(value):
        if isinstance(value, np.ndarray):
            return value.astype(float, order="C")
        if isinstance(value, dict):
            return {key: as_floats(item) for key, item in value.items()}
        return type(value)(as_floats(item) for item in value)

    one, two = function(*integers), function(*as_floats(floats))
    one, two = (v if isinstance(v, dict) else v[:-1] for v in (one, two))
    for a, b in zip(arrays_in(one), arrays_in(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)


def without(parameters, name):
    return {key: array for key, array in parameters.items() if key != name}


WRONG = [
    (
        lambda: rnn_cell_forward(XT.T, STATE, RNN),
        "rnn_cell_forward: xt must be (n_x, m), here (3, 10) expected (n_x from Wax, m from "
        "a_prev), got (10, 3); is it transposed?",
    ),
    (
        lambda: rnn_cell_forward(XT[:, :9], STATE, RNN),
        "rnn_cell_forward: xt must be (n_x, m), here (3, 10) expected (n_x from Wax, m from "
        "a_prev), got (3, 9)",
    ),
    (
        lambda: rnn_cell_forward(XT, STATE[:4], RNN),
        "rnn_cell_forward: a_prev must be (n_a, m), here (5, m) expected (n_a from Waa), got "
        "(4, 10)",
    ),
    (
        lambda: rnn_cell_forward(X, STATE, RNN),
        "rnn_cell_forward: xt must be (n_x, m), here (3, 10) expected (n_x from Wax, m from "
        "a_prev), got (3, 10, 4)",
    ),
    (
        lambda: rnn_cell_forward(XT[:, :0], STATE[:, :0], RNN),
        "rnn_cell_forward: a_prev must be (n_a, m), here (5, m) expected (n_a from Waa), got "
        "(5, 0); no axis may be empty",
    ),
    (
        lambda: rnn_cell_forward(XT, STATE, RNN | {"Wax": RNN["Wax"].T}),
        "rnn_cell_forward: Wax must be (n_a, n_x), here (5, n_x) expected (n_a from Waa), got "
        "(3, 5); is it transposed?",
    ),
    (
        lambda: rnn_cell_forward(XT, STATE, RNN | {"Waa": np.ones((5, 4))}),
        "rnn_cell_forward: Waa must be (n_a, n_a), got (5, 4)",
    ),
    (
        lambda: rnn_cell_forward(XT, STATE, RNN | {"ba": np.ones(5)}),
        "rnn_cell_forward: ba must be (n_a, 1), here (5, 1) expected (n_a from Waa), got (5,); a "
        "bias is a column: write ba.reshape(-1, 1)",
    ),
    (
        lambda: rnn_forward(X.transpose(1, 2, 0), STATE, RNN),
        "rnn_forward: x must be (n_x, m, T_x), here (3, 10, T_x) expected (n_x from Wax, m from "
        "a0), got (10, 4, 3); the course's order is features, examples, time: from (batch, time, "
        "features) write x.transpose(2, 0, 1)",
    ),
    (
        lambda: rnn_cell_forward(XT, STATE, without(RNN, "Wya")),
        "rnn_cell_forward: parameters has no Wya; it must have Wya, by, and has Waa, Wax, ba, by",
    ),
    (
        lambda: rnn_cell_forward(XT, STATE, {}),
        "rnn_cell_forward: parameters has no Wax, Waa, ba; it must have Wax, Waa, ba, and has "
        "nothing",
    ),
    (
        lambda: lstm_forward(X, STATE, without(LSTM, "bi")),
        "lstm_forward: parameters has no bi; it must have Wf, bf, Wi, bi, Wc, bc, Wo, bo, and has "
        "Wf, bf, Wi, Wo, bo, Wc, bc, Wy, by",
    ),
    (
        lambda: lstm_cell_forward(XT, STATE, STATE[:, :9], LSTM),
        "lstm_cell_forward: c_prev must be (n_a, m), here (5, 10) expected (n_a from bi, m from "
        "a_prev), got (5, 9)",
    ),
    (
        lambda: lstm_cell_forward(XT, STATE, STATE, LSTM | {"Wc": np.ones((5, 7))}),
        "lstm_cell_forward: Wc must be (n_a, n_a + n_x), here (5, 8) expected (n_a from bi, "
        "n_a + n_x from Wi), got (5, 7)",
    ),
    (
        lambda: lstm_cell_forward(
            XT, STATE, STATE, LSTM | {f"W{gate}": np.ones((5, 5)) for gate in "fico"}
        ),
        "lstm_cell_forward: Wi must be (n_a, n_a + n_x), here n_a = 5 from bi, got (5, 5); its "
        "columns are those for a_prev, then those for xt",
    ),
    (
        lambda: lstm_cell_backward(STATE, STATE.T, LSTM_CACHE),
        "lstm_cell_backward: dc_next must be (n_a, m), here (5, 10) expected (n_a from bi, m from "
        "a_prev), got (10, 5); is it transposed?",
    ),
    (
        lambda: rnn_backward(r.randn(5, 10, 5), RNN_CACHES),
        "rnn_backward: da must be (n_a, m, T) with T at most T_x = 4, the steps in caches, got "
        "(5, 10, 5)",
    ),
    (
        lambda: lstm_backward(A[:, :9], LSTM_CACHES),
        "lstm_backward: da must be (n_a, m, T), here (5, 10, T) expected (n_a from bi, m from "
        "a_prev), got (5, 9, 4)",
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG)
def test_wrong_values(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


KINDS = [
    (
        lambda: rnn_cell_forward(XT, STATE, [RNN]),
        "rnn_cell_forward: parameters must be a dictionary of Wax, Waa, ba, got list",
    ),
    (
        lambda: rnn_cell_backward(STATE, LSTM_CACHE),
        "rnn_cell_backward: the cache must be the tuple (a_next, a_prev, xt, parameters) that "
        "rnn_cell_forward returns, got tuple of 10",
    ),
    (
        lambda: lstm_cell_backward(STATE, STATE, RNN_CACHE),
        "lstm_cell_backward: the cache must be the tuple (a_next, c_next, a_prev, c_prev, ft, it, "
        "cct, ot, xt, parameters) that lstm_cell_forward returns, got tuple of 4",
    ),
    (
        lambda: rnn_backward(A, RNN_CACHES[0]),
        "rnn_backward: caches must be the pair (list of caches, x) that rnn_forward returns, got "
        "list of 4",
    ),
    (
        lambda: lstm_backward(A, RNN_CACHES),
        "lstm_backward: the cache must be the tuple (a_next, c_next, a_prev, c_prev, ft, it, cct, "
        "ot, xt, parameters) that lstm_cell_forward returns, got tuple of 4",
    ),
    (
        lambda: rnn_cell_forward(None, STATE, RNN),
        "rnn_cell_forward: xt should be an array, got None",
    ),
    (
        lambda: rnn_cell_forward(1j * XT, STATE, RNN),
        "rnn_cell_forward: xt should hold real numbers, got an array of complex128 (from a "
        "ndarray)",
    ),
]


@pytest.mark.parametrize(("call", "message"), KINDS)
def test_wrong_kinds(call, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        call()
