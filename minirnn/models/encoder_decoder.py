"""From one sequence to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minirnn import checks, masks
from minirnn.core import Layer
from minirnn.kernels import one_blas_thread
from minirnn.layers.attention import Attention
from minirnn.layers.composite import distinct_parts
from minirnn.models.decoding import Decoded, Sampler, Steps, write
from minirnn.models.handover import check_states, handed_back, handed_over
from minirnn.models.sequential import Kept, flat, run_backward, run_forward
from minirnn.restoring import Restored
from minirnn.typing import Array, Mask, RandomSource


class EncoderDecoder(Layer):
    """One model reads a sequence, another one writes a sequence of another length.

    The decoder begins where the encoder ended: the final states of the encoder's recurrent layers
    are the initial states of the decoder's. In training it reads the right target, one step late,
    and predicts at each step the next (teacher forcing)::

        annotations = encoder(source)                     (batch, time, keys)
        state_0     = the encoder's final states
        h_t         = decoder, up to its last recurrent layer, on target_in_t
        context_t   = attention(h_t, annotations)         over the valid steps of the source
        y_t         = the rest of the decoder, on [h_t, context_t], or on h_t without attention

    Backward goes through the decoder, through the attention into both, and through the states into
    the encoder: the gradient on ``state_0`` is that on the encoder's final states.

    Parameters
    ----------
    encoder : Layer
        A recurrent layer, or a `Sequential` with some. With attention, its output keeps the time
        axis.
    decoder : Layer, or list of Layer
        The same, reading forwards; mostly `Embedding`, recurrent layers, `Dense` to the logits of
        the next token. With attention a list: the layer after its last recurrent one takes
        ``hidden + keys`` features, which no `Sequential` would let pass.
    attention : Attention, optional
        From the decoder's outputs (queries) to the encoder's (keys).

    Notes
    -----
    The recurrent layers of the decoder are fed by as many of the encoder's, the last ones, in
    their order; sizes must agree. A `Bidirectional` encoder layer hands over both its final states
    side by side, for a decoder layer with as many units as both directions together.

    Raises
    ------
    ValueError
        If the decoder cannot begin where the encoder ends, or the attention has no steps to look
        at.

    References
    ----------
    Sutskever, Vinyals and Le, Sequence to sequence learning with neural networks, NIPS 2014. Cho et
    al., Learning phrase representations using RNN encoder-decoder, EMNLP 2014. Luong, Pham and
    Manning, Effective approaches to attention-based neural machine translation, EMNLP 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from minirnn import GRU, Attention, Bidirectional, Dense, Embedding, Sequential
    >>> encoder = Sequential([
    ...     Embedding(20, 8, rng=0), Bidirectional(GRU(8, 8, rng=1), GRU(8, 8, rng=2))])
    >>> decoder = [Embedding(12, 8, rng=3), GRU(8, 16, rng=4), Dense(16 + 16, 12, rng=5)]
    >>> model = EncoderDecoder(encoder, decoder, Attention(16, 16))
    >>> source, target_in = np.ones((2, 7), int), np.ones((2, 5), int)
    >>> model.forward((source, target_in)).shape
    (2, 5, 12)
    >>> model.greedy(source, start=0, end=1, max_length=6).tokens.shape[0]
    2
    """

    uses_mask = True

    def __init__(
        self,
        encoder: Layer,
        decoder: Layer | Sequence[Layer],
        attention: Attention | None = None,
    ) -> None:
        checks.instance(self, "encoder", encoder, Layer)
        if isinstance(decoder, list | tuple):
            for k, layer in enumerate(decoder):
                checks.instance(self, f"layer {k} of the decoder", layer, Layer)
        else:
            checks.instance(self, "decoder", decoder, Layer)
        if attention is not None:
            checks.instance(self, "attention", attention, Attention)
        self.encoder = encoder
        self.decoder = decoder
        self.attention = attention
        encoding, before, after = self._chains()
        places = [(f"{k} of the encoder", layer) for k, layer in enumerate(encoding)]
        places += [(f"{k} of the decoder", layer) for k, layer in enumerate(before + after)]
        distinct_parts(self, places)
        check_states(encoding, before)
        if attention is not None and not all(layer.keeps_time for layer in encoding):
            raise ValueError(
                "EncoderDecoder: attention looks at every step of the source, but the encoder "
                "takes the time axis away; leave that layer out"
            )

    def _chains(self) -> tuple[list[Layer], list[Layer], list[Layer]]:
        """Return the layers of the encoder, and of the decoder to its last recurrent one and on."""
        one = self.decoder
        decoding = list(flat([one] if isinstance(one, Layer) else one))
        recurrent = [k for k, layer in enumerate(decoding) if layer.uses_state]
        after = recurrent[-1] + 1 if recurrent else len(decoding)
        return list(flat([self.encoder])), decoding[:after], decoding[after:]

    # ------------------------------------------------------------ forward and backward

    def forward(self, inputs: Any, mask: Any = None) -> Array:
        """Return the decoder's output at each step of the target, ``(batch, target time, ...)``.

        Parameters
        ----------
        inputs : tuple (source, target_in)
            Each (batch, time) or (batch, time, features). What the decoder reads is the target one
            step late, a start token in front.
        mask : tuple (source mask, target mask), optional
            Boolean (batch, time) each, True where the step is valid; either may be None.
        """
        source, target = checks.tuple_of(
            inputs, 2, "EncoderDecoder: the inputs should be a tuple (source, target_in)"
        )
        mask = (None, None) if mask is None else mask
        wanted = "EncoderDecoder: the mask should be a tuple (source's, target's)"
        valid = checks.tuple_of(mask, 2, wanted)
        encoding, before, after = self._chains()
        with one_blas_thread(), Restored([layer for _, layer in self.named_layers()]):
            annotations, source_mask, read = self._encoded(source, valid[0])
            target, target_mask = masks.checked("EncoderDecoder: decoder", target, valid[1])
            if np.shape(target)[:1] != annotations.shape[:1]:
                raise ValueError(
                    f"EncoderDecoder: source and target should be of one batch, got "
                    f"{len(annotations)} sequences and a target of shape {np.shape(target)}"
                )
            states = handed_over(encoding, before)
            h, written = run_forward(before, target, target_mask, states, "the decoder")
            if self.attention is not None:
                context = self.attention.forward(h, annotations, mask=source_mask)
                h = np.concatenate([h, context], axis=2)
            y, told = run_forward(after, h, target_mask, None, "the rest of the decoder")
            self._cache = y.shape, annotations.shape, annotations.dtype, read, written, told
        return y  # type: ignore[no-any-return]

    def output_mask(self, mask: Any) -> Any:
        """Return the mask of the output, which is the target's; None where no time axis is left."""
        _, _, after = self._chains()
        return mask[1] if all(layer.keeps_time for layer in after) else None

    def _encoded(self, source: Any, mask: Any) -> tuple[Array, Mask | None, Kept]:
        source, mask = masks.checked("EncoderDecoder: encoder", source, mask)
        y, kept = run_forward(self._chains()[0], source, mask, None, "the encoder")
        return y, mask, kept

    def backward(self, grad: Any) -> tuple[Any, Any]:
        """Return the gradients on source and target_in; None for tokens.

        Parameters
        ----------
        grad : array, of the shape of the output
        """
        shape, keys, dtype, read, written, told = self._saved()
        grad = checks.check_shape(self, grad, shape, None, "the gradient")
        encoding, before, after = self._chains()
        inside = [layer for _, layer in self.named_layers()]
        with one_blas_thread(), Restored(inside, gradients=True):
            grad = run_backward(after, grad, None, told, "the rest of the decoder")
            grad_annotations = np.zeros(keys, dtype)
            if self.attention is not None:
                hidden = self.attention.query_size
                from_query, grad_annotations = self.attention.backward(grad[..., hidden:])
                grad = grad[..., :hidden] + from_query
            grad_target = run_backward(before, grad, None, written, "the decoder")
            states = handed_back(encoding, before)
            grad_source = run_backward(encoding, grad_annotations, states, read, "the encoder")
        return grad_source, grad_target

    # ------------------------------------------------------------ writing

    def greedy(
        self, source: Any, *, start: int, end: int, max_length: int, mask: Any = None
    ) -> Decoded:
        """Write with the most likely token at each step.

        Parameters
        ----------
        source : array (batch, time) or (batch, time, features)
        start, end : int
            The token that the decoder reads first, and the one that ends a sequence.
        max_length : int
            Tokens after which a sequence is cut off, the end token counted.
        mask : boolean array (batch, time), optional
            The source's.
        """
        return self.sample(
            source, start=start, end=end, max_length=max_length, mask=mask, temperature=0
        )

    def sample(
        self,
        source: Any,
        *,
        start: int,
        end: int,
        max_length: int,
        mask: Any = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        rng: RandomSource = None,
    ) -> Decoded:
        """Write with tokens drawn from their probabilities.

        Parameters
        ----------
        source, start, end, max_length, mask
            As in `greedy`.
        temperature, top_k, top_p, rng
            As in `minirnn.generate`.
        """
        sampler = Sampler(self, temperature, top_k, top_p, rng)
        steps = self._steps(source, mask)
        return write(steps, start, end, max_length, lambda log_p: sampler(log_p)[:, None])

    def beam_search(
        self,
        source: Any,
        *,
        start: int,
        end: int,
        max_length: int,
        mask: Any = None,
        width: int = 5,
        length_penalty: float = 0.0,
    ) -> Decoded:
        """Write the most likely sequence that a beam of `width` beginnings finds.

        At each step every beginning is continued by every token, and the most likely are kept.

        Parameters
        ----------
        source, start, end, max_length, mask
            As in `greedy`.
        width : int
            Beginnings kept for each source.
        length_penalty : float
            The result has the largest ``log p / length ** length_penalty``. Above 0, long
            sequences lose less by being long.
        """
        width = checks.positive_int(self, "width", width)
        penalty = checks.positive_float(self, "length_penalty", length_penalty, zero=True)

        def best(log_p: Array) -> Array:
            return np.argsort(-log_p, axis=1, kind="stable")[:, :width]

        steps = self._steps(source, mask)
        return write(steps, start, end, max_length, best, width=width, length_penalty=penalty)

    def _steps(self, source: Any, mask: Any) -> Steps:
        """Return a copy of the decoder that can be run step by step, in evaluation mode."""
        twin = self.evaluation_copy()
        encoding, before, after = twin._chains()
        with one_blas_thread():
            annotations, mask, _ = twin._encoded(source, mask)
        states = handed_over(encoding, before)
        return Steps(before, after, twin.attention, annotations, mask, states)
