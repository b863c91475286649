"""What a chain of layers knows and checks, and how it says where something went wrong."""

from __future__ import annotations

from minirnn.core import Layer


def check_sizes(layers: list[Layer]) -> None:
    """Raise where a layer does not take as many features as the one before gives."""
    known: tuple[int, int] | None = None  # which layer gives how many features
    for k, layer in enumerate(layers):
        takes, gives = getattr(layer, "input_size", None), getattr(layer, "output_size", None)
        if known is not None and takes is not None and takes != known[1]:
            j = known[0]
            raise ValueError(
                f"Sequential: layer {j} ({type(layers[j]).__name__}) gives {known[1]} "
                f"features, but layer {k} ({type(layer).__name__}) takes {takes}"
            )
        if gives is not None or not layer.keeps_features:
            known = None if gives is None else (k, gives)


def locate(error: Exception, k: int, layer: Layer, whole: str) -> None:
    """Put the position of a layer into an error's message; `whole` is "the model", or a part."""
    message, name = error.args[0] if error.args else None, type(layer).__name__
    if not isinstance(message, str):
        error.add_note(f"in layer {k} of {whole} ({name})")
        return
    if "of the model)" in message:  # from a model inside this one
        message = message.replace("of the model)", f"of layer {k} of {whole})", 1)
    elif message.startswith(f"{name}:"):
        message = f"{name} (layer {k} of {whole}){message[len(name) :]}"
    else:
        message = f"{name} (layer {k} of {whole}): {message}"
    error.args = (message, *error.args[1:])


def explain_shapes(error: ValueError, layer: Layer) -> None:
    """Say in which shapes a layer's backward should add to its gradients."""
    shapes = ", ".join(f"{name} {one.shape}" for name, one in layer.named_parameters())
    if shapes:
        error.args = (
            f"{error}; in its backward, what is added to the gradient of a parameter should have "
            f"the parameter's shape, summed over batch and time: {shapes}",
        )


def first_known(name: str, layers: list[Layer]) -> int | None:
    """Return the size that the first layer to have one gives, as long as features are kept."""
    for layer in layers:
        size: int | None = getattr(layer, name, None)
        if size is not None or not layer.keeps_features:
            return size
    return None
