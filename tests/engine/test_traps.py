"""What user code may do, and what comes of it: the same numbers, or a reason in words."""

import collections
import dataclasses
import dis
import inspect
import itertools
import math
import sys
import types

import numpy as np
import pytest

from minirnn import Cell, Parameter, Recurrent, Sequential
from minirnn.engine import native, program_of
from minirnn.engine.dependencies import _names as globals_read
from minirnn.engine.machine import Machine
from minirnn.recurrent.loop import Loop
from minirnn.recurrent.runners import runner_of

pytestmark = [
    pytest.mark.skipif(native() is None, reason="the native engine was not built"),
    pytest.mark.usefixtures("engine_on", "poisoned"),
]
OUTSIDE: list = []


class Leaky(Cell):
    """``h' = a h + x W``, in pieces that a test replaces."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.input_size, self.hidden_size = 3, 4
        self.W = Parameter(rng.standard_normal((3, 4)))
        self.a = Parameter(0.8 + 0.1 * rng.standard_normal(4))

    def forward(self, x, state):
        h = self.step(x, state[0])
        return h, (h,), (x, state[0])

    def step(self, x, h):
        return self.a.value * h + x @ self.W.value

    def backward(self, grad_y, grad_state, cache):
        x, h = cache
        grad = grad_y + grad_state[0]
        self.add(x, h, grad)
        return grad @ self.W.value.T, (grad * self.a.value,)

    def add(self, x, h, grad):
        self.W.grad += x.T @ grad
        self.a.grad += (grad * h).sum(axis=0)


def plain(self, x, h):
    return Leaky.step(self, x, h)


# ---------------------------------------------------------------- what runs in the machine


def in_place(self, x, h):
    out = plain(self, x, h)
    out *= 0.5
    out += 1
    return out - 1


def two_names(self, x, h):
    out = plain(self, x, h)
    other = out
    other += 1
    return out


def einsum(self, x, h):
    return self.a.value * h + np.einsum("bi,ih->bh", x, self.W.value)


def einsum_transposed(self, x, h):
    return self.a.value * h + np.einsum("ih,bi->bh", self.W.value, x)


def rows_as_a_number(self, x, h):
    return plain(self, x, h) * (1.0 / len(x))


def shapes_as_numbers(self, x, h):
    return plain(self, x, h) / (x.size / x.shape[1] + np.shape(h)[0] + len(h[:, 0]))


def a_loop(self, x, h):
    out = plain(self, x, h)
    for _ in range(3):
        out = out + 0.1 * np.tanh(out)
    return out


def empty_and_out(self, x, h):
    out = np.empty((len(x), self.hidden_size), x.dtype)
    np.multiply(self.a.value, h, out=out)
    out += x @ self.W.value
    return out


def out_of_arrays(self, x, h):
    out, more, half = plain(self, x, h), 2 * h, np.full((len(x), 4), 0.5)
    np.square(half, out=out)
    np.positive(half, out=more)
    return plain(self, x, h) * out + np.reciprocal(half) * more


def number_from_math(self, x, h):
    return plain(self, x, h) * math.tanh(0.5)


def training_flag(self, x, h):
    return plain(self, x, h) * (0.9 if self.training else 1.0)


def doubled_then_sliced(self, x, h):
    """Each operation uses the one before twice: all paths through them would be 2**40."""
    out = plain(self, x, h)
    for _ in range(40):
        out = 0.5 * (out + out)
    return np.concatenate([out[:, :2], out[:, 2:]], axis=1)


def zeros_and_ones(self, x, h):
    z = np.concatenate([np.zeros_like(h), np.zeros((len(x), 2)), np.ones_like(x)], axis=1)
    return plain(self, x, h) + z[:, 4:8] + z[:, 5:9]


def vector_sum(self, x, h):
    out = plain(self, x, h)
    return out / (1 + np.abs(out).sum(axis=1))[:, None] + out.max(axis=1).reshape(-1, 1)


def booleans(self, x, h):
    out = plain(self, x, h)
    return np.where((out > 0) & ~(out >= 2) | (out < -1), out, out * (h != 0))


def compared(self, x, h):
    out = plain(self, x, h)
    limit = np.full(4, 0.4)
    more = np.less(0.5, out) | np.less_equal(np.float64(-0.5), -out) & np.less(out, limit)
    return np.where(more, out, 0.5 * out) + np.greater(limit, out)


def astype(self, x, h):
    out = plain(self, x, h)
    return out * (out > 0).astype(np.float64) + out.astype(x.dtype).copy()


def sliced_parameters(self, x, h):
    return x[:, :2] @ self.W.value[:2] + x[..., 2:] @ self.W.value[2:, :] + h * self.a.value[...]


def written_back(self, x, h, grad):
    self.W.grad = self.W.grad + x.T @ grad
    self.a.grad = (grad * h).sum(0) + self.a.grad


def np_add(self, x, h, grad):
    np.add(self.W.grad, x.T @ grad, out=self.W.grad)
    self.a.grad -= -(grad * h).sum(axis=0)


def mean_over_the_batch(self, x, h, grad):
    self.W.grad += x.T @ grad / len(grad)
    self.a.grad += (grad * h).mean(axis=0)


def ones_for_a_sum(self, x, h, grad):
    self.W.grad += np.dot(x.T, grad) - 0.5 * (x.T @ grad)
    self.a.grad += np.ones(len(grad)) @ (grad * h)


def transposed_gradient(self, x, h, grad):
    self.W.grad.T[...] += grad.T @ x
    self.a.grad += np.einsum("bh->h", grad * h)


def parts_of_gradients(self, x, h, grad):
    self.W.grad[:, :2] += x.T @ grad[:, :2]
    self.W.grad[:2, 2:] += x[:, :2].T @ grad[:, 2:]
    self.a.grad[1:] += (grad * h)[:, 1:].sum(axis=0)
    self.a.grad[0] += (grad * h)[:, :1].sum()


SAME_STEPS = [in_place, two_names, einsum, einsum_transposed, rows_as_a_number,
    shapes_as_numbers, a_loop, empty_and_out, out_of_arrays, number_from_math, training_flag,
    zeros_and_ones, vector_sum, booleans, compared, astype, sliced_parameters,
    doubled_then_sliced]  # fmt: skip
SAME_SUMS = [written_back, np_add, mean_over_the_batch, ones_for_a_sum, transposed_gradient,
    parts_of_gradients]  # fmt: skip


def assert_equal_to_loop(cell, batch=5, time=6):
    layer = Recurrent(cell, engine="require")
    rng = np.random.default_rng(1)
    x, grad = rng.standard_normal((2, batch, time, 4))
    x = x[:, :, : cell.input_size]
    for mask in (rng.random((batch, time)) < 0.7, None):
        cell.zero_grad()
        y, grad_x = layer.forward(x, mask), layer.backward(grad)
        grads = [p.grad.copy() for p in cell.parameters()]
        assert layer.engine.startswith("the native machine")
        cell.zero_grad()
        layer.forward(x, mask)
        layer.backward_parameters(grad)
        for once, parameter in zip(grads, cell.parameters(), strict=True):
            np.testing.assert_array_equal(once, parameter.grad)  # without the gradient on x
        cell.zero_grad()
        loop, state = Loop(cell), cell.initial_state(batch)
        expected, final, caches = loop.forward(x, mask, state, reverse=False, keep=True)
        back, first = loop.backward(grad, None, caches, need_grad_x=True)
        close = {"rtol": 1e-12, "atol": 1e-13}
        np.testing.assert_allclose(y, expected, **close)
        np.testing.assert_allclose(layer.state[0], final[0], **close)
        np.testing.assert_allclose(grad_x, back, **close)
        np.testing.assert_allclose(layer.grad_state[0], first[0], **close)
        for found, parameter in zip(grads, cell.parameters(), strict=True):
            np.testing.assert_allclose(found, parameter.grad, **close)


@pytest.mark.parametrize("step", SAME_STEPS)
def test_a_step_runs_with_the_same_numbers(step):
    assert_equal_to_loop(type("Own", (Leaky,), {"step": step})())


@pytest.mark.parametrize("add", SAME_SUMS)
def test_sums_into_gradients_run_with_the_same_numbers(add):
    assert_equal_to_loop(type("Own", (Leaky,), {"add": add})())


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_a_cache_may_be_anything(batch):
    class Own(Leaky):
        def forward(self, x, state):
            h = self.step(x, state[0])
            return h, (h,), {"x": x, "why": "text", "h": [state[0]], "n": 3}

        def backward(self, grad_y, grad_state, cache):
            return super().backward(grad_y, grad_state, (cache["x"], cache["h"][0]))

    assert_equal_to_loop(Own(), batch)


def test_a_gradient_that_is_given_may_be_copied_and_added_to():
    class Own(Leaky):
        def backward(self, grad_y, grad_state, cache):
            grad_y = grad_y.copy()
            grad_y += grad_state[0]
            return super().backward(grad_y, (np.zeros_like(grad_y),), cache)

    assert_equal_to_loop(Own())


@pytest.mark.parametrize("parts", [1, 2])
def test_a_gradient_on_the_input_may_be_needed_for_more(parts):
    class Own(Leaky):
        def __init__(self):
            super().__init__()
            self.input_size = 4
            self.W = Parameter(np.random.default_rng(1).standard_normal((4, 4)))

        def step(self, x, h):
            return np.tanh((x + h) @ self.W.value)

        def forward(self, x, state):
            h = self.step(x, state[0])
            return h, (h,), (x + state[0], h)

        def backward(self, grad_y, grad_state, cache):
            grad = (grad_y + grad_state[0]) * (1 - cache[1] ** 2)
            self.W.grad += cache[0].T @ grad
            back = grad @ self.W.value.T
            if parts == 2:
                back = np.concatenate([back[:, :1], grad_state[0][:, 1:]], axis=1)
            self.a.grad += back.sum(axis=0)
            return back, (back,)

    assert_equal_to_loop(Own())


def test_a_state_of_three_axes_runs_in_the_loop():
    class Heads(Leaky):
        def initial_state(self, batch_size):
            return (np.zeros((batch_size, 2, 2)),)

        def forward(self, x, state):
            h = self.step(x, state[0].reshape(-1, 4))
            return h, (h.reshape(-1, 2, 2),), (x, state[0].reshape(-1, 4))

    layer = Recurrent(Heads())
    assert "a state array that is not (batch, n)" in layer.engine
    assert layer.forward(np.ones((2, 3, 3))).shape == (2, 3, 4)


def test_one_parameter_under_two_names():
    class Own(Leaky):
        def __init__(self):
            super().__init__()
            self.again = self.a

        def step(self, x, h):
            return self.again.value * h + x @ self.W.value

    assert_equal_to_loop(Own())


# ---------------------------------------------------------------- what runs in the loop, and why


def an_if(self, x, h):
    out = plain(self, x, h)
    return out * 0.5 if np.abs(out).max() > 10 else out


def an_if_on_rows(self, x, h):
    return plain(self, x, h) * (0.5 if len(x) == 1 else 1.0)


def random_numbers(self, x, h):
    return plain(self, x, h) + np.random.default_rng(0).standard_normal((len(x), 4))


def a_counter(self, x, h):
    self.count = getattr(self, "count", 0) + 1
    return plain(self, x, h)


def write_to_a_view(self, x, h):
    out = plain(self, x, h)
    out[:, :2] *= 0.5
    return out


def view_then_write(self, x, h):
    out = plain(self, x, h)
    part = out[:, :2]
    out += 1
    return np.concatenate([part, out[:, 2:]], axis=1)


def write_to_the_state(self, x, h):
    h = h[...]
    h *= 0.5
    return plain(self, x, h)


def asarray(self, x, h):
    return np.asarray(plain(self, x, h))


def mean_of_the_batch(self, x, h):
    out = plain(self, x, h)
    return out - out.mean(axis=0)


def cast(self, x, h):
    return plain(self, x, h).astype(np.float32)


def computed_weights(self, x, h):
    return h * self.a.value + x @ (self.W.value * 0.5)


def printed(self, x, h):
    out = plain(self, x, h)
    assert str(out)
    return out


def a_list_outside(self, x, h):
    OUTSIDE.append(1)
    return plain(self, x, h)


COUNTS, RECORDER, CALLS = {"calls": 0, "each": [0]}, types.SimpleNamespace(seen=[]), 0


def a_count_outside(self, x, h):
    COUNTS["calls"] += 1
    return plain(self, x, h)


def an_array_outside(self, x, h):
    TABLE[0] += 1
    return plain(self, x, h)


def a_list_in_an_object(self, x, h):
    RECORDER.seen.append(h)
    return plain(self, x, h)


def a_queue_in_a_default(self, x, h, queue=collections.deque()):  # noqa: B006
    queue.append(h)
    return plain(self, x, h)


def a_global_number(self, x, h):
    global CALLS
    CALLS += 1
    return plain(self, x, h)


def sorted_rows(self, x, h):
    return np.sort(plain(self, x, h), axis=1)


def product_over_the_batch(self, x, h):
    return plain(self, x, h) + x.sum(axis=1, keepdims=True) * (x.T @ h).sum()


def einsum_of_the_batch(self, x, h):
    return plain(self, x, h) + np.einsum("bh,ch->bh", h, h)


def write_to_the_input(self, x, h):
    x += 1
    return plain(self, x, h)


def a_slice_of_rows(self, x, h):
    return plain(self, x, h) + h[:1]


def an_error_of_its_own(self, x, h):
    return plain(self, x, h) * {"known": 1.0}["known" if type(x) is np.ndarray else "other"]


REFUSED = {
    product_over_the_batch: "over the batch",
    einsum_of_the_batch: r"np\.einsum.* in einsum_of_the_batch, line",
    a_slice_of_rows: r"a slice of rows in a_slice_of_rows, line",
    write_to_the_input: r"changed in place.* in write_to_the_input, line",
    an_error_of_its_own: r"KeyError: 'other' in an_error_of_its_own, line",
    an_if: r"an if.* in an_if, line \d+",
    an_if_on_rows: "batch size",
    random_numbers: r"random numbers\?\) in random_numbers, line",
    a_counter: r"changes self\.count",
    write_to_a_view: r"changed in place.* in write_to_a_view, line",
    view_then_write: r"changed in place.* in view_then_write, line",
    write_to_the_state: r"changed in place.* in write_to_the_state, line",
    asarray: r"np\.asarray in asarray, line",
    mean_of_the_batch: "over the batch",
    cast: r"a cast to float32 in cast, line",
    computed_weights: "matrix",
    printed: r"printed in printed, line",
    a_list_outside: r"changes .*\.OUTSIDE",
    a_count_outside: r"changes .*\.COUNTS\.calls",
    an_array_outside: r"changes .*\.TABLE",
    a_list_in_an_object: r"changes .*\.RECORDER\.seen",
    a_queue_in_a_default: r"changes .*a_queue_in_a_default\.__defaults__",
    a_global_number: r"changes .*\.CALLS",
    sorted_rows: r"np\.sort in sorted_rows, line",
}


@pytest.mark.parametrize(("step", "why"), REFUSED.items())
def test_the_loop_runs_and_the_reason_is_given(step, why):
    OUTSIDE.clear(), RECORDER.seen.clear(), COUNTS.update(calls=0)
    layer = Recurrent(type("Own", (Leaky,), {"step": step})())
    assert "loop" in layer.engine
    with pytest.raises(RuntimeError, match=f'(?s)engine="require".*{why}'):
        Recurrent(type("Own", (Leaky,), {"step": step})(), engine="require").forward(
            np.ones((2, 3, 3))
        )
    assert not OUTSIDE
    assert COUNTS == {"calls": 0, "each": [0]}
    assert not RECORDER.seen
    if step is not random_numbers:
        assert layer.forward(np.ones((2, 3, 3))).shape == (2, 3, 4)


def scaled_by_its_gradient(self, x, h, grad):
    self.a.grad += (grad * h).sum(axis=0) * self.a.grad


def gradient_summed(self, x, h, grad):
    self.a.grad += (grad * h).sum(axis=0) + self.a.grad.sum()


def gradient_halved(self, x, h, grad):
    self.W.grad *= 0.5


@pytest.mark.parametrize("add", [scaled_by_its_gradient, gradient_summed, gradient_halved])
def test_a_gradient_that_is_read_runs_in_the_loop(add):
    why = Recurrent(type("Own", (Leaky,), {"add": add})()).engine
    assert f"a gradient is read in {add.__name__}, line" in why


def test_what_no_one_thought_of_is_found_by_trying():
    class Hidden(Leaky):
        calls = itertools.count()  # which changes and looks the same

        def step(self, x, h):
            return plain(self, x, h) * (1.0 if next(self.calls) < 5 else 2.0)

    with pytest.warns(RuntimeWarning, match=r"Hidden: the engine and the time loop do not agree"):
        why = Recurrent(Hidden()).engine
    assert "do not agree" in why


def test_an_attribute_that_changes_is_noticed():
    class Scaled(Leaky):
        scale, kept = 1.0, None

        def step(self, x, h):
            return plain(self, x, h) * self.scale + (0 if self.kept is None else self.kept)

    cell = Scaled()
    layer, x = Recurrent(cell, engine="require"), np.ones((2, 3, 3))
    for change in ({"scale": 2.0}, {"kept": np.ones(4)}, {"scale": 1.0}):
        vars(cell).update(change)
        y, expected = layer.forward(x), Recurrent(cell, engine="off").forward(x)
        np.testing.assert_allclose(y, expected, rtol=1e-13)
    cell.kept[1] = 7.0  # in place
    expected = Recurrent(cell, engine="off").forward(x)
    np.testing.assert_allclose(layer.forward(x), expected, rtol=1e-13)


def test_tracing_leaves_the_cell_as_it_was():
    class Noisy(Leaky):
        def __init__(self):
            super().__init__()
            self.rng = np.random.default_rng(0)

        def step(self, x, h):
            return plain(self, x, h) * (1 + 1e-12 * self.rng.random())

    cell = Noisy()
    layer = Recurrent(cell)
    assert "from call to call" in layer.engine
    assert cell.rng.random() == np.random.default_rng(0).random()
    assert not any(p.grad.any() for p in cell.parameters())


def test_weights_changed_between_forward_and_backward():
    """What forward kept is of the old weights, what backward reads is of the new ones."""

    class Own(Leaky):
        def forward(self, x, state):
            fed = state[0] * self.a.value
            h = np.tanh(fed + x @ self.W.value)
            return h, (h,), (x, fed, h)

        def backward(self, grad_y, grad_state, cache):
            x, fed, h = cache
            grad = (grad_y + grad_state[0]) * (1 - h**2) * np.cos(fed)
            self.add(x, fed, grad)
            return grad @ self.W.value.T, (grad * self.a.value,)

    results = []
    for engine in ("require", "off"):
        layer = Recurrent(Own(), engine=engine)
        layer.forward(np.ones((2, 3, 3)))
        for p in layer.parameters():
            p.value = p.value * 0.5
        results.append([layer.backward(np.ones((2, 3, 4))), *[p.grad for p in layer.parameters()]])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_parameter_that_is_another_is_noticed():
    class Listed(Leaky):
        def __init__(self):
            super().__init__()
            self.more = [Parameter(np.zeros(4)), Parameter(np.ones(4))]

        def step(self, x, h):
            return plain(self, x, h) * self.more[1].value + self.more[0].value

    cell = Listed()
    layer, x = Recurrent(cell, engine="require"), np.ones((2, 3, 3))
    layer.forward(x)
    cell.more[0] = Parameter(np.full(4, 0.5))
    cell.W = Parameter(cell.W.value * 2)
    expected = Recurrent(cell, engine="off").forward(x)
    np.testing.assert_allclose(layer.forward(x), expected, rtol=1e-13)


RATE, TABLE, MODULE = 0.5, np.array([0.5]), types.ModuleType("constants")
MODULE.gain, MODULE.inner = 0.5, types.ModuleType("constants.inner")
MODULE.inner.gain = 0.5


class Namespace:
    gain = 0.5

    def __init__(self):
        self.slope = 0.5

    def __call__(self, h):
        return h * self.slope * Namespace.gain


@dataclasses.dataclass(slots=True)
class Slots:
    gain: float = 0.5

    def __getattr__(self, name):
        return RATE


CALLED, SLOTS, IMPORTED = Namespace(), Slots(), types.ModuleType("constants_imported_in_a_step")
IMPORTED.gain = 0.5
sys.modules[IMPORTED.__name__] = IMPORTED


def twice(function):
    return lambda h: function(function(h))


@twice
def helper(h):
    return h * RATE


def with_defaults(h, factor=(0.5,), *, options={"gain": 0.5}):  # noqa: B006
    import constants_imported_in_a_step as imported

    return h * factor[0] * options["gain"] * imported.gain * SLOTS.gain * SLOTS.more


def times(factor):
    def set_factor(new):
        nonlocal factor
        factor = new

    product = lambda h: factor * h  # noqa: E731
    product.set_factor = set_factor
    return product


ONE, OTHER = times(0.5), times(0.5)


class Reads(Leaky):
    """What it reads is not of the cell."""

    scale, options = 1.0, {"gain": 1.0}

    def step(self, x, h):
        factor = self.scale * self.options["gain"] * TABLE[0] * MODULE.gain * MODULE.inner.gain
        h = with_defaults(h)
        return CALLED(helper(plain(self, x, h)) * factor + self.shift()) + OTHER(ONE(h))

    def shift(self):
        return 0.0


def changes():
    yield lambda patch: patch.setattr(Reads, "scale", 2.0)
    yield lambda patch: patch.setattr(Reads, "shift", lambda self: 1.0)
    yield lambda patch: patch.setitem(Reads.options, "gain", 3.0)
    yield lambda patch: patch.setitem(globals(), "RATE", 0.25)
    yield lambda patch: patch.setitem(globals(), "TABLE", np.array([4.0]))
    yield lambda patch: np.copyto(TABLE, 5.0)
    yield lambda patch: patch.setitem(globals(), "helper", np.tanh)
    yield lambda patch: patch.setattr(MODULE, "gain", 2.0)
    yield lambda patch: OTHER.set_factor(2.0)
    yield lambda patch: patch.setattr(with_defaults, "__defaults__", ((2.0,),))
    yield lambda patch: patch.setitem(with_defaults.__kwdefaults__["options"], "gain", 2.0)
    yield lambda patch: patch.setattr(IMPORTED, "gain", 2.0)
    yield lambda patch: patch.setattr(SLOTS, "gain", 2.0)
    yield lambda patch: patch.setattr(Slots, "__getattr__", lambda self, name: 2.0)
    yield lambda patch: patch.setattr(MODULE.inner, "gain", 2.0)
    yield lambda patch: patch.setattr(Namespace, "gain", 2.0)
    yield lambda patch: patch.setattr(CALLED, "slope", 2.0)
    yield lambda patch: patch.setattr(Namespace, "__call__", lambda self, h: 3 * h)


@pytest.mark.parametrize("change", list(changes()))
def test_what_is_read_outside_the_cell_may_change(change, monkeypatch):
    TABLE[:] = 0.5
    cell, x = Reads(), np.ones((2, 3, 3))
    layer = Recurrent(cell, engine="require")
    model, before = Sequential([layer]), layer.forward(x)
    for t in range(2):  # the second step of a stream is the native one
        model.step(x[:, t])
    change(monkeypatch)
    expected = Recurrent(cell, engine="off").forward(x)
    assert not np.allclose(expected, before)
    np.testing.assert_allclose(layer.forward(x), expected, rtol=1e-13)
    np.testing.assert_allclose(Recurrent(Reads()).forward(x), expected, rtol=1e-13)
    loop = Recurrent(cell, engine="off")
    loop.carried_state = layer.carried_state
    np.testing.assert_allclose(model.step(x[:, 2]), loop.step(x[:, 2]), rtol=1e-13)


def test_columns_of_what_is_computed_as_a_whole_are_taken_from_there():
    """The mean needs the whole product, so neither it nor the difference is computed in parts."""

    class Centred(Leaky):
        def step(self, x, h):
            product = x @ self.W.value
            h = h + np.sin(product[:, :1]) + np.sin(product)[:, :1] + np.sin(product)
            rest = np.tanh(product - product.mean(axis=1, keepdims=True))
            left, right = rest[:, :3], rest[:, 3:]
            return self.a.value * h + np.concatenate([right, left * product[:, :3]], axis=1) + rest

    program = program_of(Centred())
    assert program.count("x @ W") == program.count(" - ") == program.count("tanh") == 1, program
    assert program.count("sin(") == 2, program  # a part stood there before the whole
    x = np.random.default_rng(0).standard_normal((2, 5, 3))
    expected = Recurrent(Centred(), engine="off").forward(x)
    np.testing.assert_allclose(
        Recurrent(Centred(), engine="require").forward(x), expected, rtol=1e-13
    )


def test_cells_alike_share_what_was_traced_and_others_do_not():
    layers = [Recurrent(Leaky()), Recurrent(Leaky()), Recurrent(Leaky())]
    layers[2].eval()
    for layer in layers:
        layer.forward(np.ones((2, 3, 3)))
    codes = [runner_of(layer).code for layer in layers]
    assert codes[0] is codes[1]
    assert codes[2] is not codes[0]  # `training` may decide what is done


@pytest.mark.parametrize("masked", [False, True])
def test_the_program_with_a_mask_is_tried_as_the_one_without(masked, monkeypatch):
    def forward(self, x, mask, state, **options):
        y, final, kept = run(self, x, mask, state, **options)
        return (y + 1 if (mask is not None) == masked else y), final, kept

    run = Machine.forward
    monkeypatch.setattr(Machine, "forward", forward)
    with pytest.warns(RuntimeWarning, match="do not agree"):
        assert "do not agree" in Recurrent(type("Own", (Leaky,), {"step": plain})()).engine


def test_the_globals_that_code_reads_are_those_that_dis_sees():
    """Which is slower."""
    for function in (np.broadcast_arrays, np.einsum_path, np.histogramdd, changes, helper):
        code = inspect.unwrap(function).__code__
        codes = [code, *[c for c in code.co_consts if isinstance(c, types.CodeType)]]
        seen = [one.argval for c in codes for one in dis.get_instructions(c)
                if one.opname == "LOAD_GLOBAL"]  # fmt: skip
        assert set(globals_read(code)[0]) == set(seen)
