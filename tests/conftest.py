"""What every run of the tests says at its end."""

from __future__ import annotations

from importlib.util import find_spec


def pytest_terminal_summary(terminalreporter):
    if find_spec("torch") is None:
        terminalreporter.write_line(
            "PyTorch is not installed: its recorded numbers stood in for it, and the live "
            "comparisons were skipped."
        )
