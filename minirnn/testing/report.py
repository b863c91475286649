"""What a check of the contract found, and how the checks are run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


class Advice(str):
    """A finding that is no violation: what the library's own things do beyond the contract."""

    __slots__ = ()


class NotApplicableError(Exception):
    """A check that does not concern the thing; its text says why."""


@dataclass(frozen=True)
class Violation:
    """One thing that is broken."""

    check: str
    """Which part of the contract, such as ``"gradients"`` or ``"padding"``."""
    text: str
    """What happens, what should, and what to write."""

    def __repr__(self) -> str:
        return f"{self.check}: {self.text}"


class ContractError(AssertionError):
    """Something that breaks the contract; `report`, a `ContractReport`, has all of it."""

    def __init__(self, report: ContractReport) -> None:
        super().__init__(repr(report))
        self.report = report


@dataclass(frozen=True)
class ContractReport:
    """What `check_layer` found; prints as a list."""

    thing: str
    """Class of what was checked."""
    kept: tuple[str, ...]
    """The parts of the contract that it keeps."""
    violations: tuple[Violation, ...]
    """What it breaks, with what to write."""
    advice: tuple[Violation, ...]
    """What is not broken, and could be better."""
    skipped: Mapping[str, str]
    """Which parts do not concern it, and why."""

    @property
    def passed(self) -> bool:
        """Whether nothing is broken."""
        return not self.violations

    def __repr__(self) -> str:
        count = len(self.violations)
        lines = [f"{self.thing}: " + ("passed" if self.passed else f"{count} broken")]
        lines += [f"- {violation!r}" for violation in self.violations]
        lines += [f"advice: {advice!r}" for advice in self.advice]
        for reason in dict.fromkeys(self.skipped.values()):
            names = [name for name, its in self.skipped.items() if its == reason]
            lines.append(f"not checked: {', '.join(names)}: {reason}")
        lines.append(f"kept: {', '.join(self.kept)}")
        return "\n".join(lines)


def run(
    thing: object, subject: Any, checks: Iterable[Callable[[Any], Iterator[str]]]
) -> ContractReport:
    """Run every check and return everything that they found.

    A check is called as its function is, with blanks. What the thing's own code raises is a finding
    like any other, so that one broken method does not hide the rest.
    """
    kept: list[str] = []
    violations: list[Violation] = []
    advice: list[Violation] = []
    skipped: dict[str, str] = {}
    for check in checks:
        name = check.__name__.replace("_", " ").replace("state dict", "state_dict")
        found: list[str] = []
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                for text in check(subject):
                    found.append(text)
        except NotApplicableError as reason:
            skipped[name] = str(reason)
            continue
        except Exception as error:  # of the thing's own code: the other checks go on
            said = f"raises {type(error).__name__}: {error}"
            if any(said in violation.text for violation in violations):
                skipped[name] = "it raises the same again"
                continue
            found.append(said)
        for text in dict.fromkeys(found):
            kind = advice if isinstance(text, Advice) else violations
            kind.append(Violation(name, text))
        if all(isinstance(text, Advice) for text in found):
            kept.append(name)
    return ContractReport(
        type(thing).__name__, tuple(kept), tuple(violations), tuple(advice), skipped
    )
