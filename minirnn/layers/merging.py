"""Several outputs of the same time steps, merged into one."""

from __future__ import annotations

from math import prod

import numpy as np

from minirnn import checks
from minirnn.typing import Array

__all__ = ["MERGES", "merge", "merge_back", "merged_size"]

MERGES = ("concat", "sum", "mean", "product")


def merged_size(owner: object, sizes: list[int | None], how: str) -> int | None:
    """Return the features of the merged output, where those of all parts are known."""
    known = [size for size in sizes if size is not None]
    if how != "concat" and len(set(known)) > 1:
        raise ValueError(
            f"{checks.name_of(owner)}: for merge={how!r} all parts should have the same "
            f"output_size, got {', '.join(map(str, known))}"
        )
    if len(known) < len(sizes):
        return None
    return sum(known) if how == "concat" else known[0]


def merge(owner: object, parts: list[Array], how: str) -> Array:
    """Return the parts ``(..., features)`` side by side, or their sum, mean or product."""
    shapes = [part.shape for part in parts]
    same = [shape[:-1] for shape in shapes] if how == "concat" else shapes
    if any(shape != same[0] for shape in same):
        raise ValueError(
            f"{checks.name_of(owner)}: for merge={how!r} the outputs should have the same shape"
            f"{' but for the features' if how == 'concat' else ''}, got "
            f"{', '.join(map(str, shapes))}"
        )
    if how == "concat" or len(parts) == 1:  # a copy, which a mask may write into
        return np.concatenate(parts, axis=-1)
    if how == "product":
        return np.asarray(prod(parts[1:], start=parts[0]))
    total = np.asarray(sum(parts[1:], start=parts[0]))
    return total / total.dtype.type(len(parts)) if how == "mean" else total


def merge_back(grad: Array, parts: list[Array], how: str) -> list[Array]:
    """Return the gradient on each part, from that on the merged output."""
    if how == "concat":
        ends = np.cumsum([part.shape[-1] for part in parts])[:-1]
        return np.split(grad, ends, axis=-1)
    if how == "mean":
        grad = grad / grad.dtype.type(len(parts))
    if how != "product":
        return [grad] * len(parts)
    others = [[other for j, other in enumerate(parts) if j != k] for k in range(len(parts))]
    return [np.asarray(prod(some, start=grad)) for some in others]
