"""Imports go one way: a file knows only what stands before it, and there are no circles."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "minirnn"

# From the ground up. A room may import from rooms above it in this list, and from itself. Rooms of
# one line do not know each other.
FLOORS = [
    ["errors", "typing"],
    ["checks", "functions", "initializers", "files", "plots", "reprs"],
    ["keywords", "masks", "restoring", "settings"],  # which know a layer by its methods only
    ["summary"],
    ["core"],
    ["cells"],
    ["kernels", "engine"],
    ["layers"],
    ["recurrent"],
    ["data"],
    ["models"],
    ["losses", "schedules"],
    ["metrics"],
    ["optimizers", "tasks"],
    ["callbacks"],
    ["training"],
    ["gradcheck"],
    ["testing", "insight", "course", "interop", "sklearn"],
]


def imports(path: Path) -> list[str]:
    """Return the modules that a file imports from this package, wherever in the file."""
    tree = ast.parse(path.read_text("utf-8"))
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("minirnn")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "minirnn":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.append(name if module_file(name) else node.module)
    return found


def module_file(name: str) -> Path | None:
    path = PACKAGE.parent / Path(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem[0] != "_"
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_knows_only_what_stands_before_it(path):
    own = room(path)
    assert own in FLOOR, f"{own} has no floor yet: put it into FLOORS"
    for name in imports(path):
        target = module_file(name)
        assert target is not None, f"{path.name} imports {name}, which is not there"
        assert target != PACKAGE / "__init__.py", f"{path.name} imports the package itself"
        other = room(target)
        assert other == own or FLOOR[other] < FLOOR[own], f"{own} should not know {other} ({name})"


def test_there_are_no_circles():
    graph = {path: {module_file(name) for name in imports(path)} - {path} for path in FILES}
    done: set[Path] = set()

    def visit(path: Path, above: tuple[Path, ...]) -> None:
        if path in above:
            circle = [str(p.relative_to(PACKAGE)) for p in (*above[above.index(path) :], path)]
            raise AssertionError("a circle of imports: " + " -> ".join(circle))
        if path in done:
            return
        for target in graph.get(path, ()):
            if target is not None:
                visit(target, (*above, path))
        done.add(path)

    for path in FILES:
        visit(path, ())
