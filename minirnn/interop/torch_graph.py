"""The chain of layers inside a PyTorch module: in its containers, or in the graph of its forward.

A class of a user's own has a ``forward`` of its own. `torch.fx` traces it, and a chain is read from
the graph: calls of modules, the output ``[0]`` of a recurrent one, its last step, activations as
functions. Whatever else meets the path from input to output is refused by name. What does not, such
as the making of initial states, is taken for the zeros that it mostly is: the comparison that
follows each conversion finds out.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from minirnn.interop import torch_modules as modules
from minirnn.interop.counterparts import ConversionError

__all__ = ["chain_of"]


def chain_of(module: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the modules that a module applies one after the other, each with its name."""
    if type(module) in (nn.Sequential, modules.Chain):
        for child, inside in module.named_children():
            yield from chain_of(inside, f"{name}.{child}" if name else child)
    elif type(module).__module__.startswith(("torch.nn.", modules.__name__)):
        yield name or "the module", module
    else:
        yield from _Path(module, name).links


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: Any, module_qualified_name: str) -> bool:
        own = type(m).__module__ == modules.__name__
        return own or super().is_leaf_module(m, module_qualified_name)


class _Path:
    """Follow the one path from a module's input to its output through its graph."""

    def __init__(self, module: Any, name: str) -> None:
        self.module = module
        self.owner = f"{type(module).__name__}" + (f" ({name})" if name else "")
        self.prefix = f"{name}." if name else ""
        self.links: list[tuple[str, Any]] = []
        self.values: dict[Any, str] = {}  # what a node stands for: "y", "y and state", "h" ...
        self.last: Any = None  # the latest recurrent module
        self.links_at_last = 0
        try:
            graph = _Tracer().trace(module)
        except Exception as error:
            raise ConversionError(
                f"from_torch: the forward of {self.owner} cannot be traced: {error}"
            ) from error
        self.current: Any = None  # the node that holds the value at the end of the chain so far
        for node in graph.nodes:
            self._take(node)

    def _take(self, node: Any) -> None:
        if node.op == "placeholder":
            if self.current is None:
                self._go_on(node)
            return
        if node.op == "output":
            if node.args[0] is not self.current:
                self._refuse(node, "what it returns is not the end of one chain")
            return
        known = [argument for argument in node.all_input_nodes if argument in self.values]
        if not known or self._tells_shape(node):
            return
        if self.values[known[0]] == "y" and known[0] is not self.current:
            self._refuse(node, "it goes back to a value from before")
        if node.op == "call_module":
            self._call(node)
        elif node.op in ("call_function", "call_method"):
            self._function(node)
        else:
            self._refuse(node)

    def _go_on(self, node: Any, meaning: str = "y") -> None:
        self.values[node] = meaning
        if meaning == "y":
            self.current = node

    def _refuse(self, node: Any, why: str = "") -> None:
        raise ConversionError(
            f"from_torch: {node.name} in the forward of {self.owner} has no counterpart in a "
            f"minirnn Sequential{': ' if why else ''}{why}; convert the layers one by one"
        )

    @staticmethod
    def _tells_shape(node: Any) -> bool:
        if node.op == "call_method":
            return node.target in ("size", "dim", "new_zeros")
        return node.target is getattr and node.args[1] in ("shape", "device", "dtype")

    def _call(self, node: Any) -> None:
        if self.values.get(node.args[0]) != "y":
            self._refuse(node)
        called = self.module.get_submodule(node.target)
        links = list(chain_of(called, f"{self.prefix}{node.target}"))
        self.links += links
        if isinstance(called, nn.RNNBase | modules.Both | modules.Reversed):
            self.last, self.links_at_last = called, len(self.links)
            self._go_on(node, "y and state")
        else:
            self._go_on(node)

    def _function(self, node: Any) -> None:
        meaning = self.values.get(node.args[0]) if node.args else None
        if node.target is operator.getitem:
            self._item(node, meaning, node.args[1])
        elif meaning == "y":
            self._elementwise(node)
        elif meaning == "largest" and node.target is getattr and node.args[1] == "values":
            self._layer(node, modules.MaxOverTime())
        elif meaning == "h" and node.target == "squeeze" and self.last.num_layers == 1:
            self._last_state(node)
        elif node.target in (torch.cat, torch.concat):
            self._both_last_states(node)
        else:
            self._refuse(node)

    def _item(self, node: Any, meaning: str | None, index: Any) -> None:
        if meaning == "y and state":
            is_lstm = isinstance(self.last, nn.LSTM)
            self._go_on(node, "y" if index == 0 else "state" if is_lstm else "h")
        elif meaning == "state" and index == 0:
            self._go_on(node, "h")
        elif meaning == "h" and index in (-2, -1) and getattr(self.last, "bidirectional", False):
            self._go_on(node, "h forwards" if index == -2 else "h backwards")
        elif meaning == "h" and index == -1:
            self._last_state(node)
        elif meaning == "largest" and index == 0:
            self._layer(node, modules.MaxOverTime())
        elif meaning == "y" and index in self._last_steps():
            self._layer(node, modules.LastStep())
        elif meaning is not None and node.users:
            self._refuse(node)

    def _last_steps(self) -> tuple[Any, ...]:
        every = slice(None, None, None)
        first = getattr(self.last, "batch_first", True)
        return ((every, -1), (every, -1, every)) if first else (-1, (-1,), (-1, every, every))

    def _last_state(self, node: Any) -> None:
        """Take the final state of the last layer: its output at the last step."""
        if getattr(self.last, "bidirectional", True):
            self._refuse(node, "the final state of a bidirectional layer")
        self._refuse_earlier_state(node)
        self._layer(node, modules.LastStep())

    def _both_last_states(self, node: Any) -> None:
        """Take ``torch.cat((h[-2], h[-1]), dim=1)``, the final states of both directions."""
        parts = [self.values.get(part) for part in node.args[0]]
        axis = node.kwargs.get("dim", (*node.args, 0)[1])
        if parts != ["h forwards", "h backwards"] or axis not in (1, -1):
            self._refuse(node)
        self._refuse_earlier_state(node)
        size = self.last.hidden_size
        self._layer(node, modules.LastState(((size, False), (size, True))))

    def _refuse_earlier_state(self, node: Any) -> None:
        if len(self.links) != self.links_at_last:
            self._refuse(node, "it goes back to a state from before")

    def _layer(self, node: Any, module: Any) -> None:
        self.links.append((f"{self.prefix}{node.name}", module))
        self._go_on(node)

    def _elementwise(self, node: Any) -> None:
        target = node.target
        if target in ("contiguous", "float", "double"):
            self._go_on(node)
        elif target in _FUNCTIONS:
            kind, option = _FUNCTIONS[target]
            value = node.kwargs.get(option, (*node.args, None)[1])
            self._layer(node, kind() if value is None else kind(value))
        elif target in ("mean", torch.mean, "amax", torch.amax, "max", torch.max):
            time = 1 if getattr(self.last, "batch_first", True) else 0
            if node.kwargs.get("dim", (*node.args, None)[1]) != time:
                self._refuse(node)
            if target in ("max", torch.max):
                self._go_on(node, "largest")  # and where it stands
                return
            mean = target in ("mean", torch.mean)
            self._layer(node, modules.MeanOverTime() if mean else modules.MaxOverTime())
        else:
            self._refuse(node)


_FUNCTIONS = {
    function: (module, option)
    for module, option, functions in (
        (nn.ReLU, "", (functional.relu, torch.relu, "relu")),
        (nn.Tanh, "", (functional.tanh, torch.tanh, "tanh")),
        (nn.Sigmoid, "", (functional.sigmoid, torch.sigmoid, "sigmoid")),
        (nn.SiLU, "", (functional.silu,)),
        (nn.LeakyReLU, "negative_slope", (functional.leaky_relu,)),
        (nn.ELU, "alpha", (functional.elu,)),
        (nn.GELU, "approximate", (functional.gelu,)),
        (nn.Softplus, "beta", (functional.softplus,)),
        (nn.Softmax, "dim", (functional.softmax, torch.softmax, "softmax")),
        (nn.LogSoftmax, "dim", (functional.log_softmax, torch.log_softmax, "log_softmax")),
        (nn.Dropout, "p", (functional.dropout,)),
    )
    for function in functions
}
