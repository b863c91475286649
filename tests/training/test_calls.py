"""How many Python functions of the library one masked batch goes through."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import minirnn as m
from minirnn.engine import native

PACKAGE = str(Path(m.__file__).parent)


def calls(choice: str) -> tuple[list[str], str]:
    """Return the names of what one training step calls, in order, and what ran the cell."""
    rng = np.random.default_rng(0)
    model = m.Sequential(
        [m.Embedding(7, 4, rng=0), m.LSTM(4, 5, rng=1, engine=choice), m.Dense(5, 3, rng=2)]
    )
    optimizer = m.Adam(model.parameters(), 0.01, clip_norm=1.0)
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), optimizer)
    x, y = rng.integers(0, 7, (4, 6)), rng.integers(0, 3, (4, 6))
    mask = np.arange(6) < np.array([[6], [4], [3], [2]])
    for _ in range(3):  # what is looked at once, and what is found out once
        trainer.train_step(x, y, mask)
    names: list[str] = []

    def profile(frame, event, argument):
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            names.append(frame.f_code.co_qualname)

    sys.setprofile(profile)
    try:
        trainer.train_step(x, y, mask)
    finally:
        sys.setprofile(None)
    return names, model[1].engine


@pytest.mark.parametrize("choice", ["auto", "off"])
def test_a_masked_batch(choice, engine_on):
    """Against growth: in the native machine, in the kernels, and in the loop, which steps."""
    names, engine = calls(choice)
    # One call less where Ctrl-C is Python's own: a process in the background ignores it.
    limits = {"the native machine": 108, "NumPy kernel": 172, "the time loop": 392}
    limit = next(limits[kind] for kind in limits if engine.startswith(kind))
    assert len(names) <= limit, f"{len(names)} calls"
    # The mask is looked at where the batch enters, and its padding zeroed; so it is in the output
    # and in its gradient. The time loop, and a loss in Python, do it for themselves.
    in_python = native() is None
    assert names.count("checked") == 1
    assert names.count("as_mask") == 1 + in_python
    zeroed = 3 + in_python + engine.startswith("the time loop")
    assert names.count("without_padding") == zeroed
