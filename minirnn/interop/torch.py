"""PyTorch: models there and back, as ordinary PyTorch layers, and weights alone.

Each conversion runs both sides on random input of several shapes, with masks and initial states,
prints the largest difference, and raises `ConversionError` if it is above 1e-5 in float32 or 1e-10
in float64. ``verify=False`` leaves that out.

Needs PyTorch: ``pip install ".[torch]"`` in the folder of README.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from minirnn import checks
from minirnn.core import Layer
from minirnn.interop.proof import ConversionError, Pair, chained, check_dtype, missing

try:
    import torch
    from torch import nn
except ImportError:
    raise missing("PyTorch", "torch") from None

from minirnn.interop.torch_export import module_of
from minirnn.interop.torch_graph import chain_of
from minirnn.interop.torch_import import layers_of
from minirnn.interop.torch_proof import call, is_batch_first, pairs, prove_module

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
    module = module_of(model, "")
    module.train(model.training)
    if verify:
        prove_module("to_torch", model, module, lambda: pairs(model, module))
    return module


def from_torch(module: Any, *, verify: bool = True) -> Layer:
    """Return a minirnn model with the numbers of a PyTorch module.

    Parameters
    ----------
    module : torch.nn.Module
        ``nn.RNN``, ``nn.LSTM``, ``nn.GRU`` (several layers, both directions), their cells,
        ``nn.Linear``, ``nn.Embedding``, ``nn.LayerNorm``, ``nn.Dropout``, activations,
        ``nn.Sequential``; or a class of your own whose ``forward`` is a chain of these, such as
        embedding, LSTM, ``[:, -1]``, linear. It stays as it is.
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
    is_batch_first(module)
    layers: list[Layer] = []
    linked: list[Pair] = []
    for name, link in chain_of(module):
        own = list(layers_of(link, name))
        layers += own
        if own:
            linked.append((f"{name} ({type(link).__name__})", chained(own), call(link)))
    if not layers:
        raise ConversionError(f"from_torch: {type(module).__name__} holds no layer")
    model = chained(layers)
    check_dtype("from_torch", model)
    if module.training:
        model.train()
    else:
        model.eval()
    if verify:
        prove_module("from_torch", model, module, lambda: linked)
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
    module = module_of(model, "")
    module.load_state_dict(_matched(_grouped(module.state_dict()), _grouped(state_dict)))
    filled = from_torch(module.train(model.training), verify=False)
    for own, new in zip(model.parameters(), filled.parameters(), strict=True):
        own.value = new.value
    if verify:
        prove_module("load_torch", model, module, lambda: pairs(model, module))


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
    found = {}
    for (place, wanted), (source, tensors) in zip(own.items(), given.items(), strict=True):
        where = f"load_torch: the weights of {source} do not fit layer {place} of the model"
        unexpected = [name for name in tensors if name not in wanted]
        if unexpected:
            raise ConversionError(f"{where}: it has no {', '.join(unexpected)}")
        norm = "weight" in wanted and wanted["weight"][1].ndim == 1
        for name, (key, like) in wanted.items():
            if name in tensors:
                tensor = torch.as_tensor(tensors[name][1])
            elif name.startswith("bias") and ("weight_ih" in wanted or norm):
                tensor = torch.zeros_like(like)  # of a module with bias=False
            else:
                raise ConversionError(f"{where}: {name} is missing")
            if tensor.shape != like.shape:
                raise ConversionError(
                    f"{where}: {name} should be {tuple(like.shape)} in PyTorch's layout, got "
                    f"{tuple(tensor.shape)}"
                )
            found[key] = tensor
    return found
