"""What PyTorch has no module for, and `to_torch` needs: a chain that knows masks and states.

Parameters are all in ordinary PyTorch layers; the modules here only call them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Chain(nn.Sequential):
    """Layers one after the other, with a mask and states where they are recurrent.

    An `nn.Sequential` whose recurrent layers hand on their output alone. The names of its
    parameters are those of `nn.Sequential`: ``"0.weight_ih_l0"``.
    """

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

    def __init__(self, layers: Iterable[nn.Module], merge: str = "concat") -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.merge = merge

    def forward(self, x: Any, mask: Any = None, state: Any = None) -> Any:
        """Return the merged outputs, and a tuple of the final states."""
        states = [None] * len(self.layers) if state is None else state
        runs = [run(layer, x, mask, one) for layer, one in zip(self.layers, states, strict=True)]
        parts, finals = zip(*runs, strict=True)
        if self.merge == "concat":
            return torch.cat(parts, dim=-1), finals
        together = torch.stack(parts)
        merges = {"sum": together.sum, "mean": together.mean, "product": together.prod}
        return merges[self.merge](dim=0), finals


class OverTime(nn.Module):
    """Base of what makes one vector of a sequence, of its valid steps under a mask."""

    def forward(self, x: Any, mask: Any = None) -> Any:
        """Return ``(batch, features)`` of x ``(batch, time, features)``."""
        every = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        return self._pooled(x, every if mask is None else mask)


class LastStep(OverTime):
    """The last step of each sequence."""

    def _pooled(self, x: Any, mask: Any) -> Any:
        return _at_end(x, mask)


class LastState(OverTime):
    """The output of each direction where it has read the whole sequence.

    Parameters
    ----------
    directions : tuple of (features, read backwards)
        For each part of the input.
    """

    def __init__(self, directions: tuple[tuple[int, bool], ...]) -> None:
        super().__init__()
        self.directions = directions

    def _pooled(self, x: Any, mask: Any) -> Any:
        parts = x.split([size for size, _ in self.directions], dim=2)
        pairs = zip(parts, self.directions, strict=True)
        return torch.cat([_at_end(x, mask, first=backwards) for x, (_, backwards) in pairs], dim=1)


class MeanOverTime(OverTime):
    """The mean of the steps of each sequence."""

    def _pooled(self, x: Any, mask: Any) -> Any:
        total = x.masked_fill(~mask[:, :, None], 0).sum(dim=1)
        return total / mask.sum(dim=1, keepdim=True).to(x.dtype)


class MaxOverTime(OverTime):
    """The largest value of each feature over the steps."""

    def _pooled(self, x: Any, mask: Any) -> Any:
        return x.masked_fill(~mask[:, :, None], -torch.inf).amax(dim=1)


def _at_end(x: Any, mask: Any, *, first: bool = False) -> Any:
    """Return the last valid step of each sequence, or the first."""
    steps = torch.arange(x.shape[1], device=x.device)
    found = torch.where(mask, steps.flip(0) if first else steps, -1).argmax(dim=1)
    return x[torch.arange(len(x), device=x.device), found]


def has_state(module: Any) -> bool:
    """Whether a module takes a mask and states, and `run` tells its final ones."""
    return isinstance(module, nn.RNNBase | Chain | Reversed | Residual | Parallel)


def run(module: Any, x: Any, mask: Any = None, state: Any = None) -> tuple[Any, Any]:
    """Return the output of any module, and its final state; None where it has none.

    Batch first, whatever a recurrent module's ``batch_first`` says.
    """
    if isinstance(module, nn.RNNBase):
        return _recurrent(module, x, mask, state)
    if has_state(module):
        options = {"return_state": True} if isinstance(module, Chain) else {}
        y, final = module(x, mask, state, **options)
        return y, final
    return (module(x, mask) if isinstance(module, OverTime) else module(x)), None


def _recurrent(
    module: Any, x: Any, mask: Any, state: Any, *, backwards: bool = False
) -> tuple[Any, Any]:
    """Run a recurrent layer of PyTorch over the valid steps of each sequence.

    PyTorch packs sequences with trailing padding. As a masked step changes nothing, wherever it
    stands, the valid steps of each sequence are moved to its front, and the outputs back.
    """
    if mask is None:
        x = x.flip(1) if backwards else x
        y, final = module(x if module.batch_first else x.transpose(0, 1), state)
        y = y if module.batch_first else y.transpose(0, 1)
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


def _kept(final: Any, initial: Any, empty: Any) -> Any:
    """Return the final state, the initial one for sequences without a valid step."""
    if isinstance(final, tuple):
        initials = [None] * len(final) if initial is None else initial
        return tuple(_kept(f, i, empty) for f, i in zip(final, initials, strict=True))
    return torch.where(
        empty[:, None], torch.zeros_like(final) if initial is None else initial, final
    )
