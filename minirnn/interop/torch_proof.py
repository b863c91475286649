"""A PyTorch module and a minirnn model, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn

from minirnn.core import Layer
from minirnn.interop import torch_modules as modules
from minirnn.interop.proof import ConversionError, Pair, Side, named_chain, prove
from minirnn.typing import Array, Mask

__all__ = ["call", "is_batch_first", "pairs", "prove_module", "side"]


_AWARE = (  # of masks and states
    nn.RNNBase,
    modules.Chain,
    modules.Both,
    modules.Reversed,
    modules.Residual,
    modules.Parallel,
)


def prove_module(what: str, model: Layer, module: Any, pairs: Callable[[], Iterable[Pair]]) -> None:
    """Compare a model with a module, in evaluation mode; masks and states where it takes them."""
    aware = isinstance(module, _AWARE)
    cell = isinstance(module, nn.RNNCellBase)
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        masks = aware or getattr(module, "takes_mask", False)
        prove(what, model, side(module), masks=masks, states=aware or cell, pairs=pairs)
    finally:
        for part, training in modes:
            part.training = training


def side(module: Any) -> Side:
    """Return the module as a function on arrays, its states a flat list in minirnn's order."""
    device = next((tensor.device for tensor in module.state_dict().values()), None)
    stateful = isinstance(module, _AWARE)

    def run(x: Array, mask: Mask | None, state: list[Array] | None) -> tuple[Array, Any]:
        with torch.no_grad():
            inputs = torch.tensor(x, device=device)
            arrays = iter(() if state is None else [torch.tensor(a, device=device) for a in state])
            first = None if state is None else _state_of(module, arrays)
            if isinstance(module, nn.RNNCellBase):
                final = module(inputs, first)
                y = final[0] if isinstance(final, tuple) else final
                return y.cpu().numpy(), [array.cpu().numpy() for array in _flat(module, final)]
            given = None if mask is None else torch.tensor(mask, device=device)
            if not stateful and not is_batch_first(module):
                y = module(inputs.transpose(0, 1))
                return (y.transpose(0, 1) if y.ndim > 2 else y).cpu().numpy(), None
            y, final = modules.run(module, inputs, given, first)
            flat = [array.cpu().numpy() for array in _flat(module, final)] if stateful else None
            return y.cpu().numpy(), flat

    return run


def is_batch_first(module: Any) -> bool:
    """Whether a module of a user's takes the batch first; its recurrent layers decide."""
    found = {part.batch_first for part in module.modules() if isinstance(part, nn.RNNBase)}
    if len(found) > 1:
        raise ConversionError(
            f"from_torch: {type(module).__name__} has recurrent layers with batch_first=True and "
            f"with batch_first=False"
        )
    return found != {False}


def _parts(module: Any) -> list[Any] | None:
    """Return the modules whose states, one after the other, are the tuple that a module takes."""
    if isinstance(module, modules.Both):
        return [module.forwards, module.backwards]
    if isinstance(module, modules.Chain | modules.Parallel):
        return list(module if isinstance(module, modules.Chain) else module.layers)
    return None


def _state_of(module: Any, arrays: Iterator[Any]) -> Any:
    """Take what the module needs as initial state from the flat list, in its own form."""
    if isinstance(module, modules.Reversed | modules.Residual):
        return _state_of(module.layer, arrays)
    parts = _parts(module)
    if parts is not None:
        return tuple(_state_of(part, arrays) for part in parts)
    names = 2 if isinstance(module, nn.LSTM | nn.LSTMCell) else 1
    if isinstance(module, nn.RNNCellBase):
        own = [next(arrays) for _ in range(names)]
    elif isinstance(module, nn.RNNBase):
        count = module.num_layers * (2 if module.bidirectional else 1)
        rows = [[next(arrays) for _ in range(names)] for _ in range(count)]
        own = [torch.stack(one) for one in zip(*rows, strict=True)]
    else:
        return None
    return tuple(own) if names == 2 else own[0]


def _flat(module: Any, state: Any) -> Iterator[Any]:
    """Yield the arrays of the module's state in minirnn's order: the inverse of `_state_of`."""
    parts = _parts(module)
    if isinstance(module, modules.Reversed | modules.Residual):
        yield from _flat(module.layer, state)
    elif parts is not None:
        for part, own in zip(parts, state, strict=True):
            yield from _flat(part, own)
    elif isinstance(module, nn.RNNCellBase):
        yield from state if isinstance(state, tuple) else (state,)
    elif isinstance(module, nn.RNNBase):
        for arrays in zip(*(state if isinstance(state, tuple) else (state,)), strict=True):
            yield from arrays


def _leaves(module: Any) -> Iterator[Any]:
    """Yield the modules inside nested chains, in order."""
    if isinstance(module, modules.Chain):
        for layer in module:
            yield from _leaves(layer)
    else:
        yield module


def pairs(model: Layer, module: Any) -> Iterator[Pair]:
    """Yield the layers one by one, each with its module."""
    for (name, layer), link in zip(named_chain(model), _leaves(module), strict=True):
        yield name, layer, call(link)


def call(link: Any) -> Callable[[Array, Mask | None], Array]:
    """Return a module as a function of input and mask, to its output."""
    return lambda x, mask: side(link)(x, mask, None)[0]
