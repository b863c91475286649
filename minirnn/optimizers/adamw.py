"""AdamW: Adam with decoupled weight decay."""

from __future__ import annotations

from minirnn.optimizers.adam import Adam

__all__ = ["AdamW"]


class AdamW(Adam):
    """Adam with decoupled weight decay.

    The decay acts on the value directly, not through the running mean squares::

        value *= 1 - learning_rate * weight_decay        then as Adam without weight decay

    Parameters
    ----------
    parameters, learning_rate, betas, epsilon, amsgrad, weight_decay, clip_norm, clip_value
        As in `Adam`; the default weight decay is 0, PyTorch's is 0.01.

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.

    Examples
    --------
    >>> from minirnn import Parameter
    >>> w = Parameter([1.0])
    >>> optimizer = AdamW([w], learning_rate=0.1, weight_decay=0.5)
    >>> w.grad = [0.0]
    >>> optimizer.step()
    >>> w.value
    array([0.95], dtype=float32)
    """

    decoupled_weight_decay = True
