"""The cells' equations with plain numbers, and what Recurrent tells the author of a cell."""

import math

import numpy as np
import pytest

import minirnn as m
from tests.contract import helpers, table
from tests.contract.own_cells import SumCell


def _sigmoid(x):
    return 1 / (1 + math.exp(-x))


def _by_hand(cell, x, h):
    """Return x Wx + b and h Wh of one row, as lists of Python numbers."""
    Wx, Wh, b = (p.value.tolist() for p in (cell.Wx, cell.Wh, cell.b))
    a = [sum(x[i] * Wx[i][k] for i in range(len(x))) + b[k] for k in range(len(b))]
    u = [sum(h[i] * Wh[i][k] for i in range(len(h))) for k in range(len(b))]
    return a, u


X, H, C = [0.3, -1.2, 0.7], [0.5, -0.4], [1.1, 0.2]


@pytest.mark.parametrize(
    ("activation", "function"),
    [("tanh", math.tanh), ("relu", lambda z: max(z, 0.0)), ("sigmoid", _sigmoid)],
)
def test_rnn_equations(activation, function):
    cell = helpers.randomize(m.RNNCell(3, 2, activation=activation, dtype=np.float64), 1)
    a, u = _by_hand(cell, X, H)
    y, (h,), _ = cell.forward(np.array([X]), (np.array([H]),))
    np.testing.assert_allclose(y[0], [function(a[k] + u[k]) for k in range(2)], rtol=1e-14)
    np.testing.assert_array_equal(y, h)


def test_lstm_equations_in_the_order_i_f_o_g():
    cell = helpers.randomize(m.LSTMCell(3, 2, dtype=np.float64), 1)
    a, u = _by_hand(cell, X, H)
    z = [p + q for p, q in zip(a, u, strict=True)]
    y, (h, c), _ = cell.forward(np.array([X]), (np.array([H]), np.array([C])))
    for k in range(2):
        i, f, o = (_sigmoid(z[gate * 2 + k]) for gate in range(3))
        memory = f * C[k] + i * math.tanh(z[6 + k])
        assert c[0, k] == pytest.approx(memory, rel=1e-14)
        assert h[0, k] == pytest.approx(o * math.tanh(memory), rel=1e-14)
    np.testing.assert_array_equal(y, h)


@pytest.mark.parametrize("reset_after", [True, False])
def test_gru_equations_in_the_order_r_z_n(reset_after):
    cell = m.GRUCell(3, 2, reset_after=reset_after, dtype=np.float64)
    helpers.randomize(cell, 1)
    a, u = _by_hand(cell, X, H)
    r = [_sigmoid(a[k] + u[k]) for k in range(2)]
    _, reset = _by_hand(cell, X, [r[k] * H[k] for k in range(2)])
    y, (h,), _ = cell.forward(np.array([X]), (np.array([H]),))
    for k in range(2):
        z = _sigmoid(a[2 + k] + u[2 + k])
        if reset_after:
            n = math.tanh(a[4 + k] + r[k] * (u[4 + k] + cell.bn.value[k]))
        else:
            n = math.tanh(a[4 + k] + reset[4 + k])
        assert h[0, k] == pytest.approx((1 - z) * n + z * H[k], rel=1e-14)
    np.testing.assert_array_equal(y, h)


@pytest.mark.parametrize(
    ("cell", "gates"), [(m.RNNCell, 1), (m.LSTMCell, 4), (m.GRUCell, 3)], ids=str
)
def test_initial_weights(cell, gates):
    made = cell(20, 30, rng=0, dtype=np.float64)
    assert made.Wx.shape == (20, gates * 30)
    bound = math.sqrt(6 / 50)
    assert bound * 0.9 < np.abs(made.Wx.value).max() <= bound
    for gate in range(gates):
        block = made.Wh.value[:, gate * 30 : (gate + 1) * 30]
        np.testing.assert_allclose(block @ block.T, np.eye(30), atol=1e-12)
    biases = made.b.value.reshape(gates, 30)
    expected = [0, 1, 0, 0] if cell is m.LSTMCell else [0] * gates
    np.testing.assert_array_equal(biases, np.repeat(np.array(expected)[:, None], 30, axis=1))
    assert [p.decay for p in made.parameters()] == [True, True] + [False] * (
        len(made.parameters()) - 2
    )


def test_forget_bias_is_that_of_the_second_gate():
    layer = m.LSTM(3, 2, forget_bias=2.5, rng=0)
    np.testing.assert_array_equal(layer.cell.b.value, [0, 0, 2.5, 2.5, 0, 0, 0, 0])


@pytest.mark.parametrize("case", **table.by_name(table.CELLS[:6]))
def test_a_built_in_cell_broadcasts_nothing_in_backward(case):
    cell = case.make(4, np.float64)
    x, state = np.ones((3, 3)), cell.initial_state(3)
    y, _, cache = cell.forward(x, state)
    before = helpers.snapshot(cell)
    with pytest.raises(ValueError, match=r"Cell: .*\(3, 4\).*got \(1, 4\)"):
        cell.backward(y[:1], state, cache)
    with pytest.raises(ValueError, match=r"Cell: .*\(3, 4\).*got \(4,\)"):
        cell.backward(y, (state[0][0], *state[1:]), cache)
    helpers.assert_same(before, helpers.snapshot(cell))


@pytest.mark.parametrize("case", **table.by_name(table.CELLS[:6]))
def test_a_built_in_cell_refuses_a_wrong_state(case):
    cell = case.make(4, np.float32)
    right = cell.initial_state(3)
    with pytest.raises(TypeError, match=r"Cell: the state should be a tuple .*got ndarray"):
        cell.forward(np.ones((3, 3)), right[0])
    with pytest.raises(ValueError, match=r"Cell: the state should be a tuple \(h.*got tuple of \d"):
        cell.forward(np.ones((3, 3)), right + right)
    y, state, cache = cell.forward(np.ones((3, 3)), right)
    with pytest.raises(TypeError, match=r"Cell: the gradient on state should be .*got ndarray"):
        cell.backward(y, state[0], cache)
    with pytest.raises(ValueError, match=r"Cell: the gradient on state should be .*tuple of \d"):
        cell.backward(y, state + state, cache)
    with pytest.raises(ValueError, match=r"state h .*shape \(3, 4\), got \(2, 4\)"):
        cell.forward(np.ones((3, 3)), cell.initial_state(2))
    with pytest.raises(
        ValueError, match=r"one time step.*got 3 axes in shape \(3, 5, 3\).*x\[:, t\]"
    ):
        cell.forward(np.ones((3, 5, 3)), right)


class _Broken(SumCell):
    """A cell whose author has made one mistake."""

    def __init__(self, mistake):
        super().__init__(3, 4)
        self.mistake = mistake

    def initial_state(self, batch_size):
        state = super().initial_state(batch_size)
        return state[0] if self.mistake == "array" else state

    def forward(self, x_t, state):
        y, state, cache = super().forward(x_t, state)
        return {
            "narrow output": (y[:, :2], state, cache),
            "one state": (y, state[:1], cache),
            "state no tuple": (y, list(state), cache),
            "two values": (y, state),
            "short cache": (y, state, cache[:1]),
        }.get(self.mistake, (y, state, cache))

    def backward(self, grad_y, grad_state, cache):
        grad_x, state = super().backward(grad_y, grad_state, cache)
        return {
            "wide gradient": (grad_y, state),
            "lost gradient": (grad_x, state[:1]),
            "no return": None,
        }.get(self.mistake, (grad_x, state))


@pytest.mark.parametrize(
    ("mistake", "error", "message"),
    [
        (
            "array",
            TypeError,
            r"_Broken: initial_state should return a tuple .*got ndarray.*\(array,\)",
        ),
        (
            "narrow output",
            ValueError,
            r"_Broken: forward .* output .*\(2, 4\), got \(2, 2\); set self\.output_size",
        ),
        ("one state", ValueError, r"_Broken: forward should return state arrays.*got \[\(2, 4\)\]"),
        (
            "state no tuple",
            TypeError,
            r"_Broken: forward should return a tuple of 2 state.*got list",
        ),
        (
            "wide gradient",
            ValueError,
            r"_Broken: backward .* gradient on the input .*\(2, 3\), got \(2, 4\)",
        ),
        (
            "lost gradient",
            ValueError,
            r"_Broken: backward should return state arrays.*got \[\(2, 4\)\]",
        ),
        (
            "two values",
            TypeError,
            r"_Broken: forward should return \(y_t, state, cache\), got tuple of 2",
        ),
        (
            "no return",
            TypeError,
            r"_Broken: backward should return \(grad_x, grad_state\), got NoneType.* a return\?",
        ),
        ("short cache", ValueError, r"_Broken\.backward at step 4: not enough values to unpack"),
    ],
)
def test_the_author_of_a_cell_is_told_what_is_wrong(mistake, error, message):
    layer = m.Recurrent(_Broken(mistake))

    def run():
        layer.backward(layer.forward(np.ones((2, 5, 3))))

    with pytest.raises(error, match=message):
        run()


def test_a_refused_backward_of_an_own_cell_leaves_the_gradients():
    layer = m.Recurrent(_Broken("lost gradient"))
    y = layer.forward(np.ones((2, 5, 3)))
    with pytest.raises(ValueError, match="backward should return state arrays"):
        layer.backward(np.ones_like(y))
    assert np.all(layer.cell.W.grad == 0)


def test_a_cell_without_sizes_says_so():
    class Bare(m.Cell):
        def forward(self, x_t, state):
            return x_t, state, None

    for run in (m.Recurrent(Bare()).forward, lambda x: Bare().initial_state(2)):
        with pytest.raises(
            AttributeError, match=r"Bare: hidden_size is not there.*in its __init__"
        ):
            run(np.ones((2, 5, 3)))
    with pytest.raises(AttributeError, match="'Bare' object has no attribute 'nothing'"):
        Bare().nothing  # noqa: B018


def test_recurrent_takes_a_cell():
    with pytest.raises(TypeError, match="cell should be a Cell, got the class LSTMCell.*LSTMCell"):
        m.Recurrent(m.LSTMCell)
    with pytest.raises(TypeError, match="cell should be a Cell, got Dense"):
        m.Recurrent(m.Dense(3, 4))


STATES = {  # what initial_state(2) returns, and what is said
    "one row": (
        lambda zeros: (zeros[:1], zeros[:1]),
        ValueError,
        r"of shape \(2, 4\).*got \(1, 4\)",
    ),
    "too many rows": (lambda zeros: (np.zeros((3, 4)),) * 2, ValueError, r"got \(3, 4\)"),
    "one array of two": (lambda zeros: (zeros,), TypeError, r"the 2 arrays \(h, c\), got 1"),
    "no tuple": (lambda zeros: zeros, TypeError, "tuple of arrays .*got ndarray"),
}


@pytest.mark.parametrize("engine", ["off", "auto"])
@pytest.mark.parametrize("kind", STATES)
def test_an_initial_state_of_the_wrong_kind_is_refused_where_it_is_made(kind, engine):
    make, error, message = STATES[kind]

    class Own(m.LSTMCell):
        def initial_state(self, batch_size):
            return make(np.zeros((batch_size, 4), np.float32))

    with pytest.raises(error, match=rf"^Own: initial_state.*{message}"):
        m.Recurrent(Own(3, 4, rng=0), engine=engine).forward(np.ones((2, 5, 3)))


def test_a_forget_bias_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="forget_bias should be finite, got nan"):
        m.LSTM(3, 4, forget_bias=np.nan)
