"""Cells of one's own: minirnn against a PyTorch module that loops over the same cell.

    python -m benchmarks --own-cells                    # all networks, one thread; some minutes
    python -m benchmarks --own-cells --only tiny small --threads 2

Three cells as a user writes them: a minimal gated unit, an LSTM with peepholes, an LSTM with layer
normalization. Both sides start from the same weights, and their losses are compared first.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.ladder import Data, Rung, draw
from benchmarks.ours import CLIP_NORM, LEARNING_RATE, train_call
from benchmarks.peers import find_torch, torch_threads
from benchmarks.timing import Settings, ratio, take_turns
from minirnn import Cell, Dense, Parameter, Recurrent, Sequential, engine

TARGETS = {
    "adder": 11, "tiny": 12, "characters": 10, "small": 4.5, "medium": 2.3, "large": 1.3,
}  # fmt: skip


def sigmoid(x):
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def normalize(a):
    centred = a - a.mean(axis=1, keepdims=True)
    scale = 1 / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    return centred * scale, scale


def normalize_back(d, n, scale):
    mean, along = d.mean(axis=1, keepdims=True), (d * n).mean(axis=1, keepdims=True)
    return (d - mean - n * along) * scale


class OwnCell(Cell):
    """Parameters by name and shape: ``weights`` of two axes, ``vectors`` of one."""

    states = 1

    def __init__(self, input_size: int, hidden_size: int) -> None:
        self.input_size, self.hidden_size = input_size, hidden_size
        rng = np.random.default_rng(0)
        for name, shape in self.shapes(input_size, hidden_size).items():
            value = rng.standard_normal(shape) / np.sqrt(shape[0])
            if len(shape) == 1:
                value = np.full(shape, 1.0 if name.startswith("g") else 0.0)
            setattr(self, name, Parameter(value.astype(np.float32)))

    def shapes(self, n: int, hidden: int) -> dict[str, tuple[int, ...]]:
        raise NotImplementedError

    def initial_state(self, batch_size):
        zeros = np.zeros((batch_size, self.hidden_size), np.float32)
        return tuple(zeros.copy() for _ in range(self.states))


class MinimalGated(OwnCell):
    """GRU with one gate (Zhou et al. 2016), as in examples/custom_cell.py."""

    def shapes(self, n, hidden):
        w, u, b = (n, hidden), (hidden, hidden), (hidden,)
        return {"Wf": w, "Uf": u, "Wn": w, "Un": u, "bf": b, "bn": b}

    def forward(self, x, state):
        (h,) = state
        f = sigmoid(x @ self.Wf.value + h @ self.Uf.value + self.bf.value)
        n = np.tanh(x @ self.Wn.value + (f * h) @ self.Un.value + self.bn.value)
        h_next = (1 - f) * h + f * n
        return h_next, (h_next,), (x, h, f, n)

    def backward(self, grad_y, grad_state, cache):
        x, h, f, n = cache
        dh = grad_y + grad_state[0]
        dn = dh * f * (1 - n**2)
        d_seen = dn @ self.Un.value.T
        df = (dh * (n - h) + d_seen * h) * f * (1 - f)
        self.Wf.grad += x.T @ df
        self.Uf.grad += h.T @ df
        self.bf.grad += df.sum(axis=0)
        self.Wn.grad += x.T @ dn
        self.Un.grad += (f * h).T @ dn
        self.bn.grad += dn.sum(axis=0)
        grad_h = dh * (1 - f) + d_seen * f + df @ self.Uf.value.T
        return df @ self.Wf.value.T + dn @ self.Wn.value.T, (grad_h,)

    @staticmethod
    def in_torch(torch, p, x, state):
        (h,) = state
        f = torch.sigmoid(x @ p["Wf"] + h @ p["Uf"] + p["bf"])
        n = torch.tanh(x @ p["Wn"] + (f * h) @ p["Un"] + p["bn"])
        h = (1 - f) * h + f * n
        return h, (h,)


class Peephole(OwnCell):
    """LSTM whose gates see the memory (Gers and Schmidhuber 2000)."""

    states = 2

    def shapes(self, n, hidden):
        four, b = 4 * hidden, (hidden,)
        return {"Wx": (n, four), "Wh": (hidden, four), "b": (four,), "pi": b, "pf": b, "po": b}

    def forward(self, x, state):
        h, c = state
        z_i, z_f, z_g, z_o = np.split(
            x @ self.Wx.value + h @ self.Wh.value + self.b.value, 4, axis=1
        )
        i, f = sigmoid(z_i + self.pi.value * c), sigmoid(z_f + self.pf.value * c)
        g = np.tanh(z_g)
        c_next = f * c + i * g
        o = sigmoid(z_o + self.po.value * c_next)
        t = np.tanh(c_next)
        return o * t, (o * t, c_next), (x, h, c, i, f, g, o, t, c_next)

    def backward(self, grad_y, grad_state, cache):
        x, h, c, i, f, g, o, t, c_next = cache
        dh = grad_y + grad_state[0]
        do = dh * t * o * (1 - o)
        dc = grad_state[1] + dh * o * (1 - t**2) + do * self.po.value
        di, df = dc * g * i * (1 - i), dc * c * f * (1 - f)
        dz = np.concatenate([di, df, dc * i * (1 - g**2), do], axis=1)
        self.Wx.grad += x.T @ dz
        self.Wh.grad += h.T @ dz
        self.b.grad += dz.sum(axis=0)
        self.pi.grad += (di * c).sum(axis=0)
        self.pf.grad += (df * c).sum(axis=0)
        self.po.grad += (do * c_next).sum(axis=0)
        grad_c = dc * f + di * self.pi.value + df * self.pf.value
        return dz @ self.Wx.value.T, (dz @ self.Wh.value.T, grad_c)

    @staticmethod
    def in_torch(torch, p, x, state):
        h, c = state
        z_i, z_f, z_g, z_o = (x @ p["Wx"] + h @ p["Wh"] + p["b"]).chunk(4, 1)
        i, f = torch.sigmoid(z_i + p["pi"] * c), torch.sigmoid(z_f + p["pf"] * c)
        c = f * c + i * torch.tanh(z_g)
        h = torch.sigmoid(z_o + p["po"] * c) * torch.tanh(c)
        return h, (h, c)


class Normalized(OwnCell):
    """LSTM with layer normalization of both products and of the memory (Ba et al. 2016)."""

    states = 2

    def shapes(self, n, hidden):
        four = 4 * hidden
        return {"Wx": (n, four), "Wh": (hidden, four), "b": (four,), "gx": (four,), "gh": (four,),
                "gc": (hidden,), "bc": (hidden,)}  # fmt: skip

    def forward(self, x, state):
        h, c = state
        nx, sx = normalize(x @ self.Wx.value)
        nh, sh = normalize(h @ self.Wh.value)
        z = nx * self.gx.value + nh * self.gh.value + self.b.value
        i, f, o = np.split(sigmoid(z[:, : 3 * self.hidden_size]), 3, axis=1)
        g = np.tanh(z[:, 3 * self.hidden_size :])
        c_next = f * c + i * g
        nc, sc = normalize(c_next)
        t = np.tanh(nc * self.gc.value + self.bc.value)
        h_next = o * t
        return h_next, (h_next, c_next), (x, h, c, nx, sx, nh, sh, i, f, o, g, nc, sc, t)

    def backward(self, grad_y, grad_state, cache):
        x, h, c, nx, sx, nh, sh, i, f, o, g, nc, sc, t = cache
        dh = grad_y + grad_state[0]
        do, dn = dh * t * o * (1 - o), dh * o * (1 - t**2)
        self.gc.grad += (dn * nc).sum(axis=0)
        self.bc.grad += dn.sum(axis=0)
        dc = grad_state[1] + normalize_back(dn * self.gc.value, nc, sc)
        di, df = dc * g * i * (1 - i), dc * c * f * (1 - f)
        dz = np.concatenate([di, df, do, dc * i * (1 - g**2)], axis=1)
        self.b.grad += dz.sum(axis=0)
        self.gx.grad += (dz * nx).sum(axis=0)
        self.gh.grad += (dz * nh).sum(axis=0)
        dax = normalize_back(dz * self.gx.value, nx, sx)
        dah = normalize_back(dz * self.gh.value, nh, sh)
        self.Wx.grad += x.T @ dax
        self.Wh.grad += h.T @ dah
        return dax @ self.Wx.value.T, (dah @ self.Wh.value.T, dc * f)

    @staticmethod
    def in_torch(torch, p, x, state):
        h, c = state
        norm = torch.nn.functional.layer_norm
        four = p["b"].shape
        z = norm(x @ p["Wx"], four) * p["gx"] + norm(h @ p["Wh"], four) * p["gh"] + p["b"]
        z_i, z_f, z_o, z_g = z.chunk(4, 1)
        c = torch.sigmoid(z_f) * c + torch.sigmoid(z_i) * torch.tanh(z_g)
        h = torch.sigmoid(z_o) * torch.tanh(norm(c, c.shape[1:]) * p["gc"] + p["bc"])
        return h, (h, c)


OWN = {"mgu": MinimalGated, "peephole": Peephole, "layernorm": Normalized}


def model_of(kind: type[OwnCell], rung: Rung) -> Sequential:
    """Return the cell over time, with a Dense on every step."""
    return Sequential(
        [
            Recurrent(kind(rung.inputs, rung.hidden)),  # type: ignore[list-item]
            Dense(rung.hidden, rung.outputs, rng=1),
        ]
    )


def torch_call(kind: Any, rung: Rung, data: Data, model: Any) -> Callable[[], float]:
    """Return a training step of the same network in eager PyTorch, from the same weights."""
    torch = find_torch()
    cell, dense = model.layers[0].cell, model.layers[1]
    p = {
        name: torch.nn.Parameter(torch.from_numpy(q.value.copy()))
        for name, q in cell.named_parameters()
    }
    last = torch.nn.Linear(rung.hidden, rung.outputs)
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(dense.W.value.T.copy()))
        last.bias.copy_(torch.from_numpy(dense.b.value))
    everything = [*p.values(), *last.parameters()]
    optimizer = torch.optim.Adam(everything, LEARNING_RATE)
    x, classes = torch.from_numpy(data.x), torch.from_numpy(data.targets).reshape(-1)

    def train_step() -> float:
        optimizer.zero_grad()
        state = tuple(torch.zeros(rung.batch, rung.hidden) for _ in range(kind.states))
        outputs = []
        for x_t in x.unbind(1):
            y, state = kind.in_torch(torch, p, x_t, state)
            outputs.append(y)
        prediction = last(torch.stack(outputs, 1)).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(prediction, classes)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(everything, CLIP_NORM)
        optimizer.step()
        return float(loss.item())

    return train_step


def measure(rungs: Sequence[Rung], threads: int, settings: Settings) -> None:
    """Measure and print."""
    if find_torch() is None:
        raise SystemExit("PyTorch is not installed: pip install torch")
    engine.use(threads=threads)
    print("PyTorch's time / minirnn's, whole training step, float32; cells of one's own")
    print(f"{'network':12}" + "".join(f"{name:>12}" for name in OWN) + f"{'mean':>10}{'aim':>8}")
    with torch_threads(threads):
        for rung in rungs:
            if "train" not in rung.measures:
                continue
            found = []
            for kind in OWN.values():
                data, model = draw(rung), model_of(kind, rung)
                theirs = torch_call(kind, rung, data, model)
                calls = {"minirnn": train_call(model, data), "torch": theirs}
                losses = [call() for call in calls.values()]
                np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
                samples = take_turns(calls, settings)
                found.append(statistics.median(ratio(samples["torch"], samples["minirnn"])))
            mean = statistics.geometric_mean(found)
            row = "".join(f"{value:12.2f}" for value in found)
            print(f"{rung.name:12}{row}{mean:10.2f}{TARGETS.get(rung.name, 0):8g}", flush=True)
