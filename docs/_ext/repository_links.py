"""Links that hold in the repository, changed to what stands in their place on the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

# What a page of the site is made from, and the page.
BUILT = [
    (r"learn/README\.txt", "learn_built/index.rst"),
    (r"learn/(\w+)\.py", r"learn_built/\1.rst"),
    (r"\.\./examples/README\.md", "gallery.md"),
]


def on_the_site(app: Any, docname: str, source: list[str]) -> None:
    """Lead to lessons and gallery; a folder outside of the pages is text, a file a download."""
    page = Path(app.env.doc2path(docname))

    def replace(match: re.Match[str]) -> str:
        text, target = match.groups()
        for pattern, built in BUILT:
            if re.fullmatch(pattern, target):
                return f"[{text}]({re.sub(pattern, built, target)})"
        return text if (page.parent / target).is_dir() else match.group()

    source[0] = re.sub(r"\[([^\]]*)\]\(((?:\.\./|learn/)[^)#]*)\)", replace, source[0])


def setup(app: Any) -> dict[str, Any]:
    """Look at each page as it is read."""
    app.connect("source-read", on_the_site)
    return {"parallel_read_safe": True}
