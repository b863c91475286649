"""The machine gives the numbers of the loop: for random programs, and however it is called."""

import copy
import os
import sys
import threading
import time

import numpy as np
import pytest

from minirnn import Adam, GRUCell, LSTMCell, Recurrent, RNNCell
from minirnn.engine import native, use
from minirnn.engine.code import Code
from minirnn.recurrent.loop import Loop
from minirnn.recurrent.native import NativeRunner
from tests.engine.random_cells import RandomCell

pytestmark = [
    pytest.mark.skipif(native() is None, reason="the native engine was not built"),
    pytest.mark.usefixtures("poisoned"),
]
BUILT_IN = {
    "rnn": lambda n, h, d: RNNCell(n, h, rng=0, dtype=d),
    "relu": lambda n, h, d: RNNCell(n, h, rng=0, dtype=d, activation="relu"),
    "sigmoid": lambda n, h, d: RNNCell(n, h, rng=0, dtype=d, activation="sigmoid"),
    "lstm": lambda n, h, d: LSTMCell(n, h, rng=0, dtype=d),
    "gru": lambda n, h, d: GRUCell(n, h, rng=0, dtype=d),
    "gru before": lambda n, h, d: GRUCell(n, h, rng=0, dtype=d, reset_after=False),
}
SIZES = [(5, 3, 4, 6), (7, 13, 5, 37), (9, 1, 20, 48), (1, 2, 3, 3), (40, 17, 3, 16), (3, 70, 2, 5)]


def compare(cell, code, batch, time, *, seed=0, mask=False, reverse=False, threads=1, final=True):
    """Run machine and loop over the same random batch; return the largest difference."""
    rng = np.random.default_rng(seed)
    loop = copy.deepcopy(cell)
    fast, slow = NativeRunner(cell, code), Loop(loop)

    def draw(*shape):
        return rng.standard_normal(shape).astype(code.dtype)

    x, grad = draw(batch, time, code.inputs), draw(batch, time, code.outputs)
    state, grad_state = (tuple(draw(batch, n) for n in code.widths) for _ in range(2))
    real = None
    if mask:
        real = rng.random((batch, time)) < 0.7
        x[~real] = np.nan
        grad[~real] = np.nan
    results = []
    for runner in (fast, slow):
        with np.errstate(all="ignore"), use(threads=threads):
            y, last, kept = runner.forward(x, real, state, reverse=reverse, keep=True)
            alone = runner.forward(x, real, state, reverse=reverse, keep=False)
            end = grad_state if final else None
            grad_x, first = runner.backward(grad, end, kept, need_grad_x=True)
            once = [p.grad.copy() for p in runner.cell.parameters()]
            _, again = runner.backward(grad, end, kept, need_grad_x=False)
        grads = [p.grad for p in runner.cell.parameters()]
        results.append([y, *last, alone[0], *alone[1], grad_x, *first, *again, *once, *grads])
    differences = [
        np.abs(a - b).max(initial=0) / np.fmax(1, np.abs(b).max(initial=0))
        for a, b in zip(*results, strict=True)
    ]
    return np.max(differences)  # NaN if one of them is, which `max` may overlook


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("kind", BUILT_IN)
def test_built_in_cells(kind, sizes, instruction_set):
    time, batch, inputs, hidden = sizes
    for dtype, most in ((np.float64, 1e-12), (np.float32, 1e-4)):
        cell = BUILT_IN[kind](inputs, hidden, dtype)
        code = Code(cell)
        for k in range(8):
            options = {"mask": k % 2 == 0, "reverse": k % 4 < 2, "threads": 1 + k // 3}
            assert compare(cell, code, batch, time, seed=k, final=k > 0, **options) < most


@pytest.mark.parametrize("first", range(0, int(os.environ.get("MINIRNN_PROGRAMS", "60")), 20))
def test_random_programs(first):
    for seed in range(first, first + 20):
        cell, rng = RandomCell(seed), np.random.default_rng(seed)
        batch, time = int(rng.choice([1, 2, 3, 7, 33, 40])), int(rng.integers(1, 9))
        options = {"mask": rng.random() < 0.6, "reverse": rng.random() < 0.5}
        error = compare(cell, Code(cell), batch, time, threads=int(rng.integers(1, 4)), **options)
        assert error < 1e-11, f"program {seed}"


def test_float32_is_as_near_to_float64_as_the_loop_is():
    errors = {}
    for name in ("require", "off"):
        worst = 0.0
        for seed in range(6):
            cell = LSTMCell(8, 24, rng=seed, dtype=np.float64)
            single = LSTMCell(8, 24, rng=seed)
            for p, q in zip(cell.parameters(), single.parameters(), strict=True):
                p.value = q.value
            x = np.random.default_rng(seed).standard_normal((4, 30, 8))
            exact = Loop(cell)
            runner = NativeRunner(single, Code(single)) if name == "require" else Loop(single)
            found = []
            for one, dtype in ((exact, np.float64), (runner, np.float32)):
                state = one.cell.initial_state(4)
                y, _, kept = one.forward(x.astype(dtype), None, state, reverse=False, keep=True)
                grad_x, _ = one.backward(np.ones_like(y), None, kept, need_grad_x=True)
                found.append([y, grad_x, *[p.grad for p in one.cell.parameters()]])
            worst = max(worst, *[np.abs(a - b).max() / np.abs(a).max()
                                 for a, b in zip(*found, strict=True)])  # fmt: skip
        errors[name] = worst
    assert errors["require"] < 2 * errors["off"]


def test_the_numbers_of_maths_are_those_of_numpy(instruction_set):
    """Of a cell that does nothing else, over all sizes of numbers, infinities and NaN included."""
    from minirnn import Cell, Parameter

    names = ("tanh", "exp", "sin", "cos", "arctan", "expm1", "log1p", "sqrt", "abs", "sign")

    class Maths(Cell):
        def __init__(self, dtype):
            self.input_size, self.hidden_size = 7, 7 * len(names)
            self.one = Parameter(np.ones(1, dtype))

        def forward(self, x, state):
            y = np.concatenate([getattr(np, name)(x * self.one.value) for name in names], axis=1)
            return y, (y,), ()

        def backward(self, grad_y, grad_state, cache):
            return grad_y[:, :7], grad_state

    for dtype, error in ((np.float64, 4), (np.float32, 4)):
        cell, info = Maths(dtype), np.finfo(dtype)
        rng = np.random.default_rng(0)
        size = 10.0 ** rng.uniform(-6, 2.2, 7 * 4000 - 7) * rng.choice([-1, 1], 7 * 4000 - 7)
        edges = [0.0, -0.0, np.inf, -np.inf, np.nan, np.log(info.max) - 1e-3, -80.0]
        x = np.array([*edges, *size], dtype).reshape(1, -1, 7)
        state = (np.zeros((1, cell.hidden_size), dtype),)
        runner = NativeRunner(cell, Code(cell))
        y, _, _ = runner.forward(x, None, state, reverse=False, keep=False)
        with np.errstate(all="ignore"):
            expected = cell.forward(x[0], None)[0].astype(dtype)
        tiny = info.tiny * 1e3  # results too small to be normal may become zero
        np.testing.assert_allclose(y[0], expected, rtol=error * info.eps, atol=tiny)


def test_the_number_of_threads_changes_no_more_than_rounding():
    cell = GRUCell(6, 20, rng=0, dtype=np.float64)
    code, rng = Code(cell), np.random.default_rng(0)
    x, grad = rng.standard_normal((37, 11, 6)), rng.standard_normal((37, 11, 20))
    results = {}
    for threads in (1, 2, 2, 5):
        cell.zero_grad()
        runner, state = NativeRunner(cell, code), cell.initial_state(37)
        with use(threads=threads):
            y, final, kept = runner.forward(x, None, state, reverse=False, keep=True)
            grad_x, _ = runner.backward(grad, None, kept, need_grad_x=True)
        found = [y, *final, grad_x, *[p.grad.copy() for p in cell.parameters()]]
        for a, b in zip(found, results.setdefault(threads, found), strict=True):
            np.testing.assert_array_equal(a, b)  # the same number: bit for bit
    for found in results.values():
        for a, b in zip(found, results[1], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    sums = [np.concatenate([a.ravel() for a in found[-4:]]) for found in results.values()]
    assert not np.array_equal(sums[0], sums[1])  # of gradients: in another order, so it was shared


def test_a_long_sequence():
    cell = LSTMCell(2, 3, rng=0, dtype=np.float64)
    assert compare(cell, Code(cell), 1, 3000) < 1e-11
    runner, x = NativeRunner(cell, Code(cell)), np.ones((1, 100_000, 2))
    before = sys.getallocatedblocks()
    y, _, kept = runner.forward(x, None, cell.initial_state(1), reverse=False, keep=True)
    grad_x, _ = runner.backward(np.ones_like(y), None, kept, need_grad_x=True)
    assert sys.getallocatedblocks() - before < 1000, "something was kept for every step"
    assert np.isfinite(grad_x).all()


def test_other_threads_of_python_run_meanwhile():
    cell = LSTMCell(64, 256, rng=0)
    runner, x = NativeRunner(cell, Code(cell)), np.ones((32, 300, 64), np.float32)
    state, count = cell.initial_state(32), 0

    def run():
        runner.forward(x, None, state, reverse=False, keep=False)

    worker = threading.Thread(target=run)
    worker.start()
    while worker.is_alive():
        time.sleep(1e-4)
        count += 1
    assert count > 5, "the interpreter was held"


@pytest.mark.parametrize("layout", ["fortran", "backwards", "every second", "unaligned", "row"])
def test_any_strides(layout):
    cell = GRUCell(4, 5, rng=0, dtype=np.float64)
    code, rng = Code(cell), np.random.default_rng(0)
    x, grad = rng.standard_normal((3, 6, 4)), rng.standard_normal((3, 6, 5))

    def arranged(a):
        if layout == "fortran":
            return np.asfortranarray(a)
        if layout == "backwards":
            return a[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1]
        if layout == "every second":
            return np.repeat(np.repeat(a, 2, axis=2), 2, axis=1)[:, ::2, ::2]
        if layout == "row":
            return np.broadcast_to(a[:1], a.shape)
        raw = np.empty(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
        raw[...] = a
        return raw

    results = []
    for change in (arranged, lambda a: np.array(arranged(a))):
        runner = NativeRunner(copy.deepcopy(cell), code)
        state = tuple(change(a[:, None])[:, 0] for a in (rng.standard_normal((3, 5)) * 0 + 0.3,))
        y, final, kept = runner.forward(change(x), None, state, reverse=True, keep=True)
        grad_x, first = runner.backward(change(grad), final, kept, need_grad_x=True)
        results.append([y, *final, grad_x, *first, *[p.grad for p in runner.cell.parameters()]])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_state_of_another_shape_is_refused():
    class Narrow(GRUCell):
        def initial_state(self, batch_size):
            return (np.zeros((1, self.hidden_size), np.float32),)

    cell = Narrow(3, 4, rng=0)
    runner = NativeRunner(cell, Code(cell))
    x = np.zeros((5, 2, 3), np.float32)
    with pytest.raises(ValueError, match=r"Narrow: the state should be.*\(5, 4\).*\(1, 4\)"):
        runner.forward(x, None, cell.initial_state(5), reverse=False, keep=True)


def test_only_the_latest_caches_are_good():
    cell = RNNCell(3, 4, rng=0)
    runner, x = NativeRunner(cell, Code(cell)), np.ones((2, 5, 3), np.float32)
    y, _, old = runner.forward(x, None, cell.initial_state(2), reverse=False, keep=True)
    runner.forward(x, None, cell.initial_state(2), reverse=False, keep=True)
    with pytest.raises(RuntimeError, match="RNNCell: backward belongs to the latest forward"):
        runner.backward(y, None, old, need_grad_x=True)


def test_a_step_is_a_sequence_of_one():
    for kind in BUILT_IN.values():
        cell = kind(3, 5, np.float64)
        runner, rng = NativeRunner(cell, Code(cell)), np.random.default_rng(0)
        x, state = rng.standard_normal((4, 3)), cell.initial_state(4)
        y, final = runner.step(x, state)
        expected, last, _ = cell.forward(x, state)
        np.testing.assert_allclose(y, expected, rtol=1e-13, atol=1e-15)
        for a, b in zip(final, last, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("kind", BUILT_IN)
def test_one_row_of_a_stream_sees_every_change_of_the_weights(kind, instruction_set):
    """Its memory is laid out once for all layers alike; nothing of an earlier call may remain."""
    native().poison(False)  # which has it laid out anew
    layers = [Recurrent(BUILT_IN[kind](3, 5, np.float64)) for _ in range(2)]
    optimizer = Adam(layers[0].parameters(), 0.1)
    rng = np.random.default_rng(0)

    def take_steps():
        for layer in layers:
            state, results = layer.cell.initial_state(1), []
            layer.reset_state()
            for _ in range(3):
                x = rng.standard_normal((1, 3))
                expected, state, _ = layer.cell.forward(x, state)
                results.append((layer.step(x), layer.state, expected.copy(), state))
            for y, found, expected, right in results:  # those of the first step are still good
                np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-14)
                for a, b in zip(found, right, strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)

    take_steps()
    layers[1].cell.parameters()[0].value[0] += 0.5  # in place
    take_steps()
    for p in layers[0].parameters():
        p.grad += 1.0
    optimizer.step()
    take_steps()
    layers[1].load_state_dict(layers[0].state_dict())
    take_steps()
    layers.append(copy.deepcopy(layers[0]))
    layers[0].cell = BUILT_IN[kind](3, 5, np.float64)
    take_steps()


def test_the_compiled_module_refuses_wrong_arrays():
    cell = LSTMCell(3, 4, rng=0)
    code, x, z = Code(cell), np.ones((1, 3), np.float32), np.zeros((1, 4), np.float32)
    good, parameters = [x, z, None, None, None, z, z, z.copy(), z.copy()], tuple(cell.parameters())
    assert native().run(code.native, 1, False, tuple(good), parameters, None) is None
    wrong = {0: (None, x.astype(float), x[:, :2]), 1: (None, x), 4: (z,), 6: (x,), 7: (None, x)}
    for k, arrays in wrong.items():
        for array in arrays:
            given = (*good[:k], array, *good[k + 1 :])
            with pytest.raises(ValueError, match="another shape or dtype"):
                native().run(code.native, 1, False, given, parameters, None)
    for given in (good[:-1], [*good, z], good[:3]):
        with pytest.raises(ValueError, match="another shape or dtype"):
            native().run(code.native, 1, False, tuple(given), parameters, None)
    with pytest.raises(ValueError, match="another shape or dtype"):
        native().run(code.native, 1, False, tuple(good), parameters[:2], None)
    with pytest.raises(TypeError, match="six arguments"):
        native().run(code.native, 1, False, good, parameters, None)
