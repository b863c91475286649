"""What other libraries call a keyword, and what it is called here.

Derive the class of a public constructor from `KeywordHints`, or put `@keyword_hints` over a public
method or function: a keyword that is unknown there, but known from PyTorch, Keras or scikit-learn,
is then answered with ours. Whatever the callable takes itself is never answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import CO_VARARGS, Signature, signature
from typing import Any, ClassVar, ParamSpec, Self, TypeVar

from minirnn.reprs import as_call

_P = ParamSpec("_P")
_R = TypeVar("_R")

_OURS = {
    # sizes
    "units": "hidden_size, of a Dense output_size (the second argument)",
    "hidden_dim": "hidden_size",
    "input_dim": "input_size; for an Embedding vocabulary_size",
    "output_dim": "output_size",
    "in_features": "input_size",
    "out_features": "output_size",
    "num_embeddings": "vocabulary_size",
    "embedding_dim": "output_size",
    "input_shape": "input_size: the features alone, batch and time are free",
    # recurrent layers
    "num_layers": "a list: Sequential([LSTM(3, 8), LSTM(8, 8)]) has two layers",
    "bidirectional": "a layer: Bidirectional(LSTM(3, 8), LSTM(3, 8))",
    "batch_first": "always so: arrays are (batch, time, features)",
    "time_major": "never so: arrays are (batch, time, features); write x.swapaxes(0, 1)",
    "return_sequences": "always so: a recurrent layer returns every step; for the last one add "
    "LastStep() or LastState() after it",
    "return_state": "the attribute layer.state after forward",
    "go_backwards": "reverse=True",
    "nonlinearity": "activation",
    "recurrent_dropout": "a layer: StateDropout(layer, rate)",
    "dropout": "a layer: Dropout(rate)",
    **dict.fromkeys(
        ("bias", "use_bias"), "bias=True or False in a Dense; recurrent layers always have one"
    ),
    "activation": "a layer behind it: ReLU(), Tanh(), Softmax(); an RNN has it as its own",
    "mask_zero": "an argument: forward(x, mask)",
    "padding_idx": "an argument: forward(x, mask)",
    "merge_mode": "merge",
    # others
    "p": "rate",
    "eps": "epsilon",
    "dim": "fixed: the last axis, features; where time is pooled, axis 1",
    "axis": "fixed: the last axis, features; where time is pooled, axis 1",
    "seed": "rng",
    "random_state": "rng",
    "device": "nothing: everything runs on the processor",
    # losses and metrics
    "from_logits": "a class: SoftmaxCrossEntropy and SigmoidCrossEntropy take logits, "
    "CrossEntropy and BinaryCrossEntropy probabilities",
    "ignore_index": "ignore_class",
    "reduction": "always the mean over valid positions",
    "weight": "class_weight",
    "pos_weight": "sample_weight, or class_weight",
    # optimizers
    "lr": "learning_rate",
    "params": "parameters (the first argument)",
    **dict.fromkeys(("beta1", "beta2"), "betas=(beta1, beta2)"),
    **dict.fromkeys(("beta_1", "beta_2"), "betas=(beta_1, beta_2)"),
    "alpha": "rho",
    "clipnorm": "clip_norm for each parameter; clip_norm here is over all of them",
    "global_clipnorm": "clip_norm",
    "clipvalue": "clip_value",
    "decay": "weight_decay, or a schedule as learning_rate",
    # training
    "validation_data": "validation",
    "validation_split": "validation=(inputs, targets), cut off from the data before: at random, or "
    "for a series in time, its end",
    "callbacks": "an argument of the trainer: Trainer(..., callbacks=[...])",
    "metrics": "an argument of the trainer: Trainer(..., metrics=[...])",
    "class_weight": "an argument of the loss: SoftmaxCrossEntropy(class_weight=...)",
    "initial_epoch": "trainer.resume(path), and fit with the number of epochs in all",
    "verbose": "progress=True or False",
    "x": "inputs (the first argument)",
    "y": "targets (the second argument)",
    "steps_per_epoch": "an iterable of that many batches",
    **dict.fromkeys(("num_epochs", "n_epochs", "nb_epoch", "max_epochs"), "epochs"),
    "criterion": "loss",
    # callbacks
    "restore_best_weights": "restore_best",
    "min_delta": "minimum_improvement",
    "min_lr": "minimum_rate",
    "save_best_only": "monitor=, the name of a metric: then the best is kept",
    "filepath": "path",
}


def _explain(name: str, keywords: Mapping[str, Any], call: Callable[..., Any]) -> None:
    """Raise if a keyword is another library's word for something that is called differently."""
    for keyword in keywords.keys() & _OURS.keys():
        known = {} if call is object.__init__ else signature(call).parameters
        if keyword not in known and not any(p.kind == p.VAR_KEYWORD for p in known.values()):
            raise TypeError(
                f"{name}: there is no keyword {keyword}; in minirnn it is {_OURS[keyword]}"
            )


def _check_count(cls: type, given: int) -> None:
    """Raise if a constructor takes fewer arguments by position, and say which it takes."""
    code = getattr(cls.__init__, "__code__", None)  # type: ignore[misc]
    if code is None or code.co_flags & CO_VARARGS or given < code.co_argcount:
        return
    names = code.co_varnames[1 : code.co_argcount]
    hint = "others go by keyword"
    if len(names) == 1 and names[0].endswith("s"):
        hint = f"several go in a list: write {cls.__name__}([...])"
    raise TypeError(f"{cls.__name__}: takes ({', '.join(names)}), got {given} arguments; {hint}")


class KeywordHints:
    """Base of public classes: shown as the call that makes them, with answers to keywords."""

    __signature__: ClassVar[Signature | None]
    __repr__ = as_call

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Give a constructor without arguments an empty signature."""
        super().__init_subclass__(**keywords)
        cls.__signature__ = Signature() if cls.__init__ is object.__init__ else None

    def __new__(cls, *args: Any, **keywords: Any) -> Self:
        """Look at the keywords, then make the object as usual."""
        if keywords:
            _explain(cls.__name__, keywords, cls.__init__)
        if cls.__init__ is object.__init__ and (args or keywords):  # object would not complain
            raise TypeError(f"{cls.__name__}: takes no arguments")
        if len(args) > 1:
            _check_count(cls, len(args))
        return super().__new__(cls)


def keyword_hints(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Answer other libraries' keywords of a method with ours."""

    @wraps(method)
    def answered(*args: _P.args, **keywords: _P.kwargs) -> _R:
        if keywords.keys() & _OURS.keys():
            _explain(method.__name__, keywords, method)
        return method(*args, **keywords)

    return answered
