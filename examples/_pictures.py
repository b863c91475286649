"""The one place where the examples ask for matplotlib."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).parent / "output"


def save_picture(name: str, draw: Callable[[Any], Any], description: str) -> Path | None:
    """Write a figure to ``examples/output/NAME.png`` and say so, or say what to install.

    `draw` is given ``matplotlib.pyplot`` and returns the figure. `description` tells on the
    terminal what the picture shows.
    """
    try:
        import matplotlib
    except ImportError:
        print(f"No picture of {description}: pip install matplotlib to get one.")
        return None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    OUTPUT.mkdir(exist_ok=True)
    path = OUTPUT / f"{name}.png"
    figure = draw(plt)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
    print(f"Picture: {path} ({description})")
    return path
