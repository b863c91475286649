"""Text and HTML forms of objects: the call that makes them, and tables for notebooks."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

_ABSENT = object()
_WIDTH = 88


def as_call(thing: object) -> str:
    """Return the call that makes such an object, for its ``__repr__``.

    Shown are the arguments of the constructor that the object keeps under their names and that
    differ from the default; generators, parameters and default values are left out. A layer of
    which nothing can be shown in this way shows its sublayers instead.
    """
    shown: list[str] = []
    parameters = inspect.signature(type(thing)).parameters
    for name, value in arguments_of(thing):
        parameter = parameters[name]
        if _same(value, parameter.default):
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            shown += map(_shown, value)
        else:
            shown.append(f"{name}={_shown(value)}")
    if not shown:
        parts = {name: value for name, value in vars(thing).items() if _holds_layers(value)}
        shown = [f"{name}={_shown(value)}" for name, value in parts.items()]
    return _call(type(thing).__name__, shown)


def arguments_of(thing: object) -> Iterator[tuple[str, Any]]:
    """Yield the constructor's arguments that an object keeps under their names.

    All but generators and parameters, which are no settings.
    """
    for name in inspect.signature(type(thing)).parameters:
        value = vars(thing).get(f"_{name}", getattr(thing, name, _ABSENT))
        if name not in ("rng", "parameters") and value is not _ABSENT:
            yield name, value


def _call(name: str, shown: Sequence[str], brackets: str = "()") -> str:
    line = f"{name}{brackets[0]}{', '.join(shown)}{brackets[1]}"
    if len(line) <= _WIDTH and "\n" not in line:
        return line
    inside = "".join(f"{part},\n" for part in shown).rstrip("\n").replace("\n", "\n    ")
    return f"{name}{brackets[0]}\n    {inside}\n{brackets[1]}"


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, np.ndarray) or isinstance(default, np.ndarray):
        return value is default
    return type(value) is type(default) and bool(value == default)


def _holds_layers(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_layers, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_layers, value))
    return hasattr(value, "named_layers") and not isinstance(value, type)


def _shown(value: Any) -> str:
    """Return a value as it stands in a call."""
    if isinstance(value, np.ndarray):
        return repr(value) if value.size <= 12 and value.ndim < 2 else f"array(shape={value.shape})"
    if inspect.isroutine(value):
        return value.__qualname__.rpartition("<locals>.")[2].replace("<lambda>", "lambda")
    if type(value) in (list, tuple, dict) and len(value) > 12 and not _holds_layers(value):
        return f"{type(value).__name__} of {len(value)}"
    if type(value) is dict:
        return _call("", [f"{key!r}: {_shown(item)}" for key, item in value.items()], "{}")
    if type(value) is list:
        return _call("", list(map(_shown, value)), "[]")
    if type(value) is tuple:
        return f"({', '.join(map(_shown, value))}{',' * (len(value) == 1)})"
    own: Any = type(value).__repr__
    if own is object.__repr__:
        return f"{type(value).__name__}(...)"
    return repr(value)


# ---------------------------------------------------------------- notebooks


def html_table(header: Iterable[object], rows: Iterable[Iterable[object]], *, title: str) -> str:
    """Return an HTML table."""
    from html import escape  # its table of names would be a tenth of the import of the package

    def row(cells: Iterable[object], tag: str) -> str:
        texts = (f"{one:,.6g}" if isinstance(one, float) else escape(str(one)) for one in cells)
        return f"<tr>{''.join(f'<{tag}>{text}</{tag}>' for text in texts)}</tr>"

    head, body = row(header, "th"), "".join(row(cells, "td") for cells in rows)
    table = f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
    return f"<p><b>{escape(title)}</b></p>{table}"


def html_text(text: str) -> str:
    """Return text with its line breaks and columns as HTML."""
    from html import escape

    return f"<pre>{escape(text)}</pre>"
