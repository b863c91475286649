"""The embedded Reber grammar against a regular expression and an enumerated language."""

from __future__ import annotations

import math
import re
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirnn.tasks import (
    REBER_SYMBOLS,
    embedded_reber,
    embedded_reber_optimal_loss,
    embedded_reber_strings,
    encode_embedded_reber,
    is_embedded_reber,
    legal_next,
)

# Read off the published diagram by hand, not from the table in the module. TAIL is what may follow
# the X that leaves the loop of S (or the P that comes back to the same node).
TAIL = "(?:XT*VP)*(?:S|XT*VV)"
INNER = f"B(?:TS*X{TAIL}|PT*V(?:V|P{TAIL}))E"
LANGUAGE = re.compile(f"B(?:T{INNER}T|P{INNER}P)E")

LONGEST = 20


def enumerate_language(longest):
    """Write the regular expression out, every repetition up to what `longest` allows."""

    def tails(room):
        found = set()
        loops, heads = [""], [""]
        while loops:  # any number of X T* V P
            loops = [
                head + "X" + "T" * n + "VP" for head in loops for n in range(room - len(head) - 3)
            ]
            heads += loops
        for head in heads:
            found.add(head + "S")
            found |= {head + "X" + "T" * n + "VV" for n in range(room)}
        return {tail for tail in found if len(tail) <= room}

    room = longest - 6  # B, T, B before; E, T, E after
    all_tails = tails(room)
    inner = {"T" + "S" * n + "X" + tail for n in range(room) for tail in all_tails}
    inner |= {"P" + "T" * n + "VV" for n in range(room)}
    inner |= {"P" + "T" * n + "VP" + tail for n in range(room) for tail in all_tails}
    inner = {middle for middle in inner if len(middle) <= room}
    return {f"B{s}B{middle}E{s}E" for s in "TP" for middle in inner}


@pytest.fixture(scope="module")
def language():
    return enumerate_language(LONGEST)


@pytest.fixture(scope="module")
def strings():
    return embedded_reber_strings(20000, rng=0)


def test_every_drawn_string_matches_the_regular_expression(strings):
    assert all(LANGUAGE.fullmatch(string) for string in strings)
    assert all(is_embedded_reber(string) for string in set(strings))


def test_every_string_of_the_language_is_accepted_and_the_short_ones_are_drawn(language, strings):
    assert all(LANGUAGE.fullmatch(string) for string in language)
    assert all(is_embedded_reber(string) for string in language)
    assert {s for s in strings if len(s) <= 12} == {s for s in language if len(s) <= 12}
    assert {s for s in strings if len(s) <= LONGEST} <= language


def test_membership_agrees_with_the_regular_expression_on_damaged_strings(strings):
    seen = {True: 0, False: 0}
    for string in sorted(set(strings[:150])):
        damaged = {string[:k] for k in range(len(string))}
        for k, symbol in product(range(len(string)), REBER_SYMBOLS + "x"):
            damaged.add(string[:k] + symbol + string[k + 1 :])
            damaged.add(string[:k] + symbol + string[k:])
            damaged.add(string + symbol)
        for candidate in damaged:
            expected = LANGUAGE.fullmatch(candidate) is not None
            assert is_embedded_reber(candidate) == expected, candidate
            seen[expected] += 1
    assert min(seen.values()) > 100


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=REBER_SYMBOLS, max_size=15))
def test_membership_agrees_with_the_regular_expression_on_any_text(text):
    assert is_embedded_reber(text) == (LANGUAGE.fullmatch(text) is not None)


def test_legal_next_is_what_some_string_of_the_language_goes_on_with(language):
    following = {}
    for string in language:
        for k in range(len(string)):
            following.setdefault(string[:k], set()).add(string[k])
    # A prefix of 11 symbols needs 9 more at most, whichever symbol comes next.
    checked = [prefix for prefix in following if len(prefix) <= LONGEST - 9]
    assert len(checked) > 100
    for prefix in checked:
        assert legal_next(prefix) == following[prefix], prefix
    assert legal_next("BTBTXSETE") == frozenset()


def test_strings_come_with_the_probability_of_their_choices(language, strings):
    """Between its B and its E, each symbol of the inner string is one of two."""
    probability = {string: 0.5 ** (len(string) - 5) for string in language}
    # What is missing to 1 are the strings longer than were enumerated.
    longer = np.mean([len(string) > LONGEST for string in strings])
    assert 1 - sum(probability.values()) == pytest.approx(longer, abs=0.01)
    for string in ("BTBTXSETE", "BPBPVVEPE", "BPBTSXSEPE", "BTBPTVVETE"):
        expected = probability[string] * len(strings)
        assert abs(strings.count(string) - expected) < 5 * math.sqrt(expected)


def test_optimal_loss_is_the_entropy_a_predicted_symbol(strings):
    # Monte Carlo: the surprise of each drawn string is ln 2 for each of its choices.
    lengths = np.array([len(string) for string in strings])
    surprise, predicted = math.log(2) * (lengths - 5), lengths - 1
    measured = surprise.sum() / predicted.sum()
    assert embedded_reber_optimal_loss() == pytest.approx(measured, rel=0.005)
    # By hand: 12 symbols on average, hence 7 choices among 11 predictions.
    assert lengths.mean() == pytest.approx(12, rel=0.01)
    assert embedded_reber_optimal_loss() == pytest.approx(7 * math.log(2) / 11, rel=1e-14)
    assert embedded_reber_optimal_loss(long_memory=False) == pytest.approx(8 * math.log(2) / 11)


def test_losses_of_perfect_and_of_forgetful_prediction():
    task = embedded_reber(4000, rng=1)
    count, steps = task.tokens.shape
    row, step = np.nonzero(task.mask)
    probability = task.legal / np.maximum(task.legal.sum(axis=-1, keepdims=True), 1)
    perfect = -np.log(probability[row, step, task.targets[row, step]]).mean()
    assert perfect == pytest.approx(embedded_reber_optimal_loss(), rel=0.01)

    forgetful = probability.copy()
    last = task.mask.sum(axis=1) - 2  # the step after which T or P is due
    forgetful[np.arange(count), last] = 0
    for symbol in "TP":
        forgetful[np.arange(count), last, REBER_SYMBOLS.index(symbol)] = 0.5
    loss = -np.log(forgetful[row, step, task.targets[row, step]]).mean()
    assert loss == pytest.approx(embedded_reber_optimal_loss(long_memory=False), rel=0.01)
    assert steps == max(len(string) for string in task.strings) - 1


def test_arrays_say_what_the_strings_say():
    task = embedded_reber(50, rng=2)
    longest = max(len(string) for string in task.strings)
    assert task.inputs.shape == task.legal.shape == (50, longest - 1, 7)
    assert task.targets.shape == task.mask.shape == task.tokens.shape == (50, longest - 1)
    assert task.legal.dtype == task.mask.dtype == np.bool_
    for i, string in enumerate(task.strings):
        steps = len(string) - 1
        assert task.mask[i].tolist() == [k < steps for k in range(longest - 1)]
        for k in range(longest - 1):
            hot = "".join(np.array(list(REBER_SYMBOLS))[task.inputs[i, k] == 1])
            legal = set(np.array(list(REBER_SYMBOLS))[task.legal[i, k]])
            if k < steps:
                assert hot == REBER_SYMBOLS[task.tokens[i, k]] == string[k]
                assert REBER_SYMBOLS[task.targets[i, k]] == string[k + 1]
                assert legal == legal_next(string[: k + 1])
            else:
                assert hot == ""
                assert legal == set()
                assert task.tokens[i, k] == task.targets[i, k] == 0


def test_same_seed_same_strings_and_excluded_ones_do_not_come():
    train = embedded_reber(256, rng=0)
    assert list(train.strings) == embedded_reber_strings(256, rng=0)
    test = embedded_reber(256, exclude=train.strings, rng=0)
    assert len(test.strings) == 256
    assert not set(test.strings) & set(train.strings)
    assert "BTBTXSETE" in train.strings


@pytest.mark.parametrize(
    ("error", "call", "message"),
    [
        (ValueError, lambda: legal_next("BTX"), "expected B at position 2, got 'X' in 'BTX'"),
        (ValueError, lambda: legal_next("BTBTXSETEB"), "expected nothing at position 9, got 'B'"),
        (ValueError, lambda: legal_next("BTBTXSEP"), "expected T at position 7, got 'P'"),
        (TypeError, lambda: legal_next(["B"]), "legal_next: prefix should be a string"),
        (TypeError, lambda: is_embedded_reber(3), "is_embedded_reber: string should be a string"),
        (TypeError, lambda: encode_embedded_reber("BTBTXSETE"), "put a single string into a list"),
        (
            ValueError,
            lambda: encode_embedded_reber([]),
            "should hold one string at least, got none",
        ),
        (
            ValueError,
            lambda: encode_embedded_reber(["BTBTXSETE", "BTB"]),
            r"strings\[1\] should be complete, got 'BTB', after which P or T is to come",
        ),
        (
            ValueError,
            lambda: encode_embedded_reber(["T"]),
            r"strings\[0\] should follow .* expected B",
        ),
        (TypeError, lambda: encode_embedded_reber([7]), r"strings\[0\] should be a string"),
        (
            ValueError,
            lambda: encode_embedded_reber(["BTBTXSETE"], dtype=int),
            "encode_embedded_reber: dtype should be",
        ),
        (
            TypeError,
            lambda: embedded_reber_strings(2, exclude="BTBTXSETE"),
            "embedded_reber_strings: exclude should be a collection of strings",
        ),
        (TypeError, lambda: embedded_reber(2, exclude=3), "embedded_reber: exclude should be"),
        (ValueError, lambda: embedded_reber_strings(0), "count should be at least 1, got 0"),
    ],
)
def test_wrong_calls(error, call, message):
    with pytest.raises(error, match=message):
        call()
