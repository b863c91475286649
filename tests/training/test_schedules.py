"""Schedules against their formulas, and against PyTorch's where that is installed."""

from __future__ import annotations

import itertools
import math

import pytest

from minirnn import SGD, Adam, Dense, MeanSquaredError, Trainer
from minirnn.schedules import (
    Constant,
    Cosine,
    Exponential,
    Join,
    OneCycle,
    Piecewise,
    Polynomial,
    Product,
    StepDecay,
    WarmRestarts,
    Warmup,
)

STEPS = range(40)


def one_cycle(step, rate=0.5, steps=30, warm=0.2, divide=10.0, final=0.01):
    up, low = warm * steps, rate / divide
    if step < up:
        return low + (rate - low) * (1 - math.cos(math.pi * step / up)) / 2
    if step > steps:
        return final
    return final + (rate - final) * (1 + math.cos(math.pi * (step - up) / (steps - up))) / 2


def since_restart(step):
    """Cycles of 3, 9, 27 and 81 steps: how much of the present one is over."""
    start, length = next((a, n) for a, n in [(39, 81), (12, 27), (3, 9), (0, 3)] if step >= a)
    return (step - start) / length


FORMULAS = [
    (Constant(0.5), lambda s: 0.5),
    (StepDecay(0.5, every=7), lambda s: 0.5 * 0.1 ** math.floor(s / 7)),
    (StepDecay(0.5, 1, factor=2.0), lambda s: 0.5 * 2.0**s),
    (Exponential(0.5, steps=10), lambda s: 0.5 * 0.1 ** (s / 10)),
    (Exponential(0.5, 1, 0.9), lambda s: 0.5 * 0.9**s),
    (Cosine(0.5, steps=30), lambda s: 0.5 * (1 + math.cos(math.pi * min(s / 30, 1))) / 2),
    (
        Cosine(0.5, steps=30, final=0.1),
        lambda s: 0.1 + 0.4 * (1 + math.cos(math.pi * min(s / 30, 1))) / 2,
    ),
    (Warmup(Constant(0.5), steps=4), lambda s: 0.5 * min((s + 1) / 5, 1)),
    (
        Warmup(Cosine(0.5, steps=20), steps=10),
        lambda s: 0.5 * (s + 1) / 11 if s < 10 else Cosine(0.5, 20)(s - 10),
    ),
    (Warmup(lambda s: 1 / (1 + s), steps=3), lambda s: (s + 1) / 4 if s < 3 else 1 / (s - 2)),
    (Polynomial(0.5, steps=30), lambda s: 0.5 * max(1 - s / 30, 0)),
    (
        Polynomial(0.5, steps=20, power=3.0, final=0.1),
        lambda s: 0.1 + 0.4 * max(1 - s / 20, 0) ** 3,
    ),
    (
        Piecewise([0.5, 0.25, 0.0], [5, 17]),
        lambda s: 0.5 if s < 5 else 0.25 if s < 17 else 0.0,
    ),
    (
        WarmRestarts(0.5, steps=9, final=0.1),
        lambda s: 0.1 + 0.4 * (1 + math.cos(math.pi * (s % 9) / 9)) / 2,
    ),
    (
        WarmRestarts(0.5, steps=3, growth=3),
        lambda s: 0.5 * (1 + math.cos(math.pi * since_restart(s))) / 2,
    ),
    (
        Join([Constant(0.5), Exponential(0.25, 4), lambda s: 0.01 * s], [6, 20]),
        lambda s: 0.5 if s < 6 else 0.25 * 0.1 ** ((s - 6) / 4) if s < 20 else 0.01 * (s - 20),
    ),
    (
        Product([Cosine(0.5, 30), StepDecay(1.0, 10)]),
        lambda s: 0.25 * (1 + math.cos(math.pi * min(s / 30, 1))) * 0.1 ** (s // 10),
    ),
    (OneCycle(0.5, steps=30, warm=0.2, divide=10.0, final=0.01), one_cycle),
]


@pytest.mark.parametrize(("schedule", "formula"), FORMULAS, ids=range(len(FORMULAS)))
def test_formula(schedule, formula):
    for step in STEPS:
        assert schedule(step) == pytest.approx(formula(step), rel=1e-13, abs=1e-17)


def test_where_they_begin_and_end():
    cosine, cycle = Cosine(1.0, steps=10, final=0.2), OneCycle(1.0, steps=10, divide=20.0)
    assert (cosine(0), cosine(10), cosine(11), cosine(10**9)) == (1.0, 0.2, 0.2, 0.2)
    assert cycle(0) == 0.05
    assert max(map(cycle, range(11))) == cycle(3) == 1.0
    assert cycle(10) == cycle(10**9) == 0.0
    assert Exponential(1.0, 10)(10**6) == 0.0, "too small for a float, and no error"


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_a_warmup_climbs_in_equal_steps_and_loses_no_update(steps):
    rates = [Warmup(Constant(1.0), steps)(step) for step in range(steps + 2)]
    climbs = [b - a for a, b in itertools.pairwise([0.0, *rates])]
    assert climbs[: steps + 1] == pytest.approx([1 / (steps + 1)] * (steps + 1))
    assert rates[steps:] == [1.0, 1.0]


def test_schedules_are_values():
    assert Cosine(0.1, 10) == Cosine(0.1, steps=10, final=0.0)
    assert repr(Warmup(Constant(0.1), 5)) == "Warmup(schedule=Constant(rate=0.1), steps=5)"
    with pytest.raises(AttributeError):
        Constant(0.1).rate = 0.2


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in FORMULAS])
def test_an_optimizer_follows(schedule):
    layer = Dense(1, 1, bias=False, rng=0)
    optimizer = SGD(layer.parameters(), schedule)
    for step in range(12):
        before = layer.W.value.copy()
        assert optimizer.current_learning_rate() == schedule(step)
        layer.W.grad = [[1.0]]
        optimizer.step()
        assert before - layer.W.value == pytest.approx(schedule(step), abs=3e-7)
        layer.W.value = [[0.0]]


def test_training_reaches_the_last_rate():
    layer = Dense(1, 1, rng=0)
    optimizer = Adam(layer.parameters(), Cosine(0.1, steps=6, final=0.01))
    trainer = Trainer(layer, MeanSquaredError(), optimizer)
    trainer.fit(
        [[0.0], [1.0], [2.0]], [[1.0], [3.0], [5.0]], epochs=2, batch_size=1, progress=False
    )
    assert optimizer.current_learning_rate() == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Constant(-0.1), ValueError, "Constant: rate should be greater than 0, got -0.1"),
        (lambda: Constant("0.1"), TypeError, "Constant: rate should be a number, got '0.1'"),
        (lambda: Cosine(0.1, 0), ValueError, "Cosine: steps should be at least 1, got 0"),
        (lambda: Cosine(0.1, 1e3), TypeError, "Cosine: steps should be a whole number"),
        (lambda: Cosine(0.1, 10, -1.0), ValueError, "Cosine: final should be at least 0"),
        (lambda: Cosine(math.nan, 10), ValueError, "Cosine: rate should be finite, got nan"),
        (lambda: StepDecay(0.1, 2.5), TypeError, "StepDecay: every should be a whole number"),
        (lambda: StepDecay(0.1, 5, 0.0), ValueError, "factor should be greater than 0, got 0"),
        (lambda: Exponential(0.1, True), TypeError, "steps should be a whole number, got True"),
        (lambda: Warmup(0.1, 5), TypeError, "Warmup: schedule should be a schedule such as"),
        (lambda: Warmup(Constant(0.1), -5), ValueError, "steps should be at least 1, got -5"),
        (lambda: OneCycle(0.1, 10, warm=0.0), ValueError, "warm should be between 0 and 1, got 0"),
        (lambda: OneCycle(0.1, 10, warm=30), ValueError, "warm should be between 0 and 1, got 30"),
        (lambda: Polynomial(0.1, 10, power=0), ValueError, "power should be greater than 0"),
        (lambda: Piecewise([0.1], [5]), ValueError, "got 1 boundaries and 1 rates"),
        (lambda: Piecewise(0.1, [5]), TypeError, "Piecewise: rates should be a list, got 0.1"),
        (
            lambda: Piecewise([0.1, 1], 5),
            TypeError,
            "boundaries should be a list, got 5",
        ),
        (
            lambda: Join([Constant(1.0)], None),
            TypeError,
            "boundaries should be a list, got None",
        ),
        (lambda: Piecewise([0.1, -1], [5]), ValueError, r"rates\[1\] should be at least 0"),
        (lambda: Piecewise([1, 2, 3], [5, 5]), ValueError, r"should increase, got \[5, 5\]"),
        (lambda: Piecewise([1, 2], [0]), ValueError, r"boundaries\[0\] should be at least 1"),
        (lambda: WarmRestarts(0.1, 10, growth=1.5), TypeError, "growth should be a whole number"),
        (lambda: Join([Constant(1.0), 0.1], [5]), TypeError, "Join: schedule should be .* got 0.1"),
        (lambda: Join([Constant(1.0), Cosine], [5]), TypeError, "got <class .*Cosine"),
        (lambda: Join([Constant(1.0)], [5]), ValueError, "1 boundaries and 1 schedules"),
        (lambda: Product(Constant(1.0)), TypeError, "a list of schedules, got Constant"),
        (lambda: Product([]), TypeError, "a list of schedules"),
        (lambda: OneCycle(0.1, 10, divide=0), ValueError, "divide should be greater than 0"),
    ],
)
def test_wrong_arguments(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


# ---------------------------------------------------------------- PyTorch


def torch_rates(build, steps):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = build(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def agree(schedule, build, steps=40):
    rates = torch_rates(build, steps)
    assert [schedule(step) for step in range(steps)] == pytest.approx(rates, rel=1e-10, abs=1e-14)


def test_step_as_in_torch():
    agree(StepDecay(0.5, every=7, factor=0.3), lambda lr, o: lr.StepLR(o, 7, gamma=0.3))


def test_exponential_as_in_torch():
    agree(Exponential(0.5, steps=1, factor=0.9), lambda lr, o: lr.ExponentialLR(o, 0.9))


def test_cosine_as_in_torch():
    build = lambda lr, o: lr.CosineAnnealingLR(o, 39, eta_min=0.02)  # noqa: E731
    agree(Cosine(0.5, steps=39, final=0.02), build)


@pytest.mark.parametrize("warm", [0.1, 0.3, 0.55])
def test_one_cycle_as_in_torch(warm):
    """PyTorch counts to ``total_steps - 1``; its peak is a step before ``warm * total_steps``."""

    def build(lr, optimizer):
        return lr.OneCycleLR(
            optimizer, 0.5, total_steps=40, pct_start=warm, div_factor=20, final_div_factor=1000
        )

    agree(
        OneCycle(0.5, steps=39, warm=(40 * warm - 1) / 39, divide=20, final=0.5 / 20 / 1000), build
    )


def test_warmup_as_in_torch():
    def build(lr, optimizer):
        return lr.LinearLR(optimizer, start_factor=1 / 6, total_iters=5)

    agree(Warmup(Constant(0.5), steps=5), build)


@pytest.mark.parametrize("power", [1.0, 2.5])
def test_polynomial_as_in_torch(power):
    agree(Polynomial(0.5, 30, power=power), lambda lr, o: lr.PolynomialLR(o, 30, power=power))


@pytest.mark.parametrize("growth", [1, 2, 3])
def test_warm_restarts_as_in_torch(growth):
    agree(
        WarmRestarts(0.5, 5, growth=growth, final=0.02),
        lambda lr, o: lr.CosineAnnealingWarmRestarts(o, 5, T_mult=growth, eta_min=0.02),
        steps=90,
    )


def test_piecewise_as_in_torch():
    agree(
        Piecewise([0.5, 0.15, 0.045], [7, 20]),
        lambda lr, o: lr.MultiStepLR(o, [7, 20], gamma=0.3),
    )


def test_join_as_in_torch():
    def build(lr, optimizer):
        parts = [lr.ConstantLR(optimizer, 0.1, 100), lr.ExponentialLR(optimizer, 0.9)]
        return lr.SequentialLR(optimizer, parts, [8])

    agree(Join([Constant(0.05), Exponential(0.5, 1, 0.9)], [8]), build)


def test_product_as_in_torch():
    def build(lr, optimizer):
        return lr.ChainedScheduler(
            [lr.StepLR(optimizer, 7, gamma=0.3), lr.ExponentialLR(optimizer, 0.9)]
        )

    agree(Product([StepDecay(0.5, 7, 0.3), Exponential(1.0, 1, 0.9)]), build)
