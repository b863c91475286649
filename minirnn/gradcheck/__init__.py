"""Every gradient of a layer, cell or loss against central differences; what a wrong one means."""

from minirnn.gradcheck.check import check_gradients
from minirnn.gradcheck.report import (
    Comparison,
    Diagnosis,
    GradientError,
    GradientKindError,
    GradientReport,
    GradientShapeError,
)

__all__ = [
    "Comparison",
    "Diagnosis",
    "GradientError",
    "GradientKindError",
    "GradientReport",
    "GradientShapeError",
    "check_gradients",
]
