"""The operations of a program, one a row. `machine.c` has them in the same order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Operation(NamedTuple):
    """What is known of an operation."""

    text: str  # as a reader writes it
    cheap: bool = False  # backward does it again; what is dear is kept from forward
    ufunc: np.ufunc | None = None  # of NumPy, for which it stands


CHEAP = True
OPERATIONS = {
    "id": Operation("copy({})", CHEAP),
    "add": Operation("{} + {}", CHEAP, np.add),
    "sub": Operation("{} - {}", CHEAP, np.subtract),
    "mul": Operation("{} * {}", CHEAP, np.multiply),
    "div": Operation("{} / {}", ufunc=np.true_divide),
    "neg": Operation("-{}", CHEAP, np.negative),
    "abs": Operation("abs({})", CHEAP, np.absolute),
    "sign": Operation("sign({})", CHEAP, np.sign),
    "max": Operation("max({}, {})", CHEAP, np.maximum),
    "min": Operation("min({}, {})", CHEAP, np.minimum),
    "gt": Operation("{} > {}", CHEAP, np.greater),
    "ge": Operation("{} >= {}", CHEAP, np.greater_equal),
    "eq": Operation("{} == {}", CHEAP, np.equal),
    "ne": Operation("{} != {}", CHEAP, np.not_equal),
    "where": Operation("where({}, {}, {})", CHEAP),
    "muladd": Operation("{} * {} + {}", CHEAP),
    "submul": Operation("{2} - {0} * {1}", CHEAP),
    "mulrest": Operation("{} * ({} - {})", CHEAP),
    "mulrest2": Operation("{} * ({} - {}**2)", CHEAP),
    "mulmulrest": Operation("{0} * {1} * ({2} - {1})", CHEAP),
    "sigmoid": Operation("sigmoid({})"),
    "tanh": Operation("tanh({})", ufunc=np.tanh),
    "exp": Operation("exp({})", ufunc=np.exp),
    "sqrt": Operation("sqrt({})", ufunc=np.sqrt),
    "pow": Operation("{} ** {}", ufunc=np.power),
    "log": Operation("log({})", ufunc=np.log),
    "log1p": Operation("log1p({})", ufunc=np.log1p),
    "expm1": Operation("expm1({})", ufunc=np.expm1),
    "sin": Operation("sin({})", ufunc=np.sin),
    "cos": Operation("cos({})", ufunc=np.cos),
    "arctan": Operation("arctan({})", ufunc=np.arctan),
    "sum": Operation("sum of columns of {}"),
    "rowmax": Operation("max of columns of {}"),
    "rowmin": Operation("min of columns of {}"),
    "gather": Operation(""),
    "product": Operation(""),
}
FOLDS = {"sum": "sum", "max": "rowmax", "min": "rowmin"}
