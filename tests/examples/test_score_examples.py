"""Helpers of spiral, binary_addition, digits, vowels and sunspots; and that each script runs."""

import datetime
import importlib.util

import numpy as np
import pytest

from minirnn import RNN, Dense, Layer, ReLU, Sequential, check_gradients
from minirnn.tasks import all_binary_additions, binary_addition, spiral

# ---------------------------------------------------------------------------- spiral


def test_spiral_net_is_the_published_one(example):
    model = example("spiral").build(ReLU, np.random.default_rng(0))
    weights = [p for p in model.parameters() if p.decay]
    biases = [p for p in model.parameters() if not p.decay]
    assert [p.shape for p in weights] == [(2, 50), (50, 50), (50, 3)]
    assert [p.shape for p in biases] == [(50,), (50,), (3,)]
    assert weights[1].value.std() == pytest.approx(0.1, rel=0.05)
    assert all(not p.value.any() for p in biases)


def test_penalty_counts_weights_and_not_biases(example):
    model = Sequential([Dense(2, 1, rng=0)])
    model[0].W.value = [[1.0], [3.0]]
    model[0].b.value = [100.0]
    assert example("spiral").penalty(model) == pytest.approx(0.5 * 1e-3 * 10)


def test_magnitude_is_that_of_the_notebook(example):
    assert example("spiral").magnitude(np.array([[1.0, -2.0, 3.0], [0.0, 0.0, -4.0]])) == 10 / 5


def test_spiral_update_is_the_published_formula(example):
    """One step by hand, in the formulas of the notebook, against one step of the script."""
    script = example("spiral")
    points, labels = spiral(rng=3)
    start = script.build(ReLU, np.random.default_rng(5))
    W1, b1, W2, b2, W3, b3 = (p.value.astype(float) for p in start.parameters())
    h1 = np.maximum(points @ W1 + b1, 0)
    h2 = np.maximum(h1 @ W2 + b2, 0)
    scores = np.exp(h2 @ W3 + b3)
    p = scores / scores.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(300), labels]).mean()
    loss += 0.5e-3 * sum((W**2).sum() for W in (W1, W2, W3))
    p[np.arange(300), labels] -= 1
    d3 = p / 300
    d2 = (d3 @ W3.T) * (h2 > 0)
    d1 = (d2 @ W2.T) * (h1 > 0)
    dW2 = h1.T @ d2
    expected = W2 - 0.1 * (dW2 + 1e-3 * W2)

    rng = np.random.default_rng(5)
    model, losses, gradients = script.train("ReLU", ReLU, points, labels, 1, rng)
    assert losses[0] == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(model[2].W.value, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        gradients[0], [0, np.abs(points.T @ d1).sum() / 52, np.abs(dW2).sum() / 100], rtol=1e-4
    )


# ---------------------------------------------------------------------------- binary addition


@pytest.fixture
def adder():
    """Three units: at least one, two, three ones meet. The second is the carry."""
    model = Sequential([RNN(2, 3, activation="sigmoid", rng=0), Dense(3, 1, rng=0)])
    steep = 40.0
    model[0].cell.Wx.value = np.full((2, 3), steep)
    model[0].cell.Wh.value = steep * np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]])
    model[0].cell.b.value = -steep * np.array([0.5, 1.5, 2.5])
    model[1].W.value = [[1], [-1], [1]]
    model[1].b.value = [-0.5]
    return model


def test_proof_accepts_an_adder_made_by_hand(example, adder):
    assert example("binary_addition").wrong_sums(adder, *all_binary_additions()) == 0
    assert example("binary_addition").wrong_sums(adder, *binary_addition(50, bits=60, rng=0)) == 0


def test_proof_finds_a_single_wrong_bit(example, adder):
    inputs, targets = all_binary_additions(4)
    targets[77, 2] = 1 - targets[77, 2]
    assert example("binary_addition").wrong_sums(adder, inputs, targets) == 1


def test_proof_counts_the_sums_of_a_net_without_carry(example, adder):
    adder[0].cell.Wh.value = np.zeros((3, 3))
    # Without a carry the sum is a XOR b, which is right if and only if no two ones ever meet.
    assert example("binary_addition").wrong_sums(adder, *all_binary_additions(4)) == 4**4 - 3**4


def test_ones_met_give_bit_and_carry(example):
    inputs, targets = all_binary_additions(4)
    ones = example("binary_addition").ones_met(inputs)
    np.testing.assert_array_equal(ones % 2, targets[:, :, 0])
    assert ones.max() == 3


# ---------------------------------------------------------------------------- digits


def test_digits_are_complete_and_in_order(example):
    images, labels = example("digits").load()
    assert images.shape == (1797, 8, 8)
    assert images.min() == 0
    assert images.max() == 1
    assert labels[:10].tolist() == list(range(10))
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_move_is_a_move_by_one_pixel_with_blanks(example):
    images = np.random.default_rng(0).uniform(0.1, 1, (400, 8, 8)).astype(np.float32)
    before = images.copy()
    moved = example("digits").move(images, np.random.default_rng(1), share=0.5)
    np.testing.assert_array_equal(images, before)
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    kinds = np.zeros((3, 3), int)
    for frame, image in zip(framed, moved, strict=True):
        same = [
            (down, right)
            for down in range(3)
            for right in range(3)
            if np.array_equal(frame[down : down + 8, right : right + 8], image)
        ]
        assert len(same) == 1
        kinds[same[0]] += 1
    assert kinds.min() > 5  # every direction occurs
    assert 180 < kinds[1, 1] < 270  # half of them, and a ninth of the other half, stay


def test_move_of_no_share_changes_nothing(example):
    images = np.random.default_rng(0).random((5, 8, 8))
    moved = example("digits").move(images, np.random.default_rng(1), share=0.0)
    np.testing.assert_array_equal(moved, images)


# ---------------------------------------------------------------------------- vowels


def test_vowels_have_the_published_split(example):
    for part, count in [("train", 270), ("test", 370)]:
        utterances, mask, speakers = example("vowels").load(part)
        assert utterances.shape[0] == mask.shape[0] == len(speakers) == count
        assert utterances.shape[2] == 12
        assert mask.sum(axis=1).min() == 7
        assert mask.sum(axis=1).max() == utterances.shape[1]
        assert not utterances[~mask].any()
        assert len(np.unique(speakers)) == 9


class Given(Layer):
    """A model that answers with given logits."""

    uses_mask = True

    def __init__(self, logits):
        self.logits = logits

    def forward(self, x, mask=None):
        return self.logits


def test_vote_ignores_the_padding(example):
    logits = np.zeros((2, 3, 9))
    logits[0, 0, 4] = 1.0
    logits[0, 1:, 7] = 5.0  # in the padding
    logits[1, :, 2] = 1.0
    logits[1, 2, 3] = 2.5  # one step, louder than three
    mask = np.array([[True, False, False], [True, True, True]])
    model = Sequential([Given(logits)])
    assert example("vowels").vote(model, np.zeros((2, 3, 12)), mask).tolist() == [4, 2]


def test_scaling_is_over_valid_steps(example):
    x = np.array([[[1.0], [99.0]], [[3.0], [5.0]]])
    mask = np.array([[True, False], [True, True]])
    mean, spread = example("vowels").scaling(x, mask)
    assert mean == pytest.approx(3.0)
    assert spread == pytest.approx(np.sqrt(8 / 3))


def test_confusion_counts_rows_by_truth(example):
    counts = example("vowels").confusion(np.array([0, 0, 8]), np.array([0, 1, 8]))
    assert counts.sum() == 3
    assert counts[0, :2].tolist() == [1, 1]
    assert counts[8, 8] == 1


def test_folds_leave_each_utterance_out_once(example, monkeypatch):
    vowels = example("vowels")
    known = []
    voted_on = []
    monkeypatch.setattr(vowels, "train", lambda x, *_, **__: known.append(x))
    monkeypatch.setattr(vowels, "vote", lambda _, x, __: voted_on.append(x) or np.zeros(len(x)))
    utterances, mask, speakers = vowels.load("train")
    assert vowels.cross_validate(utterances, mask, speakers, 1, 0) == pytest.approx(100 / 9)
    assert [len(x) for x in voted_on] == [54] * 5
    assert [len(x) for x in known] == [216] * 5


# ---------------------------------------------------------------------------- sunspots


def test_sunspots_are_complete(example):
    years, spots = example("sunspots").load()
    np.testing.assert_array_equal(years, np.arange(1700, 2009))
    assert spots[-1] == 2.9


class Doubling(Layer):
    """The next value is twice the present one."""

    def forward(self, x):
        return 2 * np.asarray(x)


def test_forecast_goes_on_from_its_own_answers(example):
    model = Sequential([Doubling()])
    assert example("sunspots").forecast(model, [7.0, 3.0], 4).tolist() == [6, 12, 24, 48]


def test_forecast_starts_from_a_clean_state(example):
    sunspots = example("sunspots")
    model = Sequential([RNN(1, 4, rng=0), Dense(4, 1, rng=1)])
    past = np.sin(np.arange(20.0))
    once = sunspots.forecast(model, past, 5)
    np.testing.assert_array_equal(once, sunspots.forecast(model, past, 5))
    whole = model.predict(past[None, :, None])[0, -1, 0]
    assert once[0] == pytest.approx(whole, rel=1e-5)


def test_error_is_the_root_of_the_mean_square(example):
    assert example("sunspots").error(np.array([1.0, 2.0]), np.array([4.0, 6.0])) == np.sqrt(12.5)


def test_noise_is_for_training_only_and_differentiable(example):
    noise = example("sunspots").Noise(0.3, np.random.default_rng(0))
    x = np.ones((4, 500, 1))
    assert (noise.forward(x) - x).std() == pytest.approx(0.3, rel=0.1)
    noise.eval()
    np.testing.assert_array_equal(noise.forward(x), x)
    assert check_gradients(noise, np.ones((2, 3, 1))).passed


# ---------------------------------------------------------------------------- translate


def test_every_form_of_a_date_can_be_read_back(example):
    script = example("translate")
    day = datetime.date(1987, 3, 21)
    forms = [form(day, "March") for form in script.FORMS]
    assert "the twenty-first of March 1987" in forms
    assert "March 21, 1987" in forms
    assert "Sat, 3/21/87" in forms
    assert "21. März 1987" in forms
    assert len(set(forms)) == len(script.FORMS)
    read, written = script.characters()
    assert [read.decode(read.encode(form)) for form in forms] == forms
    assert written.decode(written.encode(">1987-03-21.")) == ">1987-03-21."
    assert [script.suffix(day) for day in (1, 2, 3, 4, 11, 12, 13, 21, 31)] == [
        *("st", "nd", "rd", "th", "th", "th", "th", "st", "st")
    ]


def test_no_date_is_both_learned_and_held_out(example):
    known, held_out = example("translate").split(np.random.default_rng(0))
    assert len(known) + len(held_out) == 36525
    assert not set(known) & set(held_out)
    assert len(held_out) == 3652


def test_pairs_are_shifted_by_one(example):
    script = example("translate")
    read, written = script.characters()
    days = [datetime.date(1999, 12, 31)]
    rng = np.random.default_rng(0)
    pairs = script.Pairs(days, read, written, batch_size=3, batches=2, rng=rng)
    assert len(pairs) == len(list(pairs)) == 2
    (source, target_in), target, (mask, _), valid = next(iter(pairs))
    assert source.shape == mask.shape
    assert [written.decode(row) for row in target_in] == [">1999-12-31"] * 3
    assert [written.decode(row) for row in target] == ["1999-12-31."] * 3
    assert valid.all()


# ---------------------------------------------------------------------------- digit strings


def test_strips_hold_their_digits(example):
    script = example("digit_strings")
    images, labels = script.load()
    rng = np.random.default_rng(0)
    strips = script.Strips(images, labels, batch_size=4, batches=1, rng=rng)
    ((pixels, targets, mask),) = list(strips)
    assert pixels.shape == (*mask.shape, 8)
    for row, valid in zip(targets, mask, strict=True):
        count = np.sum(row >= 0)
        assert 3 <= count <= 7
        assert 7 * count <= valid.sum() <= 10 * count + 10
    alone = strips.join(images[:1])
    np.testing.assert_array_equal(alone[1:9], images[0].T)
    assert not alone[[0, 9]].any()


def test_strings_are_right_without_any_error(example):
    read, truths = [np.array([1, 2]), np.array([3])], [np.array([1, 2]), np.array([3, 3])]
    assert example("digit_strings").right(read, truths) == 50


# ---------------------------------------------------------------------------- each script runs


@pytest.mark.parametrize(
    ("name", "pictures", "words"),
    [
        ("spiral", ["spiral_regions", "spiral_gradients"], ["published", "loss at  1,000"]),
        ("binary_addition", ["binary_addition"], ["65,536", "60 bits"]),
        ("digits", ["digits"], ["GRU", "93.2 %"]),
        ("vowels", ["vowels"], ["94.10 %", "98.86 %"]),
        ("sunspots", ["sunspots"], ["eleven years before", "2008"]),
        ("translate", ["translate"], ["3,652 held out", "unseen dates right"]),
        ("digit_strings", ["digit_strings"], ["Most likely path", "Beam of ten"]),
        ("custom_layer", ["custom_layer"], ["guessing"]),
        ("custom_cell", ["custom_cell"], ["minimal gated unit", "PyTorch after 200"]),
    ],
)
def test_quick_run(example, capsys, tmp_path, name, pictures, words):
    assert example(name).main(["--quick", "--seed", "1"]) == 0
    printed = capsys.readouterr().out
    for word in [*words, "no score is demanded"]:
        assert word in printed
    if importlib.util.find_spec("matplotlib"):
        assert sorted(p.stem for p in tmp_path.glob("*.png")) == sorted(pictures)


@pytest.mark.parametrize("name", ["digits", "vowels"])
def test_a_missed_score_is_an_exit_status(example, monkeypatch, without_pictures, name):
    script = example(name)
    train = script.train
    monkeypatch.setattr(script, "train", lambda *data: train(*data[:3], 1, data[4]))  # one epoch
    assert script.main([]) == 1


def test_a_wrong_sum_is_an_exit_status(example, monkeypatch, without_pictures):
    adder = example("binary_addition")
    monkeypatch.setattr(adder, "train", lambda *_: [(64, 65536), (128, 65536)])
    assert adder.main([]) == 1
