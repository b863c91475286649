"""Keywords of PyTorch and Keras are answered with ours."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import minirnn as m
from minirnn import keywords

P = [m.Parameter([1.0])]


class OwnUnits(m.Layer):
    def __init__(self, units):
        self.units = units


class OwnRate(m.Optimizer):
    def __init__(self, parameters, lr):
        super().__init__(parameters, lr)


def trainer():
    model = m.Dense(2, 2)
    return m.Trainer(model, m.MeanSquaredError(), m.SGD(model.parameters(), 0.1))


CALLS = {
    "num_layers": (lambda: m.LSTM(3, 4, num_layers=2), r"^LSTM: .*num_layers.*two layers"),
    "return_sequences": (lambda: m.GRU(3, 4, return_sequences=True), "returns every step"),
    "hidden_dim": (lambda: m.RNN(input_size=3, hidden_dim=4), "it is hidden_size"),
    "units": (lambda: m.LSTM(units=3), "it is hidden_size"),
    "units of a Dense": (lambda: m.Dense(units=3), "of a Dense output_size"),
    "bias": (lambda: m.LSTM(3, 4, bias=False), "recurrent layers always have one"),
    "use_bias": (lambda: m.Dense(3, 4, use_bias=False), "bias=True or False in a Dense"),
    "activation": (lambda: m.Dense(3, 4, activation="relu"), r"a layer behind it: ReLU\(\)"),
    "bidirectional": (lambda: m.LSTM(3, 4, bidirectional=True), r"Bidirectional\(LSTM"),
    "batch_first": (lambda: m.LSTM(3, 4, batch_first=True), r"\(batch, time, features\)"),
    "cell": (lambda: m.LSTMCell(3, hidden_dim=4), "LSTMCell: .*hidden_size"),
    "dense": (lambda: m.Dense(in_features=3, out_features=2), "it is (in|out)put_size"),
    "no arguments": (lambda: m.LastStep(dim=1), r"LastStep: .*keyword dim; .*fixed"),
    "positional": (lambda: m.Softmax(-1), "Softmax: takes no arguments"),
    "lr": (lambda: m.Adam(P, lr=0.1), "^Adam: .*keyword lr; .*it is learning_rate"),
    "beta1": (lambda: m.Adam(P, 0.1, beta1=0.9), r"betas=\(beta1, beta2\)"),
    "beta_2": (lambda: m.Nadam(P, 0.1, beta_2=0.9), r"betas=\(beta_1, beta_2\)"),
    "alpha": (lambda: m.RMSProp(P, 0.1, alpha=0.9), "it is rho"),
    "clipvalue": (lambda: m.SGD(P, 0.1, clipvalue=1.0), "it is clip_value"),
    "eps": (lambda: m.Adagrad(P, 0.1, eps=1e-8), "it is epsilon"),
    "loss": (lambda: m.SoftmaxCrossEntropy(ignore_index=0), "it is ignore_class"),
    "weight": (lambda: m.SoftmaxCrossEntropy(weight=[1, 2]), "it is class_weight"),
    "reduction": (lambda: m.MeanSquaredError(reduction="sum"), "it is always the mean"),
    "from_logits": (lambda: m.CrossEntropy(from_logits=True), "SoftmaxCrossEntropy"),
    "metric": (lambda: m.Accuracy(from_logits=True), "Accuracy: "),
    "callback": (lambda: m.callbacks.EarlyStopping(min_delta=0.1), "it is minimum_improvement"),
    "trainer": (lambda: m.Trainer(None, criterion=None), "Trainer: .*it is loss"),
    "validation_data": (
        lambda: trainer().fit(np.ones((2, 2)), np.ones((2, 2)), epochs=1, validation_data=()),
        "fit: .*it is validation$",
    ),
    "validation_split": (
        lambda: trainer().fit(np.ones((2, 2)), np.ones((2, 2)), epochs=1, validation_split=0.1),
        r"validation=\(inputs, targets\)",
    ),
    "verbose": (
        lambda: trainer().fit(np.ones((2, 2)), np.ones((2, 2)), epochs=1, verbose=0),
        "progress=True or False",
    ),
    "evaluate": (lambda: trainer().evaluate(x=np.ones((2, 2))), r"evaluate: .*inputs"),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_answer_is_our_word(name):
    call, message = CALLS[name]
    with pytest.raises(TypeError, match=message):
        call()


def test_what_a_class_takes_itself_is_not_answered():
    assert OwnUnits(units=3).units == 3
    assert OwnRate(P, lr=0.5).learning_rate == 0.5
    assert m.LogLoss(from_logits=False).from_logits is False


def test_other_mistakes_are_pythons():
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        m.LSTM(3, 4, colour="red")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: m.LSTM(3, 4, 2),
            r"^LSTM: takes \(input_size, hidden_size\), got 3 arguments; oth",
        ),
        (lambda: m.Adam([P], 0.1, 0.9), r"^Adam: takes \(parameters, learning_rate\), got 3 arg"),
        (lambda: m.Sequential(m.Tanh(), m.Tanh()), r"in a list: write Sequential\(\[...\]\)$"),
    ],
)
def test_too_many_arguments_by_position(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_copies_and_pickles():
    for one in (m.Huber(0.5), m.F1("macro"), m.Adam([m.Parameter(np.ones(2))], 0.1)):
        for twin in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
            assert repr(twin) == repr(one)


def test_every_word_of_ours_that_is_one_word_exists():
    """So the table does not send anybody to a keyword that was renamed."""
    known = {"path", "loss", "optimizer", "class_weight", "sample_weight"}
    kinds = [m.LSTM, m.GRU, m.RNN, m.Dense, m.Embedding, m.Dropout, m.LayerNorm, m.Bidirectional]
    kinds += [m.Adam, m.RMSProp, m.SoftmaxCrossEntropy, m.Trainer.fit, m.callbacks.EarlyStopping]
    kinds += [m.callbacks.ReduceOnPlateau, m.callbacks.Checkpoint, m.Parallel]
    for kind in kinds:
        known |= set(keywords.signature(kind).parameters)
    single = {word for word in keywords._OURS.values() if word.isidentifier()}
    assert single <= known
