"""From one sequence to another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from minirnn import checks
from minirnn.copies import Restored
from minirnn.core import Layer
from minirnn.kernels import one_blas_thread
from minirnn.layers.attention import Attention
from minirnn.models.chain import Chain
from minirnn.models.decoding import Decoded, Steps, beam_search, draw
from minirnn.models.handover import check_attention, check_states, joined, parted
from minirnn.models.sampling import Sampler
from minirnn.typing import Array, RandomSource, State

__all__ = ["EncoderDecoder"]


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

    Attributes
    ----------
    encoder, decoder, attention : as given

    Notes
    -----
    The recurrent layers of the decoder are fed by as many of the encoder's, the last ones, in
    their order; sizes must agree. A `Bidirectional` encoder layer hands over both its final states
    side by side, for a decoder layer with as many units as both directions together.

    Attention comes after the recurrent layers, as in Luong, Pham and Manning, so that a
    whole target is one run of each layer.

    Raises
    ------
    ValueError
        If states or sizes do not go together; it is said before anything runs.

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
        read, write = self._chains()
        if not read.recurrent or not write.recurrent:
            which = "encoder" if not read.recurrent else "decoder"
            raise ValueError(f"EncoderDecoder: the {which} has no recurrent layer")
        check_states(read, write)
        if attention is not None:
            check_attention(read, *self._halves(), attention)

    def _chains(self) -> tuple[Chain, Chain]:
        return Chain("encoder", [self.encoder]), self._decoder_chain()

    def _decoder_chain(self) -> Chain:
        one = self.decoder
        return Chain("decoder", [one] if isinstance(one, Layer) else one)

    def _halves(self) -> tuple[Chain, Chain]:
        """Return the decoder up to its last recurrent layer, and the rest."""
        chain = self._decoder_chain()
        after = chain.layers.index(chain.recurrent[-1]) + 1
        return Chain("decoder", chain.layers[:after]), Chain("decoder", chain.layers[after:])

    # ------------------------------------------------------------ forward and backward

    def forward(self, inputs: Any, mask: Any = None) -> Array:
        """Return the decoder's output at each step of the target, ``(batch, target time, ...)``.

        Parameters
        ----------
        inputs : tuple (source, target_in)
            What the encoder reads, (batch, source time) or (batch, source time, features), and
            what the decoder reads: the target one step late, a start token in front.
        mask : tuple (source mask, target mask), optional
            Boolean (batch, time) each, True where the step is valid; either may be None.
        """
        source, target = _pair(inputs, "the inputs", "(source, target_in)")
        masks = (None, None) if mask is None else _pair(mask, "the mask", "(source's, target's)")
        encoder, _ = self._chains()
        before, after = self._halves()
        parts = [layer for _, layer in self.named_layers()]
        with one_blas_thread(), Restored(parts):
            annotations = encoder.forward(encoder.without_padding(source, masks[0]), masks[0])
            if len(np.asarray(target)) != len(annotations):
                raise ValueError(
                    f"EncoderDecoder: source and target should be of one batch, got "
                    f"{len(annotations)} and {len(np.asarray(target))} sequences"
                )
            target = before.without_padding(target, masks[1])
            h = before.forward(target, masks[1], self._handed_over(encoder))
            if self.attention is not None:
                context = self.attention.forward(h, annotations, mask=masks[0])
                h = np.concatenate([h, context], axis=2)
            y = after.forward(h, masks[1])
            written = None if masks[1] is None or np.ndim(y) < 3 else np.asarray(masks[1])
            y = after.without_padding(y, written)
            self._cache = annotations.shape, annotations.dtype, written
        return y

    def backward(self, grad: Any) -> tuple[Any, Any]:
        """Return the gradients on source and target_in; None for tokens.

        Parameters
        ----------
        grad : array, of the shape of the output
        """
        shape, dtype, written = self._saved()
        encoder, _ = self._chains()
        before, after = self._halves()
        if written is not None and np.shape(grad)[:2] == written.shape:
            grad = after.without_padding(grad, written)
        with one_blas_thread():
            grad = after.backward(grad)
            grad_annotations = np.zeros(shape, dtype)
            if self.attention is not None:
                hidden = self.attention.query_size
                from_query, grad_annotations = self.attention.backward(grad[..., hidden:])
                grad = grad[..., :hidden] + from_query
            grad_target = before.backward(grad)
            grad_states = self._handed_back(encoder, before)
            return encoder.backward(grad_annotations, grad_states), grad_target

    # ------------------------------------------------------------ states

    def _handed_over(self, encoder: Chain) -> list[State]:
        """Return the initial states of the decoder's recurrent layers."""
        count = len(self._chains()[1].recurrent)
        return [joined(layer, layer.state) for layer in encoder.recurrent[-count:]]

    def _handed_back(self, encoder: Chain, before: Chain) -> list[State]:
        """Return the gradients on the final states of as many of the encoder's layers."""
        layers = encoder.recurrent[-len(before.recurrent) :]
        gradients = [
            parted(layer, reader.grad_state)
            for layer, reader in zip(layers, before.recurrent, strict=True)
        ]
        # Chain.backward takes them from the last recurrent layer on; those before get none
        return gradients

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

        Returns
        -------
        Decoded
            `tokens` and their `mask`, both (batch, length), the `log_probability` (batch,), and
            the weights of the `attention`, (batch, length, time).
        """
        with self._writing(source, mask) as steps:
            return draw(steps, start, end, max_length, Sampler(self, temperature=0))

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

        Returns
        -------
        Decoded
        """
        sampler = Sampler(self, temperature=temperature, top_k=top_k, top_p=top_p, rng=rng)
        with self._writing(source, mask) as steps:
            return draw(steps, start, end, max_length, sampler)

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

        At each step every beginning is continued by every token, and the `width` most likely of
        all these are kept. A width of all possible sequences is an exhaustive search.

        Parameters
        ----------
        source, start, end, max_length, mask
            As in `greedy`.
        width : int
            Beginnings kept for each source.
        length_penalty : float
            The result has the largest ``log p / length ** length_penalty``. Above 0, long
            sequences lose less by being long.

        Returns
        -------
        Decoded
            The best sequence for each source.
        """
        with self._writing(source, mask) as steps:
            return beam_search(steps, start, end, max_length, width, length_penalty)

    @contextmanager
    def _writing(self, source: Any, mask: Any) -> Iterator[Steps]:
        """Let the decoder be run step by step; afterwards every layer is as it was before."""
        kept = [(layer, dict(vars(layer))) for _, layer in self.named_layers()]
        self.eval()
        try:
            with one_blas_thread():
                encoder, _ = self._chains()
                annotations = encoder.forward(encoder.without_padding(source, mask), mask)
                before, after = self._halves()
                yield Steps(
                    before, after, self.attention, annotations, mask, self._handed_over(encoder)
                )
        finally:
            for layer, attributes in kept:
                vars(layer).clear()
                vars(layer).update(attributes)


def _pair(given: Any, what: str, names: str) -> tuple[Any, Any]:
    if not isinstance(given, tuple | list) or len(given) != 2:
        got = type(given).__name__
        got += f" of {len(given)}" if isinstance(given, tuple | list) else ""
        raise TypeError(f"EncoderDecoder: {what} should be a tuple {names}, got {got}")
    return given[0], given[1]
