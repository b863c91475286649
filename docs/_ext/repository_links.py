"""Links of the Markdown pages to folders of the repository are plain text on the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def unlink_folders(app: Any, docname: str, source: list[str]) -> None:
    """Replace a link to a folder outside of the pages by its text; links to files are downloads."""
    page = Path(app.env.doc2path(docname))

    def replace(match: re.Match[str]) -> str:
        folder = (page.parent / match.group(2)).is_dir()
        return match.group(1) if folder else match.group()

    source[0] = re.sub(r"\[([^\]]*)\]\((\.\./[^)#]*)\)", replace, source[0])


def setup(app: Any) -> dict[str, Any]:
    """Look at each page as it is read."""
    app.connect("source-read", unlink_folders)
    return {"parallel_read_safe": True}
