"""What a cell sees in place of an array: a shape, a dtype, and no numbers.

How an array is seen, NumPy itself says: a stand-in carries an array that nobody reads, whose rows
all lie in the same place. It is sliced and reshaped in place of the numbers; where it then begins,
and its strides, tell which columns are meant.
"""

from __future__ import annotations

from functools import cached_property, partial
from math import prod
from operator import attrgetter, methodcaller
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from minirnn.engine.functions import FUNCTIONS
from minirnn.engine.graph import Node, Part
from minirnn.errors import Untraceable
from minirnn.typing import Array

if TYPE_CHECKING:
    from minirnn.engine.trace import Trace


_VIEWS = {"reshape", "ravel", "squeeze", "expand_dims", "split", "array_split", "hsplit"}


def _refusing(what: str) -> Any:
    """Return a method for what needs numbers."""

    def refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise Untraceable(what)

    return refuse


class StandIn(NDArrayOperatorsMixin):
    """What a cell sees in place of an array.

    `view` is what is seen of `whole`, which stands for all of the node; `rows` is the axis of the
    batch, if it has one. What is `fresh` may be changed in place: it is neither what the cell was
    given nor does it share memory.
    """

    is_stand_in = True

    def __init__(
        self, trace: Trace, node: Node, whole: Array, view: Array, rows: int | None, *, fresh: bool
    ) -> None:
        self._trace, self._whole, self._node_of_whole = trace, whole, node
        self.view, self.rows, self.fresh = view, rows, fresh
        self.truths = view.dtype.char == "?"
        if view is whole:
            self.node = node

    ndim: Any = property(attrgetter("view.ndim"))
    dtype: Any = property(attrgetter("view.dtype"))
    T: Any = property(methodcaller("transpose"))

    __bool__ = _refusing("an if, a while or an assert on the numbers of an array")
    __array__ = _refusing("a function that wants real numbers, such as np.asarray")
    __float__ = __int__ = __index__ = __complex__ = _refusing("a number is taken out of an array")
    item = tolist = __float__
    __repr__ = __str__ = __format__ = _refusing("an array is printed")
    __iter__ = _refusing("a loop over the rows of an array")
    __setitem__ = _refusing("a part of an array is assigned to")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, for the cell; what may depend on the batch size is noted."""
        self._trace.graph.batch_seen |= self.rows is not None
        return self.view.shape

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    # ------------------------------------------------------------ what is seen

    def seen(self, view: Any, rows: int | None) -> Any:
        """Return what shares memory with this array: neither may be changed in place from now."""
        if isinstance(view, list | tuple):
            return [self.seen(one, rows) for one in view]
        if not np.may_share_memory(view, self._whole):
            raise Untraceable("an index that is not a slice, or a reshape that mixes rows")
        self.fresh = False
        node, whole = self._node_of_whole, self._whole
        return type(self)(self._trace, node, whole, view, rows, fresh=False)

    def __getitem__(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        if not any(k is Ellipsis for k in keys):
            keys = (*keys, ...)  # so that a single number is a view too
        return self.seen(self.view[keys], self.rows)

    def transpose(self, *axes: Any) -> Any:
        """Return the transposed array."""
        moved = np.empty(range(self.ndim)).transpose(*axes).shape  # axes that can be told apart
        rows = None if self.rows is None else moved.index(self.rows)
        return self.seen(self.view.transpose(*axes), rows)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _VIEWS:
            view = getattr(self.view, name)
            return lambda *args, **options: self.seen(view(*args, **options), self.rows)
        function = getattr(np, name, name)
        if function not in FUNCTIONS or not hasattr(np.ndarray, name):
            raise Untraceable(f"the array method or attribute .{name}")
        return partial(self._call, function, self)

    @cached_property
    def node(self) -> Node:
        """The node that a view is, or some of the columns of one."""
        view, node, graph = self.view, self._node_of_whole, self._trace.graph
        begin, at = (a.__array_interface__["data"][0] for a in (self._whole, view))
        first = (at - begin) // view.itemsize
        if isinstance(node.attr, Part):  # of a parameter, or its gradient
            offset = node.attr.offset + first
            strides = tuple(s // view.itemsize for s in view.strides)
            part = node.attr._replace(offset=offset, shape=view.shape, strides=strides)
            return graph.leaf(node.name, part)
        if self.rows == 1:
            raise Untraceable("a transposed array beside others")
        if self.rows == 0 and view.shape[:1] != (self._trace.batch,):
            raise Untraceable("a slice of rows")
        columns = view.shape if self.rows is None else view.shape[1:]
        if len(columns) > 1 or (columns > (1,) and view.strides[-1] != view.itemsize):
            raise Untraceable(f"a view of shape {view.shape}, not of columns side by side")
        return graph.slice(node, first, first + (columns[0] if columns else 1))

    @property
    def operand(self) -> Node:
        """The node of rows, or of what is the same for all rows."""
        node = self.node
        if node.name == "parameter" and self.ndim > 1 and self.view.size != node.width:
            raise Untraceable("a matrix of weights is changed before it is multiplied by")
        return node

    # ------------------------------------------------------------ what is done

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function.__name__ in _VIEWS:
            array = args[0]
            return array.seen(function(array.view, *args[1:], **kwargs), array.rows)
        return self._call(function, *args, **kwargs)

    def _call(self, function: Any, *args: Any, **options: Any) -> Any:
        if function not in FUNCTIONS:
            raise Untraceable(f"np.{function.__name__}")
        return FUNCTIONS[function](self._trace, *args, **options)

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = None, dtype: Any = None, **more: Any
    ) -> Any:
        if method != "__call__" or more:
            what = f"(..., {next(iter(more))}=)" if method == "__call__" else f".{method}"
            raise Untraceable(f"np.{ufunc.__name__}{what}")
        if dtype is not None and np.dtype(dtype) != self.dtype:
            raise Untraceable(f"a cast to {dtype}")
        result = self._call(ufunc, *inputs)
        if out is None:
            return result
        (target,) = out
        if isinstance(target, np.ndarray):
            return self._trace.fill(target, result)
        if target.view.shape != result.view.shape:
            raise Untraceable("out= of another shape")
        if isinstance(target, Gradient):
            target[...] = result
            return target
        if not target.fresh:
            raise Untraceable("an array is changed in place that was given, or is part of another")
        if target.dtype != result.dtype:
            raise Untraceable("truth values and numbers in one array")
        vars(target).clear()
        vars(target).update(vars(result))  # every name of the array sees the change
        return target


class Gradient(StandIn):
    """What a cell sees as `Parameter.grad`: something can be added to it, or to a part of it."""

    def _call(self, function: Any, *args: Any, **options: Any) -> Any:
        if function not in (np.add, np.subtract):
            raise Untraceable("a gradient is read")
        return super()._call(function, *args, **options)

    def __setitem__(self, key: Any, value: Any) -> None:
        to, value = self[key], self._trace.of(value)
        if self._trace.phase == 0:
            raise Untraceable("a gradient is added to in forward")
        shape = value.view.shape
        if np.broadcast_shapes(to.shape, shape) != to.shape:
            raise Untraceable(f"{to.node.attr.name}.grad += something of shape {shape}")
        self._trace.graph.assign(to.node.attr, value.node)
