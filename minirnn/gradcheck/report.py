"""What a gradient check found."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Comparison", "GradientError", "GradientReport"]


class GradientError(AssertionError):
    """A gradient that is not what central differences say.

    Attributes
    ----------
    name : str
        Which gradient: ``"input"``, ``"state[0]"``, or a parameter's dotted name.
    index : tuple of int
        Where it is worst.
    analytic, numeric : float
        What backward gave there, and what central differences give.
    """

    def __init__(
        self, message: str, name: str, index: tuple[int, ...], analytic: float, numeric: float
    ) -> None:
        super().__init__(message)
        self.name = name
        self.index = index
        self.analytic = analytic
        self.numeric = numeric


@dataclass(frozen=True)
class Comparison:
    """One gradient, compared element by element.

    Attributes
    ----------
    name : str
    shape : tuple of int
    error : float
        Largest difference, relative to the largest element of the numeric gradient.
    index : tuple of int
        Where the difference is largest.
    analytic, numeric : float
        The two numbers there.
    passed : bool
    """

    name: str
    shape: tuple[int, ...]
    error: float
    index: tuple[int, ...]
    analytic: float
    numeric: float
    passed: bool


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradients` found, one `Comparison` for each gradient; prints as a table."""

    layer: str
    comparisons: tuple[Comparison, ...]

    @property
    def passed(self) -> bool:
        """Whether every gradient agrees."""
        return all(comparison.passed for comparison in self.comparisons)

    @property
    def max_error(self) -> float:
        """The largest relative error of all."""
        return max((comparison.error for comparison in self.comparisons), default=0.0)

    def __repr__(self) -> str:
        width = max([len(c.name) for c in self.comparisons] + [8])
        lines = [f"{'gradient':<{width}}  {'shape':<16}  relative error"]
        for c in self.comparisons:
            verdict = "" if c.passed else "  WRONG"
            lines.append(f"{c.name:<{width}}  {c.shape!s:<16}  {c.error:.1e}{verdict}")
        return f"{self.layer}: {'passed' if self.passed else 'FAILED'}\n" + "\n".join(lines)
