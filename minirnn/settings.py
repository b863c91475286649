"""Settings: the arguments of a constructor, each declared once with its kind, default and check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from functools import partial
from typing import Any, TypeVar, dataclass_transform

from minirnn.reprs import as_call

_T = TypeVar("_T")


def setting(
    check: Callable[..., Any], *, default: Any = MISSING, kw_only: Any = MISSING, **options: Any
) -> Any:
    """Declare an attribute that is checked whenever it is assigned.

    What is kept is ``check(owner, name, value, **options)``. None needs no check where it is the
    default.
    """
    return field(default=default, kw_only=kw_only, metadata={"check": partial(check, **options)})


@dataclass_transform(field_specifiers=(setting,))
def settings(*, kw_only: bool = False, frozen: bool = False) -> Callable[[type[_T]], type[_T]]:
    """Make a dataclass of a class whose fields may be settings.

    Parameters
    ----------
    kw_only : bool
        Whether the fields of this class go by keyword.
    frozen : bool
        Whether objects are values: not to be changed, and equal where their fields are.

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
        dataclass(kw_only=kw_only, eq=frozen, unsafe_hash=frozen, repr=False)(kind)
        known = {one.name: one for one in fields(kind)}

        def assign(self: Any, name: str, value: Any) -> None:
            if frozen and (name in vars(self) or name not in known):
                raise AttributeError(f"{kind.__name__}: {name} cannot be set; make another one")
            check = known[name].metadata.get("check") if name in known else None
            if check is not None and not (value is None and known[name].default is None):
                value = check(self, name, value)
            object.__setattr__(self, name, value)

        kind.__setattr__, kind.__signature__ = assign, None
        if "__repr__" not in vars(kind):
            kind.__repr__ = as_call
        return kind

    return decorate
