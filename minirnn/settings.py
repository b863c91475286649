"""Settings: the arguments of a constructor, each declared once with its kind, default and check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

from minirnn.reprs import as_call

__all__ = ["setting", "settings"]

_T = TypeVar("_T")


def setting(check: Callable[[Any, str, Any], Any], *, default: Any = MISSING) -> Any:
    """Declare an attribute that ``check(owner, name, value)`` checks whenever it is assigned."""
    return field(default=default, metadata={"check": check})


@dataclass_transform(field_specifiers=(setting,))
def settings(*, kw_only: bool = False, eq: bool = False) -> Callable[[type[_T]], type[_T]]:
    """Make a dataclass of a class whose fields may be settings.

    Parameters
    ----------
    kw_only : bool
        Whether the fields of this class go by keyword.
    eq : bool
        Whether two objects with the same fields are equal.

    Examples
    --------
    >>> from minirnn import checks
    >>> @settings()
    ... class Window:
    ...     size: int = setting(checks.positive_int)
    ...     stride: int = setting(checks.positive_int, default=1)
    >>> window = Window(5)
    >>> window.stride = 0
    Traceback (most recent call last):
    ValueError: Window: stride should be at least 1, got 0
    >>> window
    Window(size=5)
    """

    def decorate(kind: Any) -> Any:
        dataclass(kw_only=kw_only, eq=eq, repr=False)(kind)
        kind.checks_of_settings = {f.name: f.metadata.get("check") for f in fields(kind)}
        kind.__setattr__, kind.__repr__, kind.__signature__ = _assign, as_call, None
        return kind

    return decorate


def _assign(self: Any, name: str, value: Any) -> None:
    check = self.checks_of_settings.get(name)
    object.__setattr__(self, name, value if check is None else check(self, name, value))
