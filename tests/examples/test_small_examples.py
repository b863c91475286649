"""stacked.py, custom_layer.py and custom_cell.py: their numbers, and that they run as told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minirnn import Recurrent, check_gradients

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_runs_from_the_command_line():
    """At the quick setting, from the root of the project, and with nothing but words to say."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "examples/stacked.py", "--quick", "--seed", "1"],
        cwd=EXAMPLES.parent,
        env=os.environ | {"PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_stacked_is_the_formula(example, num_layers, bidirectional):
    """In the seed's layout, computed here once more, with its own indices."""
    stacked = example("stacked")
    seq, batch, features, hidden = 6, 2, 3, 4
    x = np.random.default_rng(0).standard_normal((seq, batch, features))
    net = stacked.Rnn(features, hidden, num_layers, bidirectional, rng=1)
    outputs, last_states = net.feed(x)
    assert all(not parameter.value.any() for name, parameter in named(net) if name.endswith("b"))

    directions = 1 + bidirectional
    below, expected_last = x, []
    for layer in net.model:
        cells = [layer.forward_layer.cell, layer.backward_layer.cell] if bidirectional else [None]
        cells = cells if bidirectional else [layer.cell]
        y = np.zeros((seq, batch, directions * hidden))
        for direction, cell in enumerate(cells):
            h = np.zeros((batch, hidden))
            for t in range(seq)[:: -1 if direction else 1]:
                h = np.tanh(below[t] @ cell.Wx.value + h @ cell.Wh.value)
                y[t, :, direction * hidden : (direction + 1) * hidden] = h
            expected_last.append(h.T)
        below = y
    assert outputs.shape == (seq, directions * hidden, batch)
    np.testing.assert_allclose(outputs, below.transpose(0, 2, 1), rtol=1e-12, atol=1e-14)
    assert len(last_states) == num_layers * directions
    for state, expected in zip(last_states, expected_last, strict=True):
        np.testing.assert_allclose(state, expected, rtol=1e-12, atol=1e-14)


def named(net):
    return list(net.model.named_parameters())


def test_stacked_reports_a_difference(example, monkeypatch, capsys):
    """The exit status is that of the comparison, not a matter of course."""
    stacked = example("stacked")
    right = stacked.plain_layer
    monkeypatch.setattr(stacked, "plain_layer", lambda *a: [1.001 * h for h in right(*a)])
    assert stacked.main(["--quick"]) == 1
    assert "largest difference" in capsys.readouterr().out


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 5), (1, 1, 2)])
def test_layer_norm(example, shape):
    custom_layer = example("custom_layer")
    x = np.random.default_rng(2).standard_normal(shape)
    layer = custom_layer.LayerNorm(shape[-1])
    y = layer.forward(x)
    np.testing.assert_allclose(y.mean(axis=-1), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=-1), 1, rtol=1e-2)
    layer.gain.value = np.random.default_rng(3).standard_normal(shape[-1])
    assert check_gradients(layer, x).passed
    assert not check_gradients(custom_layer.ForgetfulNorm(shape[-1]), x, raises=False).passed


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_minimal_gated_cell(example, masked, reverse):
    custom_cell = example("custom_cell")
    cell = custom_cell.MinimalGatedCell(3, 4, rng=0)
    cell.bf.value = np.linspace(-1, 1, 4)
    cell.bn.value = np.linspace(1, -1, 4)
    x = np.random.default_rng(4).standard_normal((2, 5, 3))
    mask = np.array([[True] * 5, [True] * 3 + [False] * 2]) if masked else None
    assert check_gradients(Recurrent(cell, reverse=reverse), x, mask=mask).passed


def test_minimal_gated_cell_is_the_published_unit(example):
    custom_cell = example("custom_cell")
    cell = custom_cell.MinimalGatedCell(3, 4, rng=0)
    x, h = np.random.default_rng(5).standard_normal((2, 3)), np.full((2, 4), 0.3)
    f = 1 / (1 + np.exp(-(x @ cell.Wf.value + h @ cell.Uf.value)))
    n = np.tanh(x @ cell.Wn.value + (f * h) @ cell.Un.value)
    y, (state,), _ = cell.forward(x, (h,))
    np.testing.assert_allclose(y, h + f * (n - h), rtol=1e-12)
    assert state is y
