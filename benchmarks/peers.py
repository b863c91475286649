"""PyTorch's side, in eager mode: the same networks, the same calls.

PyTorch is optional. This file does not import it until it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
        in ``torch.inference_mode()`` and carries its state from call to call, as in a stream.
        With autograd on that would grow a graph with every step, so the state is the initial one in
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
        with torch.inference_mode():
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
    if model is not None:
        from minirnn.interop.torch import to_torch

        recurrent, dense = to_torch(model, verify=False)
    else:
        kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
        recurrent = kind(rung.inputs, rung.hidden, batch_first=True)
        dense = torch.nn.Linear(rung.hidden, rung.outputs)

    class Twin(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.recurrent, self.dense = recurrent, dense

        def forward(self, x: Any) -> Any:
            return self.dense(self.recurrent(x)[0])

    return Twin()


def _step_twin(torch: Any, cell: str, rung: Rung, model: Sequential | None) -> tuple[Any, Any]:
    if model is not None:
        from minirnn.interop.torch import to_torch

        recurrent, dense = model.layers
        one = to_torch(recurrent.cell, verify=False)  # type: ignore[attr-defined]
        return one, to_torch(dense, verify=False)
    nn = torch.nn
    kind = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}[cell]
    return kind(rung.inputs, rung.hidden), nn.Linear(rung.hidden, rung.outputs)
