"""The way back through a product ``v @ P``: transposed, missing, or through another weight."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minirnn.gradcheck.arrays import same
from minirnn.gradcheck.mistakes.case import Case, Finding
from minirnn.gradcheck.mistakes.patterns import turned
from minirnn.typing import Array

__all__ = ["wrong_path", "wrong_source"]


def wrong_path(case: Case) -> Finding | None:
    """Find a wrong way from ``v @ P`` back to v, where it should be ``dz @ P.T``.

    Evidence: the true contributions of single rows to the gradient on P are outer products of
    ``v`` with ``dz``, which shows that P multiplies v and gives dz. The wrong gradient then differs
    from the truth by exactly ``dz @ P.T``, or by the same with P or another weight in its place.
    """
    if case.is_parameter or case.numeric.ndim < 2:
        return None
    weights = {k: p.value for k, p in case.evidence.probe.parameters.items() if p.value.ndim == 2}
    for name, weight, dz in _products(case):
        right = dz @ weight.T
        rest = case.numeric - right
        if not np.any(np.abs(right) > 1e-6):
            continue
        if len(weight) > 1 and same(case.analytic, rest + dz @ turned(weight).T):
            return "transposed", (
                f"looks like a transposed weight: backward multiplies with {name} where it should "
                f"multiply with its transpose (for y = v @ W, grad_v = grad_y @ W.T)"
            )
        if same(case.analytic, rest):
            return "path", (
                f"looks like a path left out: what is missing is exactly the part that comes back "
                f"through {name}, grad @ {name}.T"
            )
        for other, array in weights.items():
            if other == name or array.shape != weight.shape:
                continue
            if same(case.analytic, rest + dz @ array.T):
                return "mixed up", (
                    f"looks like two weights mixed up: backward goes through {other} where "
                    f"forward went through {name}"
                )
    return None


def wrong_source(case: Case) -> Finding | None:
    """Find another array in the place of v in the gradient on P, ``v.T @ dz``.

    Evidence: as above for v and dz; the wrong gradient equals that product with the other array,
    one that forward was given, returned or kept.
    """
    if not case.is_parameter or case.numeric.ndim != 2:
        return None
    evidence = case.evidence
    for source in _inputs(case):
        v = evidence.probe.given[source]
        dz = _gradient_on_product(case, source, case.name)
        if dz is None:
            continue
        for label, array in evidence.arrays.items():
            if array.shape == v.shape and not same(array, v):
                flat = array.reshape(-1, v.shape[-1])
                if same(case.analytic, flat.T @ dz.reshape(len(flat), -1)):
                    used = "the input x" if source == "input" else f"the {source} given"
                    return "mixed up", (
                        f"looks like the wrong array in the product: backward uses {label} where "
                        f"forward multiplied {used} with {case.name}"
                    )
    return None


def _inputs(case: Case) -> list[str]:
    given = case.evidence.probe.given
    return [k for k, a in given.items() if a.dtype.kind == "f" and a.ndim >= 2 and k != "target"]


def _products(case: Case) -> Iterator[tuple[str, Array, Array]]:
    """Yield ``(name, P, dz)`` for each parameter that multiplies the case's array."""
    for name, parameter in case.evidence.probe.parameters.items():
        if parameter.value.ndim == 2 and parameter.shape[0] == case.numeric.shape[-1]:
            dz = _gradient_on_product(case, case.name, name)
            if dz is not None:
                yield name, parameter.value, dz


def _gradient_on_product(case: Case, source: str, name: str) -> Array | None:
    """Return dz, of a row for each row of the source v, if P is used as ``v @ P`` and no more."""
    evidence = case.evidence
    v = evidence.probe.given[source]
    sites = list(np.ndindex(v.shape[:-1]))
    rows, width = evidence.probe.parameters[name].shape
    if v.shape != (*evidence.shapes[0][:-1], rows) or len(sites) > 64:
        return None
    dz = np.empty((*v.shape[:-1], width))
    for site in sites:
        share = evidence.numeric(name, evidence.only(site=site))
        row = v[site]
        if not row @ row:
            return None
        dz[site] = row @ share / (row @ row)
        if not same(share, np.outer(row, dz[site])):
            return None
    return dz
