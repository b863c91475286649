"""How long a data-parallel training step takes: measured here, predicted for more ranks.

    mpiexec -n 2 python -m mpi4py -m benchmarks.ranks

A step of N ranks takes about::

    T(N) = a + b R / N + 2 log2(N) latency + 2 (N - 1) / N bytes / bandwidth

with R the rows of a batch; a and b are fitted to the steps of one process, latency and bandwidth to
Allreduce of vectors of 8 bytes to 32 MB. They are those of the machine, or of the network, on which
this is run: run it with the ranks on different nodes for a cluster's.
"""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import numpy as np

import minirnn as mr

HIDDEN, FEATURES, CLASSES, STEPS = 128, 64, 65, 50
ROWS = (8, 16, 32, 64)
BATCHES = (256, 4096)
SIZES = (1, 1 << 14, 1 << 20, 1 << 22)  # numbers of 8 bytes
RANKS = (1, 2, 4, 8, 16, 64, 256, 1024)


def fastest(call: Any, repeats: int) -> float:
    """Return the seconds of the fastest call: what else the machine does only adds to it."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def step_time(rows: int, repeats: int, communicator: Any = None) -> tuple[float, int]:
    """Return the time of a training step in seconds, and the bytes of the gradient."""
    model = mr.Sequential([mr.LSTM(FEATURES, HIDDEN, rng=0), mr.Dense(HIDDEN, CLASSES, rng=1)])
    optimizer = mr.Adam(model.parameters(), 1e-3)
    trainer = mr.Trainer(model, mr.SoftmaxCrossEntropy(), optimizer, communicator=communicator)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, STEPS, FEATURES)).astype(np.float32)
    y = rng.integers(0, CLASSES, (rows, STEPS))
    trainer.train_step(x, y)
    return fastest(lambda: trainer.train_step(x, y), repeats), 4 * model.parameter_count


def allreduce_times(communicator: Any, repeats: int) -> tuple[float, float]:
    """Return latency in seconds and bandwidth in bytes a second, for one of the log2(N) rounds."""
    times = []
    for size in SIZES:
        send, receive = np.ones(size), np.empty(size)

        def call(send: Any = send, receive: Any = receive) -> None:
            communicator.Allreduce(send, receive)

        call()
        communicator.Barrier()
        times.append(fastest(call, repeats))
    rounds = 2 * math.log2(communicator.size)
    moved = 2 * (communicator.size - 1) / communicator.size * 8 * SIZES[-1]
    return times[0] / rounds, moved / (times[-1] - times[0])


def predicted(a: float, b: float, rows: int, size: int, net: tuple[float, float], n: int) -> float:
    """Return the time of a step of n ranks in seconds."""
    latency, bandwidth = net
    wait = 2 * math.log2(n) * latency + 2 * (n - 1) / n * size / bandwidth
    return a + b * math.ceil(rows / n) + wait


def main() -> int:
    """Measure, and print what follows."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    if world.size < 2:
        print("start it with mpiexec -n 2 python -m mpi4py -m benchmarks.ranks", file=sys.stderr)
        return 2
    repeats = 5 if "--quick" in sys.argv else 60
    net = allreduce_times(world, repeats)
    world.Barrier()
    # All at once: the cores of a node share its memory.
    times, (size, *_) = zip(*[step_time(rows, repeats) for rows in ROWS], strict=True)
    b, a = (max(float(found), 0.0) for found in np.polyfit(ROWS, times, 1))
    world.Barrier()
    measured, _ = step_time(BATCHES[0], repeats, world)
    if world.rank == 0:
        print(
            f"a step of one process: {a * 1e3:.2f} ms and {b * 1e3:.3f} ms a row; gradient "
            f"{size / 1e6:.2f} MB; Allreduce: latency {net[0] * 1e6:.1f} us a round, "
            f"{net[1] / 1e9:.2f} GB/s"
        )
        expected = predicted(a, b, BATCHES[0], size, net, world.size)
        print(
            f"{BATCHES[0]} rows on {world.size} ranks: {expected * 1e3:.1f} ms predicted, "
            f"{measured * 1e3:.1f} ms measured"
        )
        print("| ranks |" + "".join(f" {rows} rows, ms | faster |" for rows in BATCHES))
        print("|---:|" + "---:|" * 2 * len(BATCHES))
        for n in RANKS:
            cells = []
            for rows in BATCHES:
                t = predicted(a, b, rows, size, net, n)
                alone = predicted(a, b, rows, size, net, 1)
                cells.append(f" {t * 1e3:.1f} | {alone / t:.1f} |")
            print(f"| {n} |" + "".join(cells))
    world.Barrier()
    return 0


if __name__ == "__main__":
    sys.exit(main())
