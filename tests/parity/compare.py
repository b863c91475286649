"""When two results are the same, and where the recorded ones are."""

from functools import cache
from pathlib import Path

import numpy as np

from tests.parity.cases import Arrays, Case, cast

RECORDED = Path(__file__).parent / "recorded"
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-5}


def error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Measure the largest difference relative to the largest magnitude that is expected."""
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    scale = np.max(np.abs(expected))
    difference = np.max(np.abs(actual.astype(float) - expected.astype(float)))
    return float(difference / scale) if scale > 0 else float(difference)


def errors(actual: Arrays, expected: Arrays) -> dict[str, float]:
    """Measure the error of every result; both must have the same ones."""
    assert actual.keys() == expected.keys(), actual.keys() ^ expected.keys()
    return {name: error(actual[name], value) for name, value in expected.items()}


def assert_agree(actual: Arrays, expected: Arrays, dtype: type) -> None:
    """Hold the results to the tolerance of the dtype, and arrays to the dtype itself."""
    tolerance = TOLERANCE[dtype]
    # Not `error > tolerance`, which NaN would pass.
    wrong = {
        name: f"relative error {error:.2g}"
        for name, error in errors(actual, expected).items()
        if not error <= tolerance
    }
    wrong |= {
        name: f"dtype {actual[name].dtype}, expected {np.dtype(dtype)}"
        for name in expected
        if actual[name].ndim > 0 and actual[name].dtype != dtype
    }
    assert not wrong, wrong


def key(case: Case, kind: str, name: str) -> str:
    """Name an array of a case in its group's file; the kind is inputs or results."""
    return f"{case.name.removeprefix(case.group + '/')}:{kind}:{name}"


@cache
def recorded_arrays(group: str) -> Arrays:
    with np.load(RECORDED / f"{group}.npz") as file:
        return dict(file)


def recorded(case: Case, dtype: type) -> tuple[Arrays, Arrays]:
    """Load the inputs of a case, in the dtype, and PyTorch's results, in float64."""
    inputs, results = {}, {}
    for kind, found in (("inputs", inputs), ("results", results)):
        prefix = key(case, kind, "")
        found |= {
            name.removeprefix(prefix): array
            for name, array in recorded_arrays(case.group).items()
            if name.startswith(prefix)
        }
    return cast(inputs, dtype), cast(results, np.float64)
