"""Turns, ratios and products, with a clock that the contestants move themselves."""

import gc

import pytest

from benchmarks import limit, ours
from benchmarks.ladder import CELLS, LADDER, choose, draw, shrunk
from benchmarks.report import tables
from benchmarks.run import measure_all, result_of
from benchmarks.timing import Settings, ratio, spread, take_turns

SMALL = next(rung for rung in LADDER if rung.name == "small")


class Clock:
    """A clock that stands still until a contestant works."""

    def __init__(self):
        self.now, self.turns = 0.0, []

    def __call__(self):
        return self.now

    def worker(self, name, seconds):
        def work():
            assert not gc.isenabled()
            self.now += seconds
            self.turns.append(name)

        return work


def test_each_has_its_turn_in_each_round():
    clock = Clock()
    workers = {name: clock.worker(name, 1.0) for name in "ABC"}
    samples = take_turns(workers, Settings(rounds=4, seconds=0.001), clock)
    assert gc.isenabled()
    assert "".join(clock.turns[-12:]) == "ABC" * 4
    assert samples == {name: [1.0] * 4 for name in "ABC"}


def test_a_short_call_is_repeated_and_the_time_is_that_of_one():
    clock = Clock()
    workers = {"short": clock.worker("s", 0.125), "long": clock.worker("l", 2.0)}
    samples = take_turns(workers, Settings(rounds=2, seconds=1.0), clock)
    assert "".join(clock.turns).endswith("ssssssssl" * 2)
    assert samples == {"short": [0.125] * 2, "long": [2.0] * 2}


def test_the_garbage_collector_comes_back_after_an_error():
    def fail():
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        take_turns({"A": fail}, Settings())
    assert gc.isenabled()


def test_ratios_are_those_of_the_rounds():
    # In the second round everything took ten times as long: the ratio does not move.
    samples = {
        "minirnn": [2.0, 20.0, 2.0],
        "torch": [6.0, 60.0, 6.0],
        "torch_autograd": [8.0, 80.0, 9.0],
        "limit": [1.0, 10.0, 1.0],
    }
    result = result_of(SMALL, "lstm", "train", samples)
    assert result["ratios"] == {
        "torch / minirnn": {"median": 3.0, "quartiles": [3.0, 3.0]},
        "torch_autograd / minirnn": {"median": 4.0, "quartiles": [4.0, 4.25]},
        "minirnn / limit": {"median": 2.0, "quartiles": [2.0, 2.0]},
    }
    assert result["seconds"]["torch"] == {
        "median": 6.0, "quartiles": [6.0, 33.0], "samples": [6.0, 60.0, 6.0]
    }  # fmt: skip
    assert ratio([6.0, 1.0], [2.0, 4.0]) == [3.0, 0.25]


def test_the_table_says_the_same():
    samples = {"minirnn": [0.002], "torch": [0.003], "limit": [0.001]}
    text = tables({"results": [result_of(SMALL, "gru", "train", samples)]}, markdown=True)
    assert text.splitlines()[-1] == (
        "| small | GRU | 2.00 [2.00, 2.00] | 3.00 [3.00, 3.00] | 1.00 "
        "| 1.50 [1.50, 1.50] | 4.2 | 2.00 |"
    )


def test_spread():
    assert spread([5.0, 1.0, 3.0, 2.0, 4.0]) == {"median": 3.0, "quartiles": [2.0, 4.0]}
    assert spread([7.0]) == {"median": 7.0, "quartiles": [7.0, 7.0]}


def test_the_clock_reaches_the_whole_run(monkeypatch):
    monkeypatch.setattr("benchmarks.peers.find_torch", lambda: None)
    ticks = iter(range(10**6))
    settings = Settings(rounds=3, seconds=1e-6)
    (train, forward) = measure_all([SMALL], ["rnn"], settings, small=True, clock=ticks.__next__)
    for result in (train, forward):
        assert result["seconds"]["minirnn"]["samples"] == [1, 1, 1]
        assert result["ratios"]["minirnn / limit"]["median"] == 1


@pytest.mark.parametrize("cell", CELLS)
def test_the_limit_has_the_products_that_are_needed(cell):
    def multiplications(measure):
        return sum(
            a.shape[0] * a.shape[1] * b.shape[1] for a, b in limit.pairs(cell, SMALL)[measure]
        )

    gates = {"rnn": 1, "lstm": 4, "gru": 3}[cell]
    rows = SMALL.batch * SMALL.steps
    from_input = rows * SMALL.inputs * gates * SMALL.hidden
    from_state = rows * SMALL.hidden * gates * SMALL.hidden
    dense = rows * SMALL.hidden * SMALL.outputs
    assert multiplications("step") == from_input + from_state
    assert multiplications("forward") == from_input + from_state + dense
    # Backward: no gradient on the input of the model.
    assert multiplications("train") == 2 * from_input + 3 * from_state + 3 * dense


@pytest.mark.parametrize("cell", CELLS)
def test_what_is_timed_trains(cell):
    rung = shrunk(SMALL)
    model = ours.model_of(cell, rung)
    step = ours.calls(model, ("train",), draw(rung))["train"]
    first = step()
    for _ in range(200):
        last = step()
    assert last < 0.9 * first
    assert all(not parameter.grad.any() for parameter in model.parameters())  # it was a copy


def test_names_choose_networks_and_cells():
    assert choose([]) == (list(LADDER), list(CELLS))
    assert choose(["lstm", "small"]) == ([SMALL], ["lstm"])
    assert choose(["small"]) == ([SMALL], list(CELLS))
    assert choose(["gru", "rnn"]) == (list(LADDER), ["rnn", "gru"])
