"""Memory stays where it is, over thousands of steps of any kind.

`tracemalloc` counts the memory of Python objects and of NumPy's arrays to the byte. A loop that
keeps nothing must end where it began, after a warm-up; a planted leak of one small array a step
shows that the tolerance is tight enough. What C code below NumPy might keep shows in the memory of
the whole process only, which is measured once, with larger arrays.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import minirnn as m
from minirnn.data import PaddedBatches

# Bytes a step; an array of four numbers is 128 bytes. Python and NumPy keep some freed objects at
# hand, 1,000 bytes in most of these loops and 2,000 at most, however long they are: 100 steps are
# enough to tell a leak from them.
TOLERANCE = 40
STEPS = 100
STATUS = Path("/proc/self/status")

LAYERS = {"rnn": m.RNN, "lstm": m.LSTM, "gru": m.GRU}
layers = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())


class Growth(NamedTuple):
    """What a loop of calls leaves behind."""

    held: int  # bytes more than after the warm-up
    peak: int  # bytes by which the highest point of a call is higher at the end of the loop
    unreachable: int  # objects in rings of references, which only the garbage collector finds


def growth(step: Callable[[int], Any], count: int) -> Growth:
    """Call ``step(k)`` so many times, and compare the end with the beginning.

    Python keeps some freed objects for the next use. Only a full collection lets go of them: so
    there is one at each point of comparison, and none in between. Its cache of attributes keeps the
    names that C code looks up, hundreds of short texts before it is full. Other threads of the
    process, as that in which a parallel test run receives its orders, take memory for a moment: the
    end is measured three times, and the lowest counts.
    """
    forget = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache
    few = max(10, count // 20)
    levels, peaks, unreachable = [], [], []
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for calls in (few, few, count - 2 * few, few, few, few):  # the first few are the warm-up
            tracemalloc.reset_peak()
            for k in range(calls):
                step(k)
            peaks.append(tracemalloc.get_traced_memory()[1])
            unreachable.append(gc.collect())
            forget()
            levels.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
        gc.enable()
    return Growth(min(levels[3:]) - levels[0], min(peaks[3:]) - peaks[1], sum(unreachable[1:]))


def assert_steady(step: Callable[[int], Any], count: int = STEPS, steps_a_call: int = 1) -> None:
    """Fail if `count` calls leave more than the tolerance behind."""
    found, tolerance = growth(step, count), TOLERANCE * count * steps_a_call
    assert found.held < tolerance, f"{found.held} bytes more are held after {count} calls"
    assert found.peak < tolerance, f"the peak has grown by {found.peak} bytes over {count} calls"
    assert found.unreachable < count / 10, f"{found.unreachable} objects are left to the collector"


def make_trainer(layer: Any, *, hidden: int = 4, **options: Any) -> m.Trainer:
    model = m.Sequential([layer(3, hidden, rng=0, **options), m.Dense(hidden, 2, rng=0)])
    optimizer = m.Adam(model.parameters(), 1e-3, clip_norm=1.0)
    return m.Trainer(model, m.SoftmaxCrossEntropy(), optimizer, metrics=[m.Accuracy()])


def draw(batch: int, time: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, time, 3)).astype(np.float32), rng.integers(2, size=(batch, time))


# ---------------------------------------------------------------- training


@pytest.mark.parametrize(("layer", "count"), [(m.RNN, STEPS), (m.LSTM, 5 * STEPS), (m.GRU, STEPS)])
def test_training(layer: Any, count: int) -> None:
    trainer, (x, y) = make_trainer(layer), draw(2, 4)
    assert_steady(lambda k: trainer.train_step(x, y), count)


def test_a_loop_of_ones_own() -> None:
    model = m.Sequential([m.LSTM(3, 4, rng=0), m.LastStep(), m.Dense(4, 2, rng=0)])
    loss, optimizer = m.SoftmaxCrossEntropy(), m.Adam(model.parameters(), 1e-3)
    x, y = draw(2, 4)

    def step(k: int) -> None:
        loss.forward(model.forward(x), y[:, -1])
        optimizer.zero_grad()
        model.backward(loss.backward())
        optimizer.step()

    assert_steady(step)


def test_batches_of_changing_sizes() -> None:
    trainer = make_trainer(m.GRU)
    rng = np.random.default_rng(0)
    batches = []
    for k in range(12):
        x, y = draw(1 + k % 3, 1 + (5 * k) % 7, k)
        batches.append((x, y, rng.random(y.shape) < 0.7))
        batches[-1][2][0, 0] = True
    assert_steady(lambda k: trainer.train_step(*batches[k % 12]))


def test_padded_batches_of_changing_lengths() -> None:
    rng = np.random.default_rng(0)
    pairs = [draw(1, length, length) for length in rng.integers(1, 8, 40)]
    inputs, targets = [x[0] for x, _ in pairs], [y[0] for _, y in pairs]
    batches = PaddedBatches(inputs, targets, batch_size=4, shuffle=True, rng=0)
    trainer = make_trainer(m.LSTM)

    def epoch(k: int) -> None:
        for batch in batches:
            trainer.train_step(*batch)

    assert_steady(epoch, 12, steps_a_call=len(batches))


def test_a_stream_in_pieces() -> None:
    trainer, (x, y) = make_trainer(m.GRU, stateful=True), draw(2, 4)
    assert_steady(lambda k: trainer.train_step(x, y))


def test_both_directions_and_a_stack() -> None:
    both = m.Bidirectional(m.LSTM(3, 4, rng=0), m.GRU(3, 4, rng=0))
    model = m.Sequential([both, m.RNN(8, 4, rng=0), m.Dense(4, 2, rng=0)])
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), m.Adam(model.parameters(), 1e-3))
    x, y = draw(2, 4)
    assert_steady(lambda k: trainer.train_step(x, y))


def test_a_cell_of_ones_own() -> None:
    class Own(m.LSTMCell):
        def forward(self, x_t: Any, state: Any) -> Any:
            return super().forward(x_t, state)

    model = m.Sequential([m.Recurrent(Own(3, 4, rng=0)), m.Dense(4, 2, rng=0)])
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), m.Adam(model.parameters(), 1e-3))
    x, y = draw(2, 2)
    assert_steady(lambda k: trainer.train_step(x, y))


# ---------------------------------------------------------------- using the model


def test_predictions() -> None:
    trainer = make_trainer(m.LSTM)
    batches = [draw(1 + k % 3, 1 + (5 * k) % 7, k)[0] for k in range(12)]
    assert_steady(lambda k: trainer.model.predict(batches[k % 12]))


def test_predictions_and_evaluations_between_training_steps() -> None:
    trainer, (x, y) = make_trainer(m.LSTM), draw(2, 3)

    def step(k: int) -> None:
        trainer.train_step(x, y)
        if k % 2:
            trainer.predict(x[:1, :2])
        else:
            trainer.evaluate(x, y)

    assert_steady(step)


@layers
def test_a_stream_step_by_step(layer: Any) -> None:
    model, (x, _) = make_trainer(layer).model, draw(1, 1)
    assert_steady(lambda k: model.step(x[:, 0]))


# ---------------------------------------------------------------- planted leaks


class Leaky(m.LSTM):
    """Keeps one array of four numbers a call: the smallest leak that counts."""

    def forward(self, x: Any, mask: Any = None, state: Any = None) -> Any:
        self.kept = [*getattr(self, "kept", []), np.zeros(4, np.float32)]
        return super().forward(x, mask, state)


class Circular(m.LSTM):
    """Leaves a ring of references behind, which only the garbage collector would find."""

    def forward(self, x: Any, mask: Any = None, state: Any = None) -> Any:
        ring: list[Any] = [np.zeros(4, np.float32)]
        ring.append(ring)
        return super().forward(x, mask, state)


@pytest.mark.parametrize(
    ("layer", "message"), [(Leaky, "bytes more are held"), (Circular, "left to the collector")]
)
def test_a_small_leak_would_be_seen(layer: Any, message: str) -> None:
    trainer, (x, y) = make_trainer(layer), draw(2, 4)
    with pytest.raises(AssertionError, match=message):
        assert_steady(lambda k: trainer.train_step(x, y))


def test_a_growing_peak_would_be_seen() -> None:
    def step(k: int) -> None:
        calls.append(None)
        np.zeros(100 * len(calls), np.uint8)

    calls: list[None] = []
    with pytest.raises(AssertionError, match="peak has grown"):
        assert_steady(step)


def test_memory_of_a_moment_is_no_growth() -> None:
    def step(k: int) -> None:
        calls.append(np.zeros(20_000 if len(calls) == 105 else 1, np.uint8).size)

    calls: list[int] = []
    assert_steady(step)
    assert max(calls) == 20_000


# ---------------------------------------------------------------- the whole process


def resident() -> int:
    """Return the bytes that the process holds."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def process_growth(step: Callable[[], Any]) -> int:
    for _ in range(50):
        step()
    gc.collect()
    before = resident()
    for _ in range(400):
        step()
    gc.collect()
    return resident() - before


def grow(leaky: bool) -> None:
    """Print by how many bytes a process grows that trains, and nothing else."""
    trainer, (x, y) = make_trainer(m.LSTM, hidden=32), draw(8, 20)
    kept = []

    def step() -> None:
        trainer.train_step(x, y)
        if leaky:
            kept.append(np.ones((8, 20, 32), np.float32))  # an output: 20 kB

    print(process_growth(step))


def printed_by(call: str) -> str:
    """Make a call of a function of this file in a process of its own; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", f"from tests import test_memory; test_memory.{call}"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.skipif(not STATUS.exists(), reason="needs /proc")
@pytest.mark.parametrize("leaky", [False, True])
def test_the_process_does_not_grow(leaky: bool) -> None:
    """In a process of its own: this one has memory to spare from the tests before."""
    grown, tolerance = int(printed_by(f"grow({leaky})")), 4 * 2**20
    assert (grown > tolerance) == leaky, f"the process has grown by {grown} bytes"
