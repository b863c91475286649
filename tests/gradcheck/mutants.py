"""The mutants: in which host, which line becomes which, and what should be said."""

from dataclasses import dataclass

import numpy as np

from minirnn import Dense, Recurrent, Sequential, Tanh
from tests.gradcheck import hosts as h


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    `kind` and `names` are those of the diagnosis, `says` words of its text. `how` is how the host
    is checked: "alone", "over time" or "in a model".
    """

    host: type
    old: str | tuple[str, ...]
    new: str | tuple[str, ...]
    kind: str
    names: tuple[str, ...]
    says: str = ""
    how: str = "alone"
    sizes: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    mask: bool = False

    def __str__(self) -> str:
        return f"{self.kind} | {self.host.__name__} {self.how} | {str(self.new).strip()[:50]}"

    def layer(self):
        made = h.mutant(self.host, self.old, self.new)(*self.sizes)
        if self.how == "over time":
            return Recurrent(made)
        if self.how == "in a model":
            middle = Recurrent(made) if hasattr(made, "input_size") else made
            width = made.hidden_size if middle is not made else made.b.shape[0]
            return Sequential([Dense(5, 3, rng=0), Tanh(), middle, Dense(width, 2, rng=1)])
        return made

    def inputs(self):
        rng = np.random.default_rng(5)
        shape = self.shape or self._shape()
        if self.host is h.Lookup:
            return (np.array([[0, 2, 2, 5], [2, 1, 0, 3], [4, 4, 1, 3]]),)
        x = rng.uniform(-1.5, 1.5, shape)
        if self.host is h.HalfSquares:
            return x, rng.uniform(-1, 1, shape)
        if self.host is h.Guess:
            return x, rng.integers(0, shape[-1], shape[:-1])
        return (x,)

    def _shape(self):
        size = self.sizes[0] if self.sizes else 3
        if self.host in (h.LayerNorm, h.Standardised):
            return 6, 5
        if self.how == "in a model":
            return (3, 4, 5) if self.host in CELLS else (3, 5)
        if self.how == "over time" or self.host in (h.Loop, h.Mean):
            return (3, 5, size)
        return (5, 4) if self.host in (h.Normalised, h.Guess) else (5, size)

    def mask_array(self):
        if not self.mask:
            return None
        mask = np.ones(self.inputs()[0].shape[:2], bool)
        mask[0, 2:] = False
        mask[1, 0] = False
        return mask


CELLS = (h.TanhCell, h.MemoryCell, h.PeepholeCell, h.GatedCell, h.MixtureCell, h.SumCell)
P = Mutant

OVERWRITTEN = [
    P(h.Affine, "self.W.grad +=", "self.W.grad =", "overwritten", ("W",)),
    P(h.Linear, "self.b.grad +=", "self.b.grad =", "overwritten", ("b",)),
    P(h.Linear, "return y", "self.W.grad *= 0; return y", "overwritten", ("W",)),
    P(h.Linear, "self.W.grad +=", "self.W.grad[...] =", "overwritten", ("layers.2.W",),
      how="in a model"),
    P(h.Lookup, "np.add.at(self.W.grad, self.tokens, grad)",
      "self.W.grad = self.W.grad * 0; np.add.at(self.W.grad, self.tokens, grad)",
      "overwritten", ("W",)),
    *(
        P(host, f"self.{name}.grad +=", f"self.{name}.grad =", "overwritten", (full,), says, how)
        for host in (h.TanhCell, h.MemoryCell)
        for name in ("Wx", "b")
        for how, full, says in [
            ("alone", name, "+="),
            ("over time", f"cell.{name}", "write `p.grad += ...`"),
            ("in a model", f"layers.2.cell.{name}", "write `p.grad += ...`"),
        ]
    ),
    P(h.Loop, "dWx += ", "dWx = ", "overwritten", ("Wx",), "contributions of steps"),
    P(h.Loop, "db += ", "db = ", "overwritten", ("b",), "contributions of steps"),
]  # fmt: skip

DERIVATIVE = [
    P(h.Affine, "grad * (1 - self.y**2)", "grad", "derivative", ("W", "b"), "tanh left out"),
    P(h.Affine, "grad * (1 - self.y**2)", "grad", "derivative", ("W", "b"), "tanh left out",
      shape=(2, 3, 3)),
    P(h.Affine, "(1 - self.y**2)", "self.y * (1 - self.y)", "derivative", ("W", "b"), "wrong"),
    P(h.Affine, "(1 - self.y**2)", "(1 - np.tanh(self.y)**2)", "derivative", ("W", "b"), "wrong"),
    P(h.Affine, "(1 - self.y**2)", "(1 - self.y**2)**2", "derivative", ("W", "b"),
      "truth times (1 - y^2)"),
    P(h.Affine, "grad * (1 - self.y**2)", "grad", "derivative",
      ("layers.2.W", "layers.2.b"), "tanh left out", "in a model"),
    P(h.Rectified, "grad * (self.y > 0)", "grad", "derivative", ("W", "b"), "relu left out"),
    P(h.SigmoidLayer, "grad * self.y * (1 - self.y)", "grad * self.y", "derivative", ("input",)),
    P(h.SigmoidLayer, "self.y * (1 - self.y)", "(1 - self.y**2)", "derivative", ("input",),
      "(1 - y^2) where y * (1 - y) belongs"),
    *(
        P(h.TanhCell, "dh * (1 - new**2)", "dh", "derivative", names, "tanh left out", how)
        for how, names in [
            ("alone", ("Wx", "Wh", "b")),
            ("over time", ("cell.Wx", "cell.Wh", "cell.b")),
        ]
    ),
    *(
        P(h.MemoryCell, old, new, "derivative", ("Wx", "Wh", "b"), says)
        for old, new, says in [
            ("dc * g * i * (1 - i)", "dc * g", "sigmoid left out in columns 0 to 3"),
            ("dc * c * f * (1 - f)", "dc * c", "sigmoid left out in columns 4 to 7"),
            ("do = dh * tanh_c * o * (1 - o)", "do = dh * tanh_c", "columns 8 to 11"),
            ("dc * i * (1 - g**2)", "dc * i", "tanh left out in columns 12 to 15"),
            ("(1 - g**2)", "g * (1 - g)", "the wrong factor in columns 12 to 15"),
            ("dc * g * i", "dc * i", "a factor left out in columns 0 to 3"),
            ("dc * g * i", "dc * g * i * f", "truth times cache[4]"),
            ("dc * g * i", "dc * g * i * (1 - f)", "truth times (1 - cache[4])"),
        ]
    ),
    P(h.MemoryCell, "dh * o * (1 - tanh_c**2)", "dh * o", "derivative",
      ("input", "state[0]", "state[1]", "Wx", "Wh", "b"), "tanh left out"),
    P(h.MemoryCell, "grad_c = dc * f", "grad_c = dc", "derivative", ("state[1]",), "a factor"),
    P(h.Loop, "dh * (1 - self.h[t + 1] ** 2)", "dh", "derivative", ("Wx", "b"), "tanh left out"),
]  # fmt: skip

NEXT_STEP = [
    P(h.TanhCell, "grad_y + grad_state[0]", "grad_y", "next step",
      ("input", "state[0]", "Wx", "Wh", "b"), "grad_state[0]"),
    P(h.TanhCell, "grad_y + grad_state[0]", "grad_y", "next step",
      ("input of cell", "state[0] of cell", "cell.Wx", "cell.Wh", "cell.b"), how="over time"),
    P(h.TanhCell, "(grad_h,)", "(np.zeros_like(grad_h),)", "missing", ("state[0]",),
      "not handed back"),
    P(h.MemoryCell, "grad_y + grad_state[0]", "grad_y", "next step",
      ("input", "state[0]", "state[1]", "Wx", "Wh", "b"), "grad_state[0]"),
    P(h.MemoryCell, "grad_state[1] + dh", "dh", "next step",
      ("input", "state[0]", "state[1]", "Wx", "Wh", "b"), "grad_state[1]"),
    P(h.MemoryCell, "(grad_h, grad_c)", "(grad_h, 0 * grad_c)", "missing", ("state[1] of cell",),
      "not handed back", "over time"),
    P(h.MemoryCell, "grad_y + grad_state[0]", "grad_state[0]", "grad ignored",
      ("input", "state[0]", "state[1]", "Wx", "Wh", "b")),
    P(h.Loop, "grad[:, t] + dh_next", "grad[:, t]", "next step", ("input",), "later steps"),
]  # fmt: skip

TRANSPOSED = [
    P(h.Linear, "self.x.T @ grad", "grad.T @ self.x", "transposed", ("W",), "transpose of",
      sizes=(3, 3)),
    P(h.Linear, "grad @ self.W.value.T", "grad @ self.W.value", "transposed", ("input",),
      "multiplies with W", sizes=(3, 3)),
    P(h.Affine, "dz @ self.W.value.T", "dz @ self.W.value", "transposed", ("input",),
      "multiplies with W", sizes=(4, 4)),
    P(h.Affine, "columns.T @ rows", "rows.T @ columns", "transposed", ("W",), sizes=(4, 4),
      shape=(2, 3, 4)),
    P(h.TanhCell, "h.T @ dz", "dz.T @ h", "transposed", ("Wh",)),
    P(h.TanhCell, "h.T @ dz", "dz.T @ h", "transposed", ("cell.Wh",), how="over time"),
    P(h.TanhCell, "dz @ self.Wh.value.T", "dz @ self.Wh.value", "transposed", ("state[0]",), "Wh"),
    P(h.TanhCell, "dz @ self.Wh.value.T", "dz @ self.Wh.value", "transposed",
      ("state[0] of cell",), "Wh", "over time"),
    P(h.TanhCell, "dz @ self.Wx.value.T", "dz @ self.Wx.value", "transposed", ("input",), "Wx",
      sizes=(4, 4)),
    P(h.MemoryCell, "dz @ self.Wh.value.T",
      "sum(d @ w for d, w in zip(np.split(dz, 4, 1), np.split(self.Wh.value, 4, 1)))",
      "transposed", ("state[0]",), "Wh"),
    P(h.MemoryCell, "self.Wh.grad += h.T @ dz",
      "self.Wh.grad += np.concatenate([d.T @ h for d in np.split(dz, 4, 1)], 1)",
      "transposed", ("Wh",), "4 blocks"),
]  # fmt: skip

FACTOR = [
    P(h.Linear, "self.x.T @ grad", "2 * self.x.T @ grad", "factor", ("W",), "gives 2 times"),
    P(h.Linear, "return grad @", "return -grad @", "factor", ("input",), "sign"),
    P(h.Affine, "(1 - self.y**2)", "(1 - self.y**2) / 2", "factor", ("input", "W", "b"), "0.5"),
    P(h.Affine, "(1 - self.y**2)", "(1 - self.y**2) / len(grad)", "factor", ("input", "W", "b"),
      "1 / the batch size"),
    P(h.Affine, "columns.T @ rows", "columns.T @ rows / self.x.shape[1]", "factor", ("W",),
      "1 / the number of steps", shape=(2, 4, 3)),
    P(h.Affine, "columns.T @ rows", "0.37 * columns.T @ rows", "factor", ("W",), "0.37 times"),
    P(h.TanhCell, "dh * (1", "-dh * (1", "factor", ("input", "state[0]", "Wx", "Wh", "b"), "sign"),
    P(h.TanhCell, "dh * (1", "2 * dh * (1", "factor",
      ("input of cell", "state[0] of cell", "cell.Wx", "cell.Wh", "cell.b"), "2 times",
      "over time"),
    P(h.MemoryCell, "dc * c * f", "-dc * c * f", "factor", ("Wx", "Wh", "b"), "columns 4 to 7"),
    P(h.MemoryCell, "grad_c = dc * f", "grad_c = dc * f * 3", "factor", ("state[1]",), "3 times"),
    P(h.HalfSquares, "self.gap / self.mask.sum()", "self.gap", "factor", ("input",),
      "the batch size"),
    P(h.HalfSquares, "self.gap / self.mask.sum()", "2 * self.gap / self.mask.sum()", "factor",
      ("input",), "2 times"),
    P(h.HalfSquares, "self.gap / self.mask.sum()", "self.gap / self.mask.size * 1", "factor",
      ("input",), mask=True, shape=(3, 5, 2)),
    P(h.Guess, "(self.p - self.t) / self.n", "(self.t - self.p) / self.n", "factor", ("input",),
      "sign"),
    P(h.Guess, "(self.p - self.t) / self.n", "self.p - self.t", "factor", ("input",),
      "batch size times steps", shape=(2, 3, 4)),
]  # fmt: skip

NOT_SUMMED = [
    P(h.Linear, "grad.sum(axis=0)", "grad[0]", "not summed", ("b",), "row 0"),
    P(h.Linear, "grad.sum(axis=0)", "grad[-1]", "not summed", ("b",), "row 4"),
    P(h.Linear, "grad.sum(axis=0)", "grad.mean(axis=0)", "not summed", ("b",), "mean"),
    P(h.Linear, "grad.sum(axis=0)", "grad.sum(axis=1)", "not summed", ("b",), "wrong axis",
      sizes=(3, 5)),
    P(h.Affine, "rows.sum(axis=0)", "rows.mean(axis=0)", "not summed", ("b",), "mean"),
    P(h.Affine, "rows.sum(axis=0)", "rows.mean(axis=0)", "not summed", ("b",), "batch size times",
      shape=(2, 4, 3)),
    P(h.Affine, "rows.sum(axis=0)", "dz[:, -1].sum(axis=0)", "not summed", ("b",), "time step 3",
      shape=(2, 4, 3)),
    P(h.Affine, "rows.sum(axis=0)", "dz[0].sum(axis=0)", "not summed", ("b",), "row 0",
      shape=(2, 4, 3)),
    P(h.TanhCell, "dz.sum(axis=0)", "dz[0]", "not summed", ("cell.b",), "row 0", "over time"),
    P(h.TanhCell, "x.T @ dz", "x.T @ dz / len(x)", "not summed", ("Wx",), "1 / the batch size",
      shape=(2, 3)),
    P(h.TanhCell, "x.T @ dz", "0.5 * x.T @ dz", "factor", ("Wx",), "0.5 times", shape=(2, 3)),
    P(h.TanhCell, "h.T @ dz", "new.T @ dz", "wrong array", ("Wh",), "uses y where"),
    P(h.TanhCell, "h.T @ dz", "new.T @ dz", "wrong array", ("cell.Wh",), "uses y where",
      "over time"),
    P(h.TanhCell, "dz.sum(axis=0)", "dz.mean(axis=0)", "not summed", ("b",), "mean"),
    P(h.TanhCell, "dz.sum(axis=0)", "dz.mean(axis=0)", "not summed", ("b",), "mean",
      shape=(2, 3)),
    P(h.MemoryCell, "dz.sum(axis=0)", "dz[0]", "not summed", ("b",), "row 0"),
    P(h.MemoryCell, "dz.sum(axis=0)", "dz.mean(axis=0)", "not summed", ("cell.b",), "mean",
      "over time"),
    P(h.Lookup, "np.add.at(self.W.grad, self.tokens, grad)", "self.W.grad[self.tokens] += grad",
      "over time", ("W",), "np.add.at"),
]  # fmt: skip

CHANCE = [
    P(h.Noisy, "self.rng.random", "np.random.random", "not deterministic", ("output",), "numpy"),
    P(h.Noisy, "self.rng.random", "np.random.default_rng().random", "not deterministic",
      ("output",), "evaluation mode"),
    P(h.Linear, "self.W.value\n", "self.W.value + np.random.randn(len(x), 1)\n",
      "not deterministic", ("output",), "numpy"),
    P(h.TanhCell, "new = np.tanh(", "new = np.random.rand() * np.tanh(", "not deterministic",
      ("output",)),
    P(h.MemoryCell, "c_new = f * c", "c_new = f * c * np.random.default_rng().random()",
      "not deterministic", ("output of cell",), how="over time"),
]  # fmt: skip

IN_PLACE = [
    P(h.Linear, "self.x = x\n", "x *= 2; self.x = x\n", "in place", ("input",), "forward"),
    P(h.Linear, "self.W.grad +=", "grad *= 1.5; self.W.grad +=", "in place", ("grad",), "backward"),
    P(h.Affine, "dz = grad * (1 - self.y**2)", "grad *= 1 - self.y**2; dz = grad", "in place",
      ("grad",), "backward"),
    P(h.Affine, "dz = grad * (1 - self.y**2)", "self.y[:] = 1 - self.y**2; dz = grad * self.y",
      "in place", ("output",), "backward"),
    P(h.Affine, "return dz @", "self.x *= 0.5; return dz @", "in place", ("input",), "backward"),
    P(h.Linear, "self.b.grad +=", "self.W.value -= 0.1 * self.W.grad; self.b.grad +=", "in place",
      ("W",), "backward"),
    P(h.Normalised, "g = grad * self.gain.value", "g = grad * self.gain.value; self.p *= 2; "
      "self.p /= 4; self.p *= 2; self.p += 1e-3", "in place", ("self.p",), "cache"),
    P(h.TanhCell, "(h,) = state", "(h,) = state; h *= 0.5", "in place", ("state[0]",), "forward"),
    P(h.TanhCell, "dh = grad_y + grad_state[0]", "grad_state[0][...] += grad_y; dh = grad_state[0]",
      "in place", ("grad_state[0]",), "backward"),
    P(h.TanhCell, "x, h, new = cache", "x, h, new = cache; new = new; x += 1", "in place",
      ("input",), "backward"),
    P(h.MemoryCell, "di = dc * g * i * (1 - i)", "i *= 1 - i; di = dc * g * i", "in place",
      ("cache[3]",), "cache"),
    P(h.MemoryCell, "dh = grad_y + grad_state[0]", "dh = grad_y; dh += grad_state[0]", "in place",
      ("grad",), "backward"),
    P(h.MemoryCell, "c_new = f * c + i * g", "c *= f; c += i * g; c_new = c", "in place",
      ("state[1] of cell",), "forward", "over time"),
    P(h.Affine, "self.y = np.tanh(x @ self.W.value + self.b.value)",
      "z = x @ self.W.value + self.b.value; "
      "self.y = np.tanh(z, out=self.__dict__.setdefault('room', np.empty_like(z)))",
      "in place", ("output",), "same array every time"),
    P(h.HalfSquares, "self.gap = np", "prediction -= target; target = 0; self.gap = np",
      "in place", ("input",), "forward"),
    P(h.Mean, "mask = np.ones(x.shape[:2], bool) if mask is None else mask",
      "mask[:, 0] = True", "in place", ("mask",), "forward", mask=True),
]  # fmt: skip

FLOAT32 = [
    P(h.Linear, "x @ self.W.value", "x.astype(np.float32) @ self.W.value.astype(np.float32)",
      "float32", ("output",)),
    P(h.Affine, "self.y = np.tanh(x", "self.y = np.tanh(x.astype(np.float32)", "float32",
      ("output",)),
    P(h.SigmoidLayer, "sigmoid(x)", "sigmoid(x.astype('f4'))", "float32", ("output",)),
    P(h.TanhCell, "x @ self.Wx.value", "np.float32(x @ self.Wx.value)", "float32", ("output",)),
    P(h.TanhCell, "x @ self.Wx.value", "np.float32(x @ self.Wx.value)", "float32",
      ("output of cell",), how="over time"),
    P(h.MemoryCell, "c_new = f * c + i * g", "c_new = np.float32(f * c + i * g)", "float32",
      ("output",)),
]  # fmt: skip

MISSING = [
    P(h.Linear, "self.W.grad += self.x.T @ grad", "pass", "missing", ("W",), "adds nothing"),
    P(h.Affine, "self.b.grad += rows.sum(axis=0)", "pass", "missing", ("b",), "adds nothing"),
    P(h.Linear, "return grad @ self.W.value.T", "return np.zeros(self.x.shape)", "missing",
      ("input",)),
    P(h.TanhCell, "self.Wh.grad += h.T @ dz", "pass", "missing", ("cell.Wh",), how="over time"),
    P(h.TanhCell, "self.b.grad += dz.sum(axis=0)", "pass", "missing", ("b",)),
    P(h.MemoryCell, "[di, df, do, dg]", "[di, df * 0, do, dg]", "missing", ("Wx", "Wh", "b"),
      "columns 4 to 7"),
    P(h.Loop, "return grad_x", "grad_x[:, 0] = 0; return grad_x", "missing", ("input",),
      "time step 0"),
]  # fmt: skip

NAN = [
    P(h.Linear, "self.x.T @ grad", "self.x.T @ grad / np.float64(0)", "nan", ("W",)),
    P(h.Affine, "return dz @", "return np.sqrt(-1 + 0 * dz) @", "nan", ("input",)),
    P(h.TanhCell, "dz.sum(axis=0)", "dz.sum(axis=0) * np.nan", "nan", ("cell.b",),
      how="over time"),
    P(h.MemoryCell, "grad_c = dc * f", "grad_c = dc * f / np.float64(0)", "nan", ("state[1]",)),
    P(h.SigmoidLayer, "self.y = sigmoid(x)", "self.y = np.log(x)", "nan", ("input",), "forward"),
]  # fmt: skip

STALE = [
    P(h.Linear, "self.x = x\n", "self.x = getattr(self, 'x', x)\n", "stale cache", ("W",),
      "earlier forward"),
    P(h.Affine, "self.x = x\n", "self.x = self.__dict__.setdefault('old', x)\n", "stale cache",
      ("W",), "earlier forward"),
    P(h.TanhCell, ("cache = (x, h, new)", "x, h, new = cache"),
      ("cache = self.kept = (x, h, new)", "x, h, new = self.kept"), "stale cache",
      ("input", "state[0]", "Wx", "Wh", "b"), "not on self"),
    P(h.TanhCell, ("cache = (x, h, new)", "x, h, new = cache"),
      ("cache = self.kept = (x, h, new)", "x, h, new = self.kept"), "stale cache",
      ("input of cell", "state[0] of cell", "cell.Wx", "cell.Wh", "cell.b"), "not on self",
      "over time"),
    P(h.MemoryCell, ("h, c = state", "self.Wx.grad += x.T"),
      ("h, c = state; self.x = x", "self.Wx.grad += self.x.T"), "stale cache", ("cell.Wx",),
      "not on self", "over time"),
]  # fmt: skip

SHAPE = [
    P(h.Linear, "return grad @ self.W.value.T", "grad @ self.W.value.T", "kind", ("input",),
      "return"),
    P(h.Linear, "return grad @ self.W.value.T", "return (grad @ self.W.value.T).T", "shape",
      ("input",), "transposed"),
    P(h.Affine, "return dz @ self.W.value.T", "return (dz @ self.W.value.T).sum(axis=0)", "shape",
      ("input",), "another array"),
    P(h.TanhCell, "return grad_x, (grad_h,)", "return grad_x", "kind", ("input",),
      "should return (grad_x, grad_state)"),
    P(h.HalfSquares, "return self.gap / self.mask.sum()", "self.gap", "kind", ("input",)),
]  # fmt: skip

OTHERS = [
    P(h.Normalised, "g = self.p * (g - (g * self.p).sum(axis=-1, keepdims=True))",
      "g = g * self.p * (1 - self.p)", "diagonal", ("input",)),
    P(h.SigmoidLayer, "return grad * self.y * (1 - self.y)", "return grad", "derivative",
      ("input",), "sigmoid left out"),
    P(h.Linear, "self.W.grad +=", "grad = np.ones_like(grad); self.W.grad +=", "grad ignored",
      ("input", "W", "b")),
    P(h.MemoryCell, "(grad_h, grad_c)", "(grad_c, grad_h)", "mixed up",
      ("state[0]", "state[1]")),
    P(h.TanhCell, "dz @ self.Wh.value.T", "dz @ self.Wx.value.T", "mixed up", ("state[0]",),
      "belongs to input", sizes=(4, 4)),
    P(h.TanhCell, "grad_h = dz @ self.Wh.value.T", "grad_h = 0 * h", "missing", ("state[0]",)),
    P(h.Mean, "* self.share\n", "/ self.x.shape[1] + 0 * self.share\n", "over time", ("input",),
      "at the mask", mask=True, shape=(3, 4, 3)),
    P(h.Mean, "* self.share\n", "* self.share + (self.share == 0)\n", "mask", ("input",),
      "on masked steps", mask=True, shape=(3, 4, 3)),
    P(h.MemoryCell, "dc * g * i", "dc", "place", ("Wx", "Wh", "b"), "in columns 0 to 3"),
    P(h.MemoryCell, "di = dc * g", "di = dc * np.exp(g)", "place", ("Wx", "Wh", "b"),
      "in columns 0 to 3"),
    P(h.SumCell, "da = dz + dv_next * u", "da = dz", "place", ("input", "W"),
      "makes of grad + grad_state[1]: the rest"),
    P(h.Affine, "rows.sum(axis=0)", "rows.sum(axis=0) * np.array([1, 1.1, 0.9, 1.3])", "place",
      ("b",), "columns 1 to 3"),
    P(h.Loop, "dz @ self.Wh.value.T", "dz @ self.Wh.value", "over time",
      ("input", "Wx", "Wh", "b")),
    P(h.TanhCell, "(grad_h,)", "(0.1 * dh,)", "part", ("cell",), "checked alone", "over time"),
]  # fmt: skip
PRODUCT_RULE = [
    P(
        h.GatedCell,
        "dy * (h - new) *",
        "dy * h *",
        "term",
        ("Wx", "Wh", "b"),
        "state[0] alone where state[0] - cache[5] belongs",
    ),
    P(h.GatedCell, "dy * (h - new) *", "-dy * new *", "term", ("Wx", "Wh", "b"), "columns 0 to 3"),
    P(h.Guess, "self.p - self.t", "-self.t", "term", ("input",), "alone where self.t - self.p"),
    P(h.GatedCell, "+ dy * z", "", "term", ("state[0]",), "(grad + grad_state[0]) * cache[2]"),
    P(h.GatedCell, "+ dy * z", "", "term", ("state[0] of cell",), how="over time"),
    P(
        h.GatedCell,
        "+ dy * z",
        "+ dy",
        "derivative",
        ("state[0]",),
        "(grad + grad_state[0]) where (grad + grad_state[0]) * cache[2] belongs",
    ),
    P(
        h.MixtureCell,
        "dg @ self.Wg.value.T + dy",
        "dg @ self.Wg.value.T",
        "term",
        ("state[0]",),
        "exactly the incoming grad + grad_state[0]",
    ),
    P(
        h.PeepholeCell,
        "+ dzf * self.pf.value",
        "",
        "term",
        ("state[1]",),
        "(the gradient of b[4:8] from each row) * pf",
    ),
    P(
        h.PeepholeCell,
        "+ dzo * self.po.value",
        "",
        "term",
        ("input", "state[0]", "state[1]", "Wx", "Wh", "b"),
        "in the gradient on new_state[1]",
    ),
]
PATH_LEFT_OUT = [  # of weights that are not square, this was once called a transposed one
    P(h.Gate, "grad_x += dv @ self.V.value.T", "pass", "term", ("input",), "back through V"),
    P(h.Gate, "grad_x = du @ self.W.value.T", "grad_x = 0", "term", ("input",), "back through W"),
    P(h.GatedCell, "du @ self.Wh.value.T + dy * z", "dy * z", "term", ("state[0]",), "through Wh"),
]  # fmt: skip
SIGNS = [
    P(h.GatedCell, "+ dy * z", "- dy * z", "term", ("state[0]",),
      "with the wrong sign: (grad + grad_state[0]) * cache[2]"),
    P(h.PeepholeCell, "+ dzf * self.pf.value", "- dzf * self.pf.value", "term", ("state[1]",),
      "with the wrong sign: (the gradient of b[4:8] from each row) * pf"),
]  # fmt: skip
FORGOTTEN = [
    P(
        h.LayerNorm,
        "g = grad * self.gain.value",
        "g = grad",
        "derivative",
        ("input",),
        "grad where grad * gain belongs",
        sizes=(5,),
    ),
    P(
        h.LayerNorm,
        "(grad * self.n).sum(axis=0)",
        "grad.sum(axis=0)",
        "derivative",
        ("gain",),
        "times self.n",
        sizes=(5,),
    ),
    P(
        h.LayerNorm,
        "self.n * along) / self.std",
        "self.n * along)",
        "derivative",
        ("input",),
        "truth times self.std",
        sizes=(5,),
    ),
    P(
        h.Normalised,
        "        g = self.p * (g - (g * self.p).sum(axis=-1, keepdims=True))\n",
        "",
        "diagonal",
        ("input",),
        "a softmax's Jacobian left out",
    ),
    P(
        h.PeepholeCell,
        "+ dzf * self.pf.value",
        "+ dzf",
        "derivative",
        ("state[1]",),
        "* pf belongs",
    ),
    P(
        h.PeepholeCell,
        "+ dzo * self.po.value",
        "+ dzo",
        "derivative",
        ("input", "state[0]", "state[1]", "Wx", "Wh", "b"),
        "* po belongs",
    ),
    P(
        h.PeepholeCell,
        "(dzi * c).sum",
        "dzi.sum",
        "derivative",
        ("pi",),
        "times state[1], is the truth",
    ),
    P(
        h.PeepholeCell,
        "(dzo * c_new)",
        "(dzo * c)",
        "derivative",
        ("po",),
        "state[1] where new_state[1] belongs",
    ),
    P(
        h.PeepholeCell,
        "dh * o * (1 - t**2)",
        "dh * o",
        "derivative",
        ("input", "state[0]", "state[1]", "Wx", "Wh", "b"),
        "(1 - cache[8]^2) belongs",
    ),
    P(
        h.PeepholeCell,
        "dh * o * (1 - t**2)",
        "dh * (1 - t**2)",
        "derivative",
        ("input", "state[0]", "state[1]", "Wx", "Wh", "b"),
        "* cache[5] belongs",
    ),
    P(h.GatedCell, "* (1 - new**2)", "", "derivative", ("Wx", "Wh", "b", "bn"), "tanh left out"),
    P(
        h.GatedCell,
        "dy * (1 - z) * (1",
        "dy * (1",
        "derivative",
        ("Wx", "Wh", "b", "bn"),
        "times (1 - cache[2])",
    ),
    P(h.GatedCell, "dn * v * r", "dn * r", "derivative", ("Wx", "Wh", "b"), "times cache[4]"),
    P(h.GatedCell, "dv = dn * r", "dv = dn", "derivative", ("Wh", "bn"), "times cache[3]"),
]
GATE_ORDER = [
    P(
        h.MemoryCell,
        "[di, df, do, dg]",
        "[df, di, do, dg]",
        "gate order",
        ("Wx", "Wh", "b"),
        "columns 0 to 3 hold what belongs into columns 4 to 7",
    ),
    P(
        h.MemoryCell,
        "[di, df, do, dg]",
        "[di, df, dg, do]",
        "gate order",
        ("cell.Wx", "cell.Wh", "cell.b"),
        "columns 12 to 15",
        "over time",
    ),
    P(
        h.PeepholeCell,
        "[dzi, dzf, dzo, dzg]",
        "[dzg, dzi, dzf, dzo]",
        "gate order",
        ("Wx", "Wh", "b"),
    ),
    P(
        h.GatedCell,
        "du = np.concatenate([dz, dr,",
        "du = np.concatenate([dr, dz,",
        "gate order",
        ("Wh",),
    ),
]
SOFTMAX = [
    P(
        h.MixtureCell,
        "a * (da - (da * a).sum(axis=1, keepdims=True))",
        new,
        "diagonal",
        ("Wa", "ba"),
        says,
    )
    for new, says in [
        ("a * da", "without the sum"),
        ("a * (1 - a) * da", "cut down to its diagonal"),
        ("da", "Jacobian left out: g where"),
    ]
]
DDOF = [
    P(h.LayerNorm, "/ grad.shape[-1]", "/ (grad.shape[-1] - 1)", "normalisation", ("input",),
      "as ddof=1 gives", sizes=(5,)),
    P(h.LayerNorm, "x.var(axis=-1, keepdims=True)", "x.var(axis=-1, keepdims=True, ddof=1)",
      "normalisation", ("input",), "as ddof=1 gives", sizes=(5,)),
    P(h.NormalisedTanh, "(g - mean - self.n * along)", "(g - self.n * along)", "normalisation",
      ("input",), "mean(g) left out", shape=(6, 5)),
    P(h.NormalisedTanh, "(g - mean - self.n * along)", "(g - mean)", "normalisation", ("input",),
      "n mean(g n) left out", shape=(6, 5)),
    P(h.Standardised, "(len(grad) - 1)", "len(grad)", "normalisation", ("input",),
      "as ddof=1 gives"),
    P(h.Standardised,
      "self.std = x.std(axis=0, ddof=1)\n        self.n = (x - x.mean(axis=0)) / self.std",
      "self.std = x.std(axis=0)\n        self.n = (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)",
      "factor", ("input",), "sqrt(n / (n - 1)) with n = the batch size"),
    P(h.Standardised, "- grad.mean(axis=0)", "", "normalisation", ("input",),
      "mean(g) left out"),
    P(h.LayerNorm, "g - mean - self.n * along", "g", "normalisation", ("input",),
      "mean(g) + n mean(g n) left out", sizes=(5,)),
    P(h.LayerNorm, "g - mean - self.n * along", "g - mean", "normalisation", ("input",),
      "n mean(g n) left out", sizes=(5,)),
]  # fmt: skip
UNKNOWN = [
    P(h.TanhCell, "(grad_h,)", "(0.1 * dh,)", "", ()),
    P(h.TanhCell, "(grad_h,)", "(dh,)", "", ()),
    P(h.TanhCell, "x.T @ dz", "x.T @ h", "", ()),
    P(h.TanhCell, "h.T @ dz", "dh.T @ dz", "", ()),
    P(h.TanhCell, "(1 - new**2)", "(1 + new**2)", "", ()),
    P(h.MemoryCell, "grad_h = dz @ self.Wh.value.T", "grad_h = dh * 0.1", "", ()),
    P(h.GatedCell, "+ dy * z", "+ 2 * dy * z", "", ()),
    P(h.GatedCell, "du @ self.Wh.value.T + dy * z", "dy * z - du @ self.Wh.value.T", "", ()),
    P(h.MixtureCell, "dg @ self.Wg.value.T + dy", "dg @ self.Wg.value.T - dy", "", ()),
    P(h.LayerNorm, "return (g - mean - self.n * along) / self.std", "return g + mean", "", ()),
    P(h.Loop, "self.h[t].T @ dz", "self.h[t + 1].T @ dz", "", ()),
    P(h.Loop, "self.h[t].T @ dz", "self.h[t].T @ dh", "", ()),
    P(h.Affine, "dz = grad", "grad = np.clip(grad, -0.5, 0.5); dz = grad", "", ()),
    P(h.Affine, "(1 - self.y**2)", "(1 - np.arctanh(self.y)**2)", "", ()),
    P(h.Linear, "self.W.grad += self.x.T @ grad",
      "self.W.grad += self.x.T @ grad + np.cos(np.arange(12.)).reshape(3, 4) * grad.sum()", "", ()),
    P(h.HalfSquares, "return self.gap /", "return np.exp(self.gap) /", "", ()),
]  # fmt: skip
MUTANTS = [
    *OVERWRITTEN,
    *DERIVATIVE,
    *NEXT_STEP,
    *TRANSPOSED,
    *FACTOR,
    *NOT_SUMMED,
    *CHANCE,
    *IN_PLACE,
    *FLOAT32,
    *MISSING,
    *NAN,
    *STALE,
    *SHAPE,
    *OTHERS,
    *PRODUCT_RULE,
    *PATH_LEFT_OUT,
    *SIGNS,
    *FORGOTTEN,
    *GATE_ORDER,
    *SOFTMAX,
    *DDOF,
]
