"""Write the gallery from the table of examples/README.md: each with picture, score and time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

HEAD = """# Gallery

Every script of `examples/`, with what it shows and the score that it reaches. Each runs as it is:
`python examples/names.py`. All take `--seed`, and `--quick` for a setting that takes seconds.

::::{grid} 1 2 2 3
:gutter: 3
"""


def rows(text: str) -> list[list[str]]:
    """Return the cells of the table's rows."""
    table = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def plain(name: str) -> str:
    """Return the name of an example without its link."""
    return re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", name).replace("`", "")


def card(cells: list[str], script: str) -> str:
    """Return one card: name, picture, what it shows, score, time."""
    name, shows, score, beside, time, picture = (*cells, "", "", "")[:6]
    title = f"{script} {plain(name).removeprefix(script)}".strip()
    found = re.search(r"\(\.\./docs/(pictures/[^)]+)\)", picture)
    image = f":img-top: {found.group(1)}\n:img-alt: {title}: {shows}\n" if found else ""
    text = [f":::{{grid-item-card}} `{title}`", image + ":class-card: example", "", shows]
    text += ["", f"**Score** {score}"] if score else []
    text += ["", f"**Beside it** {beside}"] if beside else []
    text += ["", f"**Time** {time}"] if time else []
    return "\n".join([*text, ":::"])


def write(app: Any) -> None:
    """Write ``gallery.md``."""
    source = Path(app.srcdir)
    text = (source.parent / "examples" / "README.md").read_text("utf-8")
    cards, script = [], ""
    for cells in rows(text):
        script = next((word for word in plain(cells[0]).split() if word.endswith(".py")), script)
        cards.append(card(cells, script))
    (source / "gallery.md").write_text("\n".join([HEAD, *cards, "::::", ""]), "utf-8")


def setup(app: Any) -> dict[str, Any]:
    """Write the page before Sphinx looks for pages."""
    app.connect("config-inited", lambda app, config: write(app))
    return {"parallel_read_safe": True}
