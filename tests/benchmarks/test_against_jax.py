"""JAX's side of the benchmark, as far as it runs without JAX."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    len(getattr(os, "sched_getaffinity", lambda _: {0})(0)) < 2, reason="one processor"
)
@pytest.mark.parametrize("threads", [1, 2])
def test_with_one_thread_the_process_stays_on_one_processor(threads):
    """XLA takes a second one otherwise, whatever its flag says, and is not told by JAX's times."""
    code = (
        "import os, sys\n"
        "from benchmarks import against_jax\n"
        "from benchmarks.timing import Settings\n"
        "sys.modules['jax'] = object()\n"
        f"against_jax.measure([], [], {threads}, Settings(1, 1, 0))\n"
        "print(len(os.sched_getaffinity(0)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    processors = int(run.stdout.splitlines()[-1])
    assert processors == (1 if threads == 1 else len(os.sched_getaffinity(0)))
