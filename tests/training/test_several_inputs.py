"""Several inputs, masks of the targets, weights, and gradients of several batches."""

from __future__ import annotations

import numpy as np
import pytest

import minirnn as m
from minirnn.data import Batches, PaddedBatches
from minirnn.data.nested import each
from tests.training.runs import assert_same, everything

RNG = np.random.default_rng(0)
N, T, S = 10, 4, 6
A, B = RNG.standard_normal((N, T, 3)), RNG.standard_normal((N, S, 2))
Y = RNG.integers(0, 4, (N, S))
MASK_A = np.arange(T) < RNG.integers(1, T + 1, N)[:, None]
MASK_B = np.arange(S) < RNG.integers(1, S + 1, N)[:, None]


class Pair(m.Layer):
    """Read one sequence, then write beside another: the last state of the first begins it."""

    uses_mask = True

    def __init__(self, as_dict=False):
        self.first = m.GRU(3, 5, rng=0, dtype=np.float64)
        self.second = m.GRU(2, 5, rng=1, dtype=np.float64)
        self.out = m.Dense(5, 4, rng=2, dtype=np.float64)
        self.as_dict = as_dict

    def forward(self, x, mask=None):
        a, b = (x["a"], x["b"]) if self.as_dict else x
        mask_a = mask_b = None
        if mask is not None:
            mask_a, mask_b = (mask["a"], mask["b"]) if self.as_dict else mask
        self.shape = self.first.forward(a, mask_a).shape
        h = self.second.forward(b, mask_b, state=self.first.state)
        return self.out.forward(h)

    def backward(self, grad):
        grad_b = self.second.backward(self.out.backward(grad))
        grad_a = self.first.backward(np.zeros(self.shape), self.second.grad_state)
        return {"a": grad_a, "b": grad_b} if self.as_dict else (grad_a, grad_b)


def trainer_of(as_dict=False, loss=None, **options) -> m.Trainer:
    model = Pair(as_dict)
    optimizer = m.SGD(model.parameters(), 0.1)
    loss = loss or m.SoftmaxCrossEntropy()
    return m.Trainer(model, loss, optimizer, metrics=[m.Accuracy()], rng=0, **options)


def by_hand(rows, target_mask=None):
    """Return the weights after updates on these rows, written out."""
    model, loss = Pair(), m.SoftmaxCrossEntropy()
    optimizer = m.SGD(model.parameters(), 0.1)
    losses = []
    for pick in rows:
        mask = (MASK_A[pick], MASK_B[pick])
        valid = MASK_B[pick] if target_mask is None else target_mask[pick]
        losses.append(loss.forward(model.forward((A[pick], B[pick]), mask), Y[pick], valid))
        optimizer.zero_grad()
        model.backward(loss.backward())
        optimizer.step()
    return losses, model.state_dict()


ROWS = [slice(0, 4), slice(4, 8), slice(8, 10)]


@pytest.mark.parametrize("as_dict", [False, True])
@pytest.mark.parametrize("how", ["train_step", "fit", "Batches", "list"])
def test_every_way_is_the_loop_written_out(how, as_dict):
    form = (lambda a, b: {"a": a, "b": b}) if as_dict else (lambda a, b: (a, b))
    x, mask = form(A, B), form(MASK_A, MASK_B)
    losses, weights = by_hand(ROWS)
    trainer = trainer_of(as_dict)
    cut = [[each(lambda one, p=p: one[p], whole) for whole in (x, Y, mask, MASK_B)] for p in ROWS]
    if how == "train_step":
        for a, b, c, d in cut:
            trainer.train_step(a, b, c, target_mask=d)
    elif how == "fit":
        history = trainer.fit(
            x, Y, mask=mask, target_mask=MASK_B, epochs=1, batch_size=4, shuffle=False,
            progress=False, validation=(x, Y, mask, MASK_B),
        )  # fmt: skip
        counts = [MASK_B[p].sum() for p in ROWS]
        assert history["loss"][0] == pytest.approx(np.average(losses, weights=counts))
    elif how == "Batches":
        batches = Batches(x, Y, mask, MASK_B, batch_size=4)
        trainer.fit(batches, epochs=1, progress=False, validation=batches)
    else:
        trainer.fit([tuple(one) for one in cut], epochs=1, progress=False)
    assert_same(trainer.model.state_dict(), weights)


def test_evaluate_and_predict():
    trainer = trainer_of()
    prediction = Pair().forward((A, B), (MASK_A, MASK_B))
    value = m.SoftmaxCrossEntropy().forward(prediction, Y, MASK_B)
    right = (prediction.argmax(axis=-1) == Y)[MASK_B].mean()
    found = trainer.evaluate((A, B), Y, mask=(MASK_A, MASK_B), target_mask=MASK_B, batch_size=3)
    assert found == pytest.approx({"loss": value, "accuracy": right})
    np.testing.assert_allclose(
        trainer.predict((A, B), mask=(MASK_A, MASK_B), batch_size=3), prediction
    )
    np.testing.assert_allclose(trainer.predict((A, B)), Pair().forward((A, B)))


@pytest.mark.parametrize("as_dict", [False, True])
def test_lists_of_unequal_length_in_each(as_dict):
    a = [x[: mask.sum()] for x, mask in zip(A, MASK_A, strict=True)]
    b = [x[: mask.sum()] for x, mask in zip(B, MASK_B, strict=True)]
    y = [row[: mask.sum()] for row, mask in zip(Y, MASK_B, strict=True)]
    inputs = {"a": a, "b": b} if as_dict else (a, b)
    batches = PaddedBatches(inputs, y, batch_size=4)
    x, targets, mask, target_mask = batches.first()
    if as_dict:
        x, mask = (x["a"], x["b"]), (mask["a"], mask["b"])
    long_a, long_b = MASK_A[:4].sum(axis=1).max(), MASK_B[:4].sum(axis=1).max()
    np.testing.assert_array_equal(x[0], np.where(MASK_A[:4, :long_a, None], A[:4, :long_a], 0))
    np.testing.assert_array_equal(mask[0], MASK_A[:4, :long_a])
    np.testing.assert_array_equal(mask[1], MASK_B[:4, :long_b])
    np.testing.assert_array_equal(target_mask, MASK_B[:4, :long_b])
    np.testing.assert_array_equal(targets, np.where(target_mask, Y[:4, :long_b], 0))
    trainer = trainer_of(as_dict)
    trainer.fit(batches, epochs=1, progress=False)
    _, weights = by_hand(ROWS)
    for name, value in trainer.model.state_dict().items():
        np.testing.assert_allclose(value, weights[name], rtol=1e-9, atol=1e-12)


def test_one_mask_of_the_inputs_and_none_of_the_targets():
    trainer = trainer_of()
    with pytest.raises(TypeError, match="several masks, .* or give a Trainer the target_mask"):
        trainer.train_step((A, B), Y, (MASK_A, MASK_B))
    for call in (
        lambda: trainer.fit((A, B), Y, mask=MASK_A, epochs=1, progress=False),
        lambda: trainer.fit((A, B), Y, lengths=MASK_A.sum(axis=1), epochs=1, progress=False),
        lambda: trainer.train_step((A, B), Y, MASK_A),
        lambda: trainer.predict((A, B), mask=MASK_A),
    ):
        with pytest.raises(TypeError, match="a mask for each, .*a tuple of 2., got an array"):
            call()
    with pytest.raises(
        TypeError, match=r"a dictionary with the keys 'a', 'b'.*, got a dictionary .* keys 'a';"
    ):
        trainer_of(True).train_step({"a": A, "b": B}, Y, {"a": MASK_A})


def test_without_a_mask_of_the_targets_the_model_says_which_steps_are_valid():
    class Told(Pair):
        def output_mask(self, mask):
            return mask[1] & (np.arange(S) > 0)  # nothing is asked of the first step

    model, mask = Told(), (MASK_A, np.ones((N, S), bool))
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), m.SGD(model.parameters(), 0.1), rng=0)
    wanted = trainer.evaluate((A, B), Y, mask=mask, target_mask=model.output_mask(mask))
    assert trainer.evaluate((A, B), Y, mask=mask) == wanted
    assert trainer.train_step((A, B), Y, mask) == pytest.approx(wanted["loss"])
    trainer.fit((A, B), Y, mask=mask, epochs=1, progress=False)


@pytest.mark.parametrize("as_dict", [False, True])
def test_lengths_of_each(as_dict):
    form = (lambda a, b: {"a": a, "b": b}) if as_dict else (lambda a, b: (a, b))
    inputs, lengths = form(A, B), form(MASK_A.sum(axis=1), MASK_B.sum(axis=1))
    trainer = trainer_of(as_dict)
    expected = trainer.predict(inputs, mask=form(MASK_A, MASK_B))
    np.testing.assert_array_equal(trainer.predict(inputs, lengths=lengths), expected)
    history = trainer.fit(
        inputs, Y, lengths=lengths, target_mask=MASK_B, epochs=1, batch_size=N, progress=False
    )
    assert history["loss"][0] == pytest.approx(m.SoftmaxCrossEntropy().forward(expected, Y, MASK_B))


def test_a_mask_of_the_targets_alone_counts_for_the_loss_alone():
    model = m.Sequential([m.GRU(3, 4, rng=0, dtype=np.float64)])
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), m.SGD(model.parameters(), 0.1))
    y, valid = RNG.integers(0, 4, (N, T)), np.arange(T) >= 2 * np.ones((N, 1))
    found = trainer.evaluate(A, y, target_mask=valid)
    value = m.SoftmaxCrossEntropy().forward(model.forward(A), y, valid)
    assert found["loss"] == pytest.approx(value)
    assert trainer.train_step(A, y, target_mask=valid) == pytest.approx(value)
    assert trainer.train_step(A, y, MASK_A, target_mask=MASK_A & valid) > 0


@pytest.mark.parametrize("shape", [(N,), (N, T)])
def test_weights_of_examples_and_steps(shape):
    model = m.Sequential([m.GRU(3, 4, rng=0, dtype=np.float64)])
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), m.SGD(model.parameters(), 0.1), rng=0)
    y = RNG.integers(0, 4, (N, T))
    weights = RNG.random(shape)
    terms = -np.log(m.Softmax().forward(model.forward(A)))[np.arange(N)[:, None], np.arange(T), y]
    wide = np.broadcast_to(weights.reshape(N, -1), (N, T))
    expected = (terms * wide).sum() / wide.sum()
    for size in (3, N):
        found = trainer.evaluate(A, y, sample_weight=weights, batch_size=size)
        assert found["loss"] == pytest.approx(expected)
    assert trainer.train_step(A, y, sample_weight=weights) == pytest.approx(expected)
    trainer.fit(A, y, sample_weight=weights, epochs=1, batch_size=4, progress=False)


def test_one_of_several_masks_may_be_missing():
    trainer = trainer_of()
    whole = np.ones_like(MASK_B)
    expected = trainer.predict((A, B), mask=(MASK_A, whole))
    np.testing.assert_array_equal(trainer.predict((A, B), mask=(MASK_A, None)), expected)
    options = {"target_mask": MASK_B, "batch_size": 3}
    found = trainer.evaluate((A, B), Y, mask=(MASK_A, None), **options)
    assert found == trainer.evaluate((A, B), Y, mask=(MASK_A, whole), **options)
    trainer.fit((A, B), Y, mask=(MASK_A, None), epochs=1, progress=False, **options)
    with pytest.raises(TypeError, match="inputs should be an array, got None"):
        Batches(None, Y, batch_size=2)


def test_inputs_that_are_not_as_many():
    trainer = trainer_of()
    with pytest.raises(ValueError, match=r"axis 0 \(batch\) of the inputs\[1\] should be as long"):
        trainer.fit((A, B[:4]), Y, epochs=1, progress=False)
    with pytest.raises(
        ValueError, match=r"axis 0 .batch. .* inputs.0. .10, 4, 3., inputs.1. .4, 6"
    ):
        trainer.train_step((A, B[:4]), Y)
    with pytest.raises(TypeError, match="a list of 2 arrays; several inputs .* as a tuple"):
        trainer.fit([A, B], Y, epochs=1, progress=False)
    with pytest.raises(
        ValueError, match=r"target_mask: the mask should have shape \(10, 6\) .* got \(10, 4\)"
    ):
        trainer.fit((A, B), Y, target_mask=MASK_A, epochs=1, progress=False)
    with pytest.raises(TypeError, match=r"there are inputs and no targets"):
        trainer.fit((A, B), epochs=1, progress=False)
    with pytest.raises(ValueError, match=r"got 3 inputs\[1\] and 10 targets"):
        PaddedBatches((list(A), list(B[:3])), list(ROWS) * 3 + [0], batch_size=2)


def test_an_input_that_is_not_finite_is_named():
    bad = B.copy()
    bad[1, 0, 0] = np.nan
    with pytest.raises(m.NotFiniteError, match=r"the input\[1\] itself has 1 of 120 numbers"):
        trainer_of().train_step((A, bad), Y)


# ---------------------------------------------------------------- gradients of several batches


def test_accumulated_gradients_are_the_mean_over_batches():
    """Equal batches: two of five are one of ten."""
    one, two = trainer_of(), trainer_of(accumulate=2)
    for _ in range(3):
        one.train_step((A, B), Y)
        two.train_step((A[:5], B[:5]), Y[:5])
        assert two.accumulated == 1
        two.train_step((A[5:], B[5:]), Y[5:])
        assert two.accumulated == 0
    assert two.optimizer.step_count == 3
    for name, value in one.model.state_dict().items():
        np.testing.assert_allclose(two.model.state_dict()[name], value, rtol=1e-12, atol=1e-14)


def test_what_is_left_at_the_end_of_an_epoch_is_an_update():
    trainer = trainer_of(accumulate=3)
    trainer.fit((A, B), Y, epochs=2, batch_size=2, progress=False)  # five batches: 3 and 2
    assert trainer.optimizer.step_count == 4


def test_what_is_left_is_the_mean_over_its_own_batches():
    one, two = trainer_of(), trainer_of(accumulate=3)
    one.train_step((A[:6], B[:6]), Y[:6])
    one.train_step((A[6:], B[6:]), Y[6:])
    two.fit((A, B), Y, epochs=1, batch_size=2, shuffle=False, progress=False)  # 3 and 2 batches
    for name, value in one.model.state_dict().items():
        np.testing.assert_allclose(two.model.state_dict()[name], value, rtol=1e-12, atol=1e-14)


def test_accumulation_resumes_exactly_at_every_batch(tmp_path):
    def fresh():
        return trainer_of(accumulate=3)

    def fit(trainer):
        trainer.fit((A, B), Y, epochs=2, batch_size=2, progress=False)
        return everything(trainer)

    class Save(m.callbacks.Callback):
        saves_run = True

        def on_batch_end(self, trainer):
            trainer.save(tmp_path / f"{trainer.epoch}-{trainer.batch}.safetensors")

    end = fit(fresh())
    saving = fresh()
    saving.callbacks.append(Save())
    fit(saving)
    files = sorted(tmp_path.iterdir())
    assert len(files) >= 10
    for path in files:
        again = fresh()
        again.callbacks.append(Save())
        again.resume(path)
        again.callbacks.clear()
        assert_same(fit(again), end, path.name)
    other = trainer_of(accumulate=2)
    other.callbacks.append(Save())
    with pytest.raises(m.CheckpointError, match="the file has accumulate 3, the trainer 2"):
        other.resume(files[0])


def test_several_inputs_come_as_one_argument():
    class TwoArguments(m.Layer):
        def __init__(self):
            self.head = m.Dense(3, 2, rng=0)

        def forward(self, left, right):
            return self.head.forward(left + right)

    model = TwoArguments()
    optimizer = m.SGD(model.parameters(), 0.1)
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), optimizer)
    with pytest.raises(TypeError, match=r"TwoArguments: forward takes left and right one by one"):
        trainer.train_step((np.ones((4, 3)), np.ones((4, 3))), np.zeros(4, int))


def test_the_masks_of_several_inputs_are_no_mask_of_one():
    layer = m.GRU(3, 2)
    for mask in ((MASK_A, None), (MASK_A, MASK_B), {"a": MASK_A}):
        with pytest.raises(TypeError, match=f"GRU: got a {type(mask).__name__} of masks"):
            layer.forward(A, mask)
    rows = tuple(map(tuple, MASK_A.tolist()))  # a mask as Python writes it
    np.testing.assert_array_equal(layer.forward(A, rows), layer.forward(A, MASK_A))


def test_what_is_known_of_batches_is_checked_as_of_arrays():
    """Batches that a user made of arrays are looked at as a whole too."""
    weights, targets = np.arange(1.0, N + 1), RNG.integers(0, 4, N)
    model = m.Sequential([m.GRU(3, 5, rng=0, stateful=True), m.LastStep(), m.Dense(5, 4, rng=1)])
    trainer = m.Trainer(model, m.SoftmaxCrossEntropy(), m.SGD(model.parameters(), 0.1))
    with pytest.raises(ValueError, match="stateful=True, which reads .* cannot be shuffled"):
        trainer.fit(Batches(A, targets, batch_size=5, shuffle=True), epochs=1)
    late = np.where(np.arange(N) < N - 1, targets, 4)
    with pytest.raises(ValueError, match=rf"0..3 .*, got 4 at position \({N - 1},\)"):
        trainer.fit(Batches(A, late, batch_size=5), epochs=1)
    batches = Batches(A, targets, None, None, weights, batch_size=5)
    expected = trainer.evaluate(A, targets, sample_weight=weights, batch_size=5)
    assert trainer.evaluate(batches) == expected
    assert trainer.evaluate(list(batches)) == expected


class TwoErrors(m.MeanSquaredError):
    """A loss over two targets, given as a tuple or a dictionary."""

    def forward(self, prediction, target, mask=None):
        one, two = target.values() if isinstance(target, dict) else target
        return super().forward(prediction, (one + two) / 2, mask)


@pytest.mark.parametrize("both", [lambda a, b: (a, b), lambda a, b: {"a": a, "b": b}])
def test_several_targets_are_validated_too(both):
    x = np.random.default_rng(0).standard_normal((6, 4, 3))
    one, two = x[..., :2], x[..., 1:]
    model = m.Sequential([m.GRU(3, 2, rng=0)])
    trainer = m.Trainer(model, TwoErrors(), m.SGD(model.parameters(), 0.1), rng=0)
    targets = both(one, two)
    history = trainer.fit(x, targets, validation=(x, targets), epochs=1, progress=False)
    expected = m.MeanSquaredError().forward(model.predict(x), (one + two) / 2)
    assert history["val_loss"] == [pytest.approx(expected, rel=1e-6)]
    batches = ((x[:3], both(one[:3], two[:3])), (x[3:], both(one[3:], two[3:])))
    again = trainer.fit(x, targets, validation=batches, epochs=1, progress=False)
    assert again["val_loss"] == [pytest.approx(trainer.evaluate(x, targets)["loss"], rel=1e-6)]
