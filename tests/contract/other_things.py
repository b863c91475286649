"""The table of metrics, optimizers and callbacks, and what each is checked on."""

import numpy as np

import minirnn as m
from minirnn import callbacks, metrics, optimizers

RNG = np.random.default_rng(0)
POSITIONS = 5, 4
CLASSES = RNG.normal(size=(*POSITIONS, 4)), RNG.integers(0, 4, POSITIONS)
LABELS = RNG.normal(size=(*POSITIONS, 4)), RNG.integers(1, 4, (POSITIONS[0], 2))
YES_OR_NO = RNG.normal(size=(*POSITIONS, 1)), RNG.integers(0, 2, (*POSITIONS, 1)).astype(float)
NUMBERS = RNG.normal(size=(*POSITIONS, 2)), RNG.normal(size=(*POSITIONS, 2))


def _spread(prediction, target):
    return float(np.ptp(prediction - target))


METRICS = [
    (metrics.Accuracy(), CLASSES),
    (metrics.BinaryAccuracy(), YES_OR_NO),
    (metrics.ConfusionMatrix(), CLASSES),
    *((kind(average), CLASSES) for kind in (metrics.F1, metrics.Precision, metrics.Recall)
      for average in ("macro", "micro")),
    (metrics.F1(), YES_OR_NO),
    (metrics.FunctionMetric(_spread, name="spread", higher_is_better=False), NUMBERS),
    (metrics.LabelErrorRate(), LABELS),
    (metrics.LogLoss(), CLASSES),
    (metrics.MAE(), NUMBERS),
    (metrics.Perplexity(), CLASSES),
    (metrics.R2(), NUMBERS),
    (metrics.RMSE(), NUMBERS),
    (metrics.TopKAccuracy(2), CLASSES),
]  # fmt: skip


def _over_two(kind, **keywords):
    parameters = [
        m.Parameter(RNG.normal(size=(3, 4))),
        m.Parameter(RNG.normal(size=4), decay=False),
    ]
    return kind(parameters, 0.01, **keywords)


OPTIMIZERS = [
    *(_over_two(kind) for kind in (m.SGD, m.Adagrad, m.Adam, m.AdamW, m.RMSProp, optimizers.Nadam)),
    _over_two(m.SGD, momentum=0.9),
    _over_two(m.SGD, momentum=0.9, nesterov=True),
    _over_two(m.Adam, amsgrad=True),
    _over_two(m.AdamW, weight_decay=0.1, clip_value=0.5),
    _over_two(m.RMSProp, momentum=0.9, centered=True),
    m.Adam([m.Parameter(np.ones((2, 3), np.float32)), m.Parameter(np.ones(2))], 0.1),
]


class Trial:
    """What OptunaPruning uses of an Optuna trial."""

    def __init__(self):
        self.reported = {}

    def report(self, value, step):
        """Keep the value."""
        self.reported[step] = value

    def should_prune(self):
        """Let the run go on."""
        return False


class SummaryWriter:
    """What TensorBoard uses of tensorboardX, which is an extra."""

    def __init__(self, folder):
        self.written = {}

    def add_scalar(self, name, value, step):
        """Keep a number."""
        self.written[name, step] = float(value)

    def add_histogram(self, name, values, step):
        """Keep the mean."""
        self.written[name, step] = float(np.mean(values))

    def flush(self):
        """Have nothing to write."""

    def close(self):
        """Refuse what comes later."""
        self.written = None


CALLBACKS = [
    callbacks.AverageWeights(),
    callbacks.EarlyStopping(),
    callbacks.EarlyStopping("val_accuracy", patience=2),
    callbacks.Checkpoint("own-{epoch}.safetensors", monitor="val_loss", keep_last=2),
    callbacks.Checkpoint("own.safetensors", every_batches=1),
    callbacks.CSVLogger("history.csv"),
    callbacks.OptunaPruning(Trial(), "val_loss"),
    callbacks.ReduceOnPlateau(patience=1),
    callbacks.TensorBoard("runs", histograms_every=2),
]


def public(kind):
    """Return the public classes of the library of a kind, and those that are not a base."""
    bases = {m.Layer, m.Cell, m.Loss, m.Metric, m.Optimizer, callbacks.Callback}
    modules = [m, metrics, optimizers, callbacks]
    named = (getattr(module, name) for module in modules for name in module.__all__)
    classes = {one for one in named if isinstance(one, type)}
    return {one for one in classes - bases if issubclass(one, kind)}
