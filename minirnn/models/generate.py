"""A model that goes on writing where a prompt ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.core import Layer
from minirnn.data.sequences import pad_sequences
from minirnn.data.text import Vocabulary
from minirnn.models.decoding import Sampler, as_logits
from minirnn.models.sequential import flat
from minirnn.typing import Array, Mask, RandomSource


def generate(
    model: Layer,
    prompt: Any,
    length: int,
    *,
    vocabulary: Vocabulary | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: Any = None,
    stream: bool = False,
    rng: RandomSource = None,
) -> Any:
    """Let a model of the next token go on where a prompt ends, token by token.

    The model reads the prompt by `step`, and from then on what it has written itself. Each next
    token is drawn from ``softmax(logits / temperature)``, or from the likeliest part of it.

    Parameters
    ----------
    model : Layer
        From a token to the logits of the next one, by `step`: mostly a `Sequential` of `Embedding`,
        recurrent layers and `Dense`, with or without a `Softmax` at the end. A copy that shares its
        parameters does the writing, in evaluation mode and from a fresh state, so the model itself
        stays as it is.
    prompt : str, list of str, integers (time,), or a list of integers (time,)
        One prompt or many, of any lengths but none. Text needs a `vocabulary`.
    length : int
        How many tokens are written after each prompt, at most.
    vocabulary : Vocabulary, optional
        Turns text into tokens and back.
    temperature : float
        Below 1 the likely becomes likelier, above 1 less so. 0 takes the likeliest each time.
    top_k : int, optional
        Only the k likeliest tokens are drawn from.
    top_p : float, optional
        Only the likeliest tokens that together have at least this probability are drawn from.
    stop : int, or a single character with a vocabulary, or a list of these, optional
        The tokens that end a text. They are not part of the result.
    stream : bool
        True returns an iterator over what is written, as it is written: the next character or
        token, or for many prompts a list with one of each. There, a text that has ended, or whose
        longer prompt is still being read, has ``""`` or None.
    rng : None, int or numpy.random.Generator

    Returns
    -------
    str, list of str, integers (time,), or list of integers (time,), as the prompt
        What was written, without the prompt.

    Raises
    ------
    ValueError
        For an empty prompt, or a token or character that is not known.
    TypeError
        For text without a vocabulary.

    References
    ----------
    Holtzman et al., The curious case of neural text degeneration, ICLR 2020 (top_p).

    Examples
    --------
    >>> from minirnn import GRU, Dense, Embedding, Sequential
    >>> from minirnn.data import Vocabulary
    >>> vocabulary = Vocabulary("abc ")
    >>> model = Sequential([Embedding(4, 3, rng=0), GRU(3, 5, rng=1), Dense(5, 4, rng=2)])
    >>> len(generate(model, "ab", 6, vocabulary=vocabulary, rng=0))
    6
    >>> [len(one) for one in generate(model, ["a", "cab"], 4, vocabulary=vocabulary, rng=0)]
    [4, 4]
    >>> for character in generate(model, "ab", 6, vocabulary=vocabulary, rng=0, stream=True):
    ...     print(character, end="|")
    c| |b|c|a|b|
    """
    sampler = Sampler("generate", temperature, top_k, top_p, rng)
    checks.instance("generate", "model", model, Layer)
    if vocabulary is not None and not (
        hasattr(vocabulary, "encode") and hasattr(vocabulary, "decode")
    ):
        checks.instance("generate", "vocabulary", vocabulary, Vocabulary)
    length = checks.positive_int("generate", "length", length)
    stream = checks.flag("generate", "stream", stream)
    prompts, one = _prompts(prompt, vocabulary)
    steps = _steps(model, prompts, length, sampler, _stops(stop, vocabulary))
    if stream:
        return (_pieces(token, writing, vocabulary, one) for token, writing in steps)
    rows: list[list[int]] = [[] for _ in prompts]
    for token, writing in steps:
        for k in np.flatnonzero(writing):
            rows[k].append(int(token[k]))
    texts = [np.array(row, int) if vocabulary is None else vocabulary.decode(row) for row in rows]
    return texts[0] if one else texts


def _steps(
    model: Layer, prompts: list[Array], length: int, sampler: Sampler, stops: list[int]
) -> Iterator[tuple[Array, Mask]]:
    """Yield after each step the tokens (batch,), and in which rows they are written ones."""
    model = model.evaluation_copy()
    last = list(flat([model]))[-1]
    starts = np.array([len(tokens) for tokens in prompts])
    padded, _ = pad_sequences([tokens.astype(int) for tokens in prompts])
    ended = np.zeros(len(prompts), bool)
    token = padded[:, 0]
    for t in range(1, padded.shape[1] + length):
        logits = model.step(token)
        if np.ndim(logits) != 2 or len(logits) != len(prompts):
            raise ValueError(
                f"generate: for tokens (batch,) the model should give the logits (batch, tokens) "
                f"of the next ones, got shape {np.shape(logits)} for {len(prompts)} prompts"
            )
        if stops and not 0 <= min(stops) <= max(stops) < logits.shape[1]:
            raise ValueError(
                f"generate: stop should be tokens in 0..{logits.shape[1] - 1}, of which the model "
                f"gives the logits, got {stops}"
            )
        checks.no_nan("generate", logits, "a logit of the model")
        token = sampler(as_logits(last, logits))
        reading = t < starts
        ended |= ~reading & (np.isin(token, stops) | (t >= starts + length))
        if ended.all():
            return
        writing = ~reading & ~ended
        if writing.any():
            yield token, writing
        if reading.any():
            token = np.where(reading, padded[:, t], token)


def _pieces(token: Array, writing: Mask, vocabulary: Vocabulary | None, one: bool) -> Any:
    """Return what was written at one step, as the user sees it."""
    if vocabulary is None:
        pieces: list[Any] = [int(k) if w else None for k, w in zip(token, writing, strict=True)]
    else:
        pieces = [vocabulary.decode(k) if w else "" for k, w in zip(token, writing, strict=True)]
    return pieces[0] if one else pieces


def _prompts(prompt: Any, vocabulary: Vocabulary | None) -> tuple[list[Array], bool]:
    """Return the tokens of each prompt, and whether it was a single one."""
    if isinstance(prompt, str):
        return [_tokens(prompt, vocabulary, "the prompt")], True
    if not isinstance(prompt, Sequence | np.ndarray) or getattr(prompt, "shape", None) == ():
        raise TypeError(
            f"generate: the prompt should be text, tokens (time,), or a list of either, got "
            f"{prompt!r}"
        )
    if len(prompt) and not isinstance(prompt[0], str) and np.ndim(prompt[0]) == 0:
        return [_tokens(prompt, vocabulary, "the prompt")], True
    if not len(prompt):
        raise ValueError("generate: there is no prompt; the model needs a token to begin with")
    return [_tokens(text, vocabulary, f"prompt {k}") for k, text in enumerate(prompt)], False


def _stops(stop: Any, vocabulary: Vocabulary | None) -> list[int]:
    """Return the tokens that end a text."""
    if stop is None:
        return []
    several = isinstance(stop, list | tuple | np.ndarray)
    tokens = []
    for one in stop if several else [stop]:
        found = _tokens(one if isinstance(one, str) else [one], vocabulary, "stop")
        if len(found) != 1:
            raise ValueError(
                f"generate: stop should be one character, or a list of them, got {one!r}"
            )
        tokens.append(int(found[0]))
    return tokens


def _tokens(text: Any, vocabulary: Vocabulary | None, what: str) -> Array:
    if isinstance(text, str):
        if vocabulary is None:
            raise TypeError(f"generate: {what} is text: pass vocabulary= to turn it into tokens")
        tokens = vocabulary.encode(text)
    else:
        tokens = checks.as_array("generate", text, what)
    if tokens.ndim != 1:
        raise ValueError(f"generate: {what} should be tokens (time,), got shape {tokens.shape}")
    if tokens.size == 0:
        raise ValueError(f"generate: {what} is empty; the model needs a token to begin with")
    if tokens.dtype.kind not in "iu":
        raise TypeError(f"generate: {what} should be integers, got an array of {tokens.dtype}")
    return tokens
