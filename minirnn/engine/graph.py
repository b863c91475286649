"""Operations on rows of a batch, as a graph in which each stands once.

What can be said more simply is simplified at once: slices are taken where the numbers come from,
operations on plain numbers are done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minirnn.engine.trace import Shape, Untraceable, View

__all__ = ["LEAVES", "Graph", "Node", "is_x", "number_of", "reach"]


class Node:
    """One operation on rows of a batch, or a part of a parameter.

    Attributes
    ----------
    name : str
    args : tuple of Node
    attr : what else decides it
    width : int
        Columns; 1 for one number a row.
    """

    __slots__ = ("args", "attr", "name", "number", "width")

    def __init__(self, name: str, args: tuple[Node, ...], attr: Any, width: int) -> None:
        self.name, self.args, self.attr, self.width, self.number = name, args, attr, width, -1

    @property
    def row(self) -> bool:
        """Whether it is the same for all rows: a number, or (part of) a parameter."""
        return self.name in ("const", "parameter")

    def __repr__(self) -> str:
        return f"%{self.number}"


LEAVES = {"x", "state", "mask", "grad_y", "grad_state", "parameter", "const"}
_SIMPLE: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative,
    "sqrt": np.sqrt, "max": np.maximum, "min": np.minimum, "exp": np.exp, "tanh": np.tanh,
}  # fmt: skip


class Graph:
    """Nodes by what they are; equal ones are one object."""

    def __init__(self) -> None:
        self.known: dict[Any, Node] = {}

    def node(self, name: str, args: tuple[Node, ...], attr: Any, width: int) -> Node:
        """Return the node of this kind, as it stands: nothing is simplified."""
        key = name, tuple(map(id, args)), attr, width
        if key not in self.known:
            self.known[key] = Node(name, args, attr, width)
        return self.known[key]

    def const(self, value: float, power: int = 0) -> Node:
        """Return the number ``value * batch ** power``."""
        return self.node("const", (), (value, power), 1)

    def ew(self, name: str, *args: Node) -> Node:
        """Return an elementwise operation."""
        numbers = [number_of(a) for a in args]
        if name in _SIMPLE and None not in numbers:
            return self.const(float(_SIMPLE[name](*numbers)))
        if name == "div" and args[1].name == "const":
            value, power = args[1].attr
            if value:
                return self.ew("mul", args[0], self.const(1 / value, -power))
        power = numbers[1] if name == "pow" else None
        if power == 0.5:
            return self.ew("sqrt", args[0])
        if power in (2.0, 3.0, 4.0):
            result = args[0]
            for _ in range(int(power) - 1):
                result = self.ew("mul", result, args[0])
            return result
        if name == "mul" and args[0].name == args[1].name == "const":
            (a, p), (b, q) = (n.attr for n in args)
            if not p or not q:
                return self.const(a * b, p + q)
        if name == "id" and not args[0].row:
            return args[0]
        return self.node(name, args, None, max(a.width for a in args))

    def slice(self, a: Node, low: int, high: int) -> Node:
        """Return columns ``low .. high``, taken from where the numbers come from."""
        if (low, high) == (0, a.width):
            return a
        if a.name == "slice":
            return self.slice(a.args[0], a.attr[0] + low, a.attr[0] + high)
        if a.name == "parameter":
            view, _ = a.attr
            offset = view.offset + low * view.strides[-1]
            return self.parameter(view._replace(offset=offset), (*a.attr[1][:-1], high - low))
        if a.name == "product" and len(a.args) == 2:
            first, weights = a.args
            return self.product(first, self.slice(weights, low, high))
        if a.name == "concat":
            at = 0
            for part in a.args:
                if at <= low and high <= at + part.width:
                    return self.slice(part, low - at, high - at)
                at += part.width
        elif a.name not in LEAVES | {"product"} and not _sums_products(a):
            parts = [b if b.width == 1 else self.slice(b, low, high) for b in a.args]
            return self.ew(a.name, *parts)
        return self.node("slice", (a,), (low, high), high - low)

    def parameter(self, view: View, shape: Shape) -> Node:
        """Return a part of a parameter: a row of numbers, or a matrix to multiply by."""
        width = shape[-1] if shape else 1
        return self.node("parameter", (), (view, shape), width)

    def transpose(self, a: Node) -> Node:
        """Return a transposed matrix of weights, or what can only be multiplied from the left."""
        if a.name == "transpose":
            return a.args[0]
        if a.name == "parameter":
            view, shape = a.attr
            return self.parameter(view._replace(strides=view.strides[::-1]), shape[::-1])
        return self.node("transpose", (a,), None, a.width)

    def product(self, a: Node, b: Node) -> Node:
        """Return ``a @ b``: rows with weights, or the sum over the batch of outer products."""
        if a.name == "transpose" and not b.row:
            return self.node("outer", (a.args[0], b), None, b.width)
        if b.name != "parameter" or a.row or len(b.attr[1]) != 2:
            raise Untraceable("a product with a matrix that is computed")
        view, shape = b.attr
        pairs, at = [], 0
        split = a.name == "concat" and all(p.name == "state" or is_x(p) for p in a.args)
        for part in a.args if split else (a,):  # what is given need not be copied side by side
            rows = view._replace(offset=view.offset + at * view.strides[0])
            pairs += [part, self.parameter(rows, (part.width, shape[1]))]
            at += part.width
        return self.node("product", tuple(pairs), None, shape[1])

    def concat(self, parts: Iterable[Node]) -> Node:
        """Return columns side by side."""
        flat = tuple(q for p in parts for q in (p.args if p.name == "concat" else (p,)))
        return self.node("concat", flat, None, sum(p.width for p in flat))


def is_x(a: Node) -> bool:
    """Whether it is x, or the valid rows of x."""
    return a.name == "x" or (a.name == "where" and a.args[1].name == "x")


def _sums_products(a: Node) -> bool:
    return a.name == "add" and any(b.name == "product" or _sums_products(b) for b in a.args)


def reach(
    roots: Iterable[Node],
    stop: Callable[[Node], bool] = lambda n: False,
    args: Callable[[Node], tuple[Node, ...]] = lambda n: n.args,
) -> list[Node]:
    """Return all nodes that the roots are made of, each after its arguments; none behind a stop."""
    order: list[Node] = []
    seen: set[int] = set()
    stack = [(n, False) for n in reversed(list(roots))]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            if not stop(node):
                stack.extend((a, False) for a in reversed(args(node)))
    return order


def number_of(n: Node) -> float | None:
    """Return the number that a node is, whatever the batch size; None if it is no such number."""
    return n.attr[0] if n.name == "const" and n.attr[1] == 0 else None
