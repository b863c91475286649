"""PyTorch's side, in eager mode: the same networks, the same calls.

PyTorch is optional. This file does not import it until it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.ladder import Calls, Data, Rung
from benchmarks.ours import CLIP_NORM, LEARNING_RATE
from minirnn import Sequential

__all__ = ["find_torch", "torch_calls", "torch_threads"]


def find_torch() -> Any:
    """Return the module, or None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    return torch


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Run the block with so many threads in PyTorch, if it is there."""
    torch = find_torch()
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def torch_calls(
    cell: str, rung: Rung, measures: tuple[str, ...], data: Data, model: Sequential | None = None
) -> dict[str, Calls]:
    """Return what is timed, as a user of PyTorch writes it.

    Parameters
    ----------
    cell, rung, measures, data
        As for minirnn.
    model : Sequential, optional
        Weights are copied from it; without it they are PyTorch's own.

    Returns
    -------
    dict
        ``{"torch": calls}``, and for one step ``{"torch_autograd": calls}`` too: the first runs
        under ``torch.no_grad()`` and carries its state from call to call, as a stream does. With
        autograd on, that would grow a graph with every step, so the state is the initial one in
        each call. A training step has autograd on, of course, and forward alone has it off.
    """
    torch = find_torch()
    x, targets = torch.from_numpy(data.x), torch.from_numpy(data.targets)
    usual: Calls = {}
    watched: Calls = {}
    for measure in measures:
        if measure == "train":
            usual[measure] = _train(torch, _twin(torch, cell, rung, model), x, targets)
        elif measure == "forward":
            usual[measure] = _forward(torch, _twin(torch, cell, rung, model).eval(), x)
        else:
            for grad, found in ((False, usual), (True, watched)):
                parts = _step_twin(torch, cell, rung, model)
                found[measure] = _step(torch, parts, measure == "model step", x[:, 0], grad)
    return {"torch": usual, "torch_autograd": watched} if watched else {"torch": usual}


# ---------------------------------------------------------------- what is timed


def _train(torch: Any, twin: Any, x: Any, targets: Any) -> Any:
    optimizer = torch.optim.Adam(twin.parameters(), LEARNING_RATE)
    classes = targets.reshape(-1)
    cross_entropy = torch.nn.functional.cross_entropy
    clip = torch.nn.utils.clip_grad_norm_

    def train_step() -> float:
        optimizer.zero_grad()
        loss = cross_entropy(twin(x).flatten(0, 1), classes)
        loss.backward()
        clip(twin.parameters(), CLIP_NORM)
        optimizer.step()
        return float(loss.item())

    return train_step


def _forward(torch: Any, twin: Any, x: Any) -> Any:
    def forward() -> Any:
        with torch.no_grad():
            return twin(x)

    return forward


def _step(torch: Any, parts: tuple[Any, Any], with_dense: bool, x_t: Any, grad: bool) -> Any:
    cell, dense = parts
    zeros = torch.zeros(len(x_t), cell.hidden_size)
    is_lstm = isinstance(cell, torch.nn.LSTMCell)
    state = (zeros, zeros) if is_lstm else zeros

    def step() -> Any:
        nonlocal state
        with torch.no_grad():
            state = cell(x_t, state)
            h = state[0] if is_lstm else state
            return dense(h) if with_dense else h

    def step_with_autograd() -> Any:
        new = cell(x_t, state)
        h = new[0] if is_lstm else new
        return dense(h) if with_dense else h

    return step_with_autograd if grad else step


# ---------------------------------------------------------------- the same network


def _twin(torch: Any, cell: str, rung: Rung, model: Sequential | None) -> Any:
    nn = torch.nn
    kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell]

    class Twin(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = kind(rung.inputs, rung.hidden, batch_first=True)
            self.dense = nn.Linear(rung.hidden, rung.outputs)

        def forward(self, x: Any) -> Any:
            return self.dense(self.recurrent(x)[0])

    twin = Twin()
    if model is not None:
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        _copy_weights(torch, [getattr(twin.recurrent, n) for n in names], twin.dense, model)
    return twin


def _step_twin(torch: Any, cell: str, rung: Rung, model: Sequential | None) -> tuple[Any, Any]:
    nn = torch.nn
    kind = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}[cell]
    one, dense = kind(rung.inputs, rung.hidden), nn.Linear(rung.hidden, rung.outputs)
    if model is not None:
        weights = [one.weight_ih, one.weight_hh, one.bias_ih, one.bias_hh]
        _copy_weights(torch, weights, dense, model)
    return one, dense


def _copy_weights(torch: Any, weights: list[Any], dense: Any, model: Sequential) -> None:
    recurrent, last = model.layers
    own: Any = recurrent.cell  # type: ignore[attr-defined]
    inner = np.zeros_like(own.b.value)  # the second bias, which only the GRU's candidate needs
    if hasattr(own, "bn"):
        inner[-len(own.bn.value) :] = own.bn.value
    with torch.no_grad():
        for parameter, array in zip(
            weights, [own.Wx.value, own.Wh.value, own.b.value, inner], strict=True
        ):
            parameter.copy_(torch.from_numpy(_rows(array, gates=own.blocks)))
        dense.weight.copy_(torch.from_numpy(last.W.value.T.copy()))  # type: ignore[attr-defined]
        dense.bias.copy_(torch.from_numpy(last.b.value))  # type: ignore[attr-defined]


def _rows(columns: np.ndarray, gates: int) -> np.ndarray:
    """Gates as PyTorch has them: in rows, and those of an LSTM in the order i, f, g, o."""
    rows = np.ascontiguousarray(columns.T)
    if gates == 4:
        i, f, o, g = np.split(rows, 4)
        rows = np.concatenate([i, f, g, o])
    return rows
