"""Write the index of the reference from the public names of each room: a page for each."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

from sphinx.ext.autodoc.mock import mock
from sphinx.util.inspect import stringify_signature

# (heading, module, rooms): of a module's public names, those that are defined in the rooms.
SECTIONS = [
    ("Core", "minirnn", ("core", "errors")),
    ("Layers", "minirnn", ("layers",)),
    ("Cells", "minirnn", ("cells",)),
    ("Recurrent layers", "minirnn", ("recurrent",)),
    ("Models", "minirnn", ("models",)),
    ("Losses", "minirnn", ("losses",)),
    ("Metrics", "minirnn", ("metrics",)),
    ("Optimizers", "minirnn", ("optimizers",)),
    ("Schedules", "minirnn.schedules", ("schedules", "optimizers")),
    ("Training", "minirnn", ("training",)),
    ("Callbacks", "minirnn.callbacks", ("callbacks", "training")),
    ("Data", "minirnn.data", ("data",)),
    ("Toy tasks", "minirnn.tasks", ("tasks",)),
    ("Checking gradients", "minirnn", ("gradcheck", "diagnosis")),
    ("Checking your own", "minirnn.testing", ("testing",)),
    ("Looking inside", "minirnn.insight", ("insight",)),
    ("The engine", "minirnn.engine", ("engine",)),
    ("PyTorch", "minirnn.interop.torch", ("interop",)),
    ("Keras", "minirnn.interop.keras", ("interop",)),
    ("ONNX", "minirnn.interop.onnx", ("interop",)),
    ("scikit-learn", "minirnn.sklearn", ("sklearn",)),
    ("The course's functions", "minirnn.course", ("course",)),
]


def public_names(module_name: str, rooms: tuple[str, ...]) -> dict[str, str]:
    """Return the public names of a module that are defined in one of the rooms, and where."""
    module = importlib.import_module(module_name)
    names = {}
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        home = getattr(value, "__module__", module_name) or module_name
        if name.startswith("__") or inspect.ismodule(value) or not callable(value):
            continue
        if home.split(".")[1:2] and home.split(".")[1] in rooms:
            names[name] = home
    return names


def write(app: Any) -> None:
    """Write ``api/index.rst``, and a page for each section."""
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    listed: set[tuple[str, str]] = set()
    pages = []
    for heading, module, rooms in SECTIONS:
        with mock(app.config.autodoc_mock_imports):
            found = public_names(module, rooms)
        names = [name for name, home in found.items() if (home, name) not in listed]
        listed.update((home, name) for name, home in found.items())
        if not names:
            continue
        page = "".join(c for c in heading.lower().replace(" ", "-") if c.isalnum() or c == "-")
        pages.append(page)
        lines = [heading, "=" * len(heading), "", f".. currentmodule:: {module}", ""]
        lines += [".. autosummary::", "   :toctree: names", ""]
        update(folder / f"{page}.rst", [*lines, *(f"   {name}" for name in names), ""])
    lines = ["Reference", "=========", "", "A page for each public name, from its docstring.", ""]
    lines += [".. toctree::", "   :maxdepth: 2", "", *(f"   {page}" for page in pages), ""]
    update(folder / "index.rst", lines)


def update(path: Path, lines: list[str]) -> None:
    """Write a file unless it has these very lines, so that nothing is read again for no reason."""
    text = "\n".join(lines)
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


def skip(app: Any, what: str, name: str, value: Any, skipped: bool, options: Any) -> bool:
    """Leave out what scikit-learn writes into its estimators, `set_fit_request` and the like."""
    return skipped or bool(re.fullmatch(r"set_\w+_request", name))


def signed(
    app: Any, what: str, name: str, value: Any, options: Any, signature: str, returned: str
) -> tuple[str, str] | None:
    """Show the arguments of ``__init__``: autodoc takes those of ``__new__``, which are any."""
    if what != "class" or "**keywords" not in (signature or ""):
        return None
    found = inspect.signature(value).replace(return_annotation=inspect.Signature.empty)
    shown = stringify_signature(found, show_annotation=False)
    return shown.replace("<class 'numpy.float32'>", "float32"), returned


def setup(app: Any) -> dict[str, Any]:
    """Write the index before anything looks for pages."""
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", signed, priority=100)
    app.connect("config-inited", lambda app, config: write(app))
    return {"parallel_read_safe": True}
