"""Characters to integers and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirnn.data import Vocabulary


@given(st.text(min_size=1))
def test_round_trip(text):
    vocabulary = Vocabulary.from_text(text)
    tokens = vocabulary.encode(text)
    assert tokens.dtype == np.int64
    assert tokens.shape == (len(text),)
    assert vocabulary.decode(tokens) == text
    assert len(vocabulary) == len(set(text))
    assert vocabulary.characters == "".join(sorted(set(text)))
    assert set(tokens) == set(range(len(vocabulary)))


def test_several_texts_share_one_vocabulary():
    assert Vocabulary.from_text(["ab", "bc"]).characters == "abc"
    assert "c" in Vocabulary.from_text(["ab", "bc"])
    assert "d" not in Vocabulary.from_text(["ab", "bc"])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda v: v.encode("abz"),
            ValueError,
            r"'z' \(U\+007A\) at position 2 is not one",
        ),
        (lambda v: v.encode("a\t"), ValueError, r"'\\t' \(U\+0009\) at position 1"),
        (lambda v: v.encode("é"), ValueError, r"'é' \(U\+00E9\) at position 0"),
        (lambda v: v.encode(7), TypeError, "encode takes a str, got int"),
        (lambda v: v.decode([0, 2]), ValueError, r"tokens should be in 0\.\.1 .*got 2 at position"),
        (lambda v: v.decode([-1]), ValueError, r"got -1 at position \(0,\)"),
        (lambda v: v.decode([0.5]), TypeError, "tokens should be integers"),
        (lambda v: Vocabulary.from_text(""), ValueError, "is the text empty"),
        (lambda v: Vocabulary("aba"), ValueError, "'a' occurs twice"),
        (lambda v: Vocabulary(3), TypeError, "characters should be an Iterable, got int"),
        (lambda v: Vocabulary(["ab"]), ValueError, "takes single characters, got 'ab'"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=f"^Vocabulary: .*{message}"):
        call(Vocabulary("ab"))


def test_nothing_encodes_and_decodes_to_nothing():
    vocabulary = Vocabulary("ab")
    assert vocabulary.encode("").shape == (0,)
    assert vocabulary.decode([]) == ""


def test_many_texts_are_not_run_together():
    with pytest.raises(ValueError, match=r"one text \(length,\), got shape \(2, 2\)"):
        Vocabulary("ab").decode([[0, 1], [1, 0]])
