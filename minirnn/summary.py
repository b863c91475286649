"""A model as a table: layers, output shapes, parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from minirnn import masks
from minirnn.reprs import html_text


class Table(str):
    """Text that an interactive session shows with its line breaks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html_text(self)


class _Row(NamedTuple):
    depth: int
    name: str
    layer: Any
    shape: tuple[Any, ...]


def summary_of(model: Any, x: Any = None, mask: Any = None) -> Table:
    """Return the table of a layer and of all that is inside it.

    Shapes are those of a prediction for `x`, where that is given; else those of the latest forward,
    where they are kept, and words for sizes that are not known. A parameter that was counted in a
    row above is not counted again; the row says ``tied``.
    """
    rows = list(_rows(model, 0, ())) or [_Row(0, "", model, _expected(model, ()))]
    if x is not None:
        shapes = _shapes_for(model, {id(row.layer) for row in rows}, x, mask)
        rows = [row._replace(shape=_shape_of(row.layer, shapes)) for row in rows]
    words = [row.layer.engine if hasattr(row.layer, "cell") else "" for row in rows]
    lines = [("layer", "output shape", "parameters", "engine")]
    counted: set[int] = set()
    for row, word in zip(rows, words, strict=True):
        shape = f"({', '.join(map(str, row.shape))})" if row.shape else "" if row.depth else "?"
        count = _count(row.layer, counted)
        title = f"{'  ' * row.depth}{row.name} {type(row.layer).__name__}"
        lines.append((title if row.name else title.lstrip(), shape, count, word))
    lines.append(("total", "", f"{model.parameter_count:,}", ""))
    return _drawn([line[: 4 if any(words) else 3] for line in lines])


def _shape_of(layer: Any, shapes: Mapping[int, tuple[Any, ...]]) -> tuple[Any, ...]:
    """Return a layer's shape; of a chain whose layers were called one by one, its last layer's."""
    if id(layer) not in shapes and hasattr(layer, "output_shapes"):
        return _shape_of(_inside(layer)[-1][1], shapes)
    return shapes.get(id(layer), ())


def _shapes_for(model: Any, shown: set[int], x: Any, mask: Any) -> dict[int, tuple[Any, ...]]:
    """Return the output shapes of the layers shown when a copy of the model predicts for x."""
    copied = model.evaluation_copy()
    shapes: dict[int, tuple[Any, ...]] = {}

    def noting(layer: Any, forward: Any) -> Any:
        def noted(*args: Any, **keywords: Any) -> Any:
            y = forward(*args, **keywords)
            shapes[id(layer)] = np.shape(y)
            return y

        return noted

    for (_, layer), (_, twin) in zip(model.named_layers(), copied.named_layers(), strict=True):
        if id(layer) in shown:
            vars(twin)["forward"] = noting(layer, twin.forward)
    masks.apply(copied, x, mask)
    return shapes


def _drawn(lines: list[tuple[str, ...]]) -> Table:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = []
    for line in lines:
        cells = [f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)]
        cells[2] = f"{line[2]:>{widths[2]}}"
        text.append("  ".join(cells).rstrip())
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return Table("\n".join([text[0], rule, *text[1:-1], rule, text[-1]]))


def _count(layer: Any, counted: set[int]) -> str:
    """Return how many numbers are learned here that no row above has counted."""
    inside = _inside(layer)
    below = {id(p) for _, one in inside for p in one.parameters()}
    own = [parameter for parameter in layer.parameters() if id(parameter) not in below]
    new = [parameter for parameter in own if id(parameter) not in counted]
    counted.update(map(id, own))
    if inside and not own:
        return ""
    return f"{sum(p.size for p in new):,}{' tied' if len(new) < len(own) else ''}"


def _rows(model: Any, depth: int, shape: tuple[Any, ...]) -> Iterator[_Row]:
    """Yield what is inside a model whose input has this shape."""
    chain = hasattr(model, "output_shapes")  # one layer after the other
    seen = (chain and model.output_shapes) or ()
    for k, (name, layer) in enumerate(_inside(model)):
        incoming = shape
        shape = tuple(seen[k] or ()) if seen else _expected(layer, incoming if chain else ())
        yield _Row(depth, name.removeprefix("layers."), layer, shape)
        yield from _rows(layer, depth + 1, incoming)


def _expected(layer: Any, shape: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a layer's output shape as far as it is known without running it."""
    if hasattr(layer, "output_shapes"):
        for _, one in _inside(layer):
            shape = _expected(one, shape)
        return shape
    size = getattr(layer, "output_size", None)
    if size is not None:
        return (*(("batch", "time") if layer.uses_mask else shape[:-1] or ("...",)), size)
    if not shape:
        return shape
    features = shape[-1] if layer.keeps_features else "?"  # not known before a run
    return ("batch", features) if not layer.keeps_time else (*shape[:-1], features)


def _inside(layer: Any) -> list[tuple[str, Any]]:
    """Return the layers directly inside; the cell of a recurrent layer is not shown."""
    if hasattr(layer, "cell"):
        return []
    names: list[tuple[str, Any]] = []
    for name, one in layer.named_layers():
        if name and not any(name.startswith(f"{outer}.") for outer, _ in names):
            names.append((name, one))
    return names
