"""Record what a cell does: run its forward and backward once, on stand-ins for arrays.

A stand-in has a shape and a dtype and no numbers. NumPy hands it every function that it takes part
in (``__array_ufunc__``, ``__array_function__``), so that straight-line array code leaves a list of
operations behind. Whatever asks for numbers raises `Untraceable`.
"""

from __future__ import annotations

from itertools import pairwise
from types import EllipsisType
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from minirnn.cells.cell import Cell

__all__ = ["Record", "Tape", "Untraceable", "trace"]

Shape = tuple[int, ...]


class Untraceable(Exception):  # noqa: N818  (a verdict on a cell, not a fault)
    """Why a cell cannot be traced, in words."""


class Record:
    """One operation: its name, what it was applied to, what else decides it, and its shape."""

    __slots__ = ("args", "attr", "name", "place", "shape")

    def __init__(self, place: int, name: str, args: tuple[int, ...], attr: Any, shape: Shape):
        self.place, self.name, self.args, self.attr, self.shape = place, name, args, attr, shape


class View(NamedTuple):
    """A part of a parameter: where it begins and how far apart its numbers lie."""

    name: str
    offset: int
    strides: tuple[int, ...]
    phase: int = 0  # forward or backward: a parameter may change in between


class Tape:
    """The operations of one run, in order.

    Attributes
    ----------
    batch : int
        The batch size of this run.
    records : list of Record
    added : list of (View, shape, record number)
        What was added to which part of which parameter's gradient.
    """

    def __init__(self, batch: int, dtype: np.dtype[Any]) -> None:
        self.batch, self.dtype, self.phase = batch, dtype, 0
        self.records: list[Record] = []
        self.added: list[tuple[View, Shape, int]] = []
        self.outputs: list[int] = []
        self._filled: dict[int, tuple[Any, StandIn]] = {}

    def record(self, name: str, args: tuple[int, ...], attr: Any, shape: Shape) -> Record:
        """Write one operation down."""
        self.records.append(Record(len(self.records), name, args, attr, tuple(shape)))
        return self.records[-1]

    def leaf(self, name: str, attr: Any, shape: Shape) -> StandIn:
        """Return a stand-in for an array that the cell is given; it may not be changed in place."""
        return StandIn(self, self.record(name, (), attr, shape), fresh=False)

    def of(self, value: Any) -> StandIn:
        """Return what stands for a number or an array that the cell uses."""
        if isinstance(value, StandIn):
            return value
        if isinstance(value, Gradient):
            raise Untraceable("a gradient is read")
        if id(value) in self._filled:
            return self._filled[id(value)][1]
        array = np.asarray(value)
        if array.dtype.kind not in "fiub" or array.ndim > 2:
            raise Untraceable(f"a {type(value).__name__} of {array.ndim} axes takes part")
        boolean = array.dtype.kind == "b"
        array = array.astype(np.float64)
        if array.ndim == 0:
            return StandIn(self, self.record("const", (), float(array), ()), boolean)
        if array.shape[0] not in (1, self.batch):  # weights that are not learned
            return StandIn(self, self.record("array", (), array, array.shape), boolean)
        if not (array == array[:1]).all():
            raise Untraceable("an array with other numbers in every row (random numbers?)")
        if array.ndim == 1:
            return StandIn(self, self.record("const", (), float(array[0]), array.shape), boolean)
        row = self.record("array", (), array[0], array.shape[1:])
        return StandIn(self, self.record("id", (row.place,), None, array.shape), boolean)

    def fill(self, array: np.ndarray, value: StandIn) -> Any:
        """Take note that a real array, made with np.empty or np.zeros, now holds `value`."""
        if array.shape != value.shape or array.base is not None:
            raise Untraceable("out= is a part of another array, or of another shape")
        array.fill(np.nan)
        self._filled[id(array)] = array, value
        return array


_UFUNCS = {np.add: "add", np.subtract: "sub", np.multiply: "mul", np.true_divide: "div",
    np.negative: "neg", np.absolute: "abs", np.fabs: "abs", np.sign: "sign", np.maximum: "max",
    np.minimum: "min", np.greater: "gt", np.greater_equal: "ge", np.equal: "eq",
    np.not_equal: "ne", np.tanh: "tanh", np.exp: "exp", np.sqrt: "sqrt", np.log: "log",
    np.log1p: "log1p", np.expm1: "expm1", np.sin: "sin", np.cos: "cos", np.arctan: "arctan",
    np.power: "pow", np.float_power: "pow"}  # fmt: skip
_LOGICAL = {np.logical_and: "mul", np.bitwise_and: "mul", np.logical_or: "max",
    np.bitwise_or: "max", np.logical_xor: "ne", np.bitwise_xor: "ne"}  # fmt: skip
_TRUTHS = {"gt", "ge", "eq", "ne"}


def _refusing(what: str) -> Any:
    """Return a method for what needs numbers."""

    def refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise Untraceable(what)

    return refuse


class StandIn(NDArrayOperatorsMixin):
    """What a cell sees in place of an array.

    Attributes
    ----------
    shape, dtype, ndim, size, T
        As of an array.
    fresh : bool
        Whether it may be changed in place: not what the cell was given, nor what shares memory.
    """

    is_stand_in = True
    __array_priority__ = 100

    def __init__(
        self, tape: Tape, record: Record, boolean: bool = False, *, fresh: bool = True
    ) -> None:
        self._tape, self._record, self.fresh, self._boolean = tape, record, fresh, boolean

    shape: Any = property(lambda self: self._record.shape)
    ndim: Any = property(lambda self: len(self.shape))
    size: Any = property(lambda self: int(np.prod(self.shape)))
    dtype: Any = property(lambda self: np.dtype(bool) if self._boolean else self._tape.dtype)
    T: Any = property(lambda self: self.transpose())

    def _new(self, name: str, args: Any, attr: Any, shape: Shape, boolean: bool = False) -> StandIn:
        numbers = tuple(a._record.place for a in args)
        return StandIn(self._tape, self._tape.record(name, numbers, attr, shape), boolean)

    def _view(self, name: str, attr: Any, shape: Shape) -> StandIn:
        """Return what shares memory with this array: neither may be changed in place from now."""
        part = self._new(name, (self,), attr, shape, self._boolean)
        part.fresh = self.fresh = False
        return part

    __bool__ = _refusing("an if, a while or an assert on the numbers of an array")
    __array__ = _refusing("a function that wants real numbers, such as np.asarray")
    __float__ = __int__ = __index__ = __complex__ = _refusing("a number is taken out of an array")
    item = tolist = __float__
    __repr__ = __str__ = __format__ = _refusing("an array is printed")
    __iter__ = _refusing("a loop over the rows of an array")
    __setitem__ = _refusing("a part of an array is assigned to")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise Untraceable(f"the array method or attribute .{name}")

    def __len__(self) -> int:
        return int(self.shape[0])

    # ------------------------------------------------------------ operations

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any
    ) -> Any:
        if method != "__call__" or set(options) - {"dtype"}:
            raise Untraceable(f"np.{ufunc.__name__} with {method} or {', '.join(options)}")
        if np.dtype(options.get("dtype", self.dtype)) != self.dtype:
            raise Untraceable(f"a cast to {options['dtype']}")
        tape = self._tape
        if any(isinstance(a, Gradient) for a in (*inputs, *(out or ()))):
            return _add_to_gradient(ufunc, inputs, out)
        result = self._call(ufunc, [tape.of(value) for value in inputs])
        if out is None:
            return result
        (target,) = out
        if isinstance(target, np.ndarray):
            return tape.fill(target, result)
        if not isinstance(target, StandIn) or target.shape != result.shape:
            raise Untraceable("out= of another kind or shape")
        if not target.fresh:
            raise Untraceable("an array is changed in place that was given, or is part of another")
        if target._boolean != result._boolean:
            raise Untraceable("truth values and numbers in one array")
        target._record = result._record  # every name of the array sees the change
        return target

    def _call(self, ufunc: Any, inputs: list[StandIn]) -> StandIn:
        if ufunc is np.matmul:
            return self._product(*inputs)
        shape = np.broadcast_shapes(*[a.shape for a in inputs])
        all_true = all(a._boolean for a in inputs)
        if ufunc is np.square:
            ufunc, inputs = np.multiply, inputs * 2
        elif ufunc is np.reciprocal:
            ufunc, inputs = np.true_divide, [self._tape.of(1.0), *inputs]
        elif ufunc is np.positive:
            return self._new("id", inputs, None, shape)
        elif ufunc in (np.less, np.less_equal):
            inputs = inputs[::-1]
            ufunc = np.greater if ufunc is np.less else np.greater_equal
        elif ufunc is np.logical_not or (ufunc is np.invert and all_true):
            return self._new("eq", (inputs[0], self._tape.of(0.0)), None, shape, True)
        if ufunc in _LOGICAL and all_true:
            return self._new(_LOGICAL[ufunc], inputs, None, shape, True)
        if ufunc not in _UFUNCS:
            raise Untraceable(f"np.{ufunc.__name__}")
        name = _UFUNCS[ufunc]
        if all_true and name in ("add", "sub", "neg", "abs", "sign", "pow"):
            raise Untraceable(f"np.{ufunc.__name__} of truth values")
        boolean = name in _TRUTHS or (all_true and name in ("mul", "max", "min"))
        return self._new(name, inputs, None, shape, boolean)

    def _product(self, a: StandIn, b: StandIn) -> StandIn:
        for one in (a, b):
            if one.ndim == 0 or one._boolean:
                raise Untraceable("a product with a single number or with truth values")
        if a._record.name == "const" and b.ndim == 2 and a.shape == b.shape[:1]:
            scale = self._tape.of(a._record.attr)  # np.ones(len(x)) @ x
            return self._call(np.multiply, [scale, b.sum(axis=0)])
        if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
            raise Untraceable(f"a product of shapes {a.shape} and {b.shape}")
        return self._new("product", (a, b), None, (a.shape[0], b.shape[1]))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        own = _FUNCTIONS.get(function)
        if own is None:
            raise Untraceable(f"np.{function.__name__}")
        return own(self._tape, *args, **kwargs)

    def __getitem__(self, key: Any) -> StandIn:
        keys = key if isinstance(key, tuple) else (key,)
        if self._record.name == "parameter":
            view, shape = cut(self._record.attr, self.shape, keys)
            return self._tape.leaf("parameter", view, shape)
        if self.ndim == 1 and keys in ((slice(None), None), (Ellipsis, None)):
            return self._view("id", None, (self.shape[0], 1))
        steps = tuple(int(np.prod(self.shape[k + 1 :])) for k in range(self.ndim))
        view, shape = cut(View("an array", 0, steps), self.shape, keys)
        if len(shape) != self.ndim or shape[:-1] != self.shape[:-1]:
            raise Untraceable("a slice of rows")
        return self._view("slice", (view.offset, view.offset + shape[-1]), shape)

    def transpose(self, *axes: Any) -> StandIn:
        """Return the transposed array."""
        if axes not in ((), (None,), (1, 0), ((1, 0),)):
            raise Untraceable(f"a transpose of axes {axes}")
        if self._record.name == "parameter":
            view: View = self._record.attr
            view = view._replace(strides=view.strides[::-1])
            return self._tape.leaf("parameter", view, self.shape[::-1])
        return self._view("transpose", None, self.shape[::-1])

    def _fold(self, name: str, axis: Any, keepdims: bool) -> StandIn:
        axes = {None: tuple(range(self.ndim))}.get(axis, axis)
        axes = sorted(a % self.ndim for a in (axes if isinstance(axes, tuple) else (axes,)))
        result = self
        for a in reversed(axes):
            sizes = enumerate(result.shape)
            shape = tuple(1 if k == a else n for k, n in sizes if k != a or keepdims)
            rows = a == 0 and result._record.name != "parameter"
            result = self._new(f"{name} of {'rows' if rows else 'columns'}", (result,), None, shape)
        return result

    def sum(self, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> StandIn:
        """Return the sum over an axis."""
        if dtype is not None and np.dtype(dtype) != self._tape.dtype:
            raise Untraceable(f"a sum in {np.dtype(dtype)}")
        return self._fold("sum", axis, keepdims)

    def mean(self, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> StandIn:
        """Return the mean over an axis."""
        total = self.sum(axis, dtype, keepdims)
        share = self._tape.of(1.0 / (self.size // max(1, total.size)))
        return self._call(np.multiply, [total, share])

    def max(self, axis: Any = None, keepdims: bool = False) -> StandIn:
        """Return the maximum over an axis."""
        return self._fold("max", axis, keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> StandIn:
        """Return the minimum over an axis."""
        return self._fold("min", axis, keepdims)

    def clip(self, low: Any = None, high: Any = None) -> StandIn:
        """Return the array with its numbers between two bounds."""
        result = self if low is None else np.maximum(self, low)
        return result if high is None else np.minimum(result, high)

    def dot(self, other: Any) -> StandIn:
        """Return the matrix product."""
        return self._product(self, self._tape.of(other))

    def astype(self, dtype: Any, copy: bool = True) -> StandIn:
        """Return the array in another dtype, which may be no other than the layer's."""
        if np.dtype(dtype) == self.dtype and not copy:
            return self
        if np.dtype(dtype) == bool:
            return self._call(np.not_equal, [self, self._tape.of(0.0)])
        if np.dtype(dtype) != self._tape.dtype:
            raise Untraceable(f"a cast to {np.dtype(dtype)}")
        return self._new("id", (self,), None, self.shape)

    def copy(self) -> StandIn:
        """Return a copy."""
        return self._new("id", (self,), None, self.shape, self._boolean)

    def reshape(self, *shape: Any) -> StandIn:
        """Return the same array, or rows as a column; other shapes are refused."""
        wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        unknown = self.size // max(1, -int(np.prod(wanted)))
        wanted = tuple(unknown if n == -1 else n for n in wanted)
        if wanted == self.shape and self._record.name != "parameter":
            return self._view("id", None, wanted)
        if self.ndim == 1 and wanted == (*self.shape, 1):
            return self[:, None]
        raise Untraceable(f"a reshape from {self.shape} to {wanted}")


# ---------------------------------------------------------------- gradients of parameters


class Gradient:
    """What a cell sees as `Parameter.grad`: it can be added to, in whole or in part.

    ``grad + a`` is one that has something still to be added, when it is written back.
    """

    is_stand_in = True

    def __init__(self, tape: Tape, view: View, shape: Shape, more: tuple[Any, ...] = ()) -> None:
        self._tape, self._at, self.shape, self._more = tape, view, shape, more
        self.dtype, self.ndim = tape.dtype, len(shape)

    @property
    def T(self) -> Gradient:  # noqa: N802  (as of an array)
        """The transposed gradient."""
        turned = self._at._replace(strides=self._at.strides[::-1])
        return Gradient(self._tape, turned, self.shape[::-1])

    def __iadd__(self, value: Any) -> Gradient:
        if self._tape.phase == 0:
            raise Untraceable("a gradient is added to in forward")
        value = self._tape.of(value) * 1.0
        if value.shape != self.shape and np.broadcast_shapes(value.shape, self.shape) != self.shape:
            raise Untraceable(f"{self._at.name}.grad += something of shape {value.shape}")
        self._tape.added.append((self._at, self.shape, value._record.place))
        return self

    def __isub__(self, value: Any) -> Gradient:
        return self.__iadd__(-self._tape.of(value))

    def __add__(self, value: Any) -> Gradient:
        return Gradient(self._tape, self._at, self.shape, (*self._more, value))

    __radd__ = __add__

    def __sub__(self, value: Any) -> Gradient:
        return self.__add__(-self._tape.of(value))

    def __getitem__(self, key: Any) -> Gradient:
        keys = key if isinstance(key, tuple) else (key,)
        return Gradient(self._tape, *cut(self._at, self.shape, keys))

    def __setitem__(self, key: Any, value: Any) -> None:
        part = self[key]
        if not isinstance(value, Gradient) or (value._at, value.shape) != (part._at, part.shape):
            raise Untraceable(f"{self._at.name}.grad is assigned to, not added to")
        for one in value._more:
            part += one

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None) -> Any:
        return _add_to_gradient(ufunc, inputs, out)

    __getattr__ = _refusing("a gradient is read")


def _add_to_gradient(ufunc: Any, inputs: Any, out: Any) -> Any:
    """``grad + a`` and ``np.add(grad, a, out=grad)``; nothing else is done with a gradient."""
    gradients = [a for a in inputs if isinstance(a, Gradient)]
    if ufunc is not np.add or len(gradients) != 1:
        raise Untraceable("a gradient is read, or written to with out=")
    total = gradients[0] + (inputs[1] if inputs[0] is gradients[0] else inputs[0])
    if out is not None:
        out[0][...] = total
    return total if out is None else out[0]


def cut(view: View, shape: Shape, keys: tuple[Any, ...]) -> tuple[View, Shape]:
    """Return the part of an array that an index of slices and whole numbers means."""
    if any(isinstance(k, EllipsisType) for k in keys):
        at = next(i for i, k in enumerate(keys) if isinstance(k, EllipsisType))
        keys = keys[:at] + (slice(None),) * (len(shape) - len(keys) + 1) + keys[at + 1 :]
    if len(keys) > len(shape):
        raise Untraceable(f"an index of {view.name} with too many axes")
    keys += (slice(None),) * (len(shape) - len(keys))
    offset, strides, left = view.offset, [], []
    for k, n, s in zip(keys, shape, view.strides, strict=True):
        if isinstance(k, int | np.integer):
            offset += range(n)[int(k)] * s
            continue
        if not isinstance(k, slice) or k.indices(n)[2] != 1:
            raise Untraceable(f"an index of {view.name} that is not a slice")
        low, high, _ = k.indices(n)
        if high <= low:
            raise Untraceable(f"a part of {view.name} with nothing in it")
        offset += low * s
        strides.append(s)
        left.append(high - low)
    return view._replace(offset=offset, strides=tuple(strides)), tuple(left)


# ---------------------------------------------------------------- functions of NumPy


def _split(tape: Tape, a: StandIn, parts: Any, axis: int = 0) -> list[StandIn]:
    if axis % a.ndim != a.ndim - 1 or a.ndim == 1:
        raise Untraceable("a split of rows")
    n = a.shape[-1]
    if isinstance(parts, int):
        if n % parts:
            raise Untraceable("a split into unequal parts")
        parts = [n * k // parts for k in range(1, parts)]
    edges = [0, *parts, n]
    return [a[..., low:high] for low, high in pairwise(edges)]


def _where(tape: Tape, condition: Any, a: Any, b: Any) -> StandIn:
    c, x, y = tape.of(condition), tape.of(a), tape.of(b)
    shape = np.broadcast_shapes(c.shape, x.shape, y.shape)
    return c._new("where", (c, x, y), None, shape, x._boolean and y._boolean)


def _concatenate(tape: Tape, arrays: Any, axis: int = 0) -> StandIn:
    parts = [tape.of(a) for a in arrays]
    if any(p.ndim != 2 for p in parts) or axis % 2 != 1:
        raise Untraceable("rows put together, or arrays that are not (batch, n)")
    width = sum(p.shape[1] for p in parts)
    return parts[0]._new("concat", parts, None, (tape.batch, width), parts[0]._boolean)


def _full(tape: Tape, a: StandIn, value: Any, dtype: Any = None) -> StandIn:
    result = tape.of(np.broadcast_to(np.asarray(value, tape.dtype), a.shape))
    return result.astype(dtype) if dtype is not None and np.dtype(dtype) != bool else result.copy()


def _einsum(tape: Tape, text: str, *arrays: Any) -> StandIn:
    """Those that are a plain product, a product with a transposed array, or a sum."""
    inputs, arrow, out = text.replace(" ", "").partition("->")
    names, parts = inputs.split(","), [tape.of(a) for a in arrays]
    if not arrow or any(len(n) != p.ndim for n, p in zip(names, parts, strict=True)):
        raise Untraceable(f"np.einsum({text!r})")
    if len(names) == 1 and len(set(names[0])) == 2 and len(out) == 1 and out in names[0]:
        return parts[0].sum(axis=1 - names[0].index(out))
    if len(names) == 2 and {len(names[0]), len(names[1]), len(out)} == {2}:
        (shared,) = set(names[0]) & set(names[1]) - set(out) or (None,)
        a, b = (p if n[k] == shared else p.T for p, n, k in zip(parts, names, (1, 0), strict=True))
        order = "".join(names[0] + names[1]).replace(str(shared), "")
        if shared and len(set(names[0] + names[1])) == 3 and sorted(order) == sorted(out):
            return a._product(a, b) if order == out else a._product(b.T, a.T)
    raise Untraceable(f"np.einsum({text!r})")


def _method(name: str) -> Any:
    return lambda tape, a, *args, **kwargs: getattr(tape.of(a), name)(*args, **kwargs)


_FUNCTIONS: dict[Any, Any] = {
    np.split: _split,
    np.array_split: _split,
    np.hsplit: lambda tape, a, parts: _split(tape, a, parts, 1),
    np.where: _where,
    np.concatenate: _concatenate,
    np.hstack: lambda tape, arrays: _concatenate(tape, arrays, 1),
    np.einsum: _einsum,
    np.full_like: _full,
    np.zeros_like: lambda tape, a, dtype=None: _full(tape, a, 0.0, dtype),
    np.ones_like: lambda tape, a, dtype=None: _full(tape, a, 1.0, dtype),
    np.empty_like: lambda tape, a, dtype=None: _full(tape, a, np.nan, dtype),
    np.shape: lambda tape, a: a.shape,
    np.ndim: lambda tape, a: a.ndim,
    np.dot: lambda tape, a, b: tape.of(a).dot(b),
}
for _function in (np.sum, np.mean, np.max, np.min, np.clip, np.transpose, np.copy, np.reshape):
    _FUNCTIONS[_function] = _method(_function.__name__.removeprefix("a"))


# ---------------------------------------------------------------- a cell


def trace(cell: Cell, batch: int, dtype: np.dtype[Any], widths: tuple[int, ...]) -> Tape:
    """Run a cell once over stand-ins; its parameters are stand-ins too, from then on.

    Parameters
    ----------
    cell : Cell
        A copy, which is good for nothing else afterwards.
    batch : int
    dtype : of the parameters
    widths : of the arrays of the state

    Raises
    ------
    Untraceable
        And whatever else the cell raises.
    """
    tape = Tape(batch, dtype)
    parameters = [(name, p, p.shape) for name, p in cell.named_parameters()]

    def enter_phase(phase: int) -> None:
        tape.phase = phase
        for name, parameter, shape in parameters:
            steps = tuple(int(np.prod(shape[k + 1 :])) for k in range(len(shape)))
            view = View(name, 0, steps, phase)
            stand_in: Any = tape.leaf("parameter", view, shape)
            gradient: Any = Gradient(tape, view._replace(phase=0), shape)
            parameter._value, parameter._grad = stand_in, gradient

    def states(name: str) -> tuple[Any, ...]:
        return tuple(tape.leaf(name, k, (batch, n)) for k, n in enumerate(widths))

    def take(what: str, value: Any, width: int) -> None:
        found = tape.of(value)
        if found.shape != (batch, width):
            raise Untraceable(f"{what} of shape {found.shape}")
        tape.outputs.append(found._record.place)

    enter_phase(0)
    x: Any = tape.leaf("x", 0, (batch, cell.input_size))
    y, new, cache = cell.forward(x, states("state"))
    _tuple_of(new, widths, "forward")
    for what, value, width in [("an output", y, cell.output_size)] + [
        ("a next state", a, n) for a, n in zip(new, widths, strict=True)
    ]:
        take(what, value, width)
    enter_phase(1)
    grad_y: Any = tape.leaf("grad_y", 0, (batch, cell.output_size))
    grad_x, grad_states = cell.backward(grad_y, states("grad_state"), cache)
    _tuple_of(grad_states, widths, "backward")
    take("a gradient on the input", grad_x, cell.input_size)
    for array, n in zip(grad_states, widths, strict=True):
        take("a gradient on a state", array, n)
    return tape


def _tuple_of(value: Any, widths: tuple[int, ...], where: str) -> None:
    if not isinstance(value, tuple) or len(value) != len(widths):
        raise Untraceable(f"{where} does not return a tuple of {len(widths)} state arrays")
