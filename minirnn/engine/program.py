"""A traced cell as one graph of operations.

Traces of different batch sizes are compared first: what differs between them depends on the batch
size, and only ``number / batch`` may. The graph is then brought into the form that is good to
run: sums of products become one product, and a few common pairs of operations one operation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import isclose
from typing import Any

from minirnn.engine.graph import LEAVES, RESULTS, Graph, Node, Part, base, reach
from minirnn.engine.operations import OPERATIONS
from minirnn.engine.trace import Trace
from minirnn.errors import Untraceable

__all__ = ["fused", "merged", "written"]


def _rebuilt(graph: Graph, change: Callable[[Graph, Node, list[Node]], Node]) -> Graph:
    """Return a graph with another node in the place of each, made from its new arguments."""
    new, taken = Graph(), dict[Node, Node]()
    for n in reach(graph.results):
        taken[n] = change(new, n, [taken[a] for a in n.args])
    new.results = [taken[n] for n in graph.results]
    return new


# ---------------------------------------------------------------- for all batch sizes


def merged(traces: list[Trace]) -> Graph:
    """Return what some traces, of different batch sizes, have in common.

    A number is ``(value, power)`` in it: it is ``value * batch ** power`` in all of them.

    Raises
    ------
    Untraceable
        If anything else differs, or a sum over the batch is not added to a gradient.
    """
    nodes = [t.graph.nodes for t in traces]
    forms = [[_form(n) for n in one] for one in nodes]
    if any(form != forms[0] for form in forms):
        raise Untraceable("the batch size decides what is done")
    arrays = [[(a.shape, a.tobytes()) for a in t.arrays] for t in traces]
    if any(a != arrays[0] for a in arrays):
        raise Untraceable("an array is made of the batch size")
    batches = [t.batch for t in traces]
    numbers = {
        same[0]: _power([n.attr[0] for n in same], batches)
        for same in zip(*nodes, strict=True)
        if same[0].name == "const"
    }

    def change(new: Graph, n: Node, args: list[Node]) -> Node:
        if n.name == "gradient":
            raise Untraceable("a gradient is read")
        if n.name.endswith("over the batch"):
            raise Untraceable(f"a {n.name}, but not into a gradient")
        if n.name == "mul" and args[1].name == "const":
            args.reverse()
        return new.node(n.name, *args, attr=numbers.get(n, n.attr), width=n.width)

    return _rebuilt(traces[0].graph, change)


def _form(n: Node) -> tuple[Any, ...]:
    """Return what must be the same for all batch sizes."""
    return n.name, [a.number for a in n.args], n.name == "const" or n.attr, n.width


def _power(values: list[float], batches: list[int]) -> tuple[float, int]:
    if all(v != v for v in values):  # np.empty, to be filled
        return float("nan"), 0
    for power in (0, -1, 1):
        scaled = [v / n**power for v, n in zip(values, batches, strict=True)]
        if all(isclose(v, scaled[0], rel_tol=1e-12) for v in scaled):
            return scaled[0], power
    raise Untraceable("a number that changes with the batch size, or from call to call")


# ---------------------------------------------------------------- several operations in one


def fused(graph: Graph) -> Graph:
    """Return the program in the form that runs best."""
    uses = Counter(a for n in reach(graph.results) for a in n.args)
    return _rebuilt(graph, lambda new, n, args: _fused(new, n, args, uses))


def _fused(new: Graph, n: Node, args: list[Node], counts: Counter[Node]) -> Node:
    """Return what does more at once than `n`, or `n`; it may take in what nothing else uses."""
    uses = [counts[a] for a in n.args] if n.name in ("add", "sub", "mul") else []
    if n.name == "outer":  # of many steps; a gradient on a state is there for one alone
        args = [new.node("id", a) if base(a).name == "grad_state" else a for a in args]
    if n.name == "add" and args[0].width == args[1].width:  # a @ W + b @ V, which begins with c
        pairs: list[Node] = []
        begin: list[Node] = []
        for a, count in zip(args, uses, strict=True):
            terms = a.args if count == 1 and a.name == "product" else (a,)
            even = len(terms) // 2 * 2
            pairs += terms[:even]
            begin += terms[even:]
        if pairs and len(begin) < 2 and all(b.name != "const" for b in begin):
            return new.node("product", *pairs, *begin, width=n.width)
    for k in (1, 0) if uses else ():
        a, b = args[k], args[1 - k]
        match n.name, a if uses[k] == 1 else None:
            case "add", Node("mul", (p, Node("tanh", (Node("mul", (q, x)),)))) if (
                p is q is b is new.number(0.5)
            ):
                return new.node("sigmoid", x)
            case "add", Node("mul", (p, q)) if a.width == n.width:
                return new.node("muladd", p, q, b)
            case "sub", Node("mul", (p, q)) if a.width == n.width and k == 1:
                return new.node("submul", p, q, b)
            case "mul", Node("sub", (Node("const") as p, q)):
                if b.name == "mul" and q in b.args and uses[1 - k] == 1:
                    return new.node("mulmulrest", b.args[b.args[0] is q], q, p)
                return new.node("mulrest", b, p, q)
            case "mul", Node("submul", (p, q, c)) if p is q:
                return new.node("mulrest2", b, c, p)
    return new.node(n.name, *args, attr=n.attr, width=n.width)


# ---------------------------------------------------------------- as text


def written(graph: Graph) -> str:
    """Write a program down, one operation a line."""
    names: dict[Node, str] = {}
    lines: list[str] = []
    for n in reach(graph.results):
        if n.name in LEAVES:
            names[n] = _leaf(n)
        elif n.name not in RESULTS:
            names[n] = f"t{len(lines)}"
            lines.append(f"{names[n]} = {_operation(n, [names[a] for a in n.args])}")
    lines += [_operation(n, [names[a] for a in n.args]) for n in graph.results]
    return "\n".join(lines)


def _operation(n: Node, args: list[str]) -> str:
    """Return an operation as a reader writes it."""
    match n.name:
        case "slice":
            return f"{args[0]}[:, {n.attr[0]}:{n.attr[1]}]"
        case "concat":
            return f"concat({', '.join(args)})"
        case "product":
            terms = [f"{a} @ {W}" for a, W in zip(args[::2], args[1::2], strict=False)]
            return " + ".join(terms + args[2 * len(terms) :])
        case "outer":
            return f"{_place(n.attr)}.grad += {args[0]}.T @ {args[1]}"
        case "gather":
            return f"{_place(n.attr)}.grad += sum over the batch of {args[0]}"
        case "y" | "grad_x":
            return f"{n.name} = {args[0]}"
        case "next_state" | "next_grad_state":
            return f"{n.name.removeprefix('next_')}[{n.attr}] = {args[0]}"
    return OPERATIONS[n.name].text.format(*args)


def _leaf(n: Node) -> str:
    if n.name == "const":
        value, power = n.attr
        return f"{value:g}" + {0: "", 1: " * batch", -1: " / batch"}[power]
    if n.name == "parameter":
        return _place(n.attr)
    return f"{n.name}[{n.attr}]" if n.name in ("state", "grad_state") else n.name


def _place(part: Part) -> str:
    turned = len(part.shape) == 2 and part.strides[0] < part.strides[1]
    return part.name + (f"[{part.offset}:]" if part.offset else "") + (".T" if turned else "")
