"""Encoder and decoder: gradients through states and attention, and three ways of writing."""

import itertools

import numpy as np
import pytest

import minirnn as m
from minirnn.functions import log_softmax
from tests.contract import helpers
from tests.contract.own_cells import ProjectedCell, SumCell
from tests.differences import central_differences

D = {"dtype": np.float64}
SOURCE_MASK = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]], bool)
TARGET_MASK = np.array([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)
START, END, TOKENS = 3, 1, 4


def tokens_in(name, rng=0):
    """Return a source and a shifted target."""
    rng = np.random.default_rng(rng)
    source = rng.integers(0, 6, (3, 4)) if name != "numbers" else rng.normal(size=(3, 4, 2))
    return source, rng.integers(0, TOKENS, (3, 5))


def build(name, attention=None):
    read, write = m.Embedding(6, 2, **D), m.Embedding(TOKENS, 2, **D)
    keys, hidden = 4, 4
    if name == "plain":
        encoder, layers = [read, m.LSTM(2, 4, **D)], [m.LSTM(2, 4, **D)]
    elif name == "bidirectional":
        both = m.Bidirectional(m.LSTM(2, 3, **D), m.LSTM(2, 2, **D))
        encoder, layers, keys, hidden = [read, both], [m.LSTM(2, 5, **D)], 5, 5
    elif name == "stacked":
        encoder = [read, m.GRU(2, 3, **D), m.Sequential([m.LSTM(3, 3, **D), m.GRU(3, 4, **D)])]
        layers, keys = [m.LSTM(2, 3, **D), m.GRU(3, 4, **D)], 4
    elif name == "own cells":
        encoder = [read, m.Recurrent(SumCell(2, 3, np.float64), reverse=True)]
        layers, keys, hidden = [m.Recurrent(SumCell(2, 3, np.float64))], 3, 3
    elif name == "numbers":
        encoder, layers = [m.Dense(2, 2, **D), m.GRU(2, 4, **D)], [m.GRU(2, 4, **D), m.Tanh()]
    elif name == "dense behind the states":
        encoder = [read, m.RNN(2, 4, **D), m.LayerNorm(4, **D), m.Dense(4, 3, **D)]
        layers, keys = [m.RNN(2, 4, **D)], 3
    attend, extra = None, 0
    if attention is not None:
        attend, extra = m.Attention(hidden, keys, score=attention, **D), keys
    decoder = [write, *layers, m.Dense(hidden + extra, TOKENS, **D)]
    whole = decoder if attend is not None else m.Sequential(decoder)
    model = m.EncoderDecoder(m.Sequential(encoder), whole, attend)
    return helpers.randomize(model, 1)


def slope(number, array, direction, epsilon=1e-6):
    """Return the derivative of a number as an array is moved along a direction."""
    kept = array.copy()
    array[...] = kept + epsilon * direction
    above = number()
    array[...] = kept - epsilon * direction
    below = number()
    array[...] = kept
    return (above - below) / (2 * epsilon)


NAMES = ["plain", "bidirectional", "stacked", "own cells", "dense behind the states", "numbers"]


@pytest.mark.parametrize("masks", [None, (SOURCE_MASK, TARGET_MASK), (SOURCE_MASK, None)])
@pytest.mark.parametrize("attention", [None, "general", "additive"])
@pytest.mark.parametrize("name", NAMES)
def test_every_gradient(name, attention, masks):
    model = build(name, attention)
    source, target = tokens_in(name)
    r = np.random.default_rng(1).normal(size=(3, 5, TOKENS))  # in the padding too

    def number():
        return float(np.sum(r * model.forward((source, target), masks)))

    number()
    grad_source, grad_target = model.backward(r)
    assert grad_target is None
    arrays = {name: (p.value, p.grad.copy()) for name, p in model.named_parameters()}
    if name == "numbers":
        arrays["source"] = source, grad_source
    rng = np.random.default_rng(2)
    for array_name, (array, gradient) in arrays.items():
        for _ in range(2):  # along random directions, which no wrong element can hide from
            direction = rng.normal(size=array.shape)
            numeric = slope(number, array, direction)
            assert np.sum(gradient * direction) == pytest.approx(numeric, rel=1e-6, abs=1e-8), (
                array_name
            )


@pytest.mark.parametrize("attention", [None, "general"])
def test_the_gradient_check_takes_it_as_it_is(attention):
    source, target = tokens_in("bidirectional")
    masks = SOURCE_MASK[:2], TARGET_MASK[:2]
    model = build("bidirectional", attention)
    report = m.check_gradients(model, (source[:2], target[:2]), mask=masks)
    names = {comparison.name for comparison in report.comparisons}
    assert names >= {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("attention", [None, "additive"])
@pytest.mark.parametrize("name", NAMES)
def test_padding_does_not_matter(name, attention):
    model = build(name, attention)
    source, target = tokens_in(name)
    y = model.forward((source, target), (SOURCE_MASK, TARGET_MASK))
    other = np.nan if name == "numbers" else 10**6
    dirty = helpers.with_padding(source, SOURCE_MASK, other)
    dirty_target = helpers.with_padding(target, TARGET_MASK, -5)
    again = model.forward((dirty, dirty_target), (SOURCE_MASK, TARGET_MASK))
    np.testing.assert_array_equal(y, again)
    for row in range(3):
        times = SOURCE_MASK[row].sum(), TARGET_MASK[row].sum()
        alone = model.forward((source[row : row + 1, : times[0]], target[row : row + 1]))
        np.testing.assert_allclose(alone[0, : times[1]], y[row, : times[1]], rtol=1e-12)


@pytest.mark.parametrize("attention", [None, "dot"])
def test_padding_of_the_target_gives_zeros_and_takes_no_gradient(attention):
    model = build("numbers", attention)
    for p in model.parameters():
        p.value += 0.1  # biases too
    y = model.forward(tokens_in("numbers"), (SOURCE_MASK, TARGET_MASK))
    assert not y[~TARGET_MASK].any()
    model.backward(np.where(TARGET_MASK[..., None], np.ones_like(y), np.nan))
    assert all(np.isfinite(p.grad).all() for p in model.parameters())


def score(model, source, mask, sequence):
    """Return the log-probability of one target, by teacher forcing."""
    target_in = np.array([[START, *sequence[:-1]]])
    masks = None if mask is None else (mask, None)
    log_p = log_softmax(model.forward((source, target_in), masks))
    return sum(log_p[0, t, token] for t, token in enumerate(sequence))


@pytest.mark.parametrize("mask", [None, SOURCE_MASK])
@pytest.mark.parametrize("attention", [None, "general"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_step_by_step_is_what_teacher_forcing_says(name, attention, mask):
    model = build(name, attention)
    source, _ = tokens_in(name)
    written = [
        model.greedy(source, start=START, end=END, max_length=6, mask=mask),
        model.sample(source, start=START, end=END, max_length=6, mask=mask, rng=0),
        model.beam_search(source, start=START, end=END, max_length=6, mask=mask, width=3),
    ]
    for kind, decoded in enumerate(written):
        for row in range(3):
            tokens = decoded.tokens[row, decoded.mask[row]]
            one, its_mask = source[row : row + 1], None if mask is None else mask[row : row + 1]
            expected = score(model, one, its_mask, tokens)
            assert decoded.log_probability[row] == pytest.approx(expected, rel=1e-10)
            assert list(tokens).count(END) <= 1
            assert END in tokens or len(tokens) == 6
            if kind == 0:
                target_in = np.array([[START, *tokens[:-1]]])
                y = model.forward((one, target_in), None if mask is None else (its_mask, None))
                np.testing.assert_array_equal(y[0].argmax(axis=1), tokens)
            if attention is not None:
                target_in = np.array([[START, *tokens[:-1]]])
                model.forward((one, target_in), None if mask is None else (its_mask, None))
                seen = decoded.attention[row, : len(tokens)]
                np.testing.assert_allclose(seen, model.attention.weights[0], rtol=1e-9, atol=1e-15)


def test_a_decoder_that_ends_in_softmax_gives_the_same_probabilities():
    model, source = build("plain"), tokens_in("plain")[0]
    decoder = m.Sequential([model.decoder, m.Softmax()])
    options = {"start": START, "end": END, "max_length": 6}
    expected = model.beam_search(source, **options)
    found = m.EncoderDecoder(model.encoder, decoder).beam_search(source, **options)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_allclose(found.log_probability, expected.log_probability, rtol=1e-12)


def all_sequences(length):
    """Every sequence that ends in END, or is cut off."""
    others = [k for k in range(TOKENS) if k != END]
    for n in range(length):
        yield from ((*first, END) for first in itertools.product(others, repeat=n))
    yield from itertools.product(others, repeat=length)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("name", ["plain", "own cells"])
def test_a_beam_wide_enough_is_an_exhaustive_search(name, length_penalty):
    model = build(name, "general")
    for parameter in model.parameters():
        parameter.value *= 2  # probabilities far from equal
    source, _ = tokens_in(name)
    length = 3
    decoded = model.beam_search(
        source, start=START, end=END, max_length=length, width=TOKENS**length,
        length_penalty=length_penalty,
    )  # fmt: skip
    for row in range(3):
        scores = {
            sequence: score(model, source[row : row + 1], None, sequence)
            for sequence in all_sequences(length)
        }
        best = max(scores, key=lambda one: scores[one] / len(one) ** length_penalty)
        assert tuple(decoded.tokens[row, decoded.mask[row]]) == best
        assert decoded.log_probability[row] == pytest.approx(scores[best], rel=1e-10)


def test_a_beam_of_one_is_greedy():
    model = build("plain", "general")
    source, _ = tokens_in("plain")
    options = {"start": START, "end": END, "max_length": 7}
    one, greedy = model.beam_search(source, width=1, **options), model.greedy(source, **options)
    for got, want in zip(one, greedy, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_samples_come_with_their_probabilities():
    model = build("plain", "general")
    source = np.repeat(tokens_in("plain")[0][:1], 4000, axis=0)
    decoded = model.sample(source, start=START, end=END, max_length=2, rng=0)
    counts = {}
    for row, real in zip(decoded.tokens, decoded.mask, strict=True):
        sequence = tuple(row[real].tolist())
        counts[sequence] = counts.get(sequence, 0) + 1
    for sequence in all_sequences(2):
        p = np.exp(score(model, source[:1], None, sequence))
        spread = np.sqrt(p * (1 - p) / 4000)
        assert counts.get(sequence, 0) / 4000 == pytest.approx(p, abs=5 * spread)


def test_writing_leaves_everything_as_it_was():
    model = build("plain", "general")
    source, target = tokens_in("plain")
    y = model.forward((source, target))
    weights, state = model.attention.weights, model.encoder[1].state
    model.backward(np.ones_like(y))
    expected = {name: p.grad.copy() for name, p in model.named_parameters()}
    for write in (model.greedy, model.sample, model.beam_search):
        write(source[:2], start=START, end=END, max_length=4)
    assert model.training
    assert model.attention.weights is weights
    assert model.encoder[1].state is state
    assert model.decoder[1].carried_state is None
    model.zero_grad()
    model.backward(np.ones_like(y))
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.grad, expected[name])


def test_sequences_without_the_end_token():
    decoded = m.EncoderDecoder.greedy(
        build("plain"), tokens_in("plain")[0], start=START, end=END, max_length=5
    )
    for row, sequence in enumerate(decoded.sequences(END)):
        tokens = decoded.tokens[row].tolist()
        assert sequence.tolist() == (tokens[: tokens.index(END)] if END in tokens else tokens)


def test_what_does_not_go_together_is_refused_at_once():
    read, write = m.Embedding(6, 2), m.Embedding(4, 2)
    encoder = m.Sequential([read, m.LSTM(2, 4)])

    def decoder(*layers):
        return m.Sequential([write, *layers])

    with pytest.raises(ValueError, match=r"encoder's LSTM has arrays of \[\(4,\), \(4,\)\].*GRU"):
        m.EncoderDecoder(encoder, decoder(m.GRU(2, 4)))
    both = m.Sequential([read, m.Bidirectional(m.GRU(2, 4), m.GRU(2, 4))])
    with pytest.raises(ValueError, match=r"both directions side by side, has arrays of \[\(8,\)\]"):
        m.EncoderDecoder(both, decoder(m.GRU(2, 4)))
    with pytest.raises(ValueError, match="decoder has 2 recurrent layers, the encoder 1"):
        m.EncoderDecoder(encoder, decoder(m.LSTM(2, 4), m.LSTM(4, 4)))
    with pytest.raises(ValueError, match="LSTM cannot read backwards"):
        m.EncoderDecoder(encoder, decoder(m.LSTM(2, 4, reverse=True)))
    with pytest.raises(ValueError, match="the decoder has no recurrent layer"):
        m.EncoderDecoder(encoder, decoder(m.Dense(2, 4)))
    attention = m.Attention(4, 4)
    with pytest.raises(ValueError, match="takes the time axis away"):
        m.EncoderDecoder(
            m.Sequential([read, m.LSTM(2, 4), m.LastStep()]), decoder(m.LSTM(2, 4)), attention
        )
    with pytest.raises(TypeError, match="attention should be an Attention, got str"):
        m.EncoderDecoder(encoder, decoder(m.LSTM(2, 4)), "dot")


@pytest.mark.parametrize(
    ("decoder", "attention", "message"),
    [
        ([m.LSTM(2, 4)], m.Attention(4, 3, score="general"), r"Attention: axis 2 .* be 3, got 4"),
        ([m.LSTM(2, 4)], m.Attention(3, 4, score="general"), r"Attention: axis 2 .* be 3, got 4"),
        (
            [m.LSTM(2, 4), m.Dense(4, 4)],
            m.Attention(4, 4),
            r"Dense \(layer 0 of the rest of the decoder\): axis 2 .* should be 4, got 8",
        ),
    ],
)
def test_sizes_that_differ_are_refused_by_the_layer_that_gets_them(decoder, attention, message):
    encoder = m.Sequential([m.Embedding(6, 2), m.LSTM(2, 4)])
    model = m.EncoderDecoder(encoder, [m.Embedding(4, 2), *decoder], attention)
    with pytest.raises(ValueError, match=message):
        model.forward((np.ones((3, 5), int), np.ones((3, 6), int)))


def test_an_encoder_may_end_without_time_and_may_have_more_layers():
    encoder = m.Sequential(
        [m.GRU(2, 3, **D), m.Recurrent(ProjectedCell(3, 5, 4, np.float64)), m.LastStep()]
    )
    decoder = m.Sequential([m.Recurrent(ProjectedCell(1, 5, 4, np.float64)), m.Dense(4, 2, **D)])
    model = helpers.randomize(m.EncoderDecoder(encoder, decoder), 0)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 4, 1))
    r = rng.normal(size=(2, 4, 2))

    def number():
        return float(np.sum(r * model.forward(inputs)))

    number()
    for grad, array in zip(model.backward(r), inputs, strict=True):
        helpers.assert_gradient("input", grad, central_differences(number, array))


def test_states_of_several_widths_in_both_directions():
    both = m.Bidirectional(
        m.Recurrent(ProjectedCell(2, 3, 1, np.float64)),
        m.Recurrent(ProjectedCell(2, 2, 3, np.float64)),
    )
    decoder = m.Recurrent(ProjectedCell(1, 5, 4, np.float64))
    model = helpers.randomize(m.EncoderDecoder(both, decoder), 0)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 4, 1))
    assert m.check_gradients(model, inputs).passed


def test_wrong_calls():
    model = build("plain")
    source, target = tokens_in("plain")
    with pytest.raises(RuntimeError, match="EncoderDecoder: backward was called before forward"):
        model.backward(np.ones((3, 5, TOKENS)))
    with pytest.raises(TypeError, match=r"inputs should be a tuple \(source, target_in\), got nd"):
        model.forward(source)
    with pytest.raises(TypeError, match=r"mask should be a tuple .*got ndarray"):
        model.forward((source, target), SOURCE_MASK)
    with pytest.raises(ValueError, match="of one batch, got 3 sequences and a target of shape"):
        model.forward((source, target[:2]))
    with pytest.raises(ValueError, match=r"^Embedding \(layer 0 of the decoder\): tokens"):
        model.forward((source, target + 10))
    with pytest.raises(ValueError, match=r"end should be a token in 0..3, got 9"):
        model.greedy(source, start=START, end=9, max_length=4)
    with pytest.raises(ValueError, match="max_length should be at least 1"):
        model.greedy(source, start=START, end=END, max_length=0)
    with pytest.raises(ValueError, match="top_p should be at most 1"):
        model.sample(source, start=START, end=END, max_length=3, top_p=1.5)
    with pytest.raises(ValueError, match="width should be at least 1"):
        model.beam_search(source, start=START, end=END, max_length=3, width=0)


def test_a_layer_in_both_halves_is_refused():
    read, gru = m.Embedding(4, 3), m.GRU(3, 4)
    for encoder, decoder in [
        (gru, gru),
        (m.Sequential([read, m.GRU(3, 4)]), [read, m.GRU(3, 4)]),
        (m.GRU(3, 4), [m.GRU(3, 4), shared := m.Dense(4, 4), shared]),
    ]:
        with pytest.raises(ValueError, match=r"coder and . of the decoder hold the same"):
            m.EncoderDecoder(encoder, decoder)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: m.Residual(m.Sequential([m.LayerNorm(3), m.GRU(3, 3)])),
        lambda: m.Parallel([m.GRU(3, 3), m.GRU(3, 3)], merge="sum"),
    ],
)
def test_a_state_that_cannot_be_reached_is_refused_at_once(layer):
    for encoder, decoder in [(layer(), layer()), (layer(), m.GRU(3, 3)), (m.GRU(3, 3), layer())]:
        with pytest.raises(ValueError, match="has a recurrent layer inside it, whose state cannot"):
            m.EncoderDecoder(encoder, decoder)


def test_branches_without_a_state_may_stand_anywhere():
    branches = m.Parallel([m.Dense(4, 2), m.Dense(4, 2)])
    model = m.EncoderDecoder(m.GRU(3, 4), [m.Embedding(5, 3), m.GRU(3, 4), branches])
    assert model.forward((np.ones((2, 3, 3)), np.ones((2, 4), int))).shape == (2, 4, 4)


def test_halves_of_two_dtypes_write_too():
    encoder = m.Sequential([m.Embedding(6, 3, rng=0), m.GRU(3, 4, rng=1, **D)])
    decoder = [m.Embedding(4, 3, rng=2), m.GRU(3, 4, rng=3), m.Dense(4, 4, rng=4)]
    model = m.EncoderDecoder(encoder, decoder)
    source, _ = tokens_in("plain")
    written = model.greedy(source, start=START, end=END, max_length=3)
    shifted = np.concatenate([np.full((3, 1), START), written.tokens[:, :-1]], axis=1)
    y = model.predict((source, shifted))
    np.testing.assert_array_equal(y.argmax(axis=2)[written.mask], written.tokens[written.mask])


@pytest.mark.parametrize("write", ["greedy", "sample", "beam_search"])
def test_writing_with_wrong_numbers(write):
    model, (source, _) = build("plain"), tokens_in("plain")
    options = {"start": START, "end": END, "max_length": 3}
    for name in ("start", "end"):
        for wrong in (1.0, True, None, "1", [1]):
            with pytest.raises(TypeError, match=f"EncoderDecoder: {name} should be a whole number"):
                getattr(model, write)(source, **options | {name: wrong})
        with pytest.raises(ValueError, match=f"EncoderDecoder: {name} should be at least 0"):
            getattr(model, write)(source, **options | {name: -1})
    with pytest.raises(ValueError, match=r"end should be a token in 0\.\.3, got 4"):
        getattr(model, write)(source, **options | {"end": 4})
    model.parameters()[-1].value = np.full(TOKENS, np.nan)
    with pytest.raises(ValueError, match="EncoderDecoder: a logit of the decoder is nan"):
        getattr(model, write)(source, **options)


def test_the_largest_length_penalty_takes_the_longest():
    model, (source, _) = build("plain"), tokens_in("plain")
    options = {"start": START, "end": END, "max_length": 3, "width": 64}
    found = model.beam_search(source, length_penalty=1e5, **options)
    assert found.mask.all()
    likely = model.beam_search(source, length_penalty=50, **options)
    np.testing.assert_array_equal(found.tokens, likely.tokens)


def test_its_output_has_the_mask_of_the_target():
    model, inputs = build("plain"), tokens_in("plain")
    chain = m.Sequential([model, m.Dense(TOKENS, 2, rng=0, **D)])
    y = chain.forward(inputs, mask=(SOURCE_MASK, TARGET_MASK))
    assert (y[~TARGET_MASK] == 0).all()
    assert (y[TARGET_MASK] != 0).all()
    ends = m.EncoderDecoder(m.GRU(3, 4), [m.Embedding(5, 3), m.GRU(3, 4), m.LastStep()])
    assert ends.output_mask((SOURCE_MASK, TARGET_MASK)) is None


def test_a_refused_backward_leaves_the_gradients():
    class Refuses(m.Tanh):
        def backward(self, grad):
            raise ValueError("not today")

    encoder = m.Sequential([m.Embedding(6, 2), Refuses(), m.LSTM(2, 4)])
    decoder = [m.Embedding(TOKENS, 2), m.LSTM(2, 4), m.Dense(4, TOKENS)]
    model = m.EncoderDecoder(encoder, decoder)
    y = model.forward(tokens_in("plain"))
    with pytest.raises(ValueError, match="not today"):
        model.backward(np.ones(y.shape))
    assert all((parameter.grad == 0).all() for parameter in model.parameters())
    for wrong in (1.0, np.ones((3, 5, 3))):
        with pytest.raises(ValueError, match="EncoderDecoder: the gradient should have shape"):
            model.backward(wrong)
