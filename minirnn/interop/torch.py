"""PyTorch: models there and back, as ordinary PyTorch layers, and weights alone.

Needs PyTorch: ``pip install ".[torch]"`` in the folder of README.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeAlias

from minirnn import checks
from minirnn.core import Layer
from minirnn.errors import missing
from minirnn.interop.counterparts import ConversionError, check_dtype, named_chain, titled
from minirnn.interop.proof import Part, Run, assembled, flat, prove
from minirnn.typing import Array, Mask

try:
    import torch
    from torch import nn
except ImportError:
    raise missing("PyTorch", "torch") from None

from minirnn.interop import torch_modules as modules
from minirnn.interop.torch_graph import evaluating, is_batch_first, links, read
from minirnn.interop.torch_layers import module_of

__all__ = ["ConversionError", "from_torch", "load_torch", "to_torch"]


def to_torch(model: Layer, *, verify: bool = True) -> Any:
    """Return a PyTorch module of ordinary PyTorch layers with the same numbers.

    Parameters
    ----------
    model : Layer or Cell
        It stays as it is, and shares no memory with the module.
    verify : bool
        Compare both sides, and print the largest difference.

    Returns
    -------
    torch.nn.Module
        A `Sequential` becomes a chain, an ``nn.Sequential`` that is called as ``module(x)``,
        ``module(x, mask)``, or ``module(x, mask, state, return_state=True)`` for
        ``(y, state)``: states as PyTorch's layers have them. A recurrent layer alone becomes
        ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU``, batch first. In the mode of the model: training or
        evaluation.

    Raises
    ------
    ConversionError
        For what PyTorch has no counterpart to, by name; or if the two sides differ.

    Examples
    --------
    >>> from minirnn import LSTM, Dense, Sequential
    >>> module = to_torch(Sequential([LSTM(3, 4, rng=0), Dense(4, 2, rng=1)]))
    to_torch: largest difference ... runs (float32, at most 1e-05)
    >>> module
    Chain(
      (0): LSTM(3, 4, batch_first=True)
      (1): Linear(in_features=4, out_features=2, bias=True)
    )
    """
    checks.instance("to_torch", "model", model, Layer)
    check_dtype("to_torch", model)
    module = module_of(model)
    module.train(model.training)
    if verify:
        _prove("to_torch", model, module, _parts(model, module))
    return module


def from_torch(module: Any, *, verify: bool = True) -> Layer:
    """Return a minirnn model with the numbers of a PyTorch module.

    Parameters
    ----------
    module : torch.nn.Module
        ``nn.RNN``, ``nn.LSTM``, ``nn.GRU`` (several layers, both directions), their cells,
        ``nn.Linear``, ``nn.Embedding``, ``nn.LayerNorm``, ``nn.Dropout``, activations,
        ``nn.Sequential``; or a class of your own whose ``forward`` applies these one after the
        other, such as embedding, LSTM, ``[:, -1]``, linear, or in branches that meet in a sum, a
        product or ``torch.cat``. It stays as it is.
    verify : bool
        Compare both sides, and print the largest difference.

    Returns
    -------
    Layer
        A `Sequential` where there are several layers, else the layer; a `Cell` for a cell. It is
        batch first, also where ``batch_first=False``. In the module's mode: training or evaluation.

    Raises
    ------
    ConversionError
        For what minirnn has no counterpart to, by name; or if the two sides differ.

    Examples
    --------
    >>> model = from_torch(torch.nn.GRU(3, 4, num_layers=2, bidirectional=True))
    from_torch: largest difference ... runs (float32, at most 1e-05)
    >>> [type(layer).__name__ for layer in model], model[1].output_size
    (['Bidirectional', 'Bidirectional'], 8)
    """
    checks.instance("from_torch", "module", module, nn.Module)
    for place, part in module.named_modules():
        hooks = part._forward_pre_hooks or part._forward_hooks or "forward" in vars(part)
        if hooks or nn.utils.parametrize.is_parametrized(part):
            raise ConversionError(
                f"from_torch: {titled(place, part)} is parametrised, has a hook or another "
                f"forward, which has no counterpart; remove it first, as with "
                f"nn.utils.parametrize.remove_parametrizations"
            )
    found = read(module, batch_first=is_batch_first(module))
    parts = [(title, layers, run_of(part)) for title, layers, part in found]
    model = assembled("from_torch", type(module).__name__, parts)
    if not module.training:  # where a model begins
        model.eval()
    if verify:
        _prove("from_torch", model, module, parts)
    return model


def load_torch(model: Layer, state_dict: Mapping[str, Any], *, verify: bool = True) -> None:
    """Take over the weights of a PyTorch ``state_dict``, all of them or none.

    The parameters are those of modules; each module's go to the next layers of the model that have
    parameters, in the order of both. So the names do not matter, and the order does.

    Parameters
    ----------
    model : Layer or Cell
        With the layers, sizes and dtype of the module that the weights come from.
    state_dict : mapping from names to tensors
        What ``module.state_dict()`` returns, or a file of it that was loaded.
    verify : bool
        Compare each layer with PyTorch's layer of these weights, and print the largest difference.

    Raises
    ------
    ConversionError
        If layers and weights do not match, by name; or if the two sides differ.

    Examples
    --------
    >>> from minirnn import LSTM
    >>> layer = LSTM(3, 4, rng=0)
    >>> load_torch(layer, torch.nn.LSTM(3, 4).state_dict())
    load_torch: largest difference ... runs (float32, at most 1e-05)
    """
    checks.instance("load_torch", "model", model, Layer)
    checks.instance("load_torch", "state_dict", state_dict, Mapping)
    module = module_of(model)
    module.load_state_dict(_matched(_grouped(module.state_dict()), _grouped(state_dict)))
    filled = from_torch(module.train(model.training), verify=False)
    for own, new in zip(model.parameters(), filled.parameters(), strict=True):
        own.value = new.value
    if verify:
        _prove("load_torch", model, module, _parts(model, module))


# ---------------------------------------------------------------- weights alone


_Groups: TypeAlias = "dict[str, dict[str, tuple[str, Any]]]"


def _grouped(state_dict: Mapping[str, Any]) -> _Groups:
    """Return the tensors of each layer: by its name, by theirs, with the key they stand under.

    Each of the layers of an ``nn.LSTM(..., num_layers=2)`` is one of its own, both directions of
    one are not.
    """
    groups: _Groups = {}
    for key, tensor in state_dict.items():
        prefix, _, name = key.rpartition(".")
        numbered = re.fullmatch(r"(.+)_l(\d+)(_reverse)?", name)
        if numbered:
            name = numbered[1] + (numbered[3] or "")
            prefix += f" (layer {numbered[2]} of it)" * (numbered[2] != "0")
        groups.setdefault(prefix or "the module", {})[name] = (key, tensor)
    return groups


def _matched(own: _Groups, given: _Groups) -> dict[str, Any]:
    """Return the given tensors under our keys: the k-th layer's for our k-th, names aside."""
    if len(own) != len(given):
        raise ConversionError(
            f"load_torch: the weights are those of {len(given)} layers ({', '.join(given)}), the "
            f"model has {len(own)} with parameters"
        )
    found: dict[str, Any] = {}
    for (place, wanted), (source, tensors) in zip(own.items(), given.items(), strict=True):
        if "weight_ih" in wanted or wanted["weight"][1].ndim == 1:  # maybe with bias=False
            absent = [name for name in wanted if name.startswith("bias") and name not in tensors]
            tensors = tensors | {name: ("", torch.zeros_like(wanted[name][1])) for name in absent}
        expected, got = (
            sorted(
                f"{name} {tuple(torch.as_tensor(one).shape)}" for name, (_, one) in group.items()
            )
            for group in (wanted, tensors)
        )
        if expected != got:
            raise ConversionError(
                f"load_torch: the weights of {source} do not fit layer {place} of the model: in "
                f"PyTorch's layout it has {', '.join(expected)}, got {', '.join(got)}"
            )
        found |= {key: torch.as_tensor(tensors[name][1]) for name, (key, _) in wanted.items()}
    return found


# ---------------------------------------------------------------- both sides, side by side


def _prove(what: str, model: Layer, module: Any, parts: Iterable[Part]) -> None:
    """Compare a model with a module, in evaluation mode; masks and states where it takes them."""
    both, plain = (False, True), (False,)
    stateful = modules.has_state(module)
    masks = both if stateful or isinstance(module, modules.OverTime) else plain
    states = both if stateful or isinstance(module, nn.RNNCellBase) else plain
    with evaluating(module):
        prove(what, model, run_of(module), masks=masks, states=states, parts=parts)


def _parts(model: Layer, module: Any) -> Iterator[Part]:
    for (place, layer), (_, link) in zip(named_chain(model), links(module), strict=True):
        yield titled(place, layer), [layer], run_of(link)


def run_of(module: Any) -> Run:
    """Return the module as a function on arrays, its states a flat list in minirnn's order."""
    device = next((tensor.device for tensor in module.state_dict().values()), None)

    def call(x: Any, mask: Any, state: Any) -> tuple[Any, Any]:
        if isinstance(module, nn.RNNCellBase):
            final = module(x, state)
            return (final[0] if isinstance(final, tuple) else final), final
        if modules.has_state(module) or is_batch_first(module):
            return modules.run(module, x, mask, state)
        y = module(x.transpose(0, 1))
        return (y.transpose(0, 1) if y.ndim > 2 else y), None

    def run(x: Array, mask: Mask | None, state: list[Array] | None) -> tuple[Array, Any]:
        with torch.no_grad():
            inputs = torch.tensor(x, device=device)
            valid = None if mask is None else torch.tensor(mask, device=device)
            first = None
            if state is not None:
                _, first = call(inputs, valid, None)  # for its form
                for tensor, array in zip(_cells(module, first), state, strict=True):
                    tensor.copy_(torch.tensor(array))
            y, final = call(inputs, valid, first)
        return y.cpu().numpy(), [tensor.cpu().numpy() for tensor in _cells(module, final)] or None

    return run


def _cells(module: Any, state: Any) -> Iterator[Any]:
    """Yield views of a module's states in minirnn's order, cell by cell.

    An nn.LSTM of two layers has one tensor for both h and one for both c.
    """
    tensors = iter(flat(state))
    for part in module.modules():
        own = islice(tensors, 2 if isinstance(part, nn.LSTM | nn.LSTMCell) else 1)
        if isinstance(part, nn.RNNCellBase):
            yield from own
        elif isinstance(part, nn.RNNBase):
            for arrays in zip(*own, strict=True):
                yield from arrays
