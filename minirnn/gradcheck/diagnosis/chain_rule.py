"""A derivative or a factor that is missing, taken twice, or another one; a term left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from minirnn.functions import sigmoid
from minirnn.gradcheck.arrays import CLOSE, SMALLEST, same
from minirnn.gradcheck.diagnosis.case import Case, Prediction
from minirnn.gradcheck.diagnosis.evidence import Evidence
from minirnn.typing import Array

__all__ = ["factor_of_the_incoming", "missing_term", "wrong_derivative"]

ENOUGH = 6  # numbers; fewer agree by chance, where many combinations are tried


@dataclass(frozen=True)
class _Formula:
    """A factor of the chain rule made from an array s, which stands in it as ``{}``."""

    name: str
    formula: str
    function: Callable[[Array], Array]


# Written in terms of the function's value, of its argument, and as the commonest mix of both.
_FORMULAS = [
    _Formula("tanh", "1 - {}^2", lambda s: 1 - s**2),
    _Formula("sigmoid", "{} (1 - {})", lambda s: s * (1 - s)),
    _Formula("relu", "{} > 0", lambda s: (s > 0).astype(float)),
    _Formula("tanh", "1 - tanh({})^2", lambda s: 1 - np.tanh(s) ** 2),
    _Formula("sigmoid", "sigmoid({}) (1 - sigmoid({}))", lambda s: sigmoid(s) * (1 - sigmoid(s))),
    _Formula("tanh", "1 - z^2, z = artanh({})", lambda s: 1 - np.arctanh(s) ** 2),
    _Formula("sigmoid", "z (1 - z), z = logit({})", lambda s: _logit(s) * (1 - _logit(s))),
    _Formula("", "{}", lambda s: s),
    _Formula("", "1 - {}", lambda s: 1 - s),
    _Formula("", "1 + {}", lambda s: 1 + s),
    _Formula("", "1 / {}", lambda s: 1 / s),
]
_SIMPLE = [_FORMULAS[k] for k in (0, 1, 7, 8)]  # what terms of two factors are made of


def _logit(s: Array) -> Array:
    z: Array = np.log(s / (1 - s))
    return z


@dataclass(frozen=True)
class _Factors:
    """Every factor that the arrays can make and that varies, as rows of one array."""

    formulas: list[_Formula]
    words: list[str]
    arrays: list[str]
    values: Array

    def inside(self, k: int) -> str:
        """Return factor k as it stands in a product."""
        said = self.formulas[k].formula.replace("{}", self.arrays[k])
        return f"({said})" if " " in said.replace(self.arrays[k], "") else said

    def named(self, k: int) -> str:
        """Return the function whose derivative factor k is; empty for a plain factor."""
        return self.formulas[k].name


_Explanation = tuple[str, str, Array, Array]
"""Kind and words, with ``@`` for the place, and two arrays that should be equal."""


# ---------------------------------------------------------------- a wrong factor


def wrong_derivative(case: Case) -> Iterator[Prediction]:
    """Predict with factors f, g, made of the layer's arrays, ``analytic * f = numeric * g``.

    Looked for in gradients for single rows of the batch and single outputs, in which nothing is
    summed, so that each element is one product of the chain rule; and in each block of columns (of
    a gate) by itself. Every array is tried that forward was given, returned or kept, and every
    parameter.
    """
    experiments = list(_experiments(case))
    width = case.numeric.shape[-1] if case.numeric.ndim else 0
    sizes = {a.shape[-1] for _, _, arrays in experiments for a in arrays.values() if a.ndim > 1}
    blocks = [size for size in sorted(sizes, reverse=True) if size > 1 and width % size == 0]
    for size in dict.fromkeys([*blocks, width]):
        prediction = _in_blocks(experiments, size) if size else None
        if prediction is not None:
            yield prediction
            return


def _in_blocks(experiments: list[_Experiment], size: int) -> Prediction | None:
    """Return what explains every wrong block of columns of this size, in every experiment."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    ours, theirs = [], []
    for analytic, numeric, arrays in experiments:
        for block in _wrong_blocks(analytic, numeric, size):
            one = _explain(analytic[..., block], numeric[..., block], arrays)
            if one is None:
                return None
            kind, words, left, right = one
            whole = size == numeric.shape[-1]
            where = "" if whole else f"{block.start} to {block.stop - 1}"
            found.setdefault((kind, words), {})[where] = None
            ours.append(left.ravel())
            theirs.append(right.ravel())
    if not found:
        return None
    sentences = [
        words.replace("@", f" in columns {', '.join(columns)}" if any(columns) else "")
        for (_, words), columns in found.items()
    ]
    text = "looks like " + "; and ".join(sentences)
    kind = next(iter(found))[0]
    return Prediction(kind, text, np.concatenate(theirs), np.concatenate(ours))


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
            yield *pair, _with_shape(evidence, case.numeric.shape[:-1])
        elif evidence.sites:
            sites = evidence.sites
            weights = [evidence.only(part, site) for site in sites]
            middle = (1,) * (case.numeric.ndim - 1)
            shape = evidence.shapes[0][:-1]
            arrays = {
                label: array
                if array.ndim == 1
                else np.stack([array[site] for site in sites]).reshape(len(sites), *middle, -1)
                for label, array in _with_shape(evidence, shape).items()
            }
            yield (
                np.stack([evidence.analytic(w)[name] for w in weights]),
                np.stack([evidence.numeric(name, w) for w in weights]),
                arrays,
            )


def _with_shape(evidence: Evidence, leading: tuple[int, ...]) -> dict[str, Array]:
    """Return the arrays with these leading axes, and the parameters that are vectors."""
    arrays = {k: a for k, a in evidence.arrays.items() if a.ndim > 1 and a.shape[:-1] == leading}
    parameters = evidence.function.parameters
    vectors = {k: p.value for k, p in parameters.items() if p.value.ndim == 1 and p.size > 1}
    return arrays | vectors


def _wrong_blocks(analytic: Array, numeric: Array, size: int) -> list[slice]:
    """Return the blocks of columns, of equal size, that are wrong."""
    blocks = [slice(k, k + size) for k in range(0, numeric.shape[-1], size)]
    scale = max(np.abs(analytic).max(), np.abs(numeric).max())
    gaps = [np.abs(analytic[..., b] - numeric[..., b]).max() for b in blocks]
    least = max(CLOSE * scale, SMALLEST)
    return [block for block, gap in zip(blocks, gaps, strict=True) if gap > least]


def _explain(analytic: Array, numeric: Array, arrays: dict[str, Array]) -> _Explanation | None:
    """Return what makes two gradients equal, the simplest that does."""
    factors = _factors(arrays, analytic.shape)
    explained = _one_factor(analytic, numeric, factors)
    if explained is None and analytic.size >= ENOUGH:
        explained = (
            _softmax_jacobian(analytic, numeric, arrays)
            or _normalized_rows(analytic, numeric, arrays)
            or _two_factors(analytic, numeric, factors)
            or _product_rule(analytic, numeric, arrays)
        )
    return explained


def _one_factor(analytic: Array, numeric: Array, factors: _Factors) -> _Explanation | None:
    """Find a derivative left out, taken twice, or of another function; or a factor left out."""
    a, n, f = analytic.ravel(), numeric.ravel(), factors.values
    left_out, twice = _equal(a * f, n[None]), _equal(a[None], n * f)
    for k in sorted({*left_out, *twice}):
        if not factors.named(k):
            continue
        if k in left_out:
            text = f"the derivative of {factors.named(k)} left out@: what backward gives, times "
            return "derivative", f"{text}{factors.words[k]}, is the truth", a * f[k], n
        if factors.named(k) != "relu":
            text = f"the derivative of {factors.named(k)} taken twice@: what backward gives is the "
            return "derivative", f"{text}truth times {factors.words[k]}", a, n * f[k]
    derivatives = [k for k in range(len(f)) if factors.named(k)]
    for k in derivatives:
        others = [j for j in derivatives if j != k and factors.arrays[j] == factors.arrays[k]]
        for j in (others[m] for m in _equal((a * f[k])[None], n * f[others])):
            text = f"the wrong derivative@: {factors.words[j]} where {factors.words[k]}, that of "
            return "derivative", f"{text}{factors.named(k)}, belongs", a * f[k], n * f[j]
    for k in left_out:
        text = f"a factor left out@: what backward gives, times {factors.words[k]}, is the truth"
        return "derivative", text, a * f[k], n
    return None


def _two_factors(analytic: Array, numeric: Array, factors: _Factors) -> _Explanation | None:
    """Find two factors left out, one too many, or one in the place of another."""
    some = [
        k
        for k, formula in enumerate(factors.formulas)
        if formula.name != "relu" and not formula.formula.startswith("1 / ")
    ]
    a, n, f = analytic.ravel(), numeric.ravel(), factors.values[some]
    words = [factors.words[k] for k in some]
    for k in _equal(a[None], n * f):
        text = f"a factor too many@: what backward gives is the truth times {words[k]}"
        return "derivative", text, a, n * f[k]
    for j in range(len(some)):
        for k in _equal((a * f[j])[None], n * f):
            if np.ptp(f[j] / f[k]) > 1e-3:
                text = f"the wrong factor@: {words[k]} where {words[j]} belongs"
                return "derivative", text, a * f[j], n * f[k]
        for k in _equal(a * f[j] * f, n[None]):
            text = f"two factors left out@: what backward gives, times {words[j]} and {words[k]},"
            return "derivative", f"{text} is the truth", a * f[j] * f[k], n
        for k in _equal(a[None], n * f[j] * f):
            text = f"two factors too many@: what backward gives is the truth times {words[j]} and"
            return "derivative", f"{text} {words[k]}", a, n * f[j] * f[k]
    return None


def _equal(left: Array, right: Array) -> list[int]:
    """Return the rows in which two stacks of flat arrays are the same but for rounding."""
    if not max(len(left), len(right)):
        return []
    scale = np.maximum(np.abs(left).max(axis=1), np.abs(right).max(axis=1))
    gap = np.abs(left - right).max(axis=1)
    least = np.maximum(scale, 0.1 * SMALLEST / CLOSE)
    return [int(k) for k in np.flatnonzero(gap <= CLOSE * least)]


def _product_rule(analytic: Array, numeric: Array, arrays: dict[str, Array]) -> _Explanation | None:
    """Find a sum or a difference of two arrays of which one is left out."""
    found = list(_candidates(arrays, analytic.shape))
    for label, s in found:
        for other, u in found:
            for sign, total in (("+", s + u), ("-", s - u), ("-", u - s)):
                if other != label and same(analytic * total, numeric * s):
                    pair = f"{label} + {other}" if sign == "+" else f"{label} - {other}"
                    text = (
                        f"a term of a product rule left out@: backward has {label} alone where "
                        f"{pair} belongs"
                    )
                    return "term", text, analytic * total, numeric * s
    return None


def _softmax_jacobian(
    analytic: Array, numeric: Array, arrays: dict[str, Array]
) -> _Explanation | None:
    """Find the Jacobian of a softmax of which only the diagonal is used, or the sum is missing.

    With ``a = softmax(z)``, ``grad_z = a (g - sum(g a))``. The sum is one number in each row; it is
    fitted, and has to hold for all columns.
    """
    for label, a in _candidates(arrays, analytic.shape):
        if a.shape[-1] < 3 or (a <= 0).any() or np.abs(a.sum(axis=-1) - 1).max() > 1e-9:
            continue
        belongs = f"the Jacobian of softmax, a * (g - (g * a).sum(-1)) with a = {label}, belongs"
        without = numeric + _multiple(analytic - numeric, a)
        if same(analytic, without):
            text = f"a softmax without the sum@: a * g where {belongs}"
            return "diagonal", text, analytic, without
        whole = numeric * (1 - a)
        own = whole + _multiple(analytic - whole, a * (1 - a))
        if same(analytic, own):
            text = f"a Jacobian cut down to its diagonal@: a * (1 - a) * g where {belongs}"
            return "diagonal", text, analytic, own
        handed_on = a * analytic + _multiple(numeric - a * analytic, a)
        if same(numeric, handed_on):
            return "diagonal", f"the softmax left out@: g where {belongs}", numeric, handed_on
    return None


def _normalized_rows(
    analytic: Array, numeric: Array, arrays: dict[str, Array]
) -> _Explanation | None:
    """Find a wrong term in the Jacobian of a normalisation over the last axis.

    With ``n = (z - mean(z)) / std(z)``, ``grad_z = (g - mean(g) - n mean(g n)) / std(z)``. The two
    means are numbers of each row; what they are wrong by is fitted.
    """
    for label, n in _candidates(arrays, analytic.shape):
        if n.shape[-1] < 3 or np.abs(n.mean(axis=-1)).max() > 1e-9 * np.abs(n).max():
            continue
        of = (
            f"in the Jacobian of the normalisation, (g - mean(g) - n mean(g n)) / std with "
            f"n = {label}"
        )
        for term, s in (("mean(g)", np.ones_like(n)), ("n mean(g n)", n)):
            wrong = numeric + _multiple(analytic - numeric, s)
            if same(analytic, wrong):
                text = f"the term {term} left out@, or with another weight (as ddof=1 gives), {of}"
                return "normalisation", text, analytic, wrong
    return None


def _multiple(array: Array, s: Array) -> Array:
    """Return in each row the multiple of s that is nearest to the array."""
    share = (array * s).sum(axis=-1, keepdims=True) / (s * s).sum(axis=-1, keepdims=True)
    fitted: Array = share * s
    return fitted


def _candidates(arrays: dict[str, Array], shape: tuple[int, ...]) -> Iterator[tuple[str, Array]]:
    """Yield the arrays of this width, and the blocks of the wider ones, broadcast to the shape."""
    width = shape[-1]
    for label, array in arrays.items():
        size = array.shape[-1]
        if size == width or (size == 1 and array.ndim > 1):
            yield label, np.broadcast_to(array, shape)
        elif size > width and size % width == 0:
            index = "" if array.ndim == 1 else ":, "
            for k in range(0, size, width):
                block = array[..., k : k + width]
                yield f"{label}[{index}{k}:{k + width}]", np.broadcast_to(block, shape)


def _factors(
    arrays: dict[str, Array], shape: tuple[int, ...], formulas: list[_Formula] | None = None
) -> _Factors:
    """Return every factor that the arrays can make and that varies."""
    chosen: list[_Formula] = []
    words, labels, values = [], [], [np.empty((0, math.prod(shape)))]
    for label, s in _candidates(arrays, shape):
        for formula in formulas or _FORMULAS:
            if "artanh" in formula.formula and not (np.abs(s) < 1).all():
                continue
            if "logit" in formula.formula and not ((s > 0) & (s < 1)).all():
                continue
            if formula.name == "relu" and s.size < 8:
                continue  # so few signs agree by chance
            value = formula.function(s)
            if np.isfinite(value).all() and np.ptp(value) >= 1e-3:
                said = formula.formula.replace("{}", "s")
                words.append(
                    {"s": label, "1 / s": f"1 / {label}"}.get(said, f"{said} with s = {label}")
                )
                chosen.append(formula)
                labels.append(label)
                values.append(value.reshape(1, -1))
    return _Factors(chosen, words, labels, np.concatenate(values))


# ---------------------------------------------------------------- terms and incoming gradients


def factor_of_the_incoming(case: Case) -> Iterator[Prediction]:
    """Predict a factor of the output, such as a gain, left out of the incoming gradient.

    Backward is linear in that gradient, so with a factor s left out it gives what would be right
    for ``grad / s``.
    """
    evidence = case.evidence
    for part, weight in enumerate(evidence.weights):
        if weight.ndim < 2 or weight.size < ENOUGH:
            continue
        name = evidence.incoming_name(part)
        for label, s in _candidates(_with_shape(evidence, weight.shape[:-1]), weight.shape):
            if np.ptp(s) < 1e-3 or not np.all(s):
                continue
            weights = list(evidence.weights)
            for words, changed in (
                (f"left out: backward begins with {name} where {name} * {label}", weight / s),
                (f"too many: backward begins with {name} * {label} where {name} alone", weight * s),
            ):
                weights[part] = changed
                text = f"looks like a factor {words} belongs"
                yield Prediction("derivative", text, evidence.numeric(case.name, weights))
            if s.shape == case.numeric.shape and not case.is_parameter:
                text = (
                    f"looks like the incoming {name} times {label} and no more: the derivative of "
                    f"the rest of the layer is missing"
                )
                yield Prediction("incoming", text, s * weight)


def missing_term(case: Case) -> Iterator[Prediction]:
    """Predict a term of a sum left out, or a factor of it, as in product rules and peepholes.

    A term is a gradient (the incoming one, or that at a sum inside, seen through a bias) times one
    or two factors that the layer has. It is missing in this gradient itself, or in the gradient on
    a new state, from where it goes on as what comes in there does.
    """
    if case.numeric.size < ENOUGH:
        return
    evidence, name = case.evidence, case.name
    parts = range(len(evidence.weights))
    gaps = {k: evidence.numeric(name, evidence.only(k)) for k in parts}
    gaps = {k: gap - evidence.analytic(evidence.only(k))[name] for k, gap in gaps.items()}
    gaps = {k: gap for k, gap in gaps.items() if np.abs(gap).max() > SMALLEST}
    places: list[tuple[str, tuple[int, ...], int | None]] = []
    if not case.is_parameter:
        places.append(("", case.numeric.shape, None))
    states = evidence.shapes[1:]
    places += [(f" in the gradient on the new state[{k}]", s, k + 1) for k, s in enumerate(states)]
    for place, shape, part in places:
        if not gaps or len(shape) < 2 or math.prod(shape) < ENOUGH:
            continue
        terms = _terms(evidence, shape)
        jacobian = None if part is None else evidence.jacobian_of(part, name)
        for words, bases in _bases(evidence, shape, list(gaps)):
            fits = np.arange(len(terms.words))
            total = np.zeros((len(fits), case.numeric.size))
            for k, gap in gaps.items():
                flat, some = gap.reshape(1, -1), np.argsort(-np.abs(gap), axis=None)[:ENOUGH]
                through = np.eye(gap.size) if jacobian is None else jacobian
                base = bases[k].reshape(1, -1)
                # the largest elements first: most candidates end there
                few = _equal(base * terms.values[fits] @ through[:, some], flat[:, some])
                fits, total = fits[few], total[few]
                predicted = base * terms.values[fits] @ through
                good = _equal(predicted, flat) if len(fits) else []
                fits, total = fits[good], total[good] + predicted[good]
            for row, fit in enumerate(fits):
                kind, said = terms.said(int(fit), words)
                text = f"looks like {said}{place}"
                wrong = total[row].reshape(case.numeric.shape)
                yield Prediction(kind, text, case.numeric - wrong)


@dataclass(frozen=True)
class _Terms:
    """Products of factors that may be missing, as rows; and of those of which one is missing."""

    words: list[tuple[str, str]]
    named: dict[str, str]
    values: Array

    def said(self, k: int, base: str) -> tuple[str, str]:
        """Return the kind and the sentence about row k, for terms that begin with `base`."""
        used, left_out = self.words[k]
        if not left_out:
            return "term", f"a term left out: what is missing is exactly {' * '.join([base, used])}"
        has = " * ".join(word for word in (base, used) if word)
        what = f"the derivative of {self.named[left_out]}" if left_out in self.named else "a factor"
        text = f"{what} left out of one term: {has} where {has} * {left_out} belongs"
        return "derivative", text


def _terms(evidence: Evidence, shape: tuple[int, ...]) -> _Terms:
    """Return all terms of up to two factors for gradients of this shape, the simple ones first."""
    if shape not in evidence.terms:
        factors = _factors(_with_shape(evidence, shape[:-1]), shape, _SIMPLE)
        f, one = factors.values, range(len(factors.values))
        names = [factors.inside(k) for k in one]
        mixed = ["1 - " in name and not factors.named(k) for k, name in enumerate(names)]
        pairs = sorted(
            ((j, k) for j in one for k in one), key=lambda pair: mixed[pair[0]] + mixed[pair[1]]
        )
        two = [(j, k) for j, k in pairs if j <= k]
        both = [(j, k) for j, k in pairs if j != k]
        words = [(names[k], "") for k in one] + [("", names[k]) for k in one]
        words += [(f"{names[j]} * {names[k]}", "") for j, k in two]
        words += [(names[j], names[k]) for j, k in both]
        values = [f, f - 1, *(f[[pair[0] for pair in two]] * f[[pair[1] for pair in two]],)]
        values += [f[[j for j, _ in both]] * (f[[k for _, k in both]] - 1)]
        named = {names[k]: factors.named(k) for k in one if factors.named(k)}
        evidence.terms[shape] = _Terms(words, named, np.concatenate(values))
    found: _Terms = evidence.terms[shape]
    return found


def _bases(
    evidence: Evidence, shape: tuple[int, ...], parts: list[int]
) -> Iterator[tuple[str, dict[int, Array]]]:
    """Yield what a term may begin with, for each output: its gradient, or that at a sum inside."""
    if all(evidence.weights[k].shape == shape for k in parts):
        words = " + ".join(map(evidence.incoming_name, parts))
        words = f"({words})" if len(parts) > 1 else words
        yield words, {k: evidence.weights[k] for k in parts}
    sites = list(np.ndindex(shape[:-1]))
    if shape[:-1] != evidence.shapes[0][:-1] or len(sites) > 64:
        return
    width = shape[-1]
    for name, parameter in evidence.function.parameters.items():
        if parameter.value.ndim != 1 or parameter.size % width:
            continue
        shares = {
            k: np.stack([evidence.numeric(name, evidence.only(k, s)) for s in sites]) for k in parts
        }
        for start in range(0, parameter.size, width):
            index = "" if parameter.size == width else f"[{start}:{start + width}]"
            words = f"(the gradient of {name}{index} from each row)"
            yield words, {k: s[:, start : start + width].reshape(shape) for k, s in shares.items()}
