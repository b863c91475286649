"""Operations on rows of a batch, as a graph in which each stands once.

Those on plain numbers are done at once.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from minirnn.engine.operations import OPERATIONS
from minirnn.errors import Untraceable

LEAVES = {"x", "state", "grad_y", "grad_state", "parameter", "gradient", "const"}
FREE = {"slice", "concat"}  # parts of what lies elsewhere
ELSEWHERE = LEAVES | FREE  # what has no instruction of its own
RESULTS = {"y", "next_state", "outer", "gather", "grad_x", "next_grad_state"}
_width = attrgetter("width")


class Part(NamedTuple):
    """A part of a parameter: where it begins and how far apart its numbers lie."""

    name: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    phase: int = 0  # forward or backward: a parameter may change in between

    def cut(self, axis: int, low: int, high: int) -> Part:
        """Return what is between two places on an axis."""
        shape = list(self.shape)
        shape[axis] = high - low
        offset = self.offset + low * self.strides[axis]
        return self._replace(offset=offset, shape=tuple(shape))

    @property
    def contiguous(self) -> bool:
        """Whether the numbers of a row lie side by side."""
        return self.shape[-1:] in ((), (1,)) or self.strides[-1] == 1

    def turned(self) -> Part:
        """Return it transposed."""
        return self._replace(shape=self.shape[::-1], strides=self.strides[::-1])


class Node:
    """One operation on rows of a batch.

    Attributes
    ----------
    name : str
        One of `OPERATIONS`, `LEAVES` or `RESULTS`; "slice" or "concat", of columns; or "sum",
        "max", "min" or "product" with "over the batch", which must end in a gradient.
    args : tuple of Node
    attr : what else decides it
    width : int
        Columns; 1 for one number a row.
    number : int
        Its place in the graph.
    """

    __slots__ = ("args", "attr", "name", "number", "width")
    __match_args__ = ("name", "args")

    def __init__(self, name: str, args: tuple[Node, ...], attr: Any, width: int, number: int = -1):
        self.name, self.args, self.attr, self.width, self.number = name, args, attr, width, number

    @property
    def row(self) -> bool:
        """Whether it is the same for all rows: a number, or (part of) a parameter."""
        return self.name in ("const", "parameter")

    @property
    def by_columns(self) -> bool:
        """Whether some of its columns can be computed alone."""
        if self.name == "product":
            return len(self.args) == 2
        return self.name not in ELSEWHERE and not _sums_products(self)


class Graph:
    """Nodes by what they are; equal ones are one object.

    Attributes
    ----------
    nodes : list of Node
        In the order in which they came.
    results : list of Node
        What is handed out, in order.
    batch_seen : bool
        Whether the cell has looked at the batch size, so that numbers may depend on it.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.results: list[Node] = []
        self.batch_seen = False
        self._known: dict[Any, Node] = {}

    def node(self, name: str, *args: Node, attr: Any = None, width: int = 0) -> Node:
        """Return the node of this kind, as it stands; it is as wide as its widest argument."""
        key = name, args, attr
        known = self._known.get(key)
        if known is None or name in RESULTS:  # what is added twice is not added once
            width = width or max(map(_width, args))
            self._known[key] = known = Node(name, args, attr, width, len(self.nodes))
            self.nodes.append(known)
        return known

    def result(self, name: str, *args: Node, attr: Any) -> None:
        """Hand something out."""
        self.results.append(self.node(name, *args, attr=attr, width=args[-1].width))

    def const(self, value: float) -> Node:
        """Return a number; equal ones are one, unless for another batch size they may differ."""
        return self.node("const", attr=(value, len(self.nodes) * self.batch_seen), width=1)

    def leaf(self, name: str, part: Part) -> Node:
        """Return a part of a parameter, or of its gradient: a row, or a matrix."""
        return self.node(name, attr=part, width=part.shape[-1] if part.shape else 1)

    def ew(self, name: str, *args: Node) -> Node:
        """Return an elementwise operation."""
        last = args[-1]
        if name == "mul" and last.name == "const":
            last = args[0]
            args = args[::-1]
        if last.name != "const":
            return last if name == "id" and not last.row else self.node(name, *args)
        ufunc, number = OPERATIONS[name].ufunc, last.attr[0]
        if ufunc is not None and all(a.name == "const" for a in args):
            with np.errstate(all="ignore"):
                return self.const(float(ufunc(*[a.attr[0] for a in args])))
        if name == "div" and number:
            return self.ew("mul", args[0], self.const(1 / number))
        if name == "pow" and number == 0.5:
            return self.ew("sqrt", args[0])
        if name == "pow" and number in (2.0, 3.0, 4.0):
            result = args[0]
            for _ in range(int(number) - 1):
                result = self.ew("mul", result, args[0])
            return result
        return self.node(name, *args)

    def slice(self, a: Node, low: int, high: int) -> Node:
        """Return columns ``low .. high``."""
        if (low, high) == (0, a.width):
            return a
        if a.name == "slice":
            return self.slice(a.args[0], a.attr[0] + low, a.attr[0] + high)
        if a.name == "parameter":
            return self.leaf("parameter", a.attr.cut(-1, low, high))
        for b, at in columns(a) if a.name == "concat" else ():
            if at <= low and high <= at + b.width:
                return self.slice(b, low - at, high - at)
        return self.node("slice", a, attr=(low, high), width=high - low)

    def alone(self, columns: Node) -> tuple[Node, ...]:
        """Return what the columns that a slice takes of an operation are computed of."""
        (whole,) = columns.args
        if whole.name == "product":
            return whole.args[0], self.slice(whole.args[1], *columns.attr)
        return tuple([a if a.width == 1 else self.slice(a, *columns.attr) for a in whole.args])

    def product(self, a: Node, weights: Node) -> Node:
        """Return ``a @ weights``."""
        if weights.name != "parameter" or a.row or len(weights.attr.shape) != 2:
            raise Untraceable("a product with a matrix that is computed")
        pairs = []
        given = all(p.name in ("x", "state") for p in a.args)
        for b, at in columns(a) if given else [(a, 0)]:  # need not be copied side by side
            pairs += [b, self.leaf("parameter", weights.attr.cut(0, at, at + b.width))]
        return self.node("product", *pairs, width=weights.width)

    def concat(self, parts: Iterable[Node]) -> Node:
        """Return columns side by side."""
        flat = [q for p in parts for q in (p.args if p.name == "concat" else (p,))]
        return self.node("concat", *flat, width=sum(p.width for p in flat))

    def assign(self, part: Part, value: Node) -> None:
        """Write a part of a gradient: itself, and sums over the batch that are added to it."""
        if self._accumulate(part, value, None) != 1:
            raise Untraceable(f"{part.name}.grad is assigned to, not added to")
        if not part.contiguous and not part.turned().contiguous:
            raise Untraceable(f"{part.name}.grad: a part of it that is not contiguous")

    def _lasting(self, n: Node) -> Node:
        """Return what is there for many steps: a gradient on a state is there for one alone."""
        return self.node("id", n) if base(n).name == "grad_state" else n

    def _accumulate(self, part: Part, value: Node, scale: Node | None) -> int:
        """Take apart what is added; return how often the gradient itself is in it."""

        def scaled(n: Node) -> Node:
            return n if scale is None else self.ew("mul", n, scale)

        match value.name, value.args:
            case "gradient", () if value.attr == part and scale is None:
                return 1
            case "add", (a, b):
                return self._accumulate(part, a, scale) + self._accumulate(part, b, scale)
            case "sub", (a, b):
                minus = scaled(self.const(-1.0))
                return self._accumulate(part, a, scale) + self._accumulate(part, b, minus)
            case "neg", (a,):
                return self._accumulate(part, a, scaled(self.const(-1.0)))
            case "mul", (a, Node("const") as number) | (Node("const") as number, a):
                return self._accumulate(part, a, scaled(number))
            case "product over the batch", (a, d) if (a.width, d.width) == part.shape:
                if not part.contiguous:
                    part, a, d = part.turned(), d, a
                d = self._lasting(scaled(d))
                for b, at in columns(a):
                    here = part.cut(0, at, at + b.width)
                    self.result("outer", self._lasting(b), d, attr=here)
            case "sum over the batch", (a,) if a.width == np.prod(part.shape):
                for b, at in columns(a):
                    here = part._replace(offset=part.offset + at)
                    self.result("gather", scaled(b), attr=here)
            case "slice", (a,) if a.by_columns:
                return self._accumulate(part, self.node(a.name, *self.alone(value)), scale)
            case _:
                what = "what is neither a.T @ d nor a sum over the batch"
                raise Untraceable(f"{part.name}.grad += {what}")
        return 0


def reach(ends: Iterable[Node], known: Container[Node] = ()) -> list[Node]:
    """Return all nodes that the ends are made of, arguments first; none behind what is known."""
    found = dict[Any, None]()
    path: list[tuple[Any, Iterator[Node]]] = [(None, iter(ends))]
    while path:
        n, args = path[-1]
        for a in args:
            if a not in found:
                path.append((a, iter(() if a in known else a.args)))
                break
        else:
            found[n] = None
            path.pop()
    return list(found)[:-1]


def _sums_products(a: Node) -> bool:
    return a.name == "add" and any(
        base(b).name == "product" or _sums_products(b) for b in set(a.args)
    )


def columns(n: Node) -> list[tuple[Node, int]]:
    """Return the parts of a concatenation, or the node itself, and where each begins."""
    parts = n.args if n.name == "concat" else (n,)
    return [(part, sum(p.width for p in parts[:k])) for k, part in enumerate(parts)]


def base(n: Node) -> Node:
    """Return what a node is a part of, or the node."""
    return n.args[0] if n.name == "slice" else n
