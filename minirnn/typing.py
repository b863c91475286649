"""The types that annotations use throughout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:  # only checkers of types read these: at run time they would cost 15 ms
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"
"""A NumPy array; its shape stands in the docstring."""

Mask: TypeAlias = "NDArray[np.bool_]"
"""A boolean array ``(batch, time)``, True where the step is valid."""

State: TypeAlias = "tuple[Array, ...]"
"""What a cell hands from step to step: arrays ``(batch, ...)``."""

RandomSource: TypeAlias = "int | np.random.Generator | None"
"""What every ``rng=`` keyword takes."""
