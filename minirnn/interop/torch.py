"""PyTorch: models there and back, as ordinary PyTorch layers, and weights alone.

Each conversion runs both sides on random input of several shapes, with masks and initial states,
prints the largest difference, and raises `ConversionError` if it is above 1e-5 in float32 or 1e-10
in float64. ``verify=False`` leaves that out.

Needs PyTorch: ``pip install ".[torch]"`` in the folder of README.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from minirnn import checks
from minirnn.cells import GRUCell, LSTMCell, RNNCell
from minirnn.cells.cell import Cell
from minirnn.core import Layer, dtype_of
from minirnn.interop.gates import KINDS
from minirnn.interop.proof import (
    ConversionError,
    Pair,
    Side,
    base_of,
    missing,
    named_chain,
    prove,
)
from minirnn.interop.torch_weights import from_torch_layout, to_torch_layout
from minirnn.layers import (
    Dense,
    Dropout,
    Embedding,
    LastState,
    LastStep,
    LogSoftmax,
    MaxOverTime,
    MeanOverTime,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from minirnn.layers.normalization import LayerNorm
from minirnn.layers.parallel import Parallel
from minirnn.layers.rectifiers import ELU, GELU, LeakyReLU, SiLU, Softplus
from minirnn.layers.residual import Residual
from minirnn.models.sequential import Sequential
from minirnn.recurrent import GRU, LSTM, RNN, Bidirectional, Recurrent
from minirnn.typing import Array, Mask

try:
    import torch
    from torch import nn
except ImportError:
    raise missing("PyTorch", "torch") from None

from minirnn.interop import torch_modules as modules
from minirnn.interop.torch_graph import chain_of

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
    module = _module_of(model, "")
    module.train(model.training)
    if verify:
        _prove("to_torch", model, module, lambda: _pairs(named_chain(model), _leaves(module)))
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
    _batch_first(module)
    layers: list[Layer] = []
    pairs: list[tuple[str, Layer, Any]] = []
    for name, link in chain_of(module):
        own = list(_layers_of(link, name))
        layers += own
        if own:
            whole = own[0] if len(own) == 1 else Sequential(own)
            pairs.append((f"{name} ({type(link).__name__})", whole, link))
    if not layers:
        raise ConversionError(f"from_torch: {type(module).__name__} holds no layer")
    dtypes = {str(dtype) for layer in layers if (dtype := dtype_of(layer))}
    if len(dtypes) > 1:
        raise ConversionError(f"from_torch: the module has parameters of {sorted(dtypes)}")
    model = layers[0] if len(layers) == 1 else Sequential(layers)
    if module.training:
        model.train()
    else:
        model.eval()
    if verify:
        own_pairs = [(name, layer, _call(link)) for name, layer, link in pairs]
        _prove("from_torch", model, module, lambda: own_pairs)
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
    module = _module_of(model, "")
    module.load_state_dict(_matched(_grouped(module.state_dict()), _grouped(state_dict)))
    filled = from_torch(module.train(model.training), verify=False)
    for own, new in zip(model.parameters(), filled.parameters(), strict=True):
        own.value = new.value
    if verify:
        _prove("load_torch", model, module, lambda: _pairs(named_chain(model), _leaves(module)))


# ---------------------------------------------------------------- ours to theirs


def _module_of(model: Layer, name: str) -> Any:
    """Return the module of a layer; an error names the layer by `name`."""
    base = base_of(model, _TO_TORCH)
    where = name or type(model).__name__
    if base is None:
        raise ConversionError(f"to_torch: {where} has no counterpart in PyTorch")
    return _TO_TORCH[base](model, where)


def _chain(model: Any, name: str) -> Any:
    return modules.Chain(
        *(
            _module_of(layer, f"{type(layer).__name__} (layer {k} of {name})")
            for k, layer in enumerate(model)
        )
    )


def _parallel(model: Any, name: str) -> Any:
    parts = [
        _module_of(layer, f"{type(layer).__name__} (layer {k} of {name})")
        for k, layer in enumerate(model.layers)
    ]
    return modules.Parallel(parts, model.merge)


def _recurrent(model: Any, name: str) -> Any:
    cell = model.cell
    if model.stateful:
        raise ConversionError(
            f"to_torch: stateful=True of {name} has no counterpart in PyTorch: set "
            f"layer.stateful = False, and hand the module its states from call to call"
        )
    kind, options = _kind_of(cell, name)
    module = _blank(
        _LAYERS[kind], cell.input_size, cell.hidden_size, cell, batch_first=True, **options
    )
    _fill(module, _rows(kind, cell), suffix="_l0")
    return modules.Reversed(module) if model.reverse else module


def _bidirectional(model: Any, name: str) -> Any:
    one, two = model.forward_layer, model.backward_layer
    forwards = _recurrent(one, f"{name}, forward_layer")
    backwards = _recurrent(two, f"{name}, backward_layer").layer
    alike = one.hidden_size == two.hidden_size and type(forwards) is type(backwards)
    kind, options = _kind_of(one.cell, name)
    if not alike or options != _kind_of(two.cell, name)[1] or model.merge != "concat":
        return modules.Both(forwards, backwards, model.merge)
    options |= {"batch_first": True, "bidirectional": True}
    module = _blank(_LAYERS[kind], one.input_size, one.hidden_size, one.cell, **options)
    _fill(module, _rows(kind, one.cell), suffix="_l0")
    _fill(module, _rows(kind, two.cell), suffix="_l0_reverse")
    return module


def _cell(cell: Any, name: str) -> Any:
    kind, options = _kind_of(cell, name)
    module = _blank(_CELLS[kind], cell.input_size, cell.hidden_size, cell, **options)
    _fill(module, _rows(kind, cell))
    return module


def _kind_of(cell: Cell, name: str) -> tuple[str, dict[str, Any]]:
    """Return "rnn", "lstm" or "gru", and the keywords of PyTorch's module."""
    base = base_of(cell, KINDS)
    if base is None:
        raise ConversionError(
            f"to_torch: {name} has no counterpart in PyTorch: {type(cell).__name__} computes "
            f"something of its own"
        )
    activation = getattr(cell, "activation", "tanh")
    if activation not in ("tanh", "relu"):
        raise ConversionError(
            f"to_torch: activation={activation!r} of {name} has no counterpart in PyTorch, which "
            f"has tanh and relu"
        )
    if not getattr(cell, "reset_after", True):
        raise ConversionError(
            f"to_torch: reset_after=False of {name} has no counterpart in PyTorch, whose reset "
            f"gate acts after the product"
        )
    kind = KINDS[base]
    return kind, {"nonlinearity": activation} if kind == "rnn" else {}


def _rows(kind: str, cell: Cell) -> dict[str, Array]:
    return to_torch_layout(kind, {name: p.value for name, p in cell.named_parameters()})


def _dense(model: Any, name: str) -> Any:
    module = _blank(nn.Linear, model.input_size, model.output_size, model, bias=model.bias)
    return _fill(module, {"weight": model.W.value.T} | _bias("bias", model.b))


def _embedding(model: Any, name: str) -> Any:
    module = _blank(nn.Embedding, model.vocabulary_size, model.output_size, model)
    return _fill(module, {"weight": model.W.value})


def _layer_norm(model: Any, name: str) -> Any:
    dtype = torch.float64 if dtype_of(model) == np.float64 else torch.float32
    module = nn.LayerNorm(model.size, eps=model.epsilon, dtype=dtype)
    return _fill(module, {"weight": model.gain.value, "bias": model.b.value})


def _dropout(model: Any, name: str) -> Any:
    if model.shared_over_time:
        raise ConversionError(
            f"to_torch: shared_over_time=True of {name} has no counterpart in PyTorch"
        )
    return nn.Dropout(model.rate)


def _bias(name: str, parameter: Any) -> dict[str, Array]:
    return {} if parameter is None else {name: parameter.value}


def _blank(kind: Any, one: int, two: int, like: Layer, **options: Any) -> Any:
    """Make a module without initial weights, so without drawing from the global generator."""
    dtype = torch.float64 if dtype_of(like) == np.float64 else torch.float32
    return kind(one, two, dtype=dtype, device="meta", **options).to_empty(device="cpu")


def _fill(module: Any, arrays: Mapping[str, Array], suffix: str = "") -> Any:
    with torch.no_grad():
        for name, array in arrays.items():
            getattr(module, name + suffix).copy_(torch.tensor(array))
    return module


_LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
_CELLS = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}
_TO_TORCH: dict[type, Callable[[Any, str], Any]] = {
    Sequential: _chain,
    Residual: lambda model, name: modules.Residual(_module_of(model.layer, f"{name}, layer")),
    Parallel: _parallel,
    Recurrent: _recurrent,
    Bidirectional: _bidirectional,
    RNNCell: _cell,
    LSTMCell: _cell,
    GRUCell: _cell,
    Dense: _dense,
    Embedding: _embedding,
    LayerNorm: _layer_norm,
    Dropout: _dropout,
    LastStep: lambda model, name: modules.LastStep(),
    LastState: lambda model, name: modules.LastState(model.directions),
    MeanOverTime: lambda model, name: modules.MeanOverTime(),
    MaxOverTime: lambda model, name: modules.MaxOverTime(),
    Softmax: lambda model, name: nn.Softmax(dim=-1),
    Sigmoid: lambda model, name: nn.Sigmoid(),
    Tanh: lambda model, name: nn.Tanh(),
    ReLU: lambda model, name: nn.ReLU(),
    LogSoftmax: lambda model, name: nn.LogSoftmax(dim=-1),
    LeakyReLU: lambda model, name: nn.LeakyReLU(model.slope),
    ELU: lambda model, name: nn.ELU(model.alpha),
    GELU: lambda model, name: nn.GELU(approximate="tanh"),
    SiLU: lambda model, name: nn.SiLU(),
    Softplus: lambda model, name: nn.Softplus(threshold=50),
}


# ---------------------------------------------------------------- theirs to ours


def _layers_of(module: Any, name: str) -> Iterator[Layer]:
    """Yield the layers of a module that is no chain; none for the identity."""
    kind = type(module)
    if nn.utils.parametrize.is_parametrized(module) or module._forward_pre_hooks:
        raise ConversionError(
            f"from_torch: {name} ({kind.__name__}) is parametrised or has a hook, which has no "
            f"counterpart; remove it first, as with nn.utils.parametrize.remove_parametrizations"
        )
    if kind in (nn.RNN, nn.LSTM, nn.GRU):
        yield from _recurrent_layers(module, name)
    elif kind in (nn.RNNCell, nn.LSTMCell, nn.GRUCell):
        yield _own_cell(module)
    elif kind is modules.Both:
        (one,), (two,) = (
            list(_layers_of(part, name)) for part in (module.forwards, module.backwards)
        )
        yield Bidirectional(one, two, merge=module.merge)  # type: ignore[arg-type]
    elif kind is modules.Residual:
        yield Residual(_model_of(module.layer, name))
    elif kind is modules.Parallel:
        yield Parallel([_model_of(part, name) for part in module.layers], merge=module.merge)
    elif kind is modules.Reversed:
        (layer,) = _layers_of(module.layer, name)
        layer.reverse = True  # type: ignore[attr-defined]
        yield layer
    elif kind in _TO_MINIRNN:
        yield _TO_MINIRNN[kind](module, name)
    elif kind is not nn.Identity:
        raise ConversionError(f"from_torch: {name} ({kind.__name__}) has no counterpart in minirnn")


def _model_of(module: Any, name: str) -> Layer:
    """Return the layers of a module as one."""
    layers = [own for inner, link in chain_of(module, name) for own in _layers_of(link, inner)]
    return layers[0] if len(layers) == 1 else Sequential(layers)


def _recurrent_layers(module: Any, name: str) -> Iterator[Layer]:
    if getattr(module, "proj_size", 0):
        raise ConversionError(
            f"from_torch: proj_size={module.proj_size} of {name} has no counterpart in minirnn"
        )
    for k in range(module.num_layers):
        if k and module.dropout:
            yield Dropout(module.dropout)
        own = [
            _own_layer(module, k, suffix) for suffix in ("", "_reverse")[: 1 + module.bidirectional]
        ]
        yield Bidirectional(*own) if module.bidirectional else own[0]


def _own_layer(module: Any, k: int, suffix: str) -> Recurrent:
    kind = type(module).__name__.lower()
    names = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if module.bias else ()))
    weights = [_array(getattr(module, f"{name}_l{k}{suffix}")) for name in names]
    layer_class: Any = {"rnn": RNN, "lstm": LSTM, "gru": GRU}[kind]
    options = {"activation": module.nonlinearity} if kind == "rnn" else {}
    layer: Recurrent = layer_class(
        weights[0].shape[1],
        module.hidden_size,
        reverse=bool(suffix),
        rng=0,
        dtype=weights[0].dtype,
        **options,
    )
    layer.cell.load_state_dict(from_torch_layout(kind, *weights))
    return layer


def _own_cell(module: Any) -> Cell:
    kind = type(module).__name__.removesuffix("Cell").lower()
    names = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if module.bias else ()))
    weights = [_array(getattr(module, name)) for name in names]
    cell_class: Any = {"rnn": RNNCell, "lstm": LSTMCell, "gru": GRUCell}[kind]
    options = {"activation": module.nonlinearity} if kind == "rnn" else {}
    sizes = module.input_size, module.hidden_size
    cell: Cell = cell_class(*sizes, rng=0, dtype=weights[0].dtype, **options)
    cell.load_state_dict(from_torch_layout(kind, *weights))
    return cell


def _own_dense(module: Any, name: str) -> Layer:
    weight, bias = _array(module.weight), module.bias
    layer = Dense(*weight.T.shape, bias=bias is not None, rng=0, dtype=weight.dtype)
    layer.load_state_dict({"W": weight.T} | ({} if bias is None else {"b": _array(bias)}))
    return layer


def _own_embedding(module: Any, name: str) -> Layer:
    if module.max_norm is not None:
        raise ConversionError(
            f"from_torch: max_norm={module.max_norm} of {name} has no counterpart in minirnn"
        )
    weight = _array(module.weight)
    layer = Embedding(*weight.shape, rng=0, dtype=weight.dtype)
    layer.W.value = weight
    return layer


def _own_norm(module: Any, name: str) -> Layer:
    if len(module.normalized_shape) != 1 or module.weight is None:
        raise ConversionError(
            f"from_torch: {name} (LayerNorm) over several axes, or without weights, has no "
            f"counterpart in minirnn"
        )
    gain = _array(module.weight)
    layer = LayerNorm(len(gain), epsilon=module.eps, dtype=gain.dtype)
    layer.gain.value = gain
    if module.bias is not None:
        layer.b.value = _array(module.bias)
    return layer


def _own_gelu(module: Any, name: str) -> Layer:
    if module.approximate != "tanh":
        raise ConversionError(
            f"from_torch: approximate={module.approximate!r} of {name} (GELU) has no counterpart "
            f"in minirnn, which has approximate='tanh'"
        )
    return GELU()


def _own_softplus(module: Any, name: str) -> Layer:
    if module.beta != 1:
        raise ConversionError(
            f"from_torch: beta={module.beta} of {name} (Softplus) has no counterpart in minirnn"
        )
    return Softplus()


def _own_last_state(module: Any, name: str) -> Layer:
    layer = LastState()
    layer.directions = module.directions
    return layer


def _own_softmax(module: Any, name: str) -> Layer:
    if module.dim not in (-1, 2):
        raise ConversionError(
            f"from_torch: dim={module.dim} of {name} has no counterpart in minirnn, where it is "
            f"over the last axis: write dim=-1"
        )
    return Softmax() if type(module) is nn.Softmax else LogSoftmax()


_TO_MINIRNN: dict[Any, Callable[[Any, str], Layer]] = {
    nn.Linear: _own_dense,
    nn.Embedding: _own_embedding,
    nn.Dropout: lambda module, name: Dropout(module.p),
    modules.LastStep: lambda module, name: LastStep(),
    nn.Softmax: _own_softmax,
    nn.Sigmoid: lambda module, name: Sigmoid(),
    nn.Tanh: lambda module, name: Tanh(),
    nn.ReLU: lambda module, name: ReLU(),
    nn.LayerNorm: _own_norm,
    nn.LogSoftmax: _own_softmax,
    nn.LeakyReLU: lambda module, name: LeakyReLU(module.negative_slope),
    nn.ELU: lambda module, name: ELU(module.alpha),
    nn.GELU: _own_gelu,
    nn.SiLU: lambda module, name: SiLU(),
    nn.Softplus: _own_softplus,
    modules.LastState: _own_last_state,
    modules.MeanOverTime: lambda module, name: MeanOverTime(),
    modules.MaxOverTime: lambda module, name: MaxOverTime(),
}


def _array(tensor: Any) -> Array:
    if tensor.dtype not in (torch.float32, torch.float64):
        raise ConversionError(
            f"from_torch: the weights are {tensor.dtype}; minirnn has float32 and float64: convert "
            f"with module.float()"
        )
    array: Array = tensor.detach().cpu().numpy().copy()
    return array


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


# ---------------------------------------------------------------- both sides, side by side


_AWARE = (  # of masks and states
    nn.RNNBase,
    modules.Chain,
    modules.Both,
    modules.Reversed,
    modules.Residual,
    modules.Parallel,
)


def _prove(what: str, model: Layer, module: Any, pairs: Callable[[], Iterable[Pair]]) -> None:
    """Compare a model with a module, in evaluation mode; masks and states where it takes them."""
    aware = isinstance(module, _AWARE)
    cell = isinstance(module, nn.RNNCellBase)
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        masks = aware or getattr(module, "takes_mask", False)
        prove(what, model, _side(module), masks=masks, states=aware or cell, pairs=pairs)
    finally:
        for part, training in modes:
            part.training = training


def _side(module: Any) -> Side:
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
            if not stateful and not _batch_first(module):
                y = module(inputs.transpose(0, 1))
                return (y.transpose(0, 1) if y.ndim > 2 else y).cpu().numpy(), None
            y, final = modules.run(module, inputs, given, first)
            flat = [array.cpu().numpy() for array in _flat(module, final)] if stateful else None
            return y.cpu().numpy(), flat

    return run


def _batch_first(module: Any) -> bool:
    """Whether a module of a user's takes the batch first; its recurrent layers decide."""
    found = {part.batch_first for part in module.modules() if isinstance(part, nn.RNNBase)}
    if len(found) > 1:
        raise ConversionError(
            f"from_torch: {type(module).__name__} has recurrent layers with batch_first=True and "
            f"with batch_first=False"
        )
    return found != {False}


def _state_of(module: Any, arrays: Iterator[Any]) -> Any:
    """Take what the module needs as initial state from the flat list, in its own form."""
    if isinstance(module, modules.Chain):
        return tuple(_state_of(layer, arrays) for layer in module)
    if isinstance(module, modules.Both):
        return _state_of(module.forwards, arrays), _state_of(module.backwards, arrays)
    if isinstance(module, modules.Reversed | modules.Residual):
        return _state_of(module.layer, arrays)
    if isinstance(module, modules.Parallel):
        return tuple(_state_of(layer, arrays) for layer in module.layers)
    if isinstance(module, nn.RNNCellBase):
        return (next(arrays), next(arrays)) if isinstance(module, nn.LSTMCell) else next(arrays)
    if isinstance(module, nn.RNNBase):
        names = 2 if isinstance(module, nn.LSTM) else 1
        count = module.num_layers * (2 if module.bidirectional else 1)
        own = [[next(arrays) for _ in range(names)] for _ in range(count)]
        stacked = tuple(torch.stack(one) for one in zip(*own, strict=True))
        return stacked if names == 2 else stacked[0]
    return None


def _flat(module: Any, state: Any) -> Iterator[Any]:
    """Yield the arrays of the module's state in minirnn's order: the inverse of `_state_of`."""
    if isinstance(module, modules.Chain):
        for layer, own in zip(module, state, strict=True):
            yield from _flat(layer, own)
    elif isinstance(module, modules.Both):
        yield from _flat(module.forwards, state[0])
        yield from _flat(module.backwards, state[1])
    elif isinstance(module, modules.Reversed | modules.Residual):
        yield from _flat(module.layer, state)
    elif isinstance(module, modules.Parallel):
        for layer, own in zip(module.layers, state, strict=True):
            yield from _flat(layer, own)
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


def _pairs(named: Iterable[tuple[str, Layer]], links: Iterable[Any]) -> Iterator[Pair]:
    for (name, layer), link in zip(named, links, strict=True):
        yield name, layer, _call(link)


def _call(link: Any) -> Callable[[Array, Mask | None], Array]:
    return lambda x, mask: _side(link)(x, mask, None)[0]
