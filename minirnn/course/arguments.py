"""Checks of arguments, in the course's names: n_x, n_a, m, xt, a_prev, Wax."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.typing import Array


class Arguments:
    """The arguments of one call, and the sizes they must agree on.

    The first array that has an axis called ``m`` says what ``m`` is; each later one must have the
    same. An error can therefore give the shape as numbers, and where they come from.
    """

    def __init__(self, function: str) -> None:
        self.function = function
        self._sizes: dict[str, tuple[int, str]] = {"1": (1, "")}

    def __getitem__(self, axis: str) -> int:
        """Return the size of an axis that an array has fixed."""
        return self._sizes[axis][0]

    def fix(self, axis: str, size: int, source: str) -> None:
        """Say what size an axis has, and which argument it is taken from."""
        self._sizes[axis] = (size, source)

    def array(self, name: str, value: Any, *axes: str) -> Array:
        """Return `value` as a float64 array with these axes; the caller's own if it is one."""
        array = checks.as_floats(self.function, value, np.float64, name)
        before = dict(self._sizes)
        fits = array.ndim == len(axes)
        if fits:
            for axis, size in zip(axes, array.shape, strict=True):
                fits &= size > 0 and self._sizes.setdefault(axis, (size, name))[0] == size
        if not fits:
            self._sizes = before
            raise ValueError(self._wrong_shape(name, array.shape, axes))
        return array

    def _wrong_shape(self, name: str, got: tuple[int, ...], axes: tuple[str, ...]) -> str:
        known = {axis: self._sizes[axis] for axis in axes if axis in self._sizes}
        message = f"{self.function}: {name} must be ({', '.join(axes)})"
        sources = [f"{axis} from {source}" for axis, (_, source) in known.items() if source]
        if sources:
            numbers = ", ".join(str(known[axis][0]) if axis in known else axis for axis in axes)
            message += f", here ({numbers}) expected ({', '.join(sources)})"
        message += f", got {got}"
        return message + _likely_mistake(name, got, tuple(known.get(a, (None,))[0] for a in axes))

    def weights(self, parameters: Any, names: tuple[str, ...]) -> Mapping[str, Any]:
        """Return `parameters` if it is a dictionary with all of `names`, and perhaps more."""
        if not isinstance(parameters, Mapping):
            raise TypeError(
                f"{self.function}: parameters must be a dictionary of {', '.join(names)}, got "
                f"{type(parameters).__name__}"
            )
        missing = [name for name in names if name not in parameters]
        if missing:
            raise ValueError(
                f"{self.function}: parameters has no {', '.join(missing)}; it must have "
                f"{', '.join(names)}, and has {', '.join(map(str, parameters)) or 'nothing'}"
            )
        return parameters

    def cache(self, cache: Any, names: tuple[str, ...], source: str) -> tuple[Any, ...]:
        """Return the parts of what the function `source` returned as its cache."""
        if not isinstance(cache, tuple | list) or len(cache) != len(names):
            raise TypeError(
                f"{self.function}: the cache must be the tuple ({', '.join(names)}) that {source} "
                f"returns, got {_kind(cache)}"
            )
        return tuple(cache)

    def caches(self, caches: Any, source: str) -> list[Any]:
        """Return the list of caches from what the function `source` returned."""
        pair = caches if isinstance(caches, tuple | list) and len(caches) == 2 else None
        if pair is None or not isinstance(pair[0], tuple | list) or not pair[0]:
            raise TypeError(
                f"{self.function}: caches must be the pair (list of caches, x) that {source} "
                f"returns, got {_kind(caches)}"
            )
        return list(pair[0])

    def upstream(self, da: Any, steps: int) -> Array:
        """Return da ``(n_a, m, T)``, for the first T of all steps."""
        array = self.array("da", da, "n_a", "m", "T")
        if self["T"] > steps:
            raise ValueError(
                f"{self.function}: da must be (n_a, m, T) with T at most T_x = {steps}, the steps "
                f"in caches, got {array.shape}"
            )
        return array


def _kind(value: Any) -> str:
    kind = type(value).__name__
    return f"{kind} of {len(value)}" if isinstance(value, tuple | list) else kind


def _likely_mistake(name: str, got: tuple[int, ...], expected: tuple[int | None, ...]) -> str:
    if 0 in got:
        return "; no axis may be empty"
    if len(got) == 1 and len(expected) == 2 and expected[1] == 1:
        return f"; a bias is a column: write {name}.reshape(-1, 1)"
    known = Counter(size for size in expected if size is not None)
    if len(got) != len(expected) or not known or known - Counter(got):
        return ""
    if len(got) == 2:
        return "; is it transposed?"
    return (
        f"; the course's order is features, examples, time: from (batch, time, features) write "
        f"{name}.transpose(2, 0, 1)"
    )
