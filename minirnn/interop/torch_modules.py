"""What PyTorch has no module for, and `to_torch` needs: a chain that knows masks and states.

Parameters are all in ordinary PyTorch layers; the modules here only call them.
"""

from __future__ import annotations

from typing import Any

from minirnn.interop.proof import missing

try:
    import torch
    from torch import nn
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
except ImportError:
    raise missing("PyTorch", "torch") from None

__all__ = [
    "Both",
    "Chain",
    "LastState",
    "LastStep",
    "MaxOverTime",
    "MeanOverTime",
    "Parallel",
    "Residual",
    "Reversed",
    "run",
]


class Chain(nn.Sequential):
    """Layers one after the other, with a mask and states where they are recurrent.

    An `nn.Sequential` whose recurrent layers hand on their output alone. The names of its
    parameters are those of `nn.Sequential`: ``"0.weight_ih_l0"``.
    """

    takes_mask = True

    def forward(
        self, x: Any, mask: Any = None, state: Any = None, *, return_state: bool = False
    ) -> Any:
        """Return the output of the last layer.

        Parameters
        ----------
        x : tensor (batch, time, features), or what the first layer takes
        mask : boolean tensor (batch, time), optional
            True where the step is valid.
        state : tuple, optional
            An entry for each layer, as PyTorch's layer takes it; None where it has no state.
        return_state : bool
            True returns ``(y, state)``, the final states in the same form.
        """
        if mask is not None:
            x = torch.where(mask.reshape(*mask.shape, *[1] * (x.ndim - 2)), x, torch.zeros_like(x))
        states = [None] * len(self) if state is None else state
        final = []
        for layer, initial in zip(self, states, strict=True):
            x, last = run(layer, x, mask, initial)
            final.append(last)
            if x.ndim < 3:
                mask = None
        return (x, tuple(final)) if return_state else x


class Reversed(nn.Module):
    """A recurrent layer that reads time backwards; its output is aligned with its input."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any, mask: Any = None, state: Any = None) -> Any:
        """Return ``(y, state)`` as the layer inside does."""
        return _recurrent(self.layer, x, mask, state, backwards=True)


class Both(nn.Module):
    """Two recurrent layers of different kind or size, one for each direction of time."""

    def __init__(self, forwards: nn.RNNBase, backwards: nn.RNNBase, merge: str = "concat") -> None:
        super().__init__()
        self.forwards = forwards
        self.backwards = backwards
        self.merge = merge

    def extra_repr(self) -> str:
        """Return how the outputs are merged, for `repr`."""
        return f"merge={self.merge!r}"

    def forward(self, x: Any, mask: Any = None, state: Any = None) -> Any:
        """Return the merged outputs, and the pair of final states."""
        one, two = (None, None) if state is None else state
        y_one, one = _recurrent(self.forwards, x, mask, one)
        y_two, two = _recurrent(self.backwards, x, mask, two, backwards=True)
        return _merged([y_one, y_two], self.merge), (one, two)


class Residual(nn.Module):
    """``x + layer(x)``."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any, mask: Any = None, state: Any = None) -> Any:
        """Return the sum, and the final state of the layer."""
        y, final = run(self.layer, x, mask, state)
        return x + y, final


class Parallel(nn.Module):
    """Layers that read the same input, their outputs merged."""

    def __init__(self, layers: list[nn.Module], merge: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.merge = merge

    def extra_repr(self) -> str:
        """Return how the outputs are merged, for `repr`."""
        return f"merge={self.merge!r}"

    def forward(self, x: Any, mask: Any = None, state: Any = None) -> Any:
        """Return the merged outputs, and a tuple of the final states."""
        states = [None] * len(self.layers) if state is None else state
        runs = [run(layer, x, mask, one) for layer, one in zip(self.layers, states, strict=True)]
        return _merged([y for y, _ in runs], self.merge), tuple(final for _, final in runs)


def _merged(parts: list[Any], how: str) -> Any:
    if how == "concat":
        return torch.cat(parts, dim=-1)
    together = torch.stack(parts)
    return {"sum": together.sum, "mean": together.mean, "product": together.prod}[how](dim=0)


class LastStep(nn.Module):
    """The last step of each sequence, the last real one under a mask."""

    takes_mask = True

    def forward(self, x: Any, mask: Any = None) -> Any:
        """Return ``(batch, features)`` of x ``(batch, time, features)``."""
        if mask is None:
            return x[:, -1]
        steps = torch.arange(x.shape[1], device=x.device)
        last = torch.where(mask, steps, -1).amax(dim=1)
        return x[torch.arange(len(x), device=x.device), last]


class LastState(nn.Module):
    """The output of each direction where it has read the whole sequence.

    Parameters
    ----------
    directions : tuple of (features, read backwards)
        For each part of the input.
    """

    takes_mask = True

    def __init__(self, directions: tuple[tuple[int, bool], ...]) -> None:
        super().__init__()
        self.directions = directions

    def extra_repr(self) -> str:
        """Return the directions, for `repr`."""
        return repr(self.directions)

    def forward(self, x: Any, mask: Any = None) -> Any:
        """Return ``(batch, features)`` of x ``(batch, time, features)``."""
        parts = x.split([size for size, _ in self.directions], dim=2)
        real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
        steps = torch.arange(x.shape[1], device=x.device)
        last = torch.where(real, steps, -1).amax(dim=1)
        first = torch.where(real, steps, x.shape[1]).amin(dim=1)
        rows = torch.arange(len(x), device=x.device)
        pairs = zip(parts, self.directions, strict=True)
        return torch.cat(
            [part[rows, first if backwards else last] for part, (_, backwards) in pairs], dim=1
        )


class MeanOverTime(nn.Module):
    """The mean of the steps of each sequence, of the real ones under a mask."""

    takes_mask = True

    def forward(self, x: Any, mask: Any = None) -> Any:
        """Return ``(batch, features)`` of x ``(batch, time, features)``."""
        if mask is None:
            return x.mean(dim=1)
        total = x.masked_fill(~mask[:, :, None], 0).sum(dim=1)
        return total / mask.sum(dim=1, keepdim=True).to(x.dtype)


class MaxOverTime(nn.Module):
    """The largest value of each feature over the steps, over the real ones under a mask."""

    takes_mask = True

    def forward(self, x: Any, mask: Any = None) -> Any:
        """Return ``(batch, features)`` of x ``(batch, time, features)``."""
        if mask is not None:
            x = x.masked_fill(~mask[:, :, None], -torch.inf)
        return x.amax(dim=1)


def run(module: Any, x: Any, mask: Any = None, state: Any = None) -> tuple[Any, Any]:
    """Return the output of any module, and its final state; None where it has none.

    Batch first, whatever a recurrent module's ``batch_first`` says.
    """
    if isinstance(module, nn.RNNBase):
        return _recurrent(module, x, mask, state)
    if isinstance(module, Reversed | Both | Residual | Parallel):
        y, final = module(x, mask, state)
        return y, final
    if isinstance(module, Chain):
        y, final = module(x, mask, state, return_state=True)
        return y, final
    return (module(x, mask) if getattr(module, "takes_mask", False) else module(x)), None


def _recurrent(
    module: Any, x: Any, mask: Any, state: Any, *, backwards: bool = False
) -> tuple[Any, Any]:
    """Run a recurrent layer of PyTorch over the valid steps of each sequence.

    PyTorch packs sequences with trailing padding. As a masked step changes nothing, wherever it
    stands, the valid steps of each sequence are moved to its front, and the outputs back.
    """
    if mask is None:
        x = x.flip(1) if backwards else x
        y, final = _batch_first(module, x, state)
        return (y.flip(1) if backwards else y), final
    time = x.shape[1]
    steps = torch.arange(time, device=x.device)
    order = torch.where(mask, steps.flip(0) if backwards else steps, time + steps).argsort(dim=1)
    lengths = mask.sum(dim=1)
    x = x.gather(1, order[:, :, None].expand(-1, -1, x.shape[2]))
    packed = pack_padded_sequence(
        x, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
    )
    output, final = module(packed, state)
    y, _ = pad_packed_sequence(output, batch_first=True, total_length=time)
    y = torch.zeros_like(y).scatter(1, order[:, :, None].expand_as(y), y)
    return y.masked_fill(~mask[:, :, None], 0), _kept(final, state, lengths == 0)


def _batch_first(module: Any, x: Any, state: Any) -> tuple[Any, Any]:
    if module.batch_first:
        y, final = module(x, state)
        return y, final
    y, final = module(x.transpose(0, 1), state)
    return y.transpose(0, 1), final


def _kept(final: Any, initial: Any, empty: Any) -> Any:
    """Return the final state, the initial one for sequences without a valid step."""
    if isinstance(final, tuple):
        initials = [None] * len(final) if initial is None else initial
        return tuple(_kept(f, i, empty) for f, i in zip(final, initials, strict=True))
    return torch.where(
        empty[:, None], torch.zeros_like(final) if initial is None else initial, final
    )
