"""A second peer: JAX, compiled, ``lax.scan`` under ``jit``.

    python -m benchmarks --jax                  # needs `pip install jax`; some minutes

The same networks and training steps as on the ladder, from the same weights: forward, softmax
cross-entropy, gradients, clipping by norm and Adam are one compiled function. Its compilation, one
to three seconds for each network, is not in the times; it is printed beside them.

One thread each: XLA runs what does not depend on each other side by side, in threads of its own,
even where its products are told to take one (``--xla_cpu_multi_thread_eigen=false``). On two
processors it used 1.5 to 1.8 of them on the large networks. So with one thread the process is held
on one processor, before JAX is imported; where the system cannot do that, the output says so.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.ladder import Data, Rung, draw
from benchmarks.ours import CLIP_NORM, LEARNING_RATE, model_of, train_call
from benchmarks.timing import Settings, ratio, take_turns
from minirnn import Sequential, engine


def _step(jax: Any, cell: str, p: dict[str, Any], state: Any, x_t: Any) -> Any:
    numpy, sigmoid = jax.numpy, jax.nn.sigmoid
    h = state[0]
    if cell == "rnn":
        h = numpy.tanh(x_t @ p["Wx"] + h @ p["Wh"] + p["b"])
        return (h,), h
    if cell == "lstm":
        z = x_t @ p["Wx"] + h @ p["Wh"] + p["b"]
        i, f, o, g = numpy.split(z, 4, axis=1)
        c = sigmoid(f) * state[1] + sigmoid(i) * numpy.tanh(g)
        h = sigmoid(o) * numpy.tanh(c)
        return (h, c), h
    a, u = numpy.split(x_t @ p["Wx"] + p["b"], 3, axis=1), numpy.split(h @ p["Wh"], 3, axis=1)
    r, z = sigmoid(a[0] + u[0]), sigmoid(a[1] + u[1])
    n = numpy.tanh(a[2] + r * (u[2] + p["bn"]))
    h = (1 - z) * n + z * h
    return (h,), h


def jax_call(jax: Any, cell: str, rung: Rung, data: Data, model: Sequential) -> Callable[[], float]:
    """Return a training step of the same network, compiled."""
    numpy = jax.numpy
    layer: Any = model.layers[0]
    dense: Any = model.layers[1]
    p = {name: numpy.asarray(q.value.copy()) for name, q in layer.cell.named_parameters()}
    p |= {"W": numpy.asarray(dense.W.value.copy()), "bias": numpy.asarray(dense.b.value.copy())}
    x, classes = numpy.asarray(data.x.swapaxes(0, 1)), numpy.asarray(data.targets.T)
    zeros = tuple(numpy.zeros((rung.batch, rung.hidden)) for _ in range(1 + (cell == "lstm")))

    def loss_of(p: Any, x: Any, classes: Any) -> Any:
        _, y = jax.lax.scan(lambda state, x_t: _step(jax, cell, p, state, x_t), zeros, x)
        logs = jax.nn.log_softmax(y @ p["W"] + p["bias"])
        return -numpy.take_along_axis(logs, classes[..., None], -1).mean()

    @jax.jit
    def train_step(p: Any, m: Any, v: Any, t: Any, x: Any, classes: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(p, x, classes)
        each = jax.tree_util.tree_map
        norm = numpy.sqrt(sum((g**2).sum() for g in jax.tree_util.tree_leaves(grads)))
        grads = each(lambda g: g * numpy.minimum(1.0, CLIP_NORM / (norm + 1e-6)), grads)
        m = each(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = each(lambda v, g: 0.999 * v + 0.001 * g**2, v, grads)
        rate = LEARNING_RATE * numpy.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        p = each(lambda p, m, v: p - rate * m / (numpy.sqrt(v) + 1e-8), p, m, v)
        return loss, p, m, v, t + 1

    kept = [p, *[jax.tree_util.tree_map(numpy.zeros_like, p) for _ in range(2)], 1.0]

    def call() -> float:
        loss, *kept[:] = train_step(*kept, x, classes)
        return float(loss)

    return call


def _hold_on_one_processor() -> None:
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    else:
        print("JAX may use more than one processor: this system cannot hold a process on one")


def measure(rungs: Sequence[Rung], cells: Sequence[str], threads: int, settings: Settings) -> None:
    """Measure and print."""
    try:
        if threads == 1:
            _hold_on_one_processor()
        import jax
    except ImportError:
        raise SystemExit("JAX is not installed: pip install jax") from None
    engine.use(threads=threads)
    print("JAX's time / minirnn's, whole training step, float32")
    print(f"{'network':12}{'cell':6}{'ratio':>8}{'minirnn, ms':>14}{'compilation, s':>17}")
    for rung in rungs:
        if "train" not in rung.measures:
            continue
        for cell in cells:
            data, model = draw(rung), model_of(cell, rung)
            theirs, ours = jax_call(jax, cell, rung, data, model), train_call(model, data)
            start = time.perf_counter()
            losses = [theirs()]
            compilation = time.perf_counter() - start
            losses.append(ours())
            np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
            samples = take_turns({"minirnn": ours, "jax": theirs}, settings)
            median = statistics.median(ratio(samples["jax"], samples["minirnn"]))
            milliseconds = 1e3 * statistics.median(samples["minirnn"])
            print(f"{rung.name:12}{cell:6}{median:8.2f}{milliseconds:14.2f}{compilation:17.1f}",
                  flush=True)  # fmt: skip
