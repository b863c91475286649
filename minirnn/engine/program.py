"""A traced cell as one graph of operations.

Traces of different batch sizes are compared first: what differs between them depends on the batch
size, and only ``number / batch`` may. The graph is then brought into the form that is good to
run: no columns that nothing needs, one product for a sum of several, and one operation for a few
common pairs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from math import isclose
from typing import Any

from minirnn.engine.graph import LEAVES, RESULTS, Graph, Node, Part, base, reach
from minirnn.engine.operations import OPERATIONS
from minirnn.engine.trace import Trace
from minirnn.errors import Untraceable

# ---------------------------------------------------------------- for all batch sizes


def merged(traces: list[Trace]) -> Graph:
    """Return the graph that traces of different batch sizes have in common.

    A number is ``(value, power)`` in it: it is ``value * batch ** power`` in all of them.
    """
    graphs, batches = [t.graph for t in traces], [t.batch for t in traces]
    if len(traces) == 1:
        return graphs[0]
    forms = [[_form(n) for n in graph.nodes] for graph in graphs]
    if any(form != forms[0] for form in forms):
        raise Untraceable("the batch size decides what is done")
    arrays = [[(a.shape, a.tobytes()) for a in t.arrays] for t in traces]
    if any(a != arrays[0] for a in arrays):
        raise Untraceable("an array is made of the batch size")
    for same in zip(*[graph.nodes for graph in graphs], strict=True):
        if same[0].name == "const":
            same[0].attr = _power([n.attr[0] for n in same], batches)
    new, taken = Graph(), dict[Node, Node]()  # in which equal numbers are one
    for n in reach(graphs[0].results):
        taken[n] = new.node(n.name, *[taken[a] for a in n.args], attr=n.attr, width=n.width)
    new.results = [taken[n] for n in graphs[0].results]
    return new


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


# ---------------------------------------------------------------- columns


def narrow(graph: Graph) -> Graph:
    """Let columns be computed alone where nothing needs the whole; return the graph."""
    users: dict[Node, dict[Node, None]] = defaultdict(dict)
    for n in reversed(reach(graph.results)):
        if users[n] and n.by_columns and all(user.name == "slice" for user in users[n]):
            for part in users[n]:
                part.name, part.args, part.attr = n.name, graph.alone(part), n.attr
                for a in part.args:
                    users[base(a)][a if a.name == "slice" else part] = None
        elif users[n] or n.name in RESULTS:
            for a in n.args:
                users[a][n] = None
    return graph


# ---------------------------------------------------------------- several operations in one


def fuse(graph: Graph) -> Graph:
    """Bring a program into the form that runs best; return it."""
    nodes = reach(graph.results)
    uses = Counter([a for n in nodes for a in n.args])
    for n in nodes:
        if n.name == "gradient":
            raise Untraceable("a gradient is read")
        if n.name.endswith("over the batch"):
            raise Untraceable(f"a {n.name}, but not into a gradient")
        if n.name in ("add", "sub", "mul"):
            _fuse(n, uses)
    return graph


def _fuse(n: Node, uses: Counter[Node]) -> None:
    """Let an operation do more at once: it takes in an argument that nothing else uses."""
    if n.name == "add" and "product" in (n.args[0].name, n.args[1].name):  # a @ W + b @ V + c
        pairs: list[Node] = []
        begin: list[Node] = []  # with what the sum begins
        for a in n.args:
            even = len(a.args) // 2 * 2 if a.name == "product" and uses[a] == 1 else 0
            pairs += a.args[:even]
            begin += a.args[even:] if even else [a]
        fits = n.args[0].width == n.args[1].width and len(begin) < 2
        if fits and pairs and all(b.name != "const" for b in begin):
            n.name, n.args = "product", (*pairs, *begin)
            return
    for k in (1, 0):
        a, b = n.args[k], n.args[1 - k]
        if a.name not in ("mul", "sub", "submul") or uses[a] > 1:
            continue
        match n.name, a.name:
            case "add", "mul" if b is a.args[0] and (x := _doubled(*a.args)):
                n.name, n.args = "sigmoid", (x,)
            case "add", "mul" if a.width == n.width:
                n.name, n.args = "muladd", (*a.args, b)
            case "sub", "mul" if a.width == n.width and k == 1:
                n.name, n.args = "submul", (*a.args, b)
            case "mul", "sub" if a.args[0].name == "const":
                n.name, n.args = "mulrest", (b, *a.args)
                if b.name == "mul" and a.args[1] in b.args and uses[b] == 1:
                    other = b.args[b.args[0] is a.args[1]]
                    n.name, n.args = "mulmulrest", (other, a.args[1], a.args[0])
            case "mul", "submul" if a.args[0] is a.args[1]:
                n.name, n.args = "mulrest2", (b, a.args[2], a.args[0])
            case _:
                continue
        return


def _doubled(half: Node, a: Node) -> Node | None:
    """Return x, if a number is a half and a node ``tanh(0.5 * x)``."""
    match half.attr, a:
        case (0.5, 0), Node("tanh", (Node("mul", (other, x)),)) if other is half:
            return x
    return None


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
