"""From characters to integers and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.typing import Array


class Vocabulary:
    r"""The characters of a text, each with an integer of its own.

    Parameters
    ----------
    characters : iterable of single characters
        Token ``k`` is the ``k``-th character; none may occur twice. `from_text` collects them from
        a text.

    Raises
    ------
    ValueError
        From `encode`, for a character that is not in the vocabulary, which the message shows; from
        `decode`, for a token out of range.

    Examples
    --------
    >>> vocabulary = Vocabulary.from_text("hello\n")
    >>> len(vocabulary), vocabulary.characters
    (5, '\nehlo')
    >>> vocabulary.encode("hole")
    array([2, 4, 3, 1])
    >>> vocabulary.decode([2, 4, 3, 1])
    'hole'
    >>> vocabulary.encode("help")
    Traceback (most recent call last):
        ...
    ValueError: Vocabulary: 'p' (U+0070) at position 3 is not one of the 5 known characters
    """

    def __init__(self, characters: Iterable[str]) -> None:
        listed = list(checks.instance(self, "characters", characters, Iterable))
        for character in listed:
            if not isinstance(character, str) or len(character) != 1:
                raise ValueError(f"Vocabulary: takes single characters, got {character!r}")
        if not listed:
            raise ValueError("Vocabulary: there are no characters: is the text empty?")
        self.characters = "".join(listed)
        self._tokens = {character: token for token, character in enumerate(listed)}
        if len(self._tokens) != len(listed):
            twice = next(c for c in listed if listed.count(c) > 1)
            raise ValueError(f"Vocabulary: {twice!r} occurs twice; from_text() collects a text's")

    @classmethod
    def from_text(cls, text: str | Iterable[str]) -> Vocabulary:
        """Return the vocabulary of a text, or of several: its characters, sorted."""
        return cls(sorted(set(text if isinstance(text, str) else "".join(text))))

    def encode(self, text: str) -> Array:
        """Return the tokens of a text, integers ``(len(text),)``."""
        if not isinstance(text, str):
            raise TypeError(f"Vocabulary: encode takes a str, got {type(text).__name__}")
        try:
            return np.array([self._tokens[character] for character in text], dtype=np.int64)
        except KeyError:
            position = next(k for k, c in enumerate(text) if c not in self._tokens)
            character = text[position]
            raise ValueError(
                f"Vocabulary: {character!r} (U+{ord(character):04X}) at position {position} is not "
                f"one of the {len(self)} known characters"
            ) from None

    def decode(self, tokens: Any) -> str:
        """Return the text of tokens ``(length,)``, or the character of one token."""
        array = checks.as_array(self, tokens, "tokens")
        if array.ndim > 1:
            raise ValueError(
                f"Vocabulary: decode takes the tokens of one text (length,), got shape "
                f"{array.shape}; write [vocabulary.decode(row) for row in tokens]"
            )
        if array.size == 0:
            return ""
        array = checks.as_integers(self, array, len(self), "tokens")
        return "".join(self.characters[token] for token in array.ravel())

    def __len__(self) -> int:
        return len(self.characters)

    def __contains__(self, character: object) -> bool:
        return character in self._tokens

    def __repr__(self) -> str:
        return f"Vocabulary({self.characters!r})"
