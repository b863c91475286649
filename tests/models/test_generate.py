"""Writing on from a prompt: against a model of known probabilities, and against step."""

import numpy as np
import pytest

import minirnn as m
from minirnn.functions import softmax
from minirnn.models.decoding import Sampler

VOCABULARY = m.data.Vocabulary("abcd.")


def build(seed=0):
    return m.Sequential([m.Embedding(5, 4, rng=seed), m.LSTM(4, 6, rng=seed), m.Dense(6, 5, rng=1)])


class Next(m.Layer):
    """The next token is the one after, surely; after the last comes the first."""

    def step(self, x_t):
        return 1e9 * np.eye(5)[(x_t + 1) % 5]


def by_hand(model, prompt, length):
    model.reset_state()
    for token in prompt:
        logits = model.step(np.array([token]))
    written = []
    for _ in range(length):
        token = int(logits.argmax())
        written.append(token)
        logits = model.step(np.array([token]))
    model.reset_state()
    return written


def test_many_prompts_are_each_alone():
    prompts = [[0, 1, 2], [4], [3, 3, 1, 0, 2]]
    texts = m.generate(build(), prompts, 6, temperature=0)
    for prompt, text in zip(prompts, texts, strict=True):
        assert text.tolist() == by_hand(build(), prompt, 6)
        np.testing.assert_array_equal(m.generate(build(), prompt, 6, temperature=0), text)
    square = m.generate(build(), np.array([[0, 1], [2, 3]]), 3, temperature=0)
    assert [text.tolist() for text in square] == [by_hand(build(), p, 3) for p in ([0, 1], [2, 3])]


def test_text_in_text_out():
    assert m.generate(Next(), "a", 3, vocabulary=VOCABULARY) == "bcd"
    texts = m.generate(Next(), ["ab", "d", "abc"], 2, vocabulary=VOCABULARY)
    assert texts == ["cd", ".a", "d."]


def test_the_stop_token_ends_each_text_by_itself():
    prompts = ["a", "cd", "cd.ab"]
    for stop in (".", 4):
        texts = m.generate(Next(), prompts, 4, vocabulary=VOCABULARY, stop=stop)
        assert texts == ["bcd", "", "cd"]
    for stop in (["c", "."], [2, "."], np.array([2, 4])):
        assert m.generate(Next(), ["a", "c"], 4, vocabulary=VOCABULARY, stop=stop) == ["b", "d"]
    tokens = m.generate(Next(), [[0], [2, 3]], 9, stop=4)
    assert [text.tolist() for text in tokens] == [[1, 2, 3], []]


def test_it_yields_as_it_writes():
    steps = m.generate(Next(), "a", 3, vocabulary=VOCABULARY, stream=True)
    assert next(steps) == "b"
    assert list(steps) == ["c", "d"]
    steps = m.generate(Next(), ["a", "abc"], 3, vocabulary=VOCABULARY, stop=".", stream=True)
    assert list(steps) == [["b", ""], ["c", ""], ["d", "d"]]
    assert list(m.generate(Next(), [3], 2, stream=True)) == [4, 0]
    assert list(m.generate(Next(), [[3], [2]], 2, stop=4, stream=True)) == [[None, 3]]


def test_whole_and_stream_are_the_same_and_seeds_repeat():
    options = {"vocabulary": VOCABULARY, "temperature": 1.3}
    whole = m.generate(build(), "ab", 40, rng=3, **options)
    assert whole == "".join(m.generate(build(), "ab", 40, rng=3, stream=True, **options))
    assert whole != m.generate(build(), "ab", 40, rng=4, **options)


def test_the_model_stays_as_it_is_also_between_pieces():
    model = build()
    x = np.array([[0, 1, 2]])
    y = model.forward(x)
    model.step(np.array([2, 3]))
    carried = [array.copy() for array in model[1].carried_state]
    steps = m.generate(model, [[0], [1], [2]], 5, stream=True, rng=0)
    first = [next(steps), next(steps)]
    assert model.training
    for array, before in zip(model[1].carried_state, carried, strict=True):
        np.testing.assert_array_equal(array, before)
    model.backward(np.ones_like(y))
    model.step(np.array([2, 3]))
    again = m.generate(build(), [[0], [1], [2]], 5, stream=True, rng=0)
    assert [next(again), next(again)] == first
    assert list(steps) == list(again)


def test_it_writes_with_the_parameters_as_they_are():
    model = build()
    before = m.generate(model, "a", 20, vocabulary=VOCABULARY, temperature=0)
    model[2].b.value = [0, 50, 0, 0, 0]
    assert m.generate(model, "a", 5, vocabulary=VOCABULARY, temperature=0) == "bbbbb" != before


# ---------------------------------------------------------------- from logits to tokens

LOGITS = np.array([1.0, 3.0, 2.0, -1.0, 2.5])


def shares(**options):
    options = {"temperature": 1.0, "top_k": None, "top_p": None} | options
    drawn = Sampler("test", rng=0, **options)(np.broadcast_to(LOGITS, (40_000, 5)))
    return np.bincount(drawn, minlength=5) / 40_000


@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_temperature(temperature):
    expected = softmax(LOGITS / temperature)
    np.testing.assert_allclose(shares(temperature=temperature), expected, atol=0.012)


def test_top_k_and_top_p():
    p = softmax(LOGITS)  # from the likeliest: tokens 1, 4, 2, 0, 3
    for options, kept in [
        ({"top_k": 1}, [1]),
        ({"top_k": 3}, [1, 4, 2]),
        ({"top_k": 99}, [0, 1, 2, 3, 4]),
        ({"top_p": 0.01}, [1]),
        ({"top_p": float(p[1]) + 0.01}, [1, 4]),
        ({"top_p": float(p[1] + p[4]) - 0.01}, [1, 4]),
        ({"top_p": 1.0}, [0, 1, 2, 3, 4]),
        ({"top_k": 2, "top_p": 0.99}, [1, 4]),
        ({"top_k": 4, "top_p": 0.01}, [1]),
    ]:
        expected = np.zeros(5)
        expected[kept] = p[kept] / p[kept].sum()
        np.testing.assert_allclose(shares(**options), expected, atol=0.012, err_msg=str(options))


def test_the_nucleus_is_that_of_the_temperature():
    hot = softmax(LOGITS / 5)
    assert np.count_nonzero(shares(temperature=5.0, top_p=0.5)) == 3  # more, as it is flatter
    assert np.sort(hot)[::-1][:2].sum() < 0.5 < np.sort(hot)[::-1][:3].sum()


def test_of_equal_logits_only_k_are_kept():
    drawn = Sampler("test", 1.0, 2, None, 0)(np.zeros((1000, 6)))
    assert len(np.unique(drawn)) == 2


def test_wrong_calls():
    model = build()
    for prompt, message in [
        ([], "there is no prompt"),
        ([[0], []], "prompt 1 is empty"),
        ([[[0]]], r"prompt 0 should be tokens \(time,\)"),
    ]:
        with pytest.raises(ValueError, match=f"generate: {message}"):
            m.generate(model, prompt, 3)
    with pytest.raises(ValueError, match="the prompt is empty"):
        m.generate(model, "", 3, vocabulary=VOCABULARY)
    with pytest.raises(TypeError, match="the prompt is text: pass vocabulary="):
        m.generate(model, "ab", 3)
    with pytest.raises(ValueError, match="'x'.*is not one of the 5 known characters"):
        m.generate(model, "x", 3, vocabulary=VOCABULARY)
    with pytest.raises(TypeError, match="prompt should be integers, got an array of float64"):
        m.generate(model, [0.5], 3)
    with pytest.raises(ValueError, match="temperature should be at least 0"):
        m.generate(model, [0], 3, temperature=-1.0)
    with pytest.raises(ValueError, match="top_k should be at least 1"):
        m.generate(model, [0], 3, top_k=0)
    with pytest.raises(ValueError, match="top_p should be greater than 0"):
        m.generate(model, [0], 3, top_p=0.0)
    for stop in ("ab", ["a", "ab"]):
        with pytest.raises(ValueError, match="stop should be one character, or a list .*got 'ab'"):
            m.generate(model, "a", 3, vocabulary=VOCABULARY, stop=stop)
    with pytest.raises(TypeError, match="stop should be integers, got an array of float64"):
        m.generate(model, [0], 3, stop=1.0)
    with pytest.raises(ValueError, match=r"give the logits \(batch, tokens\).*got shape \(1,\)"):
        m.generate(m.Dropout(0.5), [0], 3)


def test_a_model_that_ends_in_softmax_writes_what_it_writes_without():
    model = build()
    for end in ([m.Softmax()], [m.Sequential([m.LogSoftmax()])]):
        ends_so = m.Sequential([model, *end])
        for options in ({}, {"temperature": 0.5}, {"top_p": 0.7}, {"top_k": 2}):
            expected = m.generate(model, [0, 1], 30, rng=3, **options)
            found = m.generate(ends_so, [0, 1], 30, rng=3, **options)
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("prompt", [None, 5, np.array(5), {1, 2}, {"a": 1}, (k for k in [1])])
def test_what_is_no_prompt(prompt):
    with pytest.raises(TypeError, match="generate: the prompt should be text, tokens"):
        m.generate(build(), prompt, 3)


def test_a_stop_that_never_comes_and_a_vocabulary_that_is_none():
    for stop in (5, -1, [0, 9]):
        with pytest.raises(ValueError, match=r"stop should be tokens in 0\.\.4"):
            m.generate(build(), [1, 2], 3, stop=stop)
    with pytest.raises(TypeError, match="vocabulary should be a Vocabulary, got str"):
        m.generate(build(), "ab", 3, vocabulary="abcd.")
    with pytest.raises(TypeError, match="stream should be True or False"):
        m.generate(build(), [1, 2], 3, stream="yes")


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_logits_that_are_nan_write_nothing(temperature):
    model = build()
    model[2].b.value = np.full(5, np.nan)
    with pytest.raises(ValueError, match="a logit of the model is nan"):
        m.generate(model, [1, 2], 3, temperature=temperature, rng=0)


@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"top_p": 0.9}])
def test_the_coldest_temperatures_take_the_likeliest(options):
    expected = m.generate(build(), [1, 2], 6, temperature=0).tolist()
    for temperature in (1e-200, 5e-324):
        written = m.generate(build(), [1, 2], 6, temperature=temperature, rng=0, **options)
        assert written.tolist() == expected
