"""What a layer holds, copied: to predict beside a training, and to put back after an error."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from types import MethodType
from typing import Any

from minirnn.typing import Array


def evaluation_copy(value: Any, kind: type, known: dict[int, Any]) -> Any:
    """Copy layers (which are of `kind`) and what leads to them; share all else."""
    if isinstance(value, kind):
        if id(value) not in known:
            made = known[id(value)] = object.__new__(type(value))
            for name, item in list(vars(value).items()):
                if name != "_cache":
                    vars(made)[name] = evaluation_copy(item, kind, known)
            vars(made)["training"] = False
        return known[id(value)]
    if isinstance(value, dict):
        copied = copy.copy(value)
        copied.update({key: evaluation_copy(item, kind, known) for key, item in value.items()})
        return copied
    if isinstance(value, list):
        listed = copy.copy(value)
        listed[:] = [evaluation_copy(item, kind, known) for item in value]
        return listed
    if isinstance(value, tuple):
        items = [evaluation_copy(item, kind, known) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, MethodType) and isinstance(value.__self__, kind):
        return MethodType(value.__func__, evaluation_copy(value.__self__, kind, known))
    return value


class Restored:
    """A block after which, if it raises, layers have the attributes that they had before.

    When one layer refuses a call, the others drop what they kept of it, their states included. An
    interrupt is an error like any other. Layers inside those given are not meant, see
    `Layer.named_layers`; with `gradients`, those of all their parameters are put back too.
    """

    def __init__(self, layers: Iterable[Any], *, gradients: bool = False) -> None:
        layers = list(layers)
        self._before = list(zip(layers, map(dict, map(vars, layers)), strict=True))
        self._gradients: list[tuple[Any, Array]] = []
        if gradients:
            unique = {id(p): p for layer, _ in self._before for p in layer.parameters()}
            self._gradients = [(p, p.grad.copy()) for p in unique.values()]

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is None:
            return
        for layer, before in self._before:
            now = vars(layer)
            now.update(before)  # another thread may be reading: a layer is never empty
            for name in now.keys() - before.keys():
                now.pop(name, None)
        for parameter, grad in self._gradients:
            parameter.grad = grad
