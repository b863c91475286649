"""The way back through a product ``v @ P``: transposed, missing, or through another weight."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minirnn.gradcheck.arrays import same
from minirnn.gradcheck.diagnosis.case import Case, Prediction
from minirnn.gradcheck.diagnosis.simple import block_transpose
from minirnn.typing import Array

__all__ = ["wrong_path", "wrong_source"]


def wrong_path(case: Case) -> Iterator[Prediction]:
    """Predict a wrong way from ``v @ P`` back to v, where it should be ``dz @ P.T``.

    The true contributions of single rows to the gradient on P are outer products of ``v`` with
    ``dz``, which shows that P multiplies v and gives dz. A wrong way then differs from the truth by
    exactly ``dz @ P.T``, or by the same with P or another weight in its place.
    """
    if case.is_parameter or case.numeric.ndim < 2:
        return
    weights = {
        k: p.value for k, p in case.evidence.function.parameters.items() if p.value.ndim == 2
    }
    for name, weight in weights.items():
        dz = None
        if weight.shape[0] == case.numeric.shape[-1]:
            dz = _gradient_on_product(case, case.name, name)
        if dz is None or not np.any(np.abs(dz @ weight.T) > 1e-6):
            continue
        rest = case.numeric - dz @ weight.T
        if len(weight) > 1:
            text = (
                f"looks like a transposed weight: backward multiplies with {name} where it should "
                f"multiply with its transpose (for y = v @ W, grad_v = grad_y @ W.T)"
            )
            yield Prediction("transposed", text, rest + dz @ block_transpose(weight).T)
        text = (
            f"looks like a path left out: what is missing is exactly the part that comes back "
            f"through {name}, grad @ {name}.T"
        )
        yield Prediction("path", text, rest)
        for other, array in weights.items():
            if other != name and array.shape == weight.shape:
                text = (
                    f"looks like two weights mixed up: backward goes through {other} where "
                    f"forward went through {name}"
                )
                yield Prediction("mixed up", text, rest + dz @ array.T)


def wrong_source(case: Case) -> Iterator[Prediction]:
    """Predict another array in the place of v in the gradient on P, ``v.T @ dz``."""
    if not case.is_parameter or case.numeric.ndim != 2:
        return
    evidence = case.evidence
    for source in evidence.function.variables:
        v = evidence.function.given.get(source)
        dz = None if v is None or v.ndim < 2 else _gradient_on_product(case, source, case.name)
        if v is None or dz is None:
            continue
        used = "the input x" if source == "input" else f"the {source} given"
        for label, array in evidence.arrays.items():
            if array.shape == v.shape and not same(array, v):
                text = (
                    f"looks like the wrong array in the product: backward uses {label} where "
                    f"forward multiplied {used} with {case.name}"
                )
                flat = array.reshape(-1, v.shape[-1])
                yield Prediction("mixed up", text, flat.T @ dz.reshape(len(flat), -1))


def _gradient_on_product(case: Case, source: str, name: str) -> Array | None:
    """Return dz, of a row for each row of the source v, if P is used as ``v @ P`` and no more."""
    evidence = case.evidence
    v = evidence.function.given[source]
    sites = list(np.ndindex(v.shape[:-1]))
    rows, width = evidence.function.parameters[name].shape
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
