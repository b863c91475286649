"""The layers of a PyTorch module: of its containers, or of the graph of its forward.

A class of a user's own has a ``forward`` of its own. `torch.fx` traces it, and the graph is run on
chains of layers in place of tensors. What does not depend on the input (shapes, initial states) is
computed as it stands; what is done to the input and has no counterpart is refused by name.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import fx, nn

from minirnn import layers as ours
from minirnn.core import Layer
from minirnn.interop import torch_modules as modules
from minirnn.interop.counterparts import ConversionError, chained, inner, titled
from minirnn.interop.graph import Unknown, Value, concatenated, merged, reading, side_by_side
from minirnn.interop.torch_layers import layers_of, module_of

Found: TypeAlias = "tuple[str, list[Layer], Any]"
"""What messages call a module, our layers of it, and the module."""


def links(module: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the modules of nested nn.Sequentials in order, each with its place."""
    if type(module) in (nn.Sequential, modules.Chain):
        for name, child in module.named_children():
            yield from links(child, inner(place, name))
    else:
        yield place, module


def read(module: Any, place: str = "", *, batch_first: bool = True) -> list[Found]:
    """Return what a module applies one after the other."""
    found: list[Found] = []
    for name, link in links(module, place):
        if type(link).__module__.startswith(("torch.nn.", modules.__name__)):
            found.append((titled(name, link), _layers(link, name), link))
        else:
            found += _Forward(link, name).read(batch_first)
    return found


def is_batch_first(module: Any) -> bool:
    """Whether a module of a user's takes the batch first; its recurrent layers decide."""
    return {one.batch_first for one in module.modules() if isinstance(one, nn.RNNBase)} != {False}


def _layers(module: Any, place: str) -> list[Layer]:
    """Return our layers of a module, which may be one of `to_torch`'s around others."""
    if type(module) is modules.Chain:
        return [layer for _, own, _ in read(module, place) for layer in own]
    if type(module) not in _AROUND:
        return list(layers_of(module, place))
    inside = module.layers if isinstance(module, modules.Parallel) else [module.layer]
    founds = [read(part, inner(place, k)) for k, part in enumerate(inside)]
    parts = [chained(layer for _, own, _ in found for layer in own) for found in founds]
    return [_AROUND[type(module)](module, parts)]


def _reversed(module: Any, parts: list[Any]) -> Any:
    parts[0].reverse = True
    return parts[0]


_AROUND: dict[Any, Callable[[Any, list[Any]], Layer]] = {
    modules.Parallel: lambda module, parts: side_by_side(parts, module.merge),
    modules.Residual: lambda module, parts: ours.Residual(*parts),
    modules.Reversed: _reversed,
}


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Return a block in which a module is in evaluation mode; each part is as before after it."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: Any, module_qualified_name: str) -> bool:
        own = type(m).__module__ == modules.__name__
        return own or super().is_leaf_module(m, module_qualified_name)


class _Forward(fx.Interpreter):
    """The forward of a module, run on chains of layers."""

    def __init__(self, module: Any, place: str) -> None:
        self.owner = f"{type(module).__name__}" + (f" ({place})" if place else "")
        try:
            with evaluating(module):
                graph = _Tracer().trace(module)
        except Exception as error:
            raise ConversionError(
                f"from_torch: the forward of {self.owner} cannot be traced: {error}"
            ) from error
        super().__init__(module, graph=graph)
        self.extra_traceback = False
        self.place = place
        self.found: list[Found] = []

    def read(self, batch_first: bool) -> list[Found]:
        """Return what stands between input and output, one after the other."""
        axes = ("batch", "time") if batch_first else ("time", "batch")
        self.first = Value((), (*axes, "features"))
        parts: list[Found] = []
        rest = list(self.run(self.first))
        while rest:
            own = titled("", rest[0]), rest[:1], module_of(rest[0])  # of no module there
            known = (one for one in self.found if one[1] and one[1] == rest[: len(one[1])])
            parts.append(next(known, own))
            rest = rest[len(parts[-1][1]) :]
        return parts

    def run_node(self, n: Any) -> Any:
        """Run a node: by its name, if it is given a value. An error names it."""
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        name = getattr(n.target, "__name__", n.target)
        given = args[0] if args and name in ("cat", "concat") else args
        by_name = n.op in ("call_function", "call_method")
        where = f"from_torch: {n.name} in the forward of {self.owner}"
        with reading(where, "; convert the layers one by one"):
            if by_name and any(isinstance(value, Value) for value in given):
                return self._call(name, args, kwargs)
            return super().run_node(n)

    def output(self, target: Any, args: Any, kwargs: Any) -> tuple[Layer, ...]:
        """Return the layers of what the module returns, which has to be one value."""
        if not isinstance(args[0], Value):
            raise Unknown(": what it returns is not one value made of its input")
        return args[0].output_of(self.first)

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a module: our layers of it come behind the chain."""
        x, *state = [*args, *kwargs.values()]
        module: Any = self.fetch_attr(target)
        if not isinstance(x, Value):
            return super().call_module(target, args, kwargs)
        layers = self._own(x, module, target)
        if not isinstance(module, nn.RNNBase):
            y = x.then(*layers)
            return (y, None) if type(module) in _AROUND else y
        if x.axes[0] != ("batch" if module.batch_first else "time"):
            raise Unknown(f": with batch_first={module.batch_first}, it does not read over time")
        for tensor in state[0] if state and type(state[0]) in (list, tuple) else state:
            if isinstance(tensor, Value) or (tensor is not None and tensor.any()):
                raise Unknown(" with initial states other than zeros")
        y, final, cells = x.recurrent(layers)
        return y, (final, cells) if isinstance(module, nn.LSTM) else final

    def _own(self, x: Value, module: Any, name: str) -> list[Layer]:
        if getattr(module, "dim", None) == len(x.axes) - 1:  # of a softmax: the last axis
            module = type(module)(dim=-1)
        place = inner(self.place, name)
        layers = _layers(module, place)
        self.found.append((titled(place, module), layers, module))
        return layers

    def _call(self, name: str, args: Any, kwargs: Any) -> Any:
        if name in _VALUES:
            return _VALUES[name](*args, **kwargs)
        if name not in _LAYERS:
            raise Unknown
        kind, *options = _LAYERS[name]
        given = dict(zip((*options, "training", "inplace"), args[1:], strict=False)) | kwargs
        if name == "dropout" and given.get("training", True):
            raise Unknown(": without training=self.training it drops in evaluation mode too")
        for unused in ("training", "inplace", "_stacklevel"):
            given.pop(unused, None)
        module = kind(**{key: value for key, value in given.items() if value is not None})
        return args[0].then(*self._own(args[0], module, name))


def _attribute(x: Value, name: str) -> Any:
    if name not in ("shape", "device", "dtype"):
        raise Unknown
    return getattr(torch.tensor(x.ones()), name)


def _item(x: Value, index: Any) -> Value:
    index = index if isinstance(index, tuple) else (index,)
    if ... in index:
        k, every = index.index(...), len(x.axes) - len(index) + 1
        index = (*index[:k], *[slice(None)] * every, *index[k + 1 :])
    for axis, k in [*enumerate(index)][::-1]:  # the last axes first, for a step takes its own away
        if isinstance(k, int):
            x = x.picked(axis, k)
        elif k != slice(None):
            x = x.sliced(axis, k)
    return x


_Largest = namedtuple("_Largest", ["values", "indices"])
_VALUES: dict[str, Callable[..., Any]] = {
    "getattr": _attribute,
    "size": lambda x, *dim: torch.tensor(x.ones()).size(*dim),
    "dim": lambda x: len(x.axes),
    "new_zeros": lambda x, *shape, **options: torch.zeros(*shape),
    **dict.fromkeys(("contiguous", "float", "double"), lambda x: x),
    "getitem": _item,
    "squeeze": lambda x, dim=0: x.joined(dim),
    **dict.fromkeys(("cat", "concat"), lambda tensors, dim=0: concatenated(tensors, dim)),
    **dict.fromkeys(("add", "iadd"), lambda one, two: merged([one, two], "sum")),
    "mul": lambda one, two: merged([one, two], "product"),
    "mean": lambda x, dim: x.pooled(dim, ours.MeanOverTime()),
    "amax": lambda x, dim: x.pooled(dim, ours.MaxOverTime()),
    "max": lambda x, dim: _Largest(x.pooled(dim, ours.MaxOverTime()), None),
}
"""What functions and methods do to a value, by their names."""

_LAYERS: dict[str, tuple[Any, ...]] = {
    "relu": (nn.ReLU,),
    "tanh": (nn.Tanh,),
    "sigmoid": (nn.Sigmoid,),
    "silu": (nn.SiLU,),
    "leaky_relu": (nn.LeakyReLU, "negative_slope"),
    "elu": (nn.ELU, "alpha"),
    "gelu": (nn.GELU, "approximate"),
    "softplus": (nn.Softplus, "beta", "threshold"),
    "softmax": (nn.Softmax, "dim"),
    "log_softmax": (nn.LogSoftmax, "dim"),
    "dropout": (nn.Dropout, "p"),
}
"""The modules of other functions, and the names of their arguments by position."""
