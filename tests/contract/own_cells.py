"""Cells as a user would write them: nothing here but equations, and not all of them tame."""

import numpy as np

from minirnn import Cell, Parameter


class SumCell(Cell):
    """Two states with two leaks, and an output that is a function of both: y = u' + u' * v'."""

    def __init__(self, input_size=3, hidden_size=4, dtype=np.float32, seed=0):
        rng = np.random.default_rng(seed)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.W = Parameter(rng.uniform(-1, 1, (input_size, hidden_size)).astype(dtype))
        self.U = Parameter(rng.uniform(-1, 1, (hidden_size, hidden_size)).astype(dtype))

    def initial_state(self, batch_size):
        shape = batch_size, self.hidden_size
        return np.zeros(shape), np.zeros(shape)

    def forward(self, x_t, state):
        u, v = state
        a = x_t @ self.W.value
        u_next = np.tanh(a + v @ self.U.value)
        v_next = 0.5 * v + u * a
        return u_next + u_next * v_next, (u_next, v_next), (x_t, u, v, a, u_next, v_next)

    def backward(self, grad_y, grad_state, cache):
        x_t, u, v, a, u_next, v_next = cache
        du_next = grad_state[0] + grad_y * (1 + v_next)
        dv_next = grad_state[1] + grad_y * u_next
        dz = du_next * (1 - u_next**2)
        da = dz + dv_next * u
        self.W.grad += x_t.T @ da
        self.U.grad += v.T @ dz
        return da @ self.W.value.T, (dv_next * a, 0.5 * dv_next + dz @ self.U.value.T)


class ProjectedCell(Cell):
    """Output narrower than the hidden size, and states of two different widths."""

    def __init__(self, input_size, hidden_size, output_size, dtype=np.float32, seed=0):
        rng = np.random.default_rng(seed)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.output_size = output_size
        shapes = {
            "W": (input_size, hidden_size),
            "R": (output_size, hidden_size),
            "P": (hidden_size, output_size),
        }
        for name, shape in shapes.items():
            setattr(self, name, Parameter(rng.uniform(-1, 1, shape).astype(dtype)))

    def initial_state(self, batch_size):
        return np.zeros((batch_size, self.output_size)), np.zeros((batch_size, self.hidden_size))

    def forward(self, x_t, state):
        r, c = state
        c_next = np.tanh(0.7 * c + x_t @ self.W.value + r @ self.R.value)
        r_next = c_next @ self.P.value
        return r_next, (r_next, c_next), (x_t, r, c_next)

    def backward(self, grad_y, grad_state, cache):
        x_t, r, c_next = cache
        dr = grad_y + grad_state[0]
        dz = (grad_state[1] + dr @ self.P.value.T) * (1 - c_next**2)
        self.P.grad += c_next.T @ dr
        self.W.grad += x_t.T @ dz
        self.R.grad += r.T @ dz
        return dz @ self.W.value.T, (dz @ self.R.value.T, 0.7 * dz)


class MatrixCell(Cell):
    """A memory (batch, hidden, hidden) that is written by outer products, and a clock (batch,)."""

    def __init__(self, input_size, hidden_size, dtype=np.float32, seed=0):
        rng = np.random.default_rng(seed)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.K = Parameter(rng.uniform(-1, 1, (input_size, hidden_size)).astype(dtype))
        self.V = Parameter(rng.uniform(-1, 1, (input_size, hidden_size)).astype(dtype))
        self.w = Parameter(rng.uniform(-1, 1, input_size).astype(dtype))

    def initial_state(self, batch_size):
        return np.zeros((batch_size, self.hidden_size, self.hidden_size)), np.ones(batch_size)

    def forward(self, x_t, state):
        M, s = state
        k, v = x_t @ self.K.value, x_t @ self.V.value
        M_next = 0.6 * M + k[:, :, None] * v[:, None, :]
        s_next = np.tanh(s + x_t @ self.w.value)
        read = np.einsum("bi,bij->bj", k, M_next)
        return read * s_next[:, None], (M_next, s_next), (x_t, k, v, M_next, s_next, read)

    def backward(self, grad_y, grad_state, cache):
        x_t, k, v, M_next, s_next, read = cache
        d_read = grad_y * s_next[:, None]
        dM = grad_state[0] + k[:, :, None] * d_read[:, None, :]
        ds = (grad_state[1] + (grad_y * read).sum(axis=1)) * (1 - s_next**2)
        dk = np.einsum("bij,bj->bi", M_next, d_read) + np.einsum("bij,bj->bi", dM, v)
        dv = np.einsum("bij,bi->bj", dM, k)
        self.K.grad += x_t.T @ dk
        self.V.grad += x_t.T @ dv
        self.w.grad += x_t.T @ ds
        grad_x = dk @ self.K.value.T + dv @ self.V.value.T + ds[:, None] * self.w.value
        return grad_x, (0.6 * dM, ds)
