"""``python -m minirnn``: what is there."""

import platform

import numpy as np

import minirnn
from minirnn import engine


def report() -> str:
    """Return the versions, the engine, its instruction set and the threads, in words."""
    native = engine.native()
    lines = [
        f"minirnn  {minirnn.__version__}",
        f"Python   {platform.python_version()}, {platform.system()} on {platform.machine()}",
        f"NumPy    {np.__version__}",
    ]
    if engine.outdated:
        lines += [
            "engine   built from other sources than these, so it is not used. All works, only",
            "         slower; `pip install .` in the folder of README.md builds it anew.",
        ]
    elif native is None:
        lines += [
            "engine   not built: there was no C compiler when minirnn was installed. All works;",
            "         built-in cells run NumPy kernels, your own cells a loop in Python. With a",
            "         compiler, `pip install .` in the folder of README.md builds it.",
        ]
    else:
        others = ", ".join(native.instruction_sets())
        lines.append(
            f"engine   native machine, {native.instruction_set()} (this processor has: {others})"
        )
    if engine.current.engine != "auto":
        lines.append(f"setting  {engine.current.engine!r}, from MINIRNN_ENGINE")
    lines.append(f"threads  {engine.current.threads}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(report())
