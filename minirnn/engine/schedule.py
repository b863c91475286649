"""From a program to instructions for the machine: stages, and where every number lies.

A step is a list of stages. In one, rows go through matrix products; in the next, strips of a few
rows go through elementwise instructions, while they are in the first cache. Each node has a home:

- KEPT: what backward needs of forward, for all steps. What is cheap to compute again is not kept.
- RINGED: what ``a.T @ d`` sums up, for the steps of one such product.
- SCRATCH: what lives from one stage to another.
- REGISTER: what lives within one stage.

and outputs and states have theirs in the arrays that are handed on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minirnn.engine.graph import LEAVES, Node, reach
from minirnn.engine.program import Program
from minirnn.engine.trace import Untraceable, View

__all__ = ["Schedule"]

# As in machine.c.
X, Y, GRAD_Y, GRAD_X, MASK, FIRST_STATE = range(6)  # the first slots
(BATCH, STATE, NEXT_STATE, GRAD_STATE, NEXT_GRAD_STATE, PARAMETER, GRADIENT,
 KEPT, RINGED, SCRATCH, REGISTER) = range(11)  # fmt: skip
NONE, VECTOR, THIN, CONST = range(4)
OPERATIONS = ("id", "add", "sub", "mul", "div", "neg", "abs", "sign", "max", "min", "gt", "ge",
    "eq", "ne", "where", "muladd", "submul", "mulrest", "mulrest2", "sigmoid", "tanh", "exp",
    "sqrt", "pow", "log", "log1p", "expm1", "sin", "cos", "arctan",
    "sum", "rowmax", "rowmin", "gather", "product")  # fmt: skip
CHEAP = {"id", "add", "sub", "mul", "neg", "abs", "sign", "max", "min", "gt", "ge", "eq", "ne",
    "where", "muladd", "submul", "mulrest", "mulrest2"}  # fmt: skip
FREE = {"slice", "concat"}  # parts of what lies elsewhere
PRODUCT = OPERATIONS.index("product")
STRIP = 1024  # numbers of the widest row of a strip

Place = tuple[int, int]  # slot, and the column in it


class Table(NamedTuple):
    """What the machine runs for one step."""

    instructions: np.ndarray  # int64 (count, 17), as in machine.c
    stages: np.ndarray  # int64 (count, 3)


class Schedule:
    """Instructions for a program.

    Attributes
    ----------
    slots : list of (kind, width)
    forward, backward, backward_x : Table
        Backward without and with the gradient on x.
    outers : list of the rows of machine.c
    constants : list of (value, power of the batch size)
    """

    def __init__(
        self,
        program: Program,
        sizes: dict[str, int],
        inputs: int,
        outputs: int,
        widths: tuple[int, ...],
    ) -> None:
        self.program = program
        self.constants: list[tuple[float, int]] = []
        batches = inputs, outputs, outputs, inputs, 1
        self.slots: list[list[int]] = [[BATCH, n] for n in batches]
        for kind in (STATE, NEXT_STATE, GRAD_STATE, NEXT_GRAD_STATE):
            self.slots += [[kind, n] for n in widths]
        self._states = len(widths)
        self._home: dict[int, Place] = {}
        self._registers: list[int] = []
        self._register_width = 0
        self._parameter = {name: self._slot(PARAMETER, n) for name, n in sizes.items()}
        self._gradient = {name: self._slot(GRADIENT, n) for name, n in sizes.items()}
        p = program
        next_states = [(self._state(NEXT_STATE, k), n) for k, n in enumerate(p.states)]
        gradients = [(self._state(NEXT_GRAD_STATE, k), n) for k, n in enumerate(p.grad_states)]
        kept = self._kept(p)
        for n in kept:
            if id(n) not in self._home:
                self._home[id(n)] = self._slot(KEPT, n.width), 0
        self.forward = self._table([(Y, p.y), *next_states], [], kept, set())
        for _, a, d in p.outer:
            for n in (_base(a), _base(d)):
                if n.name not in LEAVES and id(n) not in self._home:
                    self._home[id(n)] = self._slot(RINGED, n.width), 0
        known = {id(n) for n in kept}
        wanted = [n for _, a, d in p.outer for n in (_base(a), _base(d))]
        self.backward = self._table(gradients, p.sums, wanted, known)
        self.backward_x = self._table([*gradients, (GRAD_X, p.grad_x)], p.sums, wanted, known)
        for slot in self.slots:
            if slot[0] == REGISTER:
                slot[1] = self._register_width
        self.outers = [self._outer(*one) for one in sorted(p.outer, key=lambda o: o[2].number)]

    # ------------------------------------------------------------ slots

    def _slot(self, kind: int, width: int) -> int:
        self.slots.append([kind, width])
        return len(self.slots) - 1

    def _state(self, kind: int, k: int) -> int:
        return FIRST_STATE + (kind - STATE) * self._states + k

    def _place(self, n: Node) -> Place:
        """Return where a node lies."""
        if n.name == "slice":
            slot, column = self._place(n.args[0])
            return slot, column + n.attr[0]
        if n.name == "parameter":
            view, shape = n.attr
            if len(shape) > 0 and shape[-1] > 1 and view.strides[-1] != 1:
                raise Untraceable(f"a column of {view.name} that takes part elementwise")
            return self._parameter[view.name], view.offset
        if n.name in ("x", "grad_y", "mask"):
            return {"x": X, "grad_y": GRAD_Y, "mask": MASK}[n.name], 0
        if n.name in ("state", "grad_state"):
            return self._state(STATE if n.name == "state" else GRAD_STATE, n.attr), 0
        return self._home[id(n)]

    # ------------------------------------------------------------ what is kept

    def _kept(self, p: Program) -> list[Node]:
        """Return what backward needs of forward and does not compute again."""
        roots = [p.y, *p.states]
        inside = {id(n) for n in reach(roots) if n.name not in LEAVES}
        for k, n in enumerate(p.states):
            if n.name not in LEAVES | FREE and id(n) not in self._home:
                self._home[id(n)] = self._state(NEXT_STATE, k), 0  # kept at no cost
        fixed: dict[int, bool] = {}
        for n in reach(roots):  # whether it can be had again from what is kept or given
            again = n.name in CHEAP and all(
                a.name in ("x", "state", "mask", "const")
                or fixed.get(id(a), False)
                or (a.name not in LEAVES | FREE | {"product", "sum", "rowmax", "rowmin"})
                for a in n.args
            )
            fixed[id(n)] = again and id(n) not in self._home
        back = [*p.grad_states, p.grad_x] + [n for _, a, d in p.outer for n in (a, d)]
        back += [n for _, n in p.sums]

        def stop(n: Node) -> bool:
            known = id(n) in inside and n.name not in FREE and not fixed[id(n)]
            return n.name in LEAVES or known

        return [n for n in reach(back, stop) if id(n) in inside and n.name not in FREE and stop(n)]

    # ------------------------------------------------------------ stages

    def _table(
        self,
        outputs: list[tuple[int, Node]],
        sums: list[tuple[View, Node]],
        wanted: list[Node],
        known: set[int],
    ) -> Table:
        """Return the instructions that compute all that is asked for."""
        persistent = dict(self._home)
        direct: set[int] = set()
        ends: list[Node] = []
        for slot, n in outputs:
            fresh = id(n) not in direct | known and n.name not in LEAVES | FREE
            if fresh and persistent.get(id(n), (slot, 0)) == (slot, 0):
                direct.add(id(n))
                self._home[id(n)] = slot, 0
                ends.append(n)
            else:
                ends.append(Node("store", (n,), (slot, 0), n.width))
        for view, n in sums:
            part = self.program.graph.node("id", (n,), None, n.width) if n.name == "const" else n
            to = self._gradient[view.name], view.offset
            ends.append(Node("gather", (part,), to, n.width))

        def stop(n: Node) -> bool:
            return n.name in LEAVES or id(n) in known

        order = [n for n in reach([*ends, *wanted], stop) if not stop(n)]
        for n in order:
            if n.name not in {*OPERATIONS, "store"} | FREE:
                raise Untraceable("a sum or a product over the batch, but not into a gradient")
        order = self._put_together(order)
        stages = _stages(order, stop, self._parts)
        self._find_homes(order, stages)
        instructions: list[list[int]] = []
        table: list[tuple[int, int, int]] = []
        for products, nodes in stages:
            first = len(instructions)
            if products:
                instructions += [row for n in nodes for row in self._products(n)]
                table.append((first, len(instructions), 0))
                continue
            widest = max(max([n.width, *[a.width for a in n.args]]) for n in nodes)
            strip = max(1, STRIP // widest)
            self._register_width = max(self._register_width, strip * widest)
            instructions += self._strip(nodes)
            table.append((first, len(instructions), strip))
        self._home = persistent
        rows = np.array(instructions, np.int64).reshape(-1, 17)
        return Table(rows, np.array(table, np.int64).reshape(-1, 3))

    def _put_together(self, order: list[Node]) -> list[Node]:
        """Have the parts of a concatenation computed where it lies; copy those that lie elsewhere.

        The parts are kept in `_parts`: they must be there before anything reads the whole.
        """
        self._parts: dict[int, tuple[Node, ...]] = {}
        here, result = {id(n) for n in order}, []
        for n in order:
            if n.name == "concat":
                slot, column = self._home.setdefault(id(n), (-1, 0))
                if slot < 0:
                    slot = self._slot(SCRATCH, n.width)
                    self._home[id(n)] = slot, 0
                parts = []
                for part in n.args:
                    if id(part) in here and id(part) not in self._home:
                        self._home[id(part)] = slot, column
                        parts.append(part)
                    else:
                        parts.append(Node("store", (part,), (slot, column), part.width))
                        result.append(parts[-1])
                    column += part.width
                self._parts[id(n)] = tuple(parts)
            result.append(n)
        return result

    def _find_homes(self, order: list[Node], stages: list[tuple[bool, list[Node]]]) -> None:
        """Give memory to products, and to what is read in parts or in another stage."""
        stage_of = {id(n): k for k, (_, nodes) in enumerate(stages) for n in nodes}
        for n in order:
            if n.name == "product":
                self._home.setdefault(id(n), (-1, 0))
            for a in n.args if n.name not in FREE else ():
                base = _base(a)
                here = base is a and stage_of.get(id(base)) == stage_of[id(n)]
                if id(base) in stage_of and not here:
                    self._home.setdefault(id(base), (-1, 0))
        for n in order:
            if self._home.get(id(n), (0, 0))[0] < 0:
                self._home[id(n)] = self._slot(SCRATCH, n.width), 0

    # ------------------------------------------------------------ instructions

    def _products(self, n: Node) -> list[list[int]]:
        """Return an instruction for each ``a @ W``; each begins with what the one before gave."""
        place, result = self._place(n), []
        begin = self._operand(n.args[-1], n.width) if len(n.args) % 2 else [NONE, 0, 0]
        for a, weights in zip(n.args[::2], n.args[1::2], strict=False):
            view, _ = weights.attr
            at = self._parameter[view.name], view.offset
            result.append([PRODUCT, n.width, VECTOR, *place, VECTOR, *self._place(a), VECTOR, *at,
                           *begin, a.width, *view.strides])  # fmt: skip
            begin = [VECTOR, *place]
        return result

    def _strip(self, nodes: list[Node]) -> list[list[int]]:
        """Return the instructions of one strip; registers are taken when needed, and given back."""
        last = {id(_base(a)): k for k, n in enumerate(nodes) for a in n.args}
        free = sorted(self._registers, reverse=True)
        held: dict[int, int] = {}
        result: list[list[int]] = []
        for k, n in enumerate(nodes):
            if n.name in ("store", "gather"):
                name = "id" if n.name == "store" else n.name
                result.append(self._elementwise(name, n.args, n.width, n.attr))
            else:
                if id(n) not in self._home:
                    if not free:
                        self._registers.append(self._slot(REGISTER, 0))
                        free.append(self._registers[-1])
                    held[id(n)] = free.pop()
                    self._home[id(n)] = held[id(n)], 0
                width = n.args[0].width if n.name in ("sum", "rowmax", "rowmin") else n.width
                result.append(self._elementwise(n.name, n.args, width, self._home[id(n)]))
            for a in {id(_base(b)) for b in n.args} | {id(n)}:
                if a in held and last.get(a, k) <= k:
                    free.append(held.pop(a))
        return result

    def _elementwise(self, name: str, args: Any, width: int, to: Place) -> list[int]:
        sources = [self._operand(a, width) for a in args]
        sources += [[NONE, 0, 0]] * (3 - len(sources))
        flat = [k for source in sources for k in source]
        return [OPERATIONS.index(name), width, VECTOR, *to, *flat, 0, 0, 0]

    def _operand(self, n: Node, width: int) -> list[int]:
        if n.name == "const":
            if n.attr not in self.constants:
                self.constants.append(n.attr)
            return [CONST, 0, self.constants.index(n.attr)]
        return [THIN if n.width == 1 and width > 1 else VECTOR, *self._place(n)]

    def _outer(self, view: View, a: Node, d: Node) -> list[int]:
        slot = self._gradient[view.name]
        return [*self._place(d), d.width, *self._place(a), a.width, slot, view.offset,
                view.strides[0]]  # fmt: skip


def _base(n: Node) -> Node:
    return _base(n.args[0]) if n.name == "slice" else n


def _stages(
    order: list[Node], stop: Any, parts: dict[int, tuple[Node, ...]]
) -> list[tuple[bool, list[Node]]]:
    """Return groups in turn: all rows of elementwise work that can be done, then all products."""
    done: set[int] = set()

    def ready(n: Node) -> bool:
        return all(stop(a) or id(a) in done for a in parts.get(id(n), n.args))

    todo, stages = list(order), []
    while todo:
        before = len(todo)
        for products in (False, True):
            group, left = [], []
            for n in todo:
                mine = n.name in FREE or (n.name == "product") == products
                if mine and ready(n):
                    done.add(id(n))
                    group += [n] if n.name not in FREE else []
                else:
                    left.append(n)
            todo = left
            if group:
                stages.append((products, group))
        if len(todo) == before:
            raise Untraceable(f"a product over the batch, or a {todo[0].name}, in the wrong place")
    return stages
