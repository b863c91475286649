"""Which PyTorch module is the counterpart of which layer, and the way from one to the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from minirnn import layers as ours
from minirnn.cells import GRUCell, LSTMCell, RNNCell
from minirnn.core import Layer, dtype_of
from minirnn.interop import torch_modules as modules
from minirnn.interop import weights
from minirnn.interop.counterparts import ConversionError, Plain, base_of, inner, refuse, titled
from minirnn.models.sequential import Sequential
from minirnn.recurrent import Bidirectional, Recurrent
from minirnn.typing import Array

_LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
_CELLS = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}
_PLAIN = (
    Plain(ours.LastStep, modules.LastStep),
    Plain(ours.MeanOverTime, modules.MeanOverTime),
    Plain(ours.MaxOverTime, modules.MaxOverTime),
    Plain(ours.Dropout, nn.Dropout, {"rate": "p"}, own={"shared_over_time": False}),
    Plain(ours.Softmax, nn.Softmax, fixed={"dim": (-1, 2)}),
    Plain(ours.LogSoftmax, nn.LogSoftmax, fixed={"dim": (-1, 2)}),
    Plain(ours.Sigmoid, nn.Sigmoid),
    Plain(ours.Tanh, nn.Tanh),
    Plain(ours.ReLU, nn.ReLU),
    Plain(ours.LeakyReLU, nn.LeakyReLU, {"slope": "negative_slope"}),
    Plain(ours.ELU, nn.ELU, {"alpha": "alpha"}),
    Plain(ours.GELU, nn.GELU, fixed={"approximate": ("tanh",)}),
    Plain(ours.SiLU, nn.SiLU),
    # Beyond the threshold the module returns x itself; at PyTorch's own, 20, it is x to 1e-10.
    Plain(ours.Softplus, nn.Softplus, fixed={"beta": (1,), "threshold": (50, 20)}),
)
_BY_OURS = {row.ours: row for row in _PLAIN}
_BY_THEIRS = {row.theirs: row for row in _PLAIN}

# ---------------------------------------------------------------- to PyTorch


def module_of(model: Any, place: str = "") -> Any:
    """Return the module of a layer; an error names the layer by its place in the model."""
    base: Any = base_of(model, [*_TO_TORCH, *_BY_OURS])
    if base is None:
        _not_there(titled(place, model))
    if base in _TO_TORCH:
        return _TO_TORCH[base](model, place)
    row = _BY_OURS[base]
    if row.lacks(model):
        _not_there(f"{row.lacks(model)} of {titled(place, model)}")
    return row.theirs(**row.keywords(model))


_not_there = partial(refuse, "to_torch", "PyTorch")


def _inside(model: Any, place: str) -> list[Any]:
    """Return the modules of the layers that stand in another one."""
    if isinstance(model, ours.Residual | Bidirectional):
        parts = {name: one for name, one in vars(model).items() if isinstance(one, Layer)}
    else:
        parts = {str(k): one for k, one in enumerate(model.layers)}
    return [module_of(one, inner(place, name)) for name, one in parts.items()]


def _recurrent(model: Any, place: str) -> Any:
    if model.stateful:
        _not_there(
            f"stateful=True of {titled(place, model)}",
            "set layer.stateful = False, and hand the module its states from call to call",
        )
    module = _of_cells(_LAYERS, model.cell, place, model, batch_first=True)
    return modules.Reversed(module) if model.reverse else module


def _bidirectional(model: Any, place: str) -> Any:
    both = _inside(model, place)
    one, two = model.forward_layer.cell, model.backward_layer.cell
    alike = type(both[0]) is type(both[1].layer) and one.hidden_size == two.hidden_size
    if not alike or _options(one) != _options(two) or model.merge != "concat":
        return modules.Parallel(both, model.merge)
    module = _of_cells(_LAYERS, one, place, model, batch_first=True, bidirectional=True)
    return _fill(
        module, weights.to_torch_layout(weights.kind_of(two), two.state_dict()), "_l0_reverse"
    )


def _options(cell: Any) -> dict[str, Any]:
    return {"nonlinearity": cell.activation} if isinstance(cell, RNNCell) else {}


def _of_cells(kinds: Any, cell: Any, place: str, model: Layer, **options: Any) -> Any:
    """Return the module of one cell, or of a layer of such cells, with the weights of one."""
    name = titled(place, model)
    kind = weights.kind_of(cell)
    if not kind:
        _not_there(name, f"{type(cell).__name__} computes something of its own")
    activation = getattr(cell, "activation", "tanh")
    if activation not in ("tanh", "relu"):
        _not_there(f"activation={activation!r} of {name}", "PyTorch has tanh and relu")
    if not getattr(cell, "reset_after", True):
        _not_there(f"reset_after=False of {name}", "there the reset gate acts after the product")
    options |= _options(cell)
    module = _blank(kinds[kind], cell, cell.input_size, cell.hidden_size, **options)
    arrays = weights.to_torch_layout(kind, cell.state_dict())
    return _fill(module, arrays, "_l0" if kinds is _LAYERS else "")


def _weighted(module: Any, model: Layer) -> Any:
    """Return the module with the numbers of our layer, whose matrices PyTorch has transposed."""
    weight, *bias = (parameter.value for parameter in model.parameters())
    weight = weight.T if isinstance(model, ours.Dense) else weight
    return _fill(module, {"weight": weight} | dict(zip(["bias"], bias, strict=False)))


def _blank(kind: Any, like: Layer, *sizes: int, **options: Any) -> Any:
    """Make a module without initial weights, so without drawing from the global generator."""
    dtype = getattr(torch, str(dtype_of(like)))
    return kind(*sizes, dtype=dtype, device="meta", **options).to_empty(device="cpu")


def _fill(module: Any, arrays: Mapping[str, Array], suffix: str = "") -> Any:
    with torch.no_grad():
        for name, array in arrays.items():
            getattr(module, name + suffix).copy_(torch.tensor(array))
    return module


_TO_TORCH: dict[type, Callable[[Any, str], Any]] = {
    Sequential: lambda model, place: modules.Chain(*_inside(model, place)),
    ours.Residual: lambda model, place: modules.Residual(*_inside(model, place)),
    ours.Parallel: lambda model, place: modules.Parallel(_inside(model, place), model.merge),
    Recurrent: _recurrent,
    Bidirectional: _bidirectional,
    **dict.fromkeys(
        (RNNCell, LSTMCell, GRUCell), lambda cell, place: _of_cells(_CELLS, cell, place, cell)
    ),
    ours.Dense: lambda model, place: _weighted(
        _blank(nn.Linear, model, *model.W.shape, bias=model.bias), model
    ),
    ours.Embedding: lambda model, place: _weighted(
        _blank(nn.Embedding, model, *model.W.shape), model
    ),
    ours.LayerNorm: lambda model, place: _weighted(
        _blank(nn.LayerNorm, model, model.size, eps=model.epsilon), model
    ),
    ours.LastState: lambda model, place: modules.LastState(model.directions),
}

# ---------------------------------------------------------------- from PyTorch


def layers_of(module: Any, place: str) -> Iterator[Layer]:
    """Yield the layers of a module that is no chain; none for the identity."""
    kind = type(module)
    title = titled(place, module)
    if kind in _BY_THEIRS:
        row, options = _BY_THEIRS[kind], vars(module)
        unlike = row.unlike(options)
        if unlike:
            known = ", ".join(f"{key}={values[0]!r}" for key, values in row.fixed.items())
            _not_here(f"{unlike} of {title}", f"minirnn has {known}")
        yield row.layer(options)
    elif kind in _LAYERS.values():
        yield from _own_stack(module, title)
    elif kind in _CELLS.values():
        yield _own_recurrent(module).cell
    elif kind in _TO_MINIRNN:
        yield _TO_MINIRNN[kind](module, title)
    elif kind is not nn.Identity:
        _not_here(title)


_not_here = partial(refuse, "from_torch", "minirnn")


def _own_stack(module: Any, title: str) -> Iterator[Layer]:
    """Yield our layers of an nn.RNN, nn.LSTM or nn.GRU, which may be several."""
    if module.proj_size:
        _not_here(f"proj_size={module.proj_size} of {title}")
    for k in range(module.num_layers):
        if k and module.dropout:
            yield ours.Dropout(module.dropout)
        one = _own_recurrent(module, f"_l{k}")
        if module.bidirectional:
            yield Bidirectional(one, _own_recurrent(module, f"_l{k}_reverse"))
        else:
            yield one


def _own_recurrent(module: Any, suffix: str = "") -> Recurrent:
    """Return our layer of one direction of one layer of a module, or of a cell's weights."""
    kind = type(module).__name__.removesuffix("Cell").lower()
    names = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if module.bias else ()))
    arrays = [_array(getattr(module, name + suffix)).T for name in names]
    options = {"activation": module.nonlinearity} if kind == "rnn" else {}
    return weights.recurrent_layer(weights.TORCH, kind, *arrays, **options)


def _own_embedding(module: Any, title: str) -> Layer:
    if module.max_norm is not None:
        _not_here(f"max_norm={module.max_norm} of {title}")
    return weights.embedding(_array(module.weight))


def _own_norm(module: Any, title: str) -> Layer:
    if len(module.normalized_shape) != 1 or module.weight is None:
        _not_here(f"{title} over several axes, or without weights,")
    return weights.layer_norm(_array(module.weight), _array(module.bias), module.eps)


def _array(tensor: Any) -> Any:
    """Return a copy of a tensor; None for None."""
    if tensor is None:
        return None
    if tensor.dtype not in (torch.float32, torch.float64):
        raise ConversionError(
            f"from_torch: the weights are {tensor.dtype}; minirnn has float32 and float64: convert "
            f"with module.float()"
        )
    return tensor.detach().cpu().numpy().copy()


_TO_MINIRNN: dict[Any, Callable[[Any, str], Layer]] = {
    nn.Linear: lambda module, title: weights.dense(_array(module.weight).T, _array(module.bias)),
    nn.Embedding: _own_embedding,
    nn.LayerNorm: _own_norm,
    modules.LastState: lambda module, title: ours.LastState().follow(module),
}
