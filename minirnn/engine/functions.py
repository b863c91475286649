"""What NumPy's functions do to stand-ins."""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from minirnn.engine.operations import FOLDS, OPERATIONS
from minirnn.errors import Untraceable

if TYPE_CHECKING:
    from minirnn.engine.stand_in import StandIn
    from minirnn.engine.trace import Trace


_VIEW, _OPERAND, _ROWS, _TRUTHS = map(attrgetter, ("view", "operand", "rows", "truths"))


def _elementwise(name: str, trace: Trace, *arrays: Any) -> Any:
    inputs = [*map(trace.of, arrays)]
    rows = {*map(_ROWS, inputs)}
    if 1 in rows:
        turned = [a.T if a.ndim == 2 else a[..., None] for a in inputs]
        return _elementwise(name, trace, *turned).transpose()
    boolean = name in ("gt", "ge", "eq", "ne")
    if all(map(_TRUTHS, inputs)):
        if name in ("add", "sub", "neg", "abs", "sign", "pow"):
            raise Untraceable(f"{name} of truth values")
        boolean = boolean or name in ("mul", "max", "min", "where")
    node = trace.graph.ew(name, *map(_OPERAND, inputs))
    shape = np.broadcast(*map(_VIEW, inputs)).shape
    return trace.stand_in(node, shape, 0 if 0 in rows else None, boolean=boolean)


def _logical(name: str, trace: Trace, *arrays: Any) -> Any:
    inputs = [trace.of(a) for a in arrays]
    return _elementwise(name, trace, *[a if a.truths else a != 0.0 for a in inputs])


def _product(trace: Trace, first: Any, second: Any) -> Any:
    """Return ``a @ b``: rows with weights, or a sum over the batch."""
    a, b = trace.of(first), trace.of(second)
    if any(one.ndim == 0 or one.truths for one in (a, b)):
        raise Untraceable("a product with a single number or with truth values")
    if a.ndim == 1 and a.node.name == "const" and b.ndim == 2 and a.view.shape == b.view.shape[:1]:
        return a.node.attr[0] * b.sum(axis=0)  # np.ones(len(x)) @ x
    shapes = a.view.shape, b.view.shape
    if a.ndim != 2 or b.ndim != 2 or shapes[0][1] != shapes[1][0]:
        raise Untraceable(f"a product of shapes {shapes[0]} and {shapes[1]}")
    if b.rows == 1:
        return (b.T @ a.T).T
    shape = shapes[0][0], shapes[1][1]
    if a.rows == 1:
        node = trace.graph.node("product over the batch", a.T.node, b.node, width=b.node.width)
        return trace.stand_in(node, shape)
    return trace.stand_in(trace.graph.product(a.node, b.node), shape, rows=a.rows)


def _fold(
    name: str, trace: Trace, a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False
) -> Any:
    if dtype is not None and np.dtype(dtype) != trace.dtype:
        raise Untraceable(f"a sum in {np.dtype(dtype)}")
    given = range(a.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    for k in sorted([k % a.ndim for k in given], reverse=True):
        sizes = enumerate(a.view.shape)
        shape = tuple(1 if i == k else n for i, n in sizes if i != k or keepdims)
        if a.rows == 0 == k:
            a = trace.stand_in(trace.graph.node(f"{name} over the batch", a.operand), shape)
        else:
            node = trace.graph.node(FOLDS[name], a.operand, width=1)
            a = trace.stand_in(node, shape, rows=a.rows)
    return a


def _mean(trace: Trace, a: StandIn, axis: Any = None, **options: Any) -> Any:
    total = _fold("sum", trace, a, axis, **options)
    if total.rows != a.rows:
        trace.graph.batch_seen = True
    return total * (1.0 / (a.view.size // max(1, total.view.size)))


def _clip(trace: Trace, a: Any, low: Any = None, high: Any = None) -> Any:
    a = a if low is None else np.maximum(a, low)
    return a if high is None else np.minimum(a, high)


def _copy(trace: Trace, array: Any) -> Any:
    a = trace.of(array)
    return a != 0.0 if a.truths else _elementwise("id", trace, a)


def _astype(trace: Trace, a: StandIn, dtype: Any, copy: bool = True) -> Any:
    if np.dtype(dtype) == bool:
        return a != 0.0
    if np.dtype(dtype) != trace.dtype:
        raise Untraceable(f"a cast to {np.dtype(dtype)}")
    return _elementwise("id", trace, a) if copy or a.truths else a


def _full(trace: Trace, a: StandIn, value: Any, dtype: Any = None) -> Any:
    array = np.broadcast_to(np.asarray(value, dtype or a.dtype), a.view.shape)
    return trace.of(array).astype(array.dtype)


def _concatenate(trace: Trace, arrays: Any, axis: int = 0) -> StandIn:
    parts = [trace.of(a) for a in arrays]
    if any(p.ndim != 2 or p.rows != 0 for p in parts) or axis % 2 != 1:
        raise Untraceable("rows put together, or arrays that are not (batch, n)")
    node = trace.graph.concat([p.node for p in parts])
    truths = all(p.truths for p in parts)
    return trace.stand_in(node, (trace.batch, node.width), rows=0, boolean=truths)


def _einsum(trace: Trace, text: str, *arrays: Any) -> Any:
    letters = "".join(dict.fromkeys(c for c in text if c.isalpha()))
    named = str.maketrans(dict(zip(letters, "abcdef", strict=False)))
    form = text.replace(" ", "").translate(named)
    if form not in _EINSUMS:
        raise Untraceable(f"np.einsum({text!r})")
    return _EINSUMS[form](*map(trace.of, arrays))


_EINSUMS: dict[str, Any] = {  # axes are named in the order in which they come
    "ab->a": lambda a: a.sum(axis=1), "ab->b": lambda a: a.sum(axis=0),
    "ab,bc->ac": lambda a, b: a @ b, "ab,bc->ca": lambda a, b: b.T @ a.T,
    "ab,cb->ac": lambda a, b: a @ b.T, "ab,cb->ca": lambda a, b: b @ a.T,
    "ab,ac->bc": lambda a, b: a.T @ b, "ab,ac->cb": lambda a, b: b.T @ a,
    "ab,ca->bc": lambda a, b: a.T @ b.T, "ab,ca->cb": lambda a, b: b @ a,
}  # fmt: skip
_SAME = {np.where: "where", np.fabs: "abs", np.float_power: "pow"}
_LOGICAL = {np.logical_and: "mul", np.bitwise_and: "mul", np.logical_or: "max",
    np.bitwise_or: "max", np.logical_xor: "ne", np.bitwise_xor: "ne"}  # fmt: skip
FUNCTIONS: dict[Any, Any] = {
    **{row.ufunc: partial(_elementwise, name) for name, row in OPERATIONS.items() if row.ufunc},
    **{f: partial(_elementwise, name) for f, name in _SAME.items()},
    **{f: partial(_logical, name) for f, name in _LOGICAL.items()},
    **{getattr(np, name): partial(_fold, name) for name in FOLDS},
    np.square: lambda trace, a: _elementwise("mul", trace, a, a),
    np.reciprocal: lambda trace, a: _elementwise("div", trace, 1.0, a),
    np.less: lambda trace, a, b: _elementwise("gt", trace, b, a),
    np.less_equal: lambda trace, a, b: _elementwise("ge", trace, b, a),
    np.logical_not: lambda trace, a: _elementwise("eq", trace, a, 0.0),
    np.invert: lambda trace, a: _elementwise("eq", trace, a, 0.0),
    np.matmul: _product,
    np.dot: _product,
    np.einsum: _einsum,
    np.mean: _mean,
    np.clip: _clip,
    np.copy: _copy,
    np.positive: _copy,
    np.concatenate: _concatenate,
    np.hstack: lambda trace, arrays: _concatenate(trace, arrays, 1),
    np.full_like: _full,
    np.zeros_like: lambda trace, a, dtype=None: _full(trace, a, 0.0, dtype),
    np.ones_like: lambda trace, a, dtype=None: _full(trace, a, 1.0, dtype),
    np.empty_like: lambda trace, a, dtype=None: _full(trace, a, np.nan, dtype),
    np.transpose: lambda trace, a, axes=None: a.transpose(axes),
    np.shape: lambda trace, a: a.shape,
    np.ndim: lambda trace, a: a.ndim,
    getattr(np, "astype", "astype"): _astype,
}
