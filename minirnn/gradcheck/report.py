"""What a gradient check found."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnosis:
    """What a wrong gradient looks like, and the measurement that says so.

    Examples
    --------
    >>> Diagnosis("factor", ("W", "b"), "looks like a constant factor: ...")
    W, b: looks like a constant factor: ...
    """

    kind: str
    """A short name of the mistake, such as ``"overwritten"`` or ``"factor"``."""
    names: tuple[str, ...]
    """The gradients, or the arrays, that it is about."""
    text: str
    """One or two plain sentences with the evidence."""

    def __repr__(self) -> str:
        return f"{', '.join(self.names)}: {self.text}"


class GradientError(AssertionError):
    """A gradient that is not what central differences say, or a backward that breaks a rule.

    Attributes
    ----------
    name : str
        Which gradient: ``"input"``, ``"state[0]"``, or a parameter's dotted name; or which array
        was changed in place.
    index : tuple of int
        Where it is worst.
    analytic, numeric : float
        What backward gave there, and what central differences give.
    diagnosis : str or None
        What it looks like, in plain words; None where no known mistake fits.
    diagnoses : tuple of Diagnosis
        The same, one by one.
    """

    def __init__(
        self,
        message: str,
        name: str,
        diagnoses: tuple[Diagnosis, ...],
        index: tuple[int, ...] = (),
        analytic: float = math.nan,
        numeric: float = math.nan,
    ) -> None:
        super().__init__(message)
        self.name, self.diagnoses = name, diagnoses
        self.index, self.analytic, self.numeric = index, analytic, numeric

    @property
    def diagnosis(self) -> str | None:
        """What it looks like, in plain words."""
        return _in_words(self.diagnoses)


class GradientShapeError(GradientError, ValueError):
    """A gradient of another shape than the array that it belongs to."""


class GradientKindError(GradientError, TypeError):
    """Something else than an array where backward should give a gradient."""


def wrong_kind(where: str, name: str, said: str, looks: str = "a wrong return") -> GradientError:
    """Return the error about something else than the array that a method should give."""
    found = Diagnosis("kind", (name,), f"looks like {looks}: {said}")
    return GradientKindError(f"{where}: {found!r}", name, (found,))


def wrong_shape(
    where: str, name: str, got: tuple[int, ...], expected: tuple[int, ...]
) -> GradientError:
    """Return the error about a gradient of another shape than the array that it belongs to."""
    looks = "a transposed array" if got == expected[::-1] else "the gradient of another array"
    found = Diagnosis("shape", (name,), f"looks like {looks}")
    message = f"{where}: the gradient on {name} should have shape {expected}, got {got}"
    return GradientShapeError(f"{message}\n- {found!r}", name, (found,))


@dataclass(frozen=True)
class Comparison:
    """One gradient, compared element by element."""

    name: str
    """``"input"``, ``"state[0]"``, or the dotted name of a parameter."""
    shape: tuple[int, ...]
    """Of the gradient."""
    error: float
    """Largest difference, relative to the largest element of the numeric gradient."""
    index: tuple[int, ...]
    """Where the difference is largest."""
    analytic: float
    """What backward gives there."""
    numeric: float
    """What central differences give there."""
    passed: bool
    """Whether every element agrees."""
    diagnosis: str | None = None
    """What a wrong gradient looks like; None where it is right, or no known mistake fits."""


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradients` found, one `Comparison` for each gradient; prints as a table."""

    layer: str
    """Class of what was checked."""
    comparisons: tuple[Comparison, ...]
    """Of inputs and states, then of parameters."""
    diagnoses: tuple[Diagnosis, ...] = ()
    """What wrong gradients look like, and rules that were broken although the numbers are right:
    an array changed in place, a cache that a later call spoils. Empty for a sound layer."""
    notes: tuple[str, ...] = ()
    """What was not compared, or not as sharply as could be: an input of integers, or of zeros."""

    @property
    def passed(self) -> bool:
        """Whether every gradient agrees and no rule is broken."""
        return all(comparison.passed for comparison in self.comparisons) and not self.diagnoses

    @property
    def max_error(self) -> float:
        """The largest relative error of all."""
        return max((comparison.error for comparison in self.comparisons), default=0.0)

    @property
    def diagnosis(self) -> str | None:
        """All diagnoses, a line each; None where there are none."""
        return _in_words(self.diagnoses)

    def __repr__(self) -> str:
        width = max([len(c.name) for c in self.comparisons] + [8])
        lines = [f"{'gradient':<{width}}  {'shape':<16}  relative error"]
        for c in self.comparisons:
            verdict = "" if c.passed else "  WRONG"
            lines.append(f"{c.name:<{width}}  {c.shape!s:<16}  {c.error:.1e}{verdict}")
        if self.diagnoses:
            lines += [f"- {diagnosis!r}" for diagnosis in self.diagnoses]
            rest = [c.name for c in self.comparisons if not c.passed and c.diagnosis is None]
            if rest:
                lines.append(
                    f"Of {', '.join(rest)} nothing else is known: correct this first, then "
                    f"check again."
                )
        elif not self.passed:
            lines.append("No mistake that this check knows fits these numbers.")
        lines += [f"note: {note}" for note in self.notes]
        return f"{self.layer}: {'passed' if self.passed else 'FAILED'}\n" + "\n".join(lines)


def _in_words(diagnoses: tuple[Diagnosis, ...]) -> str | None:
    return "\n".join(map(repr, diagnoses)) or None
