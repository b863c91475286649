"""Attention: gradients on all it is given, the mask of the source, and plain numbers."""

import itertools

import numpy as np
import pytest

import minirnn as m
from tests.contract import helpers
from tests.differences import central_differences

SCORES = ["dot", "general", "additive"]
MASK = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]], bool)


def build(score, **options):
    query_size = 4 if score == "dot" else 2
    layer = m.Attention(query_size, 4, score=score, rng=0, dtype=np.float64, **options)
    return helpers.randomize(layer, 1)


def arrays(layer, queries=3, value_size=None, seed=0):
    rng = np.random.default_rng(seed)
    many = () if queries is None else (queries,)
    query = rng.normal(size=(3, *many, layer.query_size))
    given = [query, rng.normal(size=(3, 4, 4))]
    return given + ([] if value_size is None else [rng.normal(size=(3, 4, value_size))])


@pytest.mark.parametrize(
    ("score", "queries", "value_size", "mask"),
    list(itertools.product(SCORES, [3, 1, None], [None, 5], [None, MASK])),
)
def test_every_gradient(score, queries, value_size, mask):
    layer = build(score, scaled=value_size is None)
    given = arrays(layer, queries, value_size)
    r = np.random.default_rng(1).normal(size=layer.forward(*given, mask=mask).shape)
    gradients = layer.backward(r)

    def number():
        return float(np.sum(r * layer.predict(*given, mask=mask)))

    for k, (gradient, array) in enumerate(zip(gradients, given, strict=True)):
        helpers.assert_gradient(f"input {k}", gradient, central_differences(number, array))
    for name, parameter in layer.named_parameters():
        numeric = central_differences(number, parameter.value)
        helpers.assert_gradient(name, parameter.grad, numeric)
    if mask is not None:
        assert all(np.all(gradient[~mask] == 0) for gradient in gradients[1:])


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("score", SCORES)
def test_weights_are_those_of_the_formula(score, scaled):
    layer = build(score, scaled=scaled)
    query, keys = arrays(layer)
    y = layer.forward(query, keys, mask=MASK)
    parameters = {name: p.value for name, p in layer.named_parameters()}
    for n, i in itertools.product(range(2), range(3)):
        q, scores = query[n, i], []
        for k in keys[n, MASK[n]]:
            if score == "dot":
                scores.append(q @ k)
            elif score == "general":
                scores.append(q @ parameters["W"] @ k)
            else:
                hidden = np.tanh(q @ parameters["Wq"] + k @ parameters["Wk"])
                scores.append(parameters["v"] @ hidden)
        scores = np.array(scores) / (2 if scaled else 1)  # sqrt(4), the size of the keys
        expected = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(layer.weights[n, i, MASK[n]], expected, rtol=1e-12)
        np.testing.assert_allclose(y[n, i], expected @ keys[n, MASK[n]], rtol=1e-12)
    assert np.all(layer.weights[:, :, :][~np.broadcast_to(MASK[:, None], (3, 3, 4))] == 0)
    assert np.all(y[2] == 0)  # a source without a valid step


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("filling", [np.nan, np.inf, -1e300])
def test_padding_of_the_source_does_not_matter(score, filling):
    layer = build(score)
    query, keys, values = arrays(layer, value_size=5)
    results = []
    for number in [0, filling]:
        padded = [helpers.with_padding(array, MASK, number) for array in (keys, values)]
        layer.zero_grad()
        y = layer.forward(query, *padded, MASK)
        gradients = layer.backward(np.ones_like(y))
        results.append([y, *gradients, *(p.grad.copy() for p in layer.parameters())])
    for clean, dirty in zip(*results, strict=True):
        np.testing.assert_array_equal(clean, dirty)


def test_a_far_smaller_score_in_one_sequence_does_not_matter_in_another():
    layer = m.Attention(1, 1)
    keys = np.array([[[-1e30], [-1e30]], [[1.0], [2.0]]])
    layer.forward(np.ones((2, 1, 1)), keys, mask=np.array([[True, False], [True, True]]))
    np.testing.assert_allclose(layer.weights[0, 0], [1, 0])
    np.testing.assert_allclose(layer.weights[1, 0], np.exp([1, 2]) / np.exp([1, 2]).sum())


def test_one_query_is_many_of_one():
    layer = build("additive")
    query, keys = arrays(layer)
    whole = layer.forward(query, keys, mask=MASK)
    weights = layer.weights
    for i in range(3):
        np.testing.assert_allclose(layer.forward(query[:, i], keys, mask=MASK), whole[:, i])
        np.testing.assert_allclose(layer.weights, weights[:, i])


def test_attend_keeps_nothing():
    layer = build("general")
    query, keys = arrays(layer)
    y = layer.forward(query, keys)
    expected, weights = layer.backward(np.ones_like(y)), layer.weights
    layer.predict(query + 1, keys - 1)
    assert layer.weights is weights
    for got, want in zip(layer.backward(np.ones_like(y)), expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_wrong_calls():
    with pytest.raises(ValueError, match=r'Attention: score="dot" needs .*one size, got 3 and 4'):
        m.Attention(3, 4)
    with pytest.raises(ValueError, match="score should be one of 'dot'"):
        m.Attention(4, 4, score="cosine")
    layer = build("dot")
    query, keys, values = arrays(layer, value_size=5)
    with pytest.raises(RuntimeError, match="Attention: backward was called before forward"):
        layer.backward(keys)
    with pytest.raises(ValueError, match=r"Attention: the queries should be .*3 sequences"):
        layer.forward(query[:2], keys)
    with pytest.raises(ValueError, match=r"Attention: keys and values should have the same batch"):
        layer.forward(query, keys, values[:, :2])
    with pytest.raises(ValueError, match=r"Attention: .*axis 2 \(features\) should be 4, got 7"):
        layer.forward(query, np.ones((3, 4, 7)))
    with pytest.raises(ValueError, match=r"mask should have shape \(3, 4\)"):
        layer.forward(query, keys, mask=np.ones((3, 3), bool))
    layer.forward(query, keys)
    with pytest.raises(ValueError, match=r"the gradient should have shape \(3, 3, 4\)"):
        layer.backward(np.ones(4))
