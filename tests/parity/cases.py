"""What is compared with PyTorch: a table of cases, and the arrays that each one starts from.

A case is a handful of settings; `draw(case, seed)` gives its inputs. Two modules turn the same
inputs into results under the same names: `torch_side.results(case, inputs)` and
`minirnn_side.results(case, inputs)`. Parity is then one comparison of two dictionaries.

Inputs are in minirnn's layout, weights included; the conversion to PyTorch's is `torch_side`'s.
Every number in them is a float32, so that the same case can be run in float32 and in float64
without being rounded on the way. Padding is filled with NaN and with tokens out of range:
nothing that stands there may count.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

GATES = {"rnn-tanh": 1, "rnn-relu": 1, "lstm": 4, "gru": 3}
STATES = {"rnn-tanh": ("h",), "rnn-relu": ("h",), "lstm": ("h", "c"), "gru": ("h",)}

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    sizes: tuple[int, ...]

    @property
    def group(self) -> str:
        """The file in which the case is recorded."""
        return self.name.split("/")[0]


@dataclass(frozen=True, kw_only=True)
class CellCase(Case):
    """One time step. Sizes are batch, input, hidden."""

    kind: str


@dataclass(frozen=True, kw_only=True)
class RecurrentCase(Case):
    """A layer over time. Sizes are batch, time, input, hidden.

    With `state`, an initial state is given, and a gradient arrives on the final one.
    """

    kind: str
    masked: bool = False
    state: bool = True


@dataclass(frozen=True, kw_only=True)
class BidirectionalCase(Case):
    """Two layers, one over each direction of time. Sizes are batch, time, input, hidden.

    With `last`, the result is not the whole sequence but what stands at each direction's end.
    """

    kind: str
    masked: bool = False
    state: bool = False
    last: bool = False


@dataclass(frozen=True, kw_only=True)
class DenseCase(Case):
    """Sizes are the axes before the last, then input and output size."""

    bias: bool = True


@dataclass(frozen=True, kw_only=True)
class LayerNormCase(Case):
    """Sizes are the axes before the last, then the size that is normalized."""


@dataclass(frozen=True, kw_only=True)
class AttentionCase(Case):
    """Sizes are batch, queries, time, query size, key size, value size."""

    score: str
    scaled: bool = False
    masked: bool = False


@dataclass(frozen=True, kw_only=True)
class EmbeddingCase(Case):
    """Sizes are batch, time, vocabulary, output. The last token of the vocabulary never occurs."""


@dataclass(frozen=True, kw_only=True)
class ActivationCase(Case):
    """Sizes are the shape of the input; `huge` makes the first of the batch overflow `exp`."""

    layer: str
    huge: bool = False


@dataclass(frozen=True, kw_only=True)
class LossCase(Case):
    """Sizes are the shape of the prediction; `target` is integer, soft, binary or values.

    With `weighted`, each position has a weight; with `by_class`, each class has one. Where
    `ignored` is given, some positions have that target and do not count.
    """

    loss: str
    target: str
    masked: bool = False
    scale: float = 2.0
    weighted: bool = False
    by_class: bool = False
    smoothing: float = 0.0
    ignored: int | None = None
    delta: float = 1.0


@dataclass(frozen=True, kw_only=True)
class CTCCase(Case):
    """Sizes are batch, time, classes and the largest number of labels; 1 + 2 labels fit in time."""

    per_label: bool = True
    masked: bool = False
    blank: int = 0


@dataclass(frozen=True, kw_only=True)
class OptimizerCase(Case):
    """Some steps on two parameters, of which the second is exempt from weight decay.

    Sizes are steps, the two axes of the first parameter, the axis of the second. The loss at
    step t is `sum(slope[t] * p) + sum(log(cosh(p)))`, its gradient `slope[t] + tanh(p)`.
    At step `halved_at`, counted from 0, the learning rate is halved: by assigning it, or by a
    schedule. With a `factor`, the first parameter is in a group of its own, whose learning rate is
    multiplied by it.
    """

    optimizer: str
    learning_rate: float
    options: dict[str, Any] = field(default_factory=dict)
    clip_norm: float | None = None
    clip_value: float | None = None
    halved_at: int | None = None
    schedule: bool = False
    factor: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingCase(Case):
    """Embedding, LSTM, Dense, softmax cross-entropy, Adam with a clipped global norm.

    Sizes are steps, batch, time, vocabulary, embedding, hidden.
    """

    learning_rate: float
    clip_norm: float


def table() -> list[Case]:
    """Every case at its recorded sizes; all sizes within a case differ, but for the ones."""
    cases: list[Case] = []
    for kind in GATES:
        cases += [
            CellCase(name=f"cells/{kind}", kind=kind, sizes=(3, 4, 5)),
            CellCase(name=f"cells/{kind}-batch-1", kind=kind, sizes=(1, 3, 2)),
            CellCase(name=f"cells/{kind}-hidden-1", kind=kind, sizes=(3, 2, 1)),
        ]
        for name, sizes, options in [
            ("", (3, 7, 2, 5), {}),
            ("-no-state", (2, 5, 4, 3), {"state": False}),
            ("-time-1", (4, 1, 3, 2), {}),
            ("-batch-1", (1, 6, 2, 4), {}),
            ("-all-1", (1, 1, 1, 1), {}),
            ("-masked", (4, 7, 3, 5), {"masked": True}),
            ("-masked-no-state", (5, 4, 2, 3), {"masked": True, "state": False}),
        ]:
            cases.append(
                RecurrentCase(name=f"recurrent/{kind}{name}", kind=kind, sizes=sizes, **options)
            )
        cases += [
            BidirectionalCase(name=f"bidirectional/{kind}", kind=kind, sizes=(1, 5, 3, 2)),
            BidirectionalCase(
                name=f"bidirectional/{kind}-masked",
                kind=kind,
                sizes=(4, 6, 2, 3),
                masked=True,
                state=True,
            ),
        ]

    for kind in ("lstm", "gru"):
        name = f"bidirectional/{kind}-last"
        cases.append(
            BidirectionalCase(name=name, kind=kind, sizes=(4, 6, 2, 3), masked=True, last=True)
        )

    cases += [
        DenseCase(name="layers/dense", sizes=(3, 4, 2)),
        DenseCase(name="layers/dense-time", sizes=(2, 5, 3, 4)),
        DenseCase(name="layers/dense-four-axes", sizes=(2, 3, 1, 5, 4)),
        DenseCase(name="layers/dense-batch-1", sizes=(1, 2, 3)),
        DenseCase(name="layers/dense-no-bias", sizes=(2, 4, 3, 5), bias=False),
        LayerNormCase(name="layers/layer-norm", sizes=(4, 5)),
        LayerNormCase(name="layers/layer-norm-time", sizes=(3, 2, 4)),
        AttentionCase(name="layers/attention-dot", sizes=(2, 3, 4, 5, 5, 3), score="dot"),
        AttentionCase(
            name="layers/attention-scaled",
            sizes=(3, 2, 5, 4, 4, 2),
            score="dot",
            scaled=True,
            masked=True,
        ),
        AttentionCase(
            name="layers/attention-general",
            sizes=(3, 2, 5, 3, 4, 2),
            score="general",
            masked=True,
        ),
        AttentionCase(
            name="layers/attention-additive",
            sizes=(3, 2, 5, 3, 4, 2),
            score="additive",
            masked=True,
        ),
        EmbeddingCase(name="layers/embedding", sizes=(3, 8, 5, 4)),
        EmbeddingCase(name="layers/embedding-time-1", sizes=(6, 1, 3, 2)),
    ]
    for layer in ("softmax", "sigmoid", "tanh", "relu"):
        cases += [
            ActivationCase(name=f"layers/{layer}", layer=layer, sizes=(4, 5)),
            ActivationCase(name=f"layers/{layer}-time", layer=layer, sizes=(3, 2, 4)),
            ActivationCase(name=f"layers/{layer}-huge", layer=layer, sizes=(3, 5), huge=True),
        ]
    for layer in ("log-softmax", "leaky-relu", "elu", "softplus", "silu", "gelu"):
        cases += [
            ActivationCase(name=f"layers/{layer}", layer=layer, sizes=(4, 5)),
            ActivationCase(name=f"layers/{layer}-huge", layer=layer, sizes=(3, 2, 4), huge=True),
        ]

    for loss, target in [
        ("softmax-cross-entropy", "integer"),
        ("softmax-cross-entropy", "soft"),
        ("cross-entropy", "integer"),
        ("cross-entropy", "soft"),
        ("sigmoid-cross-entropy", "binary"),
        ("sigmoid-cross-entropy", "soft"),
        ("mean-squared-error", "values"),
        ("mean-absolute-error", "values"),
        ("huber", "values"),
        ("binary-cross-entropy", "binary"),
        ("binary-cross-entropy", "soft"),
    ]:
        name = f"losses/{loss}-{target}"
        cases += [
            LossCase(name=name, loss=loss, target=target, sizes=(5, 4)),
            LossCase(name=f"{name}-time", loss=loss, target=target, sizes=(3, 5, 4)),
            LossCase(name=f"{name}-masked", loss=loss, target=target, sizes=(3, 6, 5), masked=True),
            LossCase(
                name=f"{name}-weighted",
                loss=loss,
                target=target,
                sizes=(3, 6, 5),
                masked=True,
                weighted=True,
            ),
        ]
        if loss in ("softmax-cross-entropy", "sigmoid-cross-entropy"):
            cases.append(
                LossCase(
                    name=f"{name}-huge", loss=loss, target=target, sizes=(2, 3, 4), scale=500.0
                )
            )

    for target in ("integer", "soft"):
        for name, options in [
            ("classes", {"by_class": True}),
            ("smoothing", {"smoothing": 0.25}),
            ("classes-smoothing", {"by_class": True, "smoothing": 0.25, "masked": True}),
            ("everything", {"by_class": True, "smoothing": 0.25, "masked": True, "weighted": True}),
        ]:
            cases.append(
                LossCase(
                    name=f"losses/softmax-cross-entropy-{target}-{name}",
                    loss="softmax-cross-entropy",
                    target=target,
                    sizes=(3, 6, 5),
                    **options,
                )
            )
    for name, options in [
        ("ignored", {"ignored": -100}),
        ("ignored-class", {"ignored": 2, "masked": True}),
        ("ignored-everything", {"ignored": 1, "by_class": True, "smoothing": 0.25}),
    ]:
        cases.append(
            LossCase(
                name=f"losses/softmax-cross-entropy-integer-{name}",
                loss="softmax-cross-entropy",
                target="integer",
                sizes=(4, 6, 5),
                **options,
            )
        )
    cases.append(
        LossCase(
            name="losses/huber-delta", loss="huber", target="values", sizes=(3, 5, 4), delta=0.75
        )
    )

    cases += [
        CTCCase(name="losses/ctc", sizes=(4, 9, 3, 4)),
        CTCCase(name="losses/ctc-masked", sizes=(5, 11, 4, 3), masked=True),
        CTCCase(name="losses/ctc-sequences", sizes=(3, 8, 5, 2), masked=True, per_label=False),
        CTCCase(name="losses/ctc-last-class-blank", sizes=(3, 7, 4, 3), blank=3),
    ]

    momentum = {"momentum": 0.9}
    for name, optimizer, learning_rate, options, extra in [
        ("sgd", "SGD", 0.125, {}, {}),
        ("sgd-momentum", "SGD", 0.125, momentum, {}),
        ("sgd-momentum-halved", "SGD", 0.125, momentum, {"halved_at": 9}),
        ("sgd-nesterov", "SGD", 0.125, momentum | {"nesterov": True}, {}),
        ("sgd-l2", "SGD", 0.125, {"weight_decay": 0.25}, {}),
        ("sgd-l2-momentum", "SGD", 0.125, momentum | {"weight_decay": 0.25}, {}),
        ("sgd-clip-norm", "SGD", 0.125, {}, {"clip_norm": 2.0}),
        ("sgd-clip-norm-l2", "SGD", 0.125, {"weight_decay": 0.25}, {"clip_norm": 2.0}),
        ("sgd-clip-value", "SGD", 0.125, {}, {"clip_value": 0.75}),
        ("sgd-clip-value-l2", "SGD", 0.125, {"weight_decay": 0.25}, {"clip_value": 0.75}),
        ("rmsprop", "RMSProp", 0.0625, {"rho": 0.9, "epsilon": 1e-8}, {}),
        ("rmsprop-rho-epsilon", "RMSProp", 0.0625, {"rho": 0.99, "epsilon": 0.125}, {}),
        (
            "rmsprop-l2",
            "RMSProp",
            0.0625,
            {"rho": 0.9, "epsilon": 1e-8, "weight_decay": 0.25},
            {},
        ),
        ("rmsprop-momentum", "RMSProp", 0.0625, momentum | {"rho": 0.9, "epsilon": 1e-8}, {}),
        (
            "rmsprop-centered",
            "RMSProp",
            0.0625,
            {"rho": 0.9, "epsilon": 0.125, "centered": True},
            {},
        ),
        (
            "rmsprop-centered-momentum-l2",
            "RMSProp",
            0.03125,
            {
                "rho": 0.75,
                "epsilon": 0.125,
                "centered": True,
                "momentum": 0.5,
                "weight_decay": 0.25,
            },
            {},
        ),
        ("amsgrad", "Adam", 0.125, {"amsgrad": True, "betas": (0.9, 0.75)}, {}),
        (
            "adamw-amsgrad",
            "AdamW",
            0.125,
            {"amsgrad": True, "betas": (0.9, 0.75), "weight_decay": 0.25},
            {},
        ),
        ("nadam", "Nadam", 0.125, {}, {}),
        ("nadam-halved", "Nadam", 0.125, {"weight_decay": 0.25}, {"halved_at": 9}),
        (
            "nadam-betas",
            "Nadam",
            0.125,
            {"betas": (0.5, 0.75), "epsilon": 0.125, "momentum_decay": 0.25},
            {},
        ),
        ("adam-groups", "Adam", 0.125, {"weight_decay": 0.25}, {"factor": 0.5}),
        ("adamw-groups", "AdamW", 0.125, {"weight_decay": 0.25}, {"factor": 0.5}),
        ("adagrad", "Adagrad", 0.25, {"epsilon": 1e-10}, {}),
        ("adagrad-epsilon", "Adagrad", 0.25, {"epsilon": 0.125}, {}),
        ("adagrad-l2", "Adagrad", 0.25, {"epsilon": 1e-10, "weight_decay": 0.25}, {}),
        ("adam", "Adam", 0.125, {}, {}),
        ("adam-betas-epsilon", "Adam", 0.125, {"betas": (0.5, 0.75), "epsilon": 0.125}, {}),
        ("adam-l2", "Adam", 0.125, {"weight_decay": 0.25}, {}),
        ("adam-clip-norm", "Adam", 0.125, {}, {"clip_norm": 2.0}),
        ("adamw", "AdamW", 0.125, {"weight_decay": 0.25}, {}),
        ("adamw-no-decay", "AdamW", 0.125, {"weight_decay": 0.0}, {}),
        (
            "adamw-schedule",
            "AdamW",
            0.125,
            {"weight_decay": 0.25},
            {"halved_at": 9, "schedule": True},
        ),
        (
            "adamw-betas-epsilon",
            "AdamW",
            0.125,
            {"betas": (0.5, 0.75), "epsilon": 0.125, "weight_decay": 0.25},
            {},
        ),
    ]:
        cases.append(
            OptimizerCase(
                name=f"optimizers/{name}",
                optimizer=optimizer,
                learning_rate=learning_rate,
                options=options,
                sizes=(20, 3, 2, 4),
                **extra,
            )
        )

    cases.append(
        TrainingCase(
            name="training/embedding-lstm-dense",
            sizes=(20, 4, 6, 9, 3, 7),
            learning_rate=0.03125,
            clip_norm=0.4375,
        )
    )
    return cases


CASES = {case.name: case for case in table()}


def resized(case: Case, rng: np.random.Generator) -> Case:
    """Draw new sizes for the case, all different from one another."""
    if isinstance(case, OptimizerCase | TrainingCase):
        return case
    # From 2 on: a softmax over one class has a zero gradient, of which no relative error exists.
    sizes = rng.permutation(np.arange(2, 10))[: len(case.sizes)]
    if isinstance(case, CTCCase):
        sizes[1] = 2 * sizes[3] + 1 + sizes[1]
        sizes[2] = max(sizes[2], case.blank + 1)
    if isinstance(case, AttentionCase) and case.score == "dot":
        sizes[4] = sizes[3]
    return replace(case, sizes=tuple(int(size) for size in sizes))


def draw(case: Case, seed: int, dtype: type = np.float64) -> Arrays:
    """Draw the read-only inputs of a case; they depend on nothing but the arguments."""
    rng = np.random.default_rng([seed, *case.name.encode()])
    match case:
        case CellCase():
            batch, input_size, hidden_size = case.sizes
            inputs = cell_weights(case.kind, input_size, hidden_size, rng)
            inputs["x"] = rng.standard_normal((batch, input_size))
            inputs["grad_y"] = rng.standard_normal((batch, hidden_size))
            inputs |= states(case.kind, batch, hidden_size, rng)
        case RecurrentCase():
            batch, time, input_size, hidden_size = case.sizes
            inputs = cell_weights(case.kind, input_size, hidden_size, rng)
            inputs |= sequence(batch, time, input_size, hidden_size, case.masked, rng)
            if case.state:
                inputs |= states(case.kind, batch, hidden_size, rng)
        case BidirectionalCase():
            batch, time, input_size, hidden_size = case.sizes
            inputs = sequence(batch, time, input_size, 2 * hidden_size, case.masked, rng)
            if case.last:
                inputs["grad_y"] = rng.standard_normal((batch, 2 * hidden_size))
            for direction in ("forward", "backward"):
                own = cell_weights(case.kind, input_size, hidden_size, rng)
                if case.state:
                    own |= states(case.kind, batch, hidden_size, rng)
                inputs |= {f"{direction}.{name}": value for name, value in own.items()}
        case DenseCase():
            *before, input_size, output_size = case.sizes
            inputs = {
                "W": rng.standard_normal((input_size, output_size)),
                "x": rng.standard_normal((*before, input_size)),
                "grad_y": rng.standard_normal((*before, output_size)),
            }
            if case.bias:
                inputs["b"] = rng.standard_normal(output_size)
        case AttentionCase():
            batch, queries, time, query_size, key_size, value_size = case.sizes
            inputs = {
                "query": rng.standard_normal((batch, queries, query_size)),
                "keys": rng.standard_normal((batch, time, key_size)),
                "values": rng.standard_normal((batch, time, value_size)),
                "grad_y": rng.standard_normal((batch, queries, value_size)),
            }
            if case.score == "general":
                inputs["W"] = 0.5 * rng.standard_normal((query_size, key_size))
            elif case.score == "additive":
                inputs["Wq"] = rng.standard_normal((query_size, key_size))
                inputs["Wk"] = rng.standard_normal((key_size, key_size))
                inputs["v"] = rng.standard_normal(key_size)
            if case.masked:
                lengths = rng.integers(2, time + 1, batch)
                inputs["mask"] = np.arange(time) < lengths[:, None]
                inputs["keys"][~inputs["mask"]] = inputs["values"][~inputs["mask"]] = np.nan
        case LayerNormCase():
            *_, size = case.sizes
            inputs = {
                "gain": rng.standard_normal(size),
                "b": rng.standard_normal(size),
                "x": rng.standard_normal(case.sizes),
                "grad_y": rng.standard_normal(case.sizes),
            }
        case EmbeddingCase():
            batch, time, vocabulary_size, output_size = case.sizes
            inputs = {
                "W": rng.standard_normal((vocabulary_size, output_size)),
                "x": rng.integers(0, vocabulary_size - 1, (batch, time)),
                "grad_y": rng.standard_normal((batch, time, output_size)),
            }
        case ActivationCase():
            inputs = {
                "x": 2 * rng.standard_normal(case.sizes),
                "grad_y": rng.standard_normal(case.sizes),
            }
            if case.huge:
                inputs["x"][0] *= 1000
        case LossCase():
            inputs = loss_inputs(case, rng)
        case CTCCase():
            inputs = ctc_inputs(case, rng)
        case OptimizerCase():
            steps, rows, columns, bias = case.sizes
            # Small and large gradients in turn, so that clipping is at work in some steps only.
            spread = np.resize([0.25, 2.0], steps)
            inputs = {
                "W": 0.5 * rng.standard_normal((rows, columns)),
                "b": 0.5 * rng.standard_normal(bias),
                "slope_W": spread[:, None, None] * rng.standard_normal((steps, rows, columns)),
                "slope_b": spread[:, None] * rng.standard_normal((steps, bias)),
            }
        case TrainingCase():
            inputs = training_inputs(case, rng)
        case _:
            raise TypeError(f"no inputs are known for {case!r}")
    return cast({name: single(value) for name, value in inputs.items()}, dtype)


def single(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def cast(arrays: Arrays, dtype: type) -> Arrays:
    """Give the floating-point arrays the dtype, and make all read-only."""
    result = {}
    for name, array in arrays.items():
        result[name] = array.astype(dtype if array.dtype.kind == "f" else array.dtype)
        result[name].setflags(write=False)
    return result


def part(arrays: Arrays, prefix: str) -> Arrays:
    """Take the arrays whose names begin with the prefix and a dot, under the rest of the name."""
    prefix += "."
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def cell_weights(kind: str, input_size: int, hidden_size: int, rng: np.random.Generator) -> Arrays:
    """Draw weights small enough that few units saturate, where float32 loses its digits."""
    width = GATES[kind] * hidden_size
    weights = {
        "Wx": 0.5 * rng.standard_normal((input_size, width)) / np.sqrt(input_size),
        "Wh": 0.5 * rng.standard_normal((hidden_size, width)) / np.sqrt(hidden_size),
        "b": 0.5 * rng.standard_normal(width),
    }
    if kind == "gru":
        weights["bn"] = 0.5 * rng.standard_normal(hidden_size)
    return weights


def states(kind: str, batch: int, hidden_size: int, rng: np.random.Generator) -> Arrays:
    return {
        f"{prefix}{name}": rng.standard_normal((batch, hidden_size))
        for prefix in ("initial_", "grad_final_")
        for name in STATES[kind]
    }


def sequence(
    batch: int, time: int, features: int, output: int, masked: bool, rng: np.random.Generator
) -> Arrays:
    arrays = {
        "x": rng.standard_normal((batch, time, features)),
        "grad_y": rng.standard_normal((batch, time, output)),
    }
    if masked:
        lengths = rng.integers(1, time + 1, batch)
        lengths[0] = 1
        mask = np.arange(time) < lengths[:, None]
        arrays["x"][~mask] = arrays["grad_y"][~mask] = np.nan
        arrays["mask"] = mask
    return arrays


def loss_inputs(case: LossCase, rng: np.random.Generator) -> Arrays:
    *positions, classes = case.sizes
    if case.loss in ("cross-entropy", "binary-cross-entropy"):
        prediction = distributions(positions, classes, rng)
    else:
        prediction = case.scale * rng.standard_normal(case.sizes)
    match case.loss, case.target:
        case _, "integer":
            target = rng.integers(0, classes, positions)
        case _, "values":
            target = rng.standard_normal(case.sizes)
        case _, "binary":
            target = rng.integers(0, 2, case.sizes).astype(float)
        case "sigmoid-cross-entropy" | "binary-cross-entropy", "soft":
            target = rng.random(case.sizes)
        case _:
            target = distributions(positions, classes, rng)
    inputs = {"prediction": prediction, "target": target}
    if case.masked:
        mask = rng.random(positions) < 0.6
        mask[0, 0], mask[-1, -1] = True, False
        prediction[~mask] = np.nan
        target[~mask] = -1 if case.target == "integer" else np.nan
        inputs["mask"] = mask
    if case.ignored is not None:
        target[rng.random(positions) < 0.3] = case.ignored
    if case.weighted:
        inputs["sample_weight"] = rng.random(positions)
    if case.by_class:
        inputs["class_weight"] = 0.25 + rng.random(classes)
    return inputs


def ctc_inputs(case: CTCCase, rng: np.random.Generator) -> Arrays:
    """Targets from none to all labels, often the same one twice in a row."""
    batch, time, classes, labels = case.sizes
    inputs = {"prediction": 2.0 * rng.standard_normal((batch, time, classes))}
    choices = np.delete(np.arange(classes), case.blank)
    target = rng.choice(choices, (batch, labels))
    target[-1] = target[-1, 0]
    lengths = rng.integers(0, labels + 1, batch)
    lengths[0], lengths[-1] = 0, labels
    inputs["target"] = np.where(np.arange(labels) < lengths[:, None], target, -1)
    if case.masked:
        steps = rng.integers(2 * labels + 1, time + 1, batch)
        mask = np.arange(time) < steps[:, None]
        inputs["prediction"][~mask] = np.nan
        inputs["mask"] = mask
    return inputs


def distributions(shape: list[int], classes: int, rng: np.random.Generator) -> np.ndarray:
    """Positive probabilities that are multiples of 1/64, and so add up to exactly 1."""
    drawn = rng.multinomial(64 - classes, rng.dirichlet(np.ones(classes)), tuple(shape))
    return (1 + drawn) / 64


def training_inputs(case: TrainingCase, rng: np.random.Generator) -> Arrays:
    steps, batch, time, vocabulary_size, embedding_size, hidden_size = case.sizes
    lstm = cell_weights("lstm", embedding_size, hidden_size, rng)
    lengths = rng.integers(2, time + 1, (steps, batch))
    mask = np.arange(time) < lengths[..., None]
    text = rng.integers(0, vocabulary_size, (steps, batch, time + 1))
    return {
        "embedding.W": rng.standard_normal((vocabulary_size, embedding_size)),
        **{f"lstm.{name}": value for name, value in lstm.items()},
        "dense.W": rng.standard_normal((hidden_size, vocabulary_size)) / np.sqrt(hidden_size),
        "dense.b": rng.standard_normal(vocabulary_size),
        "tokens": np.where(mask, text[..., :-1], -1),
        "target": np.where(mask, text[..., 1:], -1),
        "mask": mask,
    }
