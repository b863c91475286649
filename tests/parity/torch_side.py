"""PyTorch's results for a case, under the names and in the layout of minirnn.

Weights are converted by `minirnn.interop.weights`, gradients likewise.
"""

import functools
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from minirnn.interop.weights import TORCH, from_layout, to_torch_layout
from tests.parity.cases import (
    STATES,
    ActivationCase,
    Arrays,
    AttentionCase,
    BidirectionalCase,
    Case,
    CellCase,
    CTCCase,
    DenseCase,
    EmbeddingCase,
    LayerNormCase,
    LossCase,
    OptimizerCase,
    RecurrentCase,
    TrainingCase,
    part,
)

Tensor = torch.Tensor


def results(case: Case, inputs: Arrays) -> Arrays:
    match case:
        case CellCase():
            found = cell(case, inputs)
        case RecurrentCase():
            found = recurrent(case, inputs)
        case BidirectionalCase():
            found = bidirectional(case, inputs)
        case DenseCase():
            found = dense(inputs)
        case AttentionCase():
            found = attention(case, inputs)
        case LayerNormCase():
            found = layer_norm(inputs)
        case EmbeddingCase():
            found = embedding(inputs)
        case ActivationCase():
            found = activation(case, inputs)
        case LossCase():
            found = loss(case, inputs)
        case CTCCase():
            found = ctc(case, inputs)
        case OptimizerCase():
            found = optimizer(case, inputs)
        case TrainingCase():
            found = training(case, inputs)
        case _:
            raise TypeError(f"no results are known for {case!r}")
    return {
        name: value.detach().numpy().copy() if isinstance(value, Tensor) else np.asarray(value)
        for name, value in found.items()
    }


def leaf(array: np.ndarray) -> Tensor:
    """Make a tensor of which the gradient is wanted."""
    return torch.tensor(array, requires_grad=True)


def backward(outputs: list[Tensor], gradients: list[np.ndarray]) -> None:
    torch.autograd.backward(outputs, [torch.tensor(gradient) for gradient in gradients])


# Weights, there and back.


def torch_weights(kind: str, weights: Arrays) -> list[np.ndarray]:
    """Convert to `weight_ih, weight_hh, bias_ih, bias_hh`."""
    return list(to_torch_layout(kind.removesuffix("-tanh").removesuffix("-relu"), weights).values())


def set_weights(parameters: list[nn.Parameter], values: list[np.ndarray]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(torch.tensor(value))


def minirnn_weights(kind: str, values: list[np.ndarray]) -> Arrays:
    """Convert `weight_ih, weight_hh, bias_ih, bias_hh`, or their gradients.

    PyTorch's two biases have the same gradient, which our one bias has too.
    """
    kind = kind.removesuffix("-tanh").removesuffix("-relu")
    *arrays, bias_hh = [np.asarray(value).T for value in values]
    second = np.zeros_like(bias_hh)
    if kind == "gru":
        candidate = slice(2 * len(second) // 3, None)
        second[candidate] = bias_hh[candidate]
    return from_layout(TORCH, kind, *arrays, second)


def weight_gradients(kind: str, parameters: list[nn.Parameter]) -> Arrays:
    gradients = minirnn_weights(kind, [parameter.grad.numpy() for parameter in parameters])
    return {f"grad_{name}": value for name, value in gradients.items()}


# Cells and recurrent layers.


def blank(module_class: type, *sizes: int, dtype: torch.dtype, **options: Any) -> Any:
    """Make a module without initial weights, so without drawing from the global generator."""
    return module_class(*sizes, dtype=dtype, device="meta", **options).to_empty(device="cpu")


def cell(case: CellCase, inputs: Arrays) -> dict[str, Any]:
    _, input_size, hidden_size = case.sizes
    kinds = {
        "rnn-tanh": (nn.RNNCell, {"nonlinearity": "tanh"}),
        "rnn-relu": (nn.RNNCell, {"nonlinearity": "relu"}),
        "lstm": (nn.LSTMCell, {}),
        "gru": (nn.GRUCell, {}),
    }
    module_class, options = kinds[case.kind]
    x = leaf(inputs["x"])
    module = blank(module_class, input_size, hidden_size, dtype=x.dtype, **options)
    parameters = [module.weight_ih, module.weight_hh, module.bias_ih, module.bias_hh]
    set_weights(parameters, torch_weights(case.kind, inputs))

    names = STATES[case.kind]
    initial = [leaf(inputs[f"initial_{name}"]) for name in names]
    new = module(x, tuple(initial) if len(names) > 1 else initial[0])
    state = list(new) if len(names) > 1 else [new]
    backward(
        [state[0], *state],
        [inputs["grad_y"], *(inputs[f"grad_final_{name}"] for name in names)],
    )
    return (
        {"y": state[0], "grad_x": x.grad}
        | {f"final_{name}": array for name, array in zip(names, state, strict=True)}
        | {f"grad_initial_{name}": array.grad for name, array in zip(names, initial, strict=True)}
        | weight_gradients(case.kind, parameters)
    )


def layer(kind: str, input_size: int, hidden_size: int, dtype: torch.dtype, **options: Any) -> Any:
    kinds = {
        "rnn-tanh": (nn.RNN, {"nonlinearity": "tanh"}),
        "rnn-relu": (nn.RNN, {"nonlinearity": "relu"}),
        "lstm": (nn.LSTM, {}),
        "gru": (nn.GRU, {}),
    }
    module_class, more = kinds[kind]
    options |= more
    return blank(module_class, input_size, hidden_size, batch_first=True, dtype=dtype, **options)


def layer_parameters(module: nn.Module, suffix: str = "") -> list[nn.Parameter]:
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return [getattr(module, name + suffix) for name in names]


def run(module: nn.Module, x: Tensor, mask: Tensor | None, state: Any) -> tuple[Tensor, Any]:
    if mask is None:
        return module(x, state)
    lengths = mask.sum(dim=1)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    output, state = module(packed, state)
    y, _ = pad_packed_sequence(output, batch_first=True, total_length=x.shape[1])
    return y, state


def mask_of(inputs: Arrays) -> Tensor | None:
    return torch.tensor(inputs["mask"]) if "mask" in inputs else None


def recurrent(case: RecurrentCase, inputs: Arrays) -> dict[str, Any]:
    _, _, input_size, hidden_size = case.sizes
    x = leaf(inputs["x"])
    module = layer(case.kind, input_size, hidden_size, x.dtype)
    parameters = layer_parameters(module)
    set_weights(parameters, torch_weights(case.kind, inputs))

    names = STATES[case.kind]
    initial = [leaf(inputs[f"initial_{name}"]) for name in names] if case.state else []
    state = None
    if case.state:
        arrays = tuple(array[None] for array in initial)
        state = arrays if len(names) > 1 else arrays[0]
    y, final = run(module, x, mask_of(inputs), state)
    final = [array[0] for array in (final if len(names) > 1 else (final,))]

    outputs, gradients = [y], [inputs["grad_y"]]
    if case.state:
        outputs += final
        gradients += [inputs[f"grad_final_{name}"] for name in names]
    backward(outputs, gradients)
    found = {"y": y, "grad_x": x.grad} | weight_gradients(case.kind, parameters)
    found |= {f"final_{name}": array for name, array in zip(names, final, strict=True)}
    if case.state:
        found |= {
            f"grad_initial_{name}": array.grad for name, array in zip(names, initial, strict=True)
        }
    return found


def bidirectional(case: BidirectionalCase, inputs: Arrays) -> dict[str, Any]:
    _, _, input_size, hidden_size = case.sizes
    x = leaf(inputs["x"])
    module = layer(case.kind, input_size, hidden_size, x.dtype, bidirectional=True)
    parameters = {
        "forward": layer_parameters(module),
        "backward": layer_parameters(module, "_reverse"),
    }
    own_inputs = {direction: part(inputs, direction) for direction in parameters}
    for direction, own in parameters.items():
        set_weights(own, torch_weights(case.kind, own_inputs[direction]))

    names = STATES[case.kind]
    initial, state = [], None
    if case.state:
        initial = [
            leaf(np.stack([own[f"initial_{name}"] for own in own_inputs.values()]))
            for name in names
        ]
        state = tuple(initial) if len(names) > 1 else initial[0]
    y, final = run(module, x, mask_of(inputs), state)
    final = final if len(names) > 1 else (final,)
    if case.last:
        y = torch.cat(list(final[0]), dim=1)

    outputs, gradients = [y], [inputs["grad_y"]]
    if case.state:
        outputs += final
        gradients += [
            np.stack([own[f"grad_final_{name}"] for own in own_inputs.values()]) for name in names
        ]
    backward(outputs, gradients)
    found = {"y": y, "grad_x": x.grad}
    for index, (direction, own) in enumerate(parameters.items()):
        of_direction = weight_gradients(case.kind, own)
        for name, array in zip(names, final, strict=True):
            of_direction[f"final_{name}"] = array[index]
        if case.state:
            for name, array in zip(names, initial, strict=True):
                of_direction[f"grad_initial_{name}"] = array.grad[index]
        found |= {f"{direction}.{name}": value for name, value in of_direction.items()}
    return found


# Other layers.


def dense(inputs: Arrays) -> dict[str, Any]:
    x, W = leaf(inputs["x"]), leaf(inputs["W"])
    b = leaf(inputs["b"]) if "b" in inputs else None
    y = functional.linear(x, W.T, b)
    backward([y], [inputs["grad_y"]])
    found = {"y": y, "grad_x": x.grad, "grad_W": W.grad}
    return found if b is None else found | {"grad_b": b.grad}


def attention(case: AttentionCase, inputs: Arrays) -> dict[str, Any]:
    mask = mask_of(inputs)
    found = {name: leaf(inputs[name]) for name in inputs if name not in ("mask", "grad_y")}
    query, keys, values = (found[name] for name in ("query", "keys", "values"))
    if mask is not None:  # PyTorch has 0 * nan there
        keys, values = (array.where(mask[..., None], 0) for array in (keys, values))
        mask = mask[:, None, :]
    if case.score == "additive":
        hidden = (query @ found["Wq"])[:, :, None] + (keys @ found["Wk"])[:, None]
        scores = hidden.tanh() @ found["v"]
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        weights = scores.softmax(dim=-1)
        y = weights @ values
    else:
        sent = query @ found["W"] if case.score == "general" else query
        scale = keys.shape[-1] ** -0.5 if case.scaled else 1.0
        attend = functools.partial(
            functional.scaled_dot_product_attention, sent, keys, attn_mask=mask, scale=scale
        )
        y = attend(values)
        weights = attend(torch.eye(keys.shape[1], dtype=keys.dtype).expand(len(keys), -1, -1))
    backward([y], [inputs["grad_y"]])
    return {"y": y, "weights": weights} | {f"grad_{name}": a.grad for name, a in found.items()}


def layer_norm(inputs: Arrays) -> dict[str, Any]:
    x, gain, b = (leaf(inputs[name]) for name in ("x", "gain", "b"))
    y = functional.layer_norm(x, gain.shape, gain, b)
    backward([y], [inputs["grad_y"]])
    return {"y": y, "grad_x": x.grad, "grad_gain": gain.grad, "grad_b": b.grad}


def embedding(inputs: Arrays) -> dict[str, Any]:
    W = leaf(inputs["W"])
    y = functional.embedding(torch.tensor(inputs["x"]), W)
    backward([y], [inputs["grad_y"]])
    return {"y": y, "grad_W": W.grad}


def activation(case: ActivationCase, inputs: Arrays) -> dict[str, Any]:
    functions = {
        "softmax": lambda x: torch.softmax(x, dim=-1),
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "relu": torch.relu,
        "log-softmax": lambda x: torch.log_softmax(x, dim=-1),
        "leaky-relu": functional.leaky_relu,
        "elu": functional.elu,
        "softplus": functional.softplus,
        "silu": functional.silu,
        "gelu": lambda x: functional.gelu(x, approximate="tanh"),
    }
    x = leaf(inputs["x"])
    y = functions[case.layer](x)
    backward([y], [inputs["grad_y"]])
    return {"y": y, "grad_x": x.grad}


def loss(case: LossCase, inputs: Arrays) -> dict[str, Any]:
    prediction, target = leaf(inputs["prediction"]), torch.tensor(inputs["target"])
    mask = mask_of(inputs)
    if mask is None:
        mask = torch.ones(prediction.shape[:-1], dtype=torch.bool)
    real, target = prediction[mask], target[mask]  # (positions, features)
    weights = torch.tensor(inputs["sample_weight"])[mask] if case.weighted else None
    value = terms(case, inputs, real, target, "mean" if weights is None else "none")
    if weights is not None:
        if value.dim() == 2:
            value = value.mean(dim=-1)
        counted = weights
        if case.by_class and case.target == "integer":
            counted = weights * torch.tensor(inputs["class_weight"])[target]
        value = (weights * value).sum() / counted.sum()
    value.backward()
    return {"loss": value, "grad": prediction.grad}


def terms(case: LossCase, inputs: Arrays, real: Tensor, target: Tensor, reduction: str) -> Tensor:
    """Return the terms of the loss, or their mean."""
    match case.loss:
        case "softmax-cross-entropy":
            by_class = torch.tensor(inputs["class_weight"]) if case.by_class else None
            ignored = {} if case.ignored is None else {"ignore_index": case.ignored}
            return functional.cross_entropy(
                real,
                target,
                by_class,
                reduction=reduction,
                label_smoothing=case.smoothing,
                **ignored,
            )
        case "cross-entropy" if case.target == "integer":
            return functional.nll_loss(real.log(), target, reduction=reduction)
        case "cross-entropy":
            value = -(target * real.log()).sum(dim=-1)
            return value.mean() if reduction == "mean" else value
    functions = {
        "sigmoid-cross-entropy": functional.binary_cross_entropy_with_logits,
        "binary-cross-entropy": functional.binary_cross_entropy,
        "mean-squared-error": functional.mse_loss,
        "mean-absolute-error": functional.l1_loss,
        "huber": functools.partial(functional.huber_loss, delta=case.delta),
    }
    return functions[case.loss](real, target, reduction=reduction)


def ctc(case: CTCCase, inputs: Arrays) -> dict[str, Any]:
    # In float32 its recursion loses more digits than the comparison allows.
    prediction, target = leaf(inputs["prediction"].astype(float)), torch.tensor(inputs["target"])
    batch, time, _ = prediction.shape
    steps = torch.full((batch,), time)
    logits = prediction
    if "mask" in inputs:
        mask = torch.tensor(inputs["mask"])
        steps, logits = mask.sum(dim=1), prediction.where(mask[..., None], 0)
    value = functional.ctc_loss(
        logits.log_softmax(dim=-1).transpose(0, 1),
        target.clamp(min=0),
        steps,
        (target >= 0).sum(dim=1),
        blank=case.blank,
        reduction="mean" if case.per_label else "sum",
    )
    value = value if case.per_label else value / batch
    value.backward()
    return {"loss": value, "grad": prediction.grad}


# Optimizers and training.


def clip_norm_exactly(parameters: list[Tensor], clip_norm: float) -> float:
    """Scale gradients so that their global norm is at most `clip_norm`; return their norm.

    PyTorch divides by the norm plus 1e-6, and so clips to a little less than asked. minirnn
    clips to what was asked. The limit handed to PyTorch is larger by the same factor, which
    cancels the 1e-6 whether or not anything is clipped.
    """
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters]).item()
    torch.nn.utils.clip_grad_norm_(parameters, clip_norm * (norm + 1e-6) / norm)
    return norm


def optimizer(case: OptimizerCase, inputs: Arrays) -> dict[str, Any]:
    """Take the steps; NAdam keeps the product of its momenta in the default dtype."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.tensor(inputs["W"]).dtype)
    try:
        return optimizer_steps(case, inputs)
    finally:
        torch.set_default_dtype(default)


def optimizer_steps(case: OptimizerCase, inputs: Arrays) -> dict[str, Any]:
    classes = {
        "SGD": torch.optim.SGD,
        "RMSProp": torch.optim.RMSprop,
        "Adagrad": torch.optim.Adagrad,
        "Adam": torch.optim.Adam,
        "AdamW": torch.optim.AdamW,
        "Nadam": torch.optim.NAdam,
    }
    renamed = {"rho": "alpha", "epsilon": "eps"}
    W, b = leaf(inputs["W"]), leaf(inputs["b"])
    updater = classes[case.optimizer](
        [
            {"params": [W], "lr": case.learning_rate * (case.factor or 1)},
            {"params": [b], "weight_decay": 0.0},
        ],
        lr=case.learning_rate,
        **{renamed.get(name, name): value for name, value in case.options.items()},
    )
    trajectory: dict[str, list[np.ndarray]] = {"W": [], "b": []}
    norms = []
    for step in range(case.sizes[0]):
        slope_W, slope_b = (torch.tensor(inputs[name][step]) for name in ("slope_W", "slope_b"))
        if step == case.halved_at:
            for group in updater.param_groups:
                group["lr"] /= 2
        updater.zero_grad()
        value = (slope_W * W).sum() + (slope_b * b).sum()
        value = value + W.cosh().log().sum() + b.cosh().log().sum()
        value.backward()
        if case.clip_norm is not None:
            norms.append(clip_norm_exactly([W, b], case.clip_norm))
        if case.clip_value is not None:
            torch.nn.utils.clip_grad_value_([W, b], case.clip_value)
        updater.step()
        trajectory["W"].append(W.detach().numpy().copy())
        trajectory["b"].append(b.detach().numpy().copy())
    if norms and not min(norms) < case.clip_norm < max(norms):
        raise ValueError(f"{case.name} does not both clip and not clip: norms {norms}")
    return {name: np.stack(values) for name, values in trajectory.items()}


def training(case: TrainingCase, inputs: Arrays) -> dict[str, Any]:
    _, _, _, _, embedding_size, hidden_size = case.sizes
    table, W, b = (leaf(inputs[name]) for name in ("embedding.W", "dense.W", "dense.b"))
    lstm = layer("lstm", embedding_size, hidden_size, table.dtype)
    set_weights(layer_parameters(lstm), torch_weights("lstm", part(inputs, "lstm")))
    # One bias, as in minirnn: both of PyTorch's would be moved by the optimizer.
    lstm.bias_ih_l0.data += lstm.bias_hh_l0.data
    lstm.bias_hh_l0.data.zero_()
    lstm.bias_hh_l0.requires_grad_(False)

    parameters = [table, *layer_parameters(lstm)[:3], W, b]
    updater = torch.optim.Adam(parameters, lr=case.learning_rate)
    losses, norms = [], []
    for tokens, target, mask in zip(
        *(torch.tensor(inputs[name]) for name in ("tokens", "target", "mask")), strict=True
    ):
        updater.zero_grad()
        vectors = functional.embedding(tokens.where(mask, 0), table)
        hidden, _ = run(lstm, vectors, mask, None)
        value = functional.cross_entropy(functional.linear(hidden, W.T, b)[mask], target[mask])
        value.backward()
        norms.append(clip_norm_exactly(parameters, case.clip_norm))
        updater.step()
        losses.append(value.item())
    if not min(norms) < case.clip_norm < max(norms):
        raise ValueError(f"{case.name} does not both clip and not clip: norms {norms}")
    values = [parameter.detach().numpy() for parameter in layer_parameters(lstm)]
    trained = minirnn_weights("lstm", values)
    return {
        "losses": np.array(losses),
        "embedding.W": table,
        **{f"lstm.{name}": value for name, value in trained.items()},
        "dense.W": W,
        "dense.b": b,
    }
