"""Every gradient of a layer, cell or loss against central differences."""

from minirnn.gradcheck.check import check_gradients
from minirnn.gradcheck.report import Comparison, GradientError, GradientReport

__all__ = ["Comparison", "GradientError", "GradientReport", "check_gradients"]
