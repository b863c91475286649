"""A traced cell as one graph of operations.

Three tapes, of different batch sizes, are compared first: what differs between them depends on the
batch size, and only ``number / batch`` may. The graph is then brought into the form that is good to
run: sums of products become one product, and a few common pairs of operations one operation.
"""

from __future__ import annotations

from collections import Counter
from math import isclose

import numpy as np

from minirnn.engine.graph import LEAVES, Graph, Node, number_of, reach
from minirnn.engine.trace import Record, Shape, Tape, Untraceable, View

__all__ = ["Program"]

FOLDS = {"sum of columns": "sum", "max of columns": "rowmax", "min of columns": "rowmin"}
_FORMS = {
    "add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}", "div": "{} / {}",
    "muladd": "{} * {} + {}", "submul": "{2} - {0} * {1}", "mulrest": "{} * ({} - {})",
    "mulrest2": "{} * ({} - {}**2)",
}  # fmt: skip


class Program:
    """A traced cell.

    Attributes
    ----------
    y, grad_x : Node
    states, grad_states : list of Node
    outer : list of (View, Node a, Node d)
        ``a.T @ d`` is added to this part of a gradient.
    sums : list of (View, Node)
        Whose sum over the batch is added to this part of a gradient.
    arrays : list of arrays
        Weights that are not learned; as parameters they are named "#0", "#1" ...

    Parameters
    ----------
    tapes : list of Tape
        Of the same cell, for different batch sizes.
    states : int
        Arrays of the state.
    masked : bool
        Whether there is a mask. It is a part of the program: masked rows of what is given are
        taken as zero, and of what is computed they are not handed on.
    """

    def __init__(self, tapes: list[Tape], states: int, *, masked: bool = False) -> None:
        self.graph = Graph()
        self._mask = self.graph.node("mask", (), None, 1) if masked else None
        self.arrays: list[np.ndarray] = []
        self.outer: list[tuple[View, Node, Node]] = []
        self.sums: list[tuple[View, Node]] = []
        if len({len(t.records) for t in tapes}) > 1:
            raise Untraceable("the batch size decides what is done")
        nodes: list[Node] = []
        for records in zip(*[t.records for t in tapes], strict=True):
            nodes.append(self._node(records, [t.batch for t in tapes], nodes))
        if any(t.outputs != tapes[0].outputs for t in tapes):
            raise Untraceable("the batch size decides what is returned")
        if len({tuple((v, n) for v, _, n in t.added) for t in tapes}) > 1:
            raise Untraceable("the batch size decides what is added to a gradient")
        out = [nodes[k] for k in tapes[0].outputs]
        self.y, self.states = out[0], out[1 : 1 + states]
        self.grad_x, self.grad_states = out[1 + states], out[2 + states :]
        if masked:
            self._hand_on()
        for view, shape, number in tapes[0].added:
            self._add(view, shape, nodes[number], self.graph.const(1.0))
        self._improve()

    def _node(self, records: tuple[Record, ...], batches: list[int], nodes: list[Node]) -> Node:
        first, graph = records[0], self.graph
        if any((r.name, r.args) != (first.name, first.args) for r in records):
            raise Untraceable("the batch size decides what is done")
        args = [nodes[k] for k in first.args]
        if first.name == "const":
            return graph.const(*_power([r.attr for r in records], batches))
        if first.name == "array":
            if not all(np.array_equal(r.attr, first.attr) for r in records):
                raise Untraceable("an array is made of the batch size")
            data = np.array(first.attr, order="C")
            steps = tuple(s // data.itemsize for s in data.strides)
            self.arrays.append(data)
            return graph.parameter(View(f"#{len(self.arrays) - 1}", 0, steps), data.shape)
        if any(r.attr != first.attr for r in records):
            raise Untraceable("a number that changes with the batch size, or from call to call")
        if first.name == "parameter":
            return graph.parameter(first.attr, first.shape)
        if first.name in LEAVES:
            leaf = graph.node(first.name, (), first.attr, first.shape[-1])
            return leaf if first.name == "state" else self._valid(leaf, graph.const(0.0))
        if first.name == "slice":
            return graph.slice(args[0], *first.attr)
        if first.name == "transpose":
            return graph.transpose(args[0])
        if first.name == "product":
            return graph.product(*args)
        if first.name == "concat":
            return graph.concat(args)
        if first.name in FOLDS:
            return graph.node(FOLDS[first.name], (args[0],), None, 1)
        if first.name == "sum of rows":
            return graph.node("sum of rows", (args[0],), None, args[0].width)
        if first.name.endswith("of rows"):
            raise Untraceable(f"a {first.name} of the batch")
        if any(a.name == "transpose" for a in args):
            if not all(a.name == "transpose" or a.width == 1 for a in args):
                raise Untraceable("a transposed array beside others")
            plain = [a.args[0] if a.name == "transpose" else a for a in args]
            return graph.transpose(graph.ew(first.name, *plain))
        for a in args:
            if a.name == "parameter" and len(a.attr[1]) == 2 and a.attr[1][0] != 1:
                raise Untraceable("a matrix of weights is changed before it is multiplied by")
        return graph.ew(first.name, *args)

    def _valid(self, n: Node, otherwise: Node) -> Node:
        """Return `n` where the step is valid."""
        return n if self._mask is None else self.graph.ew("where", self._mask, n, otherwise)

    def _hand_on(self) -> None:
        """Where a step is masked let zeros go out, and states go on as they came."""
        node, zero = self.graph.node, self.graph.const(0.0)
        self.y, self.grad_x = self._valid(self.y, zero), self._valid(self.grad_x, zero)
        for name, ends in (("state", self.states), ("grad_state", self.grad_states)):
            ends[:] = [self._valid(n, node(name, (), k, n.width)) for k, n in enumerate(ends)]

    def _add(self, view: View, shape: Shape, value: Node, scale: Node) -> None:
        """Take apart what is added to a gradient: a sum of products and of sums over the batch."""
        name, args, graph = value.name, value.args, self.graph

        def scaled(n: Node) -> Node:
            return n if scale.attr == (1.0, 0) else graph.ew("mul", n, scale)

        if name in ("add", "sub"):
            self._add(view, shape, args[0], scale)
            other = graph.ew("mul", scale, graph.const(-1.0)) if name == "sub" else scale
            self._add(view, shape, args[1], other)
        elif name == "neg":
            self._add(view, shape, args[0], graph.ew("mul", scale, graph.const(-1.0)))
        elif name == "mul" and "const" in (args[0].name, args[1].name):
            number, rest = args if args[0].name == "const" else args[::-1]
            self._add(view, shape, rest, graph.ew("mul", scale, number))
        elif name == "outer" and len(shape) == 2:
            self._add_outer(view, args[0], scaled(args[1]))
        elif name == "sum of rows" and len(shape) <= 2:
            steps = view.strides[-1] if shape else 1
            if steps != 1 and shape[-1] != 1:
                raise Untraceable(f"{view.name}.grad: a part of it that is not contiguous")
            at = 0
            for part in args[0].args if args[0].name == "concat" else args[:1]:
                view_of_part = view._replace(offset=view.offset + at)
                self.sums.append((view_of_part, scaled(part)))
                at += part.width
        else:
            what = "what is neither a.T @ d nor a sum over the batch"
            raise Untraceable(f"{view.name}.grad += {what}")

    def _add_outer(self, view: View, a: Node, d: Node) -> None:
        if view.strides[1] != 1:
            view, a, d = view._replace(strides=view.strides[::-1]), d, a
        at = 0
        for part in a.args if a.name == "concat" else (a,):
            rows = view._replace(offset=view.offset + at * view.strides[0])
            self.outer.append((rows, part, d))
            at += part.width

    def __str__(self) -> str:
        """Write the program down, one operation a line."""
        names: dict[int, str] = {}
        lines: list[str] = []
        for node in reach(self.roots()):
            name = _leaf_name(node)
            if name is None:
                name = f"t{sum(line.startswith('t') for line in lines)}"
                lines.append(f"{name} = {_written(node, [names[id(a)] for a in node.args])}")
            names[id(node)] = name

        def at(n: Node) -> str:
            return names[id(n)]

        lines += [f"y = {at(self.y)}"]
        lines += [f"state[{k}] = {at(n)}" for k, n in enumerate(self.states)]
        lines += [f"{_part(v)}.grad += {at(a)}.T @ {at(d)}" for v, a, d in self.outer]
        lines += [f"{_part(v)}.grad += sum over the batch of {at(n)}" for v, n in self.sums]
        lines += [f"grad_x = {at(self.grad_x)}"]
        lines += [f"grad_state[{k}] = {at(n)}" for k, n in enumerate(self.grad_states)]
        return "\n".join(lines)

    # ------------------------------------------------------------ better forms

    def _improve(self) -> None:
        """Bring the graph into the form that runs best."""
        order = reach(self.roots())
        uses = Counter(id(a) for n in order for a in n.args)
        uses.update(id(n) for n in self.roots())
        concats = [n for n in order if n.name == "concat"]
        inside = {id(n): found for n in concats if (found := _whole_of(n, concats)) is not None}

        def args(n: Node) -> tuple[Node, ...]:
            return (inside[id(n)][0],) if id(n) in inside else n.args

        new: dict[int, Node] = {}
        for n in reach(self.roots(), args=args):
            if id(n) in inside:
                whole, low = inside[id(n)]
                new[id(n)] = self.graph.slice(new[id(whole)], low, low + n.width)
            else:
                once = [uses[id(a)] == 1 for a in n.args]
                parts = tuple(new[id(a)] for a in n.args)
                if n.name == "concat":  # what has no instruction of its own is copied
                    parts = tuple(
                        self._ew("id", a) if a.name in LEAVES | {"slice", "product"} else a
                        for a in parts
                    )
                new[id(n)] = self._better(n, parts, once)

        def at(n: Node) -> Node:
            return new[id(n)]

        def lasting(n: Node) -> Node:
            return self._lasting(at(n))

        self.y, self.grad_x = at(self.y), at(self.grad_x)
        self.states = [at(n) for n in self.states]
        self.grad_states = [at(n) for n in self.grad_states]
        self.outer = [(view, lasting(a), lasting(d)) for view, a, d in self.outer]
        self.sums = [(view, at(n)) for view, n in self.sums]
        for number, node in enumerate(reach(self.roots())):
            node.number = number

    def _lasting(self, n: Node) -> Node:
        """Return a node that is there for all steps; a gradient on a state is for one alone."""
        base = n
        while base.name == "slice":
            (base,) = base.args
        return self._ew("id", n) if base.name == "grad_state" else n

    def roots(self) -> list[Node]:
        """Return all that is wanted."""
        added = [n for _, a, d in self.outer for n in (a, d)] + [n for _, n in self.sums]
        return [self.y, *self.states, *added, self.grad_x, *self.grad_states]

    def _better(self, n: Node, args: tuple[Node, ...], once: list[bool]) -> Node:
        """Return what takes the place of `n`, over new arguments."""
        if n.name in ("add", "sub"):
            better = self._into_product(n, args, once) or self._with_mul(n, args, once)
            if better is not None:
                return better
        if n.name == "mul":
            for k, rest in ((0, args[1]), (1, args[0])):
                if once[1 - k] and rest.name == "sub" and rest.args[0].name == "const":
                    return self._ew("mulrest", args[k], *rest.args)
                if once[1 - k] and rest.name == "submul" and rest.args[0] is rest.args[1]:
                    return self._ew("mulrest2", args[k], rest.args[2], rest.args[0])
        return self.graph.node(n.name, args, n.attr, n.width) if args else n

    def _ew(self, name: str, *args: Node) -> Node:
        return self.graph.node(name, args, None, max(a.width for a in args))

    def _with_mul(self, n: Node, args: tuple[Node, ...], once: list[bool]) -> Node | None:
        """Make one of ``a * b + c``, of ``c - a * b``, and of a sigmoid written as tanh."""
        for k in (1, 0) if n.name == "add" else (1,):
            mul, rest = args[k], args[1 - k]
            if mul.name != "mul" or not once[k] or n.args[k].name != "mul":
                continue
            if n.name == "add" and number_of(rest) == 0.5:
                number, tanh = mul.args if mul.args[0].name == "const" else mul.args[::-1]
                if number_of(number) == 0.5 and tanh.name == "tanh" and tanh.args[0].name == "mul":
                    half, x = tanh.args[0].args
                    half, x = (half, x) if half.name == "const" else (x, half)
                    if number_of(half) == 0.5:
                        return self._ew("sigmoid", x)
            if mul.width == n.width:
                return self._ew("muladd" if n.name == "add" else "submul", *mul.args, rest)
        return None

    def _into_product(self, n: Node, args: tuple[Node, ...], once: list[bool]) -> Node | None:
        """Make ``a @ W + b @ V + c`` one product, that begins with c."""
        products = [one and a.name == "product" for a, one in zip(args, once, strict=True)]
        if n.name != "add" or not any(products) or args[0].width != args[1].width:
            return None
        pairs: tuple[Node, ...] = ()
        begin: tuple[Node, ...] = ()
        for a, product in zip(args, products, strict=True):
            even = len(a.args) // 2 * 2
            pairs += a.args[:even] if product else ()
            begin += a.args[even:] if product else (a,)
        if len(begin) > 1 or any(b.name == "const" for b in begin):
            return None
        return self.graph.node("product", pairs + begin, None, n.width)


def _written(n: Node, args: list[str]) -> str:
    """Return an operation as a reader writes it."""
    if n.name == "slice":
        return f"{args[0]}[{n.attr[0]}:{n.attr[1]}]"
    if n.name == "product":
        terms = [f"{a} @ {W}" for a, W in zip(args[::2], args[1::2], strict=False)]
        return " + ".join(terms + args[2 * len(terms) :])
    return _FORMS.get(n.name, f"{n.name}({', '.join(args)})").format(*args)


def _part(view: View) -> str:
    return f"{view.name}[{view.offset}:]" if view.offset else view.name


def _leaf_name(n: Node) -> str | None:
    """Return what a reader calls a leaf, or None for an operation."""
    if n.name == "const":
        value, power = n.attr
        return f"{value:g}" + {0: "", 1: " * batch", -1: " / batch"}[power]
    if n.name == "parameter":
        view, shape = n.attr
        turned = len(shape) == 2 and view.strides[0] < view.strides[1]
        return _part(view) + (".T" if turned else "")
    if n.name in ("state", "grad_state"):
        return f"{n.name}[{n.attr}]"
    return n.name if n.name in LEAVES else None


def _whole_of(part: Node, concats: list[Node]) -> tuple[Node, int] | None:
    """Return what has the parts of `part` side by side among others, and at which column."""
    for whole in concats:
        for k in range(len(whole.args) - len(part.args) + 1 if whole is not part else 0):
            same = all(a is b for a, b in zip(part.args, whole.args[k:], strict=False))
            if same and part not in reach([whole]):
                return whole, sum(p.width for p in whole.args[:k])
    return None


def _power(values: list[float], batches: list[int]) -> tuple[float, int]:
    """Return ``(v, p)`` with ``value = v * batch ** p`` in all tapes."""
    if all(v != v for v in values):  # np.empty, to be filled
        return float("nan"), 0
    for power in (0, -1, 1):
        scaled = [v / n**power for v, n in zip(values, batches, strict=True)]
        if all(isclose(v, scaled[0], rel_tol=1e-12) for v in scaled):
            return scaled[0], power
    raise Untraceable("a number that changes with the batch size, or from call to call")
