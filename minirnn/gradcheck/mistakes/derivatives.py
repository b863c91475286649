"""A derivative that is missing, taken twice, or that of another function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from minirnn.functions import sigmoid
from minirnn.gradcheck.arrays import CLOSE, SMALLEST, same
from minirnn.gradcheck.mistakes.case import Case, Finding
from minirnn.typing import Array

__all__ = ["wrong_derivative"]


@dataclass(frozen=True)
class _Factor:
    """A factor of the chain rule made from an array s; `formula` in which s stands as ``{}``."""

    name: str
    formula: str
    function: Callable[[Array], Array]


# Written in terms of the function's value, of its argument, and as the commonest mix of both.
_DERIVATIVES = [
    _Factor("tanh", "1 - {}^2", lambda s: 1 - s**2),
    _Factor("sigmoid", "{} (1 - {})", lambda s: s * (1 - s)),
    _Factor("relu", "{} > 0", lambda s: (s > 0).astype(float)),
    _Factor("tanh", "1 - tanh({})^2", lambda s: 1 - np.tanh(s) ** 2),
    _Factor("sigmoid", "sigmoid({}) (1 - sigmoid({}))", lambda s: sigmoid(s) * (1 - sigmoid(s))),
    _Factor("tanh", "1 - z^2, z = artanh({})", lambda s: 1 - np.arctanh(s) ** 2),
    _Factor("sigmoid", "z (1 - z), z = logit({})", lambda s: _logit(s) * (1 - _logit(s))),
]
_PLAIN = [_Factor("", "{}", lambda s: s), _Factor("", "1 - {}", lambda s: 1 - s)]


def _logit(s: Array) -> Array:
    z: Array = np.log(s / (1 - s))
    return z


def wrong_derivative(case: Case) -> Finding | None:
    """Find factors f, g made of one array s, with ``analytic * f = numeric * g``.

    Evidence: gradients for single rows of the batch and single outputs, in which nothing is summed,
    so that each element is one product of the chain rule. For s every array is tried that forward
    was given, returned or kept. The equality has to hold in every wrong element of every such
    experiment, and f / g has to vary between them (else it would be a constant factor).
    """
    found: dict[str, dict[str, None]] = {}
    for analytic, numeric, arrays in _experiments(case):
        for block in _wrong_blocks(analytic, numeric, arrays):
            words = _explain(analytic[..., block], numeric[..., block], arrays)
            if words is None:
                return None
            whole = block.stop - block.start == numeric.shape[-1]
            where = "" if whole else f"{block.start} to {block.stop - 1}"
            found.setdefault(words, {})[where] = None
    if not found:
        return None
    sentences = [
        words.replace("@", f" in columns {', '.join(columns)}" if any(columns) else "")
        for words, columns in found.items()
    ]
    return "derivative", "looks like " + "; and ".join(sentences)


_Experiment = tuple[Array, Array, dict[str, Array]]


def _experiments(case: Case) -> Iterator[_Experiment]:
    """Yield analytic and numeric gradients and the arrays, all with the same leading axes."""
    evidence, name = case.evidence, case.name
    several = len(evidence.shapes) > 1
    parts: list[int | None] = [*range(len(evidence.shapes))] if several else [None]
    for part in parts:
        if not case.is_parameter:
            one = evidence.only(part)
            pair = evidence.analytic(one)[name], evidence.numeric(name, one)
            yield *pair, _with_shape(evidence.arrays, case.numeric.shape[:-1])
        elif evidence.sites:
            sites = evidence.sites
            weights = [evidence.only(part, site) for site in sites]
            middle = (1,) * (case.numeric.ndim - 1)
            shape = evidence.shapes[0][:-1]
            arrays = {
                label: np.stack([array[site] for site in sites]).reshape(len(sites), *middle, -1)
                for label, array in _with_shape(evidence.arrays, shape).items()
            }
            yield (
                np.stack([evidence.analytic(w)[name] for w in weights]),
                np.stack([evidence.numeric(name, w) for w in weights]),
                arrays,
            )


def _with_shape(arrays: dict[str, Array], leading: tuple[int, ...]) -> dict[str, Array]:
    return {k: a for k, a in arrays.items() if a.ndim > 1 and a.shape[:-1] == leading}


def _wrong_blocks(analytic: Array, numeric: Array, arrays: dict[str, Array]) -> list[slice]:
    """Return the columns to explain: all, or the wrong ones of equal blocks (of gates)."""
    width = numeric.shape[-1]
    sizes = sorted({a.shape[-1] for a in arrays.values() if width % a.shape[-1] == 0})
    size = next((k for k in sizes if k > 1), sizes[0] if sizes else width)
    if size == 1 and width > 1:
        size = width
    blocks = [slice(k, k + size) for k in range(0, width, size)]
    scale = max(np.abs(analytic).max(), np.abs(numeric).max())
    gaps = [np.abs(analytic[..., b] - numeric[..., b]).max() for b in blocks]
    least = max(CLOSE * scale, SMALLEST)
    return [block for block, gap in zip(blocks, gaps, strict=True) if gap > least]


def _explain(analytic: Array, numeric: Array, arrays: dict[str, Array]) -> str | None:
    width = numeric.shape[-1]
    candidates = list(_candidates(arrays, width))
    for label, s in candidates:
        for right in _DERIVATIVES:
            f = _values(right, s, analytic)
            if f is None:
                continue
            if same(analytic * f, numeric):
                return (
                    f"the derivative of {right.name} left out@: what backward gives, times "
                    f"{_formula(right, label)}, is the truth"
                )
            if same(analytic, numeric * f) and right.name != "relu":
                return (
                    f"the derivative of {right.name} taken twice@: what backward gives is the "
                    f"truth times {_formula(right, label)}"
                )
            for used in _DERIVATIVES:
                g = _values(used, s, analytic)
                if used is not right and g is not None and same(analytic * f, numeric * g):
                    return (
                        f"the wrong derivative@: {_formula(used, label)} where "
                        f"{_formula(right, label)}, that of {right.name}, belongs"
                    )
    for label, s in candidates:
        for factor in _PLAIN:
            f = _values(factor, s, analytic)
            if f is not None and same(analytic * f, numeric):
                return (
                    f"a factor left out@: what backward gives, times {_formula(factor, label)}, is "
                    f"the truth"
                )
    return None


def _candidates(arrays: dict[str, Array], width: int) -> Iterator[tuple[str, Array]]:
    """Yield the arrays of this width, and the blocks of the wider ones."""
    for label, array in arrays.items():
        size = array.shape[-1]
        if size == width:
            yield label, array
        elif size > width and size % width == 0:
            for k in range(0, size, width):
                yield f"{label}[:, {k}:{k + width}]", array[..., k : k + width]


def _values(factor: _Factor, s: Array, like: Array) -> Array | None:
    """Return the factor at every element; None where it says nothing."""
    if "artanh" in factor.formula and not (np.abs(s) < 1).all():
        return None
    if "logit" in factor.formula and not ((s > 0) & (s < 1)).all():
        return None
    f = factor.function(s)
    if factor.name == "relu" and f.size < 8:
        return None  # so few signs agree by chance
    if not np.isfinite(f).all() or np.ptp(f) < 1e-3:
        return None
    return np.broadcast_to(f, like.shape)


def _formula(factor: _Factor, label: str) -> str:
    formula = factor.formula.replace("{}", "s")
    return f"{formula} with s = {label}" if formula != "s" else label
