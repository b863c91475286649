"""Learning rates that change: callables from the step number, 0 at the first update.

Any callable will do as a `learning_rate`; these are the usual ones. An optimizer takes one in place
of a number: ``Adam(parameters, Cosine(3e-3, steps=1000))``.
"""

from minirnn.schedules.combined import Join, Product, Warmup
from minirnn.schedules.cosines import Cosine, OneCycle, WarmRestarts
from minirnn.schedules.curves import Constant, Exponential, Piecewise, Polynomial, StepDecay

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "Join",
    "OneCycle",
    "Piecewise",
    "Polynomial",
    "Product",
    "StepDecay",
    "WarmRestarts",
    "Warmup",
]
