"""From a program to instructions for the machine: stages, and where every number lies.

A step is a list of stages. In one, strips of a few rows go through elementwise instructions, while
they are in the first cache; in the next, all rows go through matrix products. Each node has a home:

- KEPT: what backward needs of forward, for all steps. What is cheap to compute again is not kept.
- RINGED: what ``a.T @ d`` sums up, for the steps of one such product.
- SCRATCH: what lives from one stage to another.
- REGISTER: what lives within one stage.

and outputs and states have theirs in the arrays that are handed on.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from minirnn.engine.graph import ELSEWHERE, FREE, LEAVES, RESULTS, Graph, Node, base, columns, reach
from minirnn.engine.operations import FOLDS, OPERATIONS
from minirnn.engine.trace import Sizes
from minirnn.errors import Untraceable

# As in machine.c.
(BATCH, STATE, NEXT_STATE, GRAD_STATE, NEXT_GRAD_STATE, PARAMETER, GRADIENT,
 KEPT, RINGED, SCRATCH, REGISTER) = range(11)  # fmt: skip
_KINDS = {"state": STATE, "next_state": NEXT_STATE, "grad_state": GRAD_STATE,
    "next_grad_state": NEXT_GRAD_STATE, "parameter": PARAMETER, "gradient": GRADIENT}  # fmt: skip
NONE, VECTOR, THIN, CONST = range(4)
_OPCODES = {name: k for k, name in enumerate(OPERATIONS)}
_NOT_KEPT = FREE | {"product", *FOLDS.values(), "parameter", "grad_y", "grad_state"}
_STRIP = 2048  # numbers of the widest row of a strip

Place = tuple[int, int]  # slot, and the column in it
Stage = tuple[int, list[tuple[Node, list[int]]]]  # rows of a strip; instructions, and for what


class Schedule:
    """Instructions for a program.

    Attributes
    ----------
    slots : list of (kind, width)
    outers : list of the rows of machine.c
    constants : list of (value, power of the batch size)
    tables : list of lists
        Instructions and stages, as in machine.c, of forward, of backward, and of backward with
        the gradient on x.
    """

    def __init__(self, program: Graph, sizes: Sizes, parameters: dict[str, int]) -> None:
        self.constants: list[tuple[float, int]] = []
        self.slots: list[list[int]] = []
        self._home: dict[Node, Place] = {}
        self._registers: list[int] = []
        self._register_width = 0
        names = ("parameter", "gradient")
        sizes = sizes | {(name, p): n for name in names for p, n in parameters.items()}
        self._given = {
            key: self._slot(_KINDS.get(key[0], BATCH), width) for key, width in sizes.items()
        }
        results = program.results
        forward = [n for n in results if n.name in ("y", "next_state")]
        outers = [n for n in results if n.name == "outer"]
        backward = [n for n in results if n not in (*forward, *outers)]
        for n in forward:
            if n.name == "next_state" and n.args[0].name not in ELSEWHERE:
                self._home.setdefault(n.args[0], self._place(n))  # kept at no cost
        kept = self._kept(forward, [*backward, *outers])
        for n in kept:
            self._settle(n, KEPT)
        self.tables = _table(self._stages(forward, kept, set()))
        wanted = [base(a) for n in outers for a in n.args if base(a).name not in LEAVES]
        for n in sorted(wanted, key=lambda n: -n.width):
            self._settle(n, RINGED)
        known = set(kept)
        others = [*wanted, *[n for n in backward if n.name != "grad_x"]]
        x_alone = {*reach(backward, known)} - {*reach(others, known)}
        stages = self._stages(backward, wanted, known, x_alone)
        self.tables += _table(stages, x_alone) + _table(stages)
        for slot in self.slots:
            if slot[0] == REGISTER:
                slot[1] = self._register_width
        outers.sort(key=lambda n: n.args[1].number)  # those of one d together
        self.outers = [self._outer(n) for n in outers]

    # ------------------------------------------------------------ where numbers lie

    def _slot(self, kind: int, width: int) -> int:
        self.slots.append([kind, width])
        return len(self.slots) - 1

    def _place(self, n: Node) -> Place:
        """Return where a node lies, or is to be written."""
        if n in self._home:
            return self._home[n]
        if n.name == "slice":
            slot, column = self._place(n.args[0])
            return slot, column + n.attr[0]
        if n.name == "gather":
            return self._given["gradient", n.attr.name], n.attr.offset
        if n.name == "parameter":
            if not n.attr.contiguous:
                raise Untraceable(f"a column of {n.attr.name} that takes part elementwise")
            return self._given["parameter", n.attr.name], n.attr.offset
        return self._given[n.name, n.attr], 0

    def _settle(self, n: Node, kind: int) -> None:
        """Give a node a home, if it has none; the parts of a concatenation are computed in it."""
        if n in self._home:
            return
        if n.name != "concat":
            self._home[n] = self._slot(kind, n.width), 0
            return
        places = [self._home.get(part) for part in n.args]
        if places[0] is not None and places == _side_by_side(n, places[0]):
            self._home[n] = places[0]  # it is there already, in a wider one
            return
        self._home[n] = self._slot(kind, n.width), 0
        for part, place in zip(n.args, _side_by_side(n, self._home[n]), strict=True):
            if part.name not in ELSEWHERE:
                self._home.setdefault(part, place)

    def _kept(self, forward: list[Node], backward: list[Node]) -> list[Node]:
        """Return what backward needs of forward and does not compute again."""
        known: set[Node] = set()
        again: set[Node] = set()
        for n in reach([n.args[0] for n in forward]):
            if n.name in FREE or n.name in LEAVES:
                continue
            at_hand = all(a in again or a.name not in _NOT_KEPT for a in n.args)
            cheap = OPERATIONS[n.name].cheap and at_hand and n not in self._home
            (again if cheap else known).add(n)
        return [n for n in reach(backward, known) if n in known]

    # ------------------------------------------------------------ stages

    def _stages(
        self, results: list[Node], wanted: list[Node], known: set[Node], x_alone: Any = ()
    ) -> list[Stage]:
        """Return the instructions that compute all that is asked for, by stages.

        What serves the gradient on x alone may be left out of a step.
        """
        persistent = dict(self._home)
        ends = list(wanted)
        for result in results:
            (n,), place = result.args, self._place(result)
            here = result.name != "gather" and n not in known and n.name not in ELSEWHERE
            here = here and (result.name != "grad_x" or n in x_alone)
            if here and self._home.setdefault(n, place) == place:
                ends.append(n)  # it is computed where it is to go
            else:
                ends.append(result)
        order = reach(ends, known)
        stage = self._staged([n for n in order if n not in known and n.name not in LEAVES])
        nodes_of: list[list[Node]] = [[] for _ in range(max(stage.values()) + 1)]
        for n, k in stage.items():
            if n.name in FREE:
                continue
            nodes_of[k].append(n)
            for a in n.args:  # what is read in parts, or in another stage, needs memory
                whole = base(a)
                if whole in stage and (whole is not a or stage[whole] != k):
                    self._settle(whole, SCRATCH)
            if n.name == "product":
                self._settle(n, SCRATCH)
        stages: list[Stage] = []
        for k, nodes in enumerate(nodes_of):
            if k % 2:
                stages.append((0, [(n, row) for n in nodes for row in self._products(n)]))
            elif nodes:
                widest = max([a.width for n in nodes for a in (n, *n.args)])
                strip = max(1, _STRIP // widest)
                self._register_width = max(self._register_width, strip * widest)
                stages.append((strip, self._strip(nodes)))
        self._home = persistent
        return stages

    def _staged(self, order: list[Node]) -> dict[Node, int]:
        """Return the stage of each node: even ones are elementwise work, odd ones are products.

        Parts of a concatenation that are computed elsewhere are copied to where it lies.
        """
        concats = [n for n in order if n.name == "concat"]
        for n in sorted(concats, key=lambda n: -n.width):
            self._settle(n, SCRATCH)
        stage: dict[Node, int] = {}
        for n in order:
            parts = list(n.args)
            if n.name == "concat":
                places = _side_by_side(n, self._home[n])
                for k, (part, place) in enumerate(zip(n.args, places, strict=True)):
                    if self._home.get(part) != place:
                        parts[k] = Node("id", (part,), None, part.width)
                        self._home[parts[k]] = place
                        stage[parts[k]] = stage.get(part, 0) + stage.get(part, 0) % 2
            stage[n] = max([stage.get(a, 0) for a in parts], default=0)
            if n.name not in FREE and stage[n] % 2 != (n.name == "product"):
                stage[n] += 1
        return stage

    # ------------------------------------------------------------ instructions

    def _products(self, n: Node) -> list[list[int]]:
        """Return an instruction for each ``a @ W``; each begins with what the one before gave."""
        place, result = self._place(n), []
        begin = self._operand(n.args[-1], n.width) if len(n.args) % 2 else [NONE, 0, 0]
        for a, weights in zip(n.args[::2], n.args[1::2], strict=False):
            at = self._given["parameter", weights.attr.name], weights.attr.offset
            result.append([_OPCODES["product"], n.width, VECTOR, *place, VECTOR, *self._place(a),
                           VECTOR, *at, *begin, a.width, *weights.attr.strides])  # fmt: skip
            begin = [VECTOR, *place]
        return result

    def _strip(self, nodes: list[Node]) -> list[tuple[Node, list[int]]]:
        """Return the instructions of one strip; registers are taken when needed, and given back."""
        last = {base(a): k for k, n in enumerate(nodes) for a in n.args}
        free = sorted(self._registers, reverse=True)
        held: dict[Node, int] = {}
        result = []
        for k, n in enumerate(nodes):
            if n.name not in RESULTS and n not in self._home:
                if not free:
                    self._registers.append(self._slot(REGISTER, 0))
                    free.append(self._registers[-1])
                held[n] = free.pop()
                self._home[n] = held[n], 0
            result.append((n, self._elementwise(n)))
            for a in dict.fromkeys([*map(base, n.args), n]):
                if a in held and last.get(a, k) <= k:
                    free.append(held.pop(a))
        return result

    def _elementwise(self, n: Node) -> list[int]:
        width = max(n.args[0].width, n.width)  # of a sum of columns it is theirs
        row = [_OPCODES.get(n.name, _OPCODES["id"]), width, VECTOR, *self._place(n)]
        for a in n.args:
            row += self._operand(a, width)
        return row + [NONE] * (17 - len(row))

    def _operand(self, n: Node, width: int) -> list[int]:
        if n.name == "const":
            if n.attr not in self.constants:
                self.constants.append(n.attr)
            return [CONST, 0, self.constants.index(n.attr)]
        return [THIN if n.width == 1 and width > 1 else VECTOR, *self._place(n)]

    def _outer(self, n: Node) -> list[int]:
        (a, d), part = n.args, n.attr
        slot = self._given["gradient", part.name]
        return [*self._place(d), d.width, *self._place(a), a.width, slot, part.offset,
                part.strides[0]]  # fmt: skip


def _table(stages: list[Stage], left_out: Container[Node] = ()) -> list[Any]:
    """Return instructions and stages as in machine.c."""
    instructions: list[list[int]] = []
    table: list[tuple[int, int, int]] = []
    for strip, rows in stages:
        first = len(instructions)
        instructions += [row for n, row in rows if n not in left_out]
        table.append((first, len(instructions), strip))
    return [instructions, table]


def _side_by_side(concat: Node, place: Place) -> list[Place]:
    """Return where the parts of a concatenation lie, if it lies at `place`."""
    return [(place[0], place[1] + at) for _, at in columns(concat)]
