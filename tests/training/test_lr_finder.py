"""The learning-rate finder: what it tries, what it suggests, and that nothing else changes."""

import numpy as np
import pytest

import minirnn as m
from minirnn.data import StreamBatches
from minirnn.training import find_learning_rate
from tests.contract import helpers


def _trainer(optimizer=m.SGD, dtype=np.float64):
    model = m.Dense(3, 1, rng=0, dtype=dtype)
    return m.Trainer(model, m.MeanSquaredError(), optimizer(model.parameters(), 0.123), rng=0)


def _data(count=64):
    x = np.random.default_rng(1).normal(size=(count, 3))
    return x, x @ [[1.0], [-2.0], [0.5]]


def test_the_losses_are_those_of_a_run_with_these_rates():
    x, y = _data()
    curve = find_learning_rate(_trainer(), [(x, y)], lowest=1e-3, highest=0.1, steps=9)
    np.testing.assert_allclose(curve.rates, np.geomspace(1e-3, 0.1, 9))
    trainer = _trainer()
    trainer.optimizer.learning_rate = lambda step: curve.rates[step]
    np.testing.assert_allclose(curve.losses, [trainer.train_step(x, y) for _ in range(9)])
    weights = 0.9 ** np.arange(9)[::-1]
    assert curve.smoothed[-1] == pytest.approx(weights @ curve.losses / weights.sum())


def test_it_stops_when_the_loss_explodes_and_suggests_less():
    """On a quadratic with Hessian H, gradient descent diverges beyond 2 / (largest eigenvalue)."""
    x, y = _data()
    curve = find_learning_rate(_trainer(), [(x, y)], lowest=1e-4, highest=100.0, steps=200)
    edge = 2 / np.linalg.eigvalsh(2 * x.T @ x / len(x)).max()
    assert edge < curve.rates[-1] < 100
    assert 1e-3 < curve.suggestion < edge


def test_a_fall_among_the_first_batches_suggests_nothing():
    """The first batch happens to be hard, and all rates so small that hardly any loss changes."""
    x, y = _data()
    batches = [(x, 10 * y), *[(x, y)] * 59]
    curve = find_learning_rate(_trainer(), batches, lowest=1e-9, highest=1e-7, steps=60)
    assert np.diff(curve.smoothed).argmin() < 3
    assert curve.suggestion >= curve.rates[10]


def test_a_loss_that_is_not_finite_ends_it():
    x, y = _data()
    curve = find_learning_rate(
        _trainer(dtype=np.float32), [(x * 1e6, y)], lowest=1e-13, highest=1e35, steps=6
    )
    assert 3 <= len(curve.rates) < 6
    assert np.isfinite(curve.losses).all()
    with pytest.raises(ValueError, match=r"after a step or two at the rate 1e\+10; take a smaller"):
        find_learning_rate(_trainer(), x, y, lowest=1e10, highest=1e12)


@pytest.mark.parametrize("optimizer", [m.SGD, m.Adam])
def test_the_trainer_stays_as_it_was(optimizer):
    x, y = _data()
    trainer, other = _trainer(optimizer), _trainer(optimizer)
    trainer.train_step(x, y)
    other.train_step(x, y)
    before = helpers.snapshot(trainer.model)
    find_learning_rate(trainer, x, y, steps=20, batch_size=16)
    helpers.assert_same(before, helpers.snapshot(trainer.model))
    assert trainer.optimizer.learning_rate == 0.123
    for one in (trainer, other):
        one.fit(x, y, epochs=2, batch_size=16, progress=False)
    helpers.assert_same(helpers.snapshot(trainer.model), helpers.snapshot(other.model))


def test_masked_sequences_are_gone_through_again():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 4, 2)), rng.integers(0, 3, (5, 4))
    mask = np.arange(4) < rng.integers(1, 5, 5)[:, None]
    x[~mask] = np.nan
    model = m.Sequential([m.GRU(2, 3, rng=0), m.Dense(3, 3, rng=1)])
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), m.Adam(model.parameters(), 0.1), rng=0)
    curve = find_learning_rate(trainer, x, y, mask=mask, steps=12, batch_size=2)
    assert len(curve.rates) == 12
    assert np.isfinite(curve.losses).all()


def test_a_stream_begins_anew_and_shuffled_rows_carry_no_state():
    """What carries a state reads batches in their order, from the beginning at each epoch."""
    tokens = np.random.default_rng(0).integers(0, 3, 50)
    stream = StreamBatches(tokens, batch_size=2, steps=6)
    gru = m.GRU(2, 3, stateful=True, rng=1)
    model = m.Sequential([m.Embedding(3, 2, rng=0), gru, m.Dense(3, 3, rng=2)])
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), m.SGD(model.parameters(), 0.1), rng=0)
    curve = find_learning_rate(trainer, stream, lowest=1e-9, highest=1e-8, steps=3 * len(stream))
    epoch = curve.losses[: len(stream)]
    np.testing.assert_allclose(curve.losses, np.tile(epoch, 3), rtol=1e-6)
    with pytest.raises(ValueError, match="find_learning_rate: .* the data cannot be shuffled"):
        find_learning_rate(trainer, tokens[:48].reshape(8, 6), tokens[1:49].reshape(8, 6))


def test_several_inputs_and_both_masks():
    rng = np.random.default_rng(0)
    source, target = rng.integers(0, 4, (6, 5)), rng.integers(0, 4, (6, 3))
    masks = np.ones((6, 5), bool), np.arange(3) < rng.integers(1, 4, (6, 1))
    model = m.EncoderDecoder(
        m.Sequential([m.Embedding(4, 3, rng=0), m.GRU(3, 4, rng=1)]),
        m.Sequential([m.Embedding(4, 3, rng=2), m.GRU(3, 4, rng=3)]),
    )
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), m.SGD(model.parameters(), 0.1), rng=0)
    batches = [((source, target), target, masks, masks[1])]
    curve = find_learning_rate(trainer, batches, steps=5)
    expected = trainer.evaluate((source, target), target, mask=masks, target_mask=masks[1])
    assert curve.losses[0] == pytest.approx(expected["loss"])
    both = find_learning_rate(trainer, (source, target), target, steps=5, batch_size=6)
    assert both.losses[0] == pytest.approx(trainer.evaluate((source, target), target)["loss"])
    assert repr(both).startswith("LearningRateCurve(")
    assert f"suggestion={both.suggestion}" in repr(both)


def test_the_picture(tmp_path):
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    x, y = _data()
    curve = find_learning_rate(_trainer(), x, y, highest=10.0)
    figure = curve.plot(tmp_path / "curve.png")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), curve.smoothed)
    assert axes.lines[2].get_xdata()[0] == curve.suggestion
    assert (tmp_path / "curve.png").stat().st_size > 1000
    own = matplotlib.figure.Figure().subplots()
    assert curve.plot(ax=own) is own


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"steps": 2}, ValueError, "at least 3 steps from lowest up to highest, got 2"),
        ({"lowest": 1.0, "highest": 0.1}, ValueError, "from 1 to 0.1"),
        ({"lowest": 0.0}, ValueError, "lowest should be greater than 0"),
        ({"targets": None}, TypeError, r"no targets; pass both, or batches .*; got an array"),
        ({"inputs": [], "targets": None}, ValueError, "there are no batches at all"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    x, y = _data()
    with pytest.raises(error, match=f"find_learning_rate: .*{message}"):
        find_learning_rate(_trainer(), **({"inputs": x, "targets": y} | arguments))
