"""The contract of layers, cells, losses, optimizers, metrics and callbacks, to be checked."""

from minirnn.testing.check import check_layer
from minirnn.testing.report import ContractError, ContractReport, Violation

__all__ = ["ContractError", "ContractReport", "Violation", "check_layer"]
