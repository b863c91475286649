"""minirnn's results for a case, under the names that `torch_side` uses too."""

from typing import Any

import numpy as np

import minirnn
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


def results(case: Case, inputs: Arrays) -> Arrays:
    match case:
        case CellCase():
            found = cell(case, inputs)
        case RecurrentCase():
            found = recurrent(case, inputs)
        case BidirectionalCase():
            found = bidirectional(case, inputs)
        case DenseCase():
            found = dense(case, inputs)
        case AttentionCase():
            found = attention(case, inputs)
        case LayerNormCase():
            found = layer_norm(case, inputs)
        case EmbeddingCase():
            found = embedding(case, inputs)
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
    return {name: np.asarray(value) for name, value in found.items()}


def set_weights(layer: minirnn.Layer, weights: Arrays) -> None:
    """Assign to every parameter of the layer the array of its name."""
    for name, parameter in layer.named_parameters():
        parameter.value = weights[name]


def weight_gradients(layer: minirnn.Layer) -> Arrays:
    return {f"grad_{name}": parameter.grad for name, parameter in layer.named_parameters()}


def state_of(kind: str, prefix: str, arrays: Arrays) -> tuple[np.ndarray, ...]:
    return tuple(arrays[f"{prefix}{name}"] for name in STATES[kind])


def named(kind: str, prefix: str, state: tuple[np.ndarray, ...]) -> Arrays:
    return {f"{prefix}{name}": array for name, array in zip(STATES[kind], state, strict=True)}


# Cells and recurrent layers.


def cell(case: CellCase, inputs: Arrays) -> dict[str, Any]:
    _, input_size, hidden_size = case.sizes
    classes = {
        "rnn-tanh": (minirnn.RNNCell, {"activation": "tanh"}),
        "rnn-relu": (minirnn.RNNCell, {"activation": "relu"}),
        "lstm": (minirnn.LSTMCell, {}),
        "gru": (minirnn.GRUCell, {}),
    }
    cell_class, options = classes[case.kind]
    cell = cell_class(input_size, hidden_size, dtype=inputs["x"].dtype, **options)
    set_weights(cell, inputs)
    y, state, cache = cell.forward(inputs["x"], state_of(case.kind, "initial_", inputs))
    grad_final = state_of(case.kind, "grad_final_", inputs)
    grad_x, grad_state = cell.backward(inputs["grad_y"], grad_final, cache)
    return (
        {"y": y, "grad_x": grad_x}
        | named(case.kind, "final_", state)
        | named(case.kind, "grad_initial_", grad_state)
        | weight_gradients(cell)
    )


def layer(kind: str, input_size: int, hidden_size: int, dtype: Any, **options: Any) -> Any:
    classes = {
        "rnn-tanh": (minirnn.RNN, {"activation": "tanh"}),
        "rnn-relu": (minirnn.RNN, {"activation": "relu"}),
        "lstm": (minirnn.LSTM, {}),
        "gru": (minirnn.GRU, {}),
    }
    layer_class, more = classes[kind]
    return layer_class(input_size, hidden_size, dtype=dtype, **options, **more)


def recurrent(case: RecurrentCase, inputs: Arrays) -> dict[str, Any]:
    _, _, input_size, hidden_size = case.sizes
    recurrent = layer(case.kind, input_size, hidden_size, inputs["x"].dtype)
    set_weights(recurrent.cell, inputs)
    initial = grad_final = None
    if case.state:
        initial = state_of(case.kind, "initial_", inputs)
        grad_final = state_of(case.kind, "grad_final_", inputs)
    y = recurrent.forward(inputs["x"], mask=inputs.get("mask"), state=initial)
    found = {"y": y} | named(case.kind, "final_", recurrent.state)
    found["grad_x"] = recurrent.backward(inputs["grad_y"], grad_final)
    if case.state:
        found |= named(case.kind, "grad_initial_", recurrent.grad_state)
    return found | weight_gradients(recurrent.cell)


def bidirectional(case: BidirectionalCase, inputs: Arrays) -> dict[str, Any]:
    _, _, input_size, hidden_size = case.sizes
    directions = {
        "forward": layer(case.kind, input_size, hidden_size, inputs["x"].dtype),
        "backward": layer(case.kind, input_size, hidden_size, inputs["x"].dtype, reverse=True),
    }
    both = minirnn.Bidirectional(*directions.values())
    initial = grad_final = None
    if case.state:
        initial = grad_final = ()
    for direction, one in directions.items():
        own = part(inputs, direction)
        set_weights(one.cell, own)
        if case.state:
            initial += state_of(case.kind, "initial_", own)
            grad_final += state_of(case.kind, "grad_final_", own)

    y = both.forward(inputs["x"], mask=inputs.get("mask"), state=initial)
    grad_y = inputs["grad_y"]
    if case.last:
        last = minirnn.LastState().follow(both)
        y = last.forward(y, mask=inputs.get("mask"))
        grad_y = last.backward(grad_y)
    grad_x = both.backward(grad_y, grad_final)
    found = {"y": y, "grad_x": grad_x}
    for direction, one in directions.items():
        own = named(case.kind, "final_", one.state) | weight_gradients(one.cell)
        if case.state:
            own |= named(case.kind, "grad_initial_", one.grad_state)
        found |= {f"{direction}.{name}": value for name, value in own.items()}
    return found


# Other layers.


def dense(case: DenseCase, inputs: Arrays) -> dict[str, Any]:
    *_, input_size, output_size = case.sizes
    dtype = inputs["x"].dtype
    layer = minirnn.Dense(input_size, output_size, bias=case.bias, dtype=dtype)
    set_weights(layer, inputs)
    y = layer.forward(inputs["x"])
    return {"y": y, "grad_x": layer.backward(inputs["grad_y"])} | weight_gradients(layer)


def attention(case: AttentionCase, inputs: Arrays) -> dict[str, Any]:
    _, _, _, query_size, key_size, _ = case.sizes
    dtype = inputs["query"].dtype
    layer = minirnn.Attention(
        query_size, key_size, score=case.score, scaled=case.scaled, dtype=dtype
    )
    set_weights(layer, inputs)
    y = layer.forward(*(inputs[name] for name in ("query", "keys", "values")), inputs.get("mask"))
    gradients = layer.backward(inputs["grad_y"])
    names = ("grad_query", "grad_keys", "grad_values")
    return (
        {"y": y, "weights": layer.weights}
        | dict(zip(names, gradients, strict=True))
        | weight_gradients(layer)
    )


def layer_norm(case: LayerNormCase, inputs: Arrays) -> dict[str, Any]:
    layer = minirnn.LayerNorm(case.sizes[-1], dtype=inputs["x"].dtype)
    set_weights(layer, inputs)
    y = layer.forward(inputs["x"])
    return {"y": y, "grad_x": layer.backward(inputs["grad_y"])} | weight_gradients(layer)


def embedding(case: EmbeddingCase, inputs: Arrays) -> dict[str, Any]:
    _, _, vocabulary_size, output_size = case.sizes
    layer = minirnn.Embedding(vocabulary_size, output_size, dtype=inputs["W"].dtype)
    (weight,) = layer.parameters()
    weight.value = inputs["W"]
    y = layer.forward(inputs["x"])
    layer.backward(inputs["grad_y"])
    return {"y": y, "grad_W": weight.grad}


def activation(case: ActivationCase, inputs: Arrays) -> dict[str, Any]:
    classes = {
        "softmax": minirnn.Softmax,
        "sigmoid": minirnn.Sigmoid,
        "tanh": minirnn.Tanh,
        "relu": minirnn.ReLU,
        "log-softmax": minirnn.LogSoftmax,
        "leaky-relu": minirnn.LeakyReLU,
        "elu": minirnn.ELU,
        "softplus": minirnn.Softplus,
        "silu": minirnn.SiLU,
        "gelu": minirnn.GELU,
    }
    layer = classes[case.layer]()
    y = layer.forward(inputs["x"])
    return {"y": y, "grad_x": layer.backward(inputs["grad_y"])}


def loss(case: LossCase, inputs: Arrays) -> dict[str, Any]:
    makers = {
        "softmax-cross-entropy": lambda: minirnn.SoftmaxCrossEntropy(
            class_weight=inputs.get("class_weight"),
            label_smoothing=case.smoothing,
            ignore_class=case.ignored,
        ),
        "cross-entropy": minirnn.CrossEntropy,
        "sigmoid-cross-entropy": minirnn.SigmoidCrossEntropy,
        "binary-cross-entropy": minirnn.BinaryCrossEntropy,
        "mean-squared-error": minirnn.MeanSquaredError,
        "mean-absolute-error": minirnn.MeanAbsoluteError,
        "huber": lambda: minirnn.Huber(case.delta),
    }
    loss = makers[case.loss]()
    value = loss.forward(
        inputs["prediction"],
        inputs["target"],
        mask=inputs.get("mask"),
        sample_weight=inputs.get("sample_weight"),
    )
    return {"loss": value, "grad": loss.backward()}


def ctc(case: CTCCase, inputs: Arrays) -> dict[str, Any]:
    loss = minirnn.CTCLoss(case.blank, per_label=case.per_label)
    value = loss.forward(inputs["prediction"], inputs["target"], mask=inputs.get("mask"))
    return {"loss": value, "grad": loss.backward()}


# Optimizers and training.


def optimizer(case: OptimizerCase, inputs: Arrays) -> dict[str, Any]:
    W = minirnn.Parameter(inputs["W"])
    b = minirnn.Parameter(inputs["b"], decay=False)
    optimizer_class = getattr(minirnn, case.optimizer)

    def schedule(step: int) -> float:
        return case.learning_rate / (2 if step >= case.halved_at else 1)

    first = W if case.factor is None else minirnn.ParameterGroup([W], rate_factor=case.factor)
    updater = optimizer_class(
        [first, b],
        schedule if case.schedule else case.learning_rate,
        clip_norm=case.clip_norm,
        clip_value=case.clip_value,
        **case.options,
    )
    values: dict[str, list[np.ndarray]] = {"W": [], "b": []}
    steps = case.sizes[0]
    for step in range(steps):
        if step == case.halved_at and not case.schedule:
            updater.learning_rate = case.learning_rate / 2
        updater.zero_grad()
        W.grad += inputs["slope_W"][step] + np.tanh(W.value)
        b.grad += inputs["slope_b"][step] + np.tanh(b.value)
        updater.step()
        values["W"].append(W.value.copy())
        values["b"].append(b.value.copy())
    return {name: np.stack(trajectory) for name, trajectory in values.items()}


def training(case: TrainingCase, inputs: Arrays, *, with_trainer: bool = False) -> dict[str, Any]:
    """Train on one batch a step, in the textbook loop or by the trainer."""
    _, _, _, vocabulary_size, embedding_size, hidden_size = case.sizes
    dtype = inputs["dense.W"].dtype
    embedding = minirnn.Embedding(vocabulary_size, embedding_size, dtype=dtype)
    lstm = minirnn.LSTM(embedding_size, hidden_size, dtype=dtype)
    dense = minirnn.Dense(hidden_size, vocabulary_size, dtype=dtype)
    parts = {"embedding": embedding, "lstm": lstm.cell, "dense": dense}
    for name, layer in parts.items():
        set_weights(layer, part(inputs, name))

    model = minirnn.Sequential([embedding, lstm, dense])
    loss = minirnn.SoftmaxCrossEntropy()
    updater = minirnn.Adam(model.parameters(), case.learning_rate, clip_norm=case.clip_norm)

    def train_step(tokens: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
        value = loss.forward(model.forward(tokens, mask=mask), target, mask=mask)
        updater.zero_grad()
        model.backward(loss.backward())
        updater.step()
        return value

    if with_trainer:
        train_step = minirnn.Trainer(model, loss, updater).train_step
    batches = zip(inputs["tokens"], inputs["target"], inputs["mask"], strict=True)
    losses = [train_step(*batch) for batch in batches]
    return {"losses": np.asarray(losses, dtype)} | {
        f"{name}.{own}": parameter.value
        for name, layer in parts.items()
        for own, parameter in layer.named_parameters()
    }
