"""The pictures of all scripts, and the only place that imports matplotlib.

Each function is given ``matplotlib.pyplot`` and what to show, and returns a figure. Its name is
that of the file, and the first line of its docstring says on the terminal what there is to see.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minirnn.insight import plot_attention, plot_gates, plot_gradients, plot_histograms

OUTPUT = Path(__file__).parent / "output"
BLUE, ORANGE, GREEN, RED, GREY = "#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8c8c8c"


def save(draw: Callable[..., Any], *shown: Any, name: str = "", **more: Any) -> Path | None:
    """Write ``examples/output/NAME.png`` and say so, or say what to install."""
    about = (draw.__doc__ or "").split("\n")[0].rstrip(".")
    try:
        import matplotlib
    except ImportError:
        print(f'No picture of "{about}": pip install matplotlib to get one.')
        return None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    OUTPUT.mkdir(exist_ok=True)
    path = OUTPUT / f"{name or draw.__name__}.png"
    with plt.rc_context({"font.size": 12, "legend.fontsize": 11}):  # legible at half the width
        figure = draw(plt, *shown, **more)
        figure.savefig(path, dpi=110)
    plt.close(figure)
    print(f"Picture: {path} ({about})")
    return path


def bare(axes: Any) -> None:
    """Take the box away but for the two axes, and number epochs and years with integers."""
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_xscale() == "linear":
        axes.xaxis.get_major_locator().set_params(integer=True)


def curves(
    plt: Any, lines: dict[str, tuple[Any, Any]], levels: dict[str, float], title: str, **axis: Any
) -> Any:
    """Curves over the course of training, with dotted lines for what others reach."""
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for (label, (at, values)), colour in zip(lines.items(), [GREY, RED, BLUE], strict=False):
        axes.plot(at, values, color=colour, linewidth=1.8, label=label)
    for label, level in levels.items():
        axes.axhline(level, color="0.4", linewidth=1, linestyle=":", zorder=0)
        axes.annotate(f" {label}", (1, level), xycoords=("axes fraction", "data"), va="center")
    axes.margins(x=0)
    axes.set(**axis)
    axes.set_title(title, loc="left", fontsize="medium")
    axes.legend(frameon=False)
    bare(axes)
    return figure


def learning_curve(
    plt: Any, history: Any, *, title: str, loss: str, levels: dict[str, float] | None = None
) -> Any:
    """Loss after each epoch, with dotted lines for what others reach."""
    epochs = range(1, history.epochs + 1)
    shown = {"training": "loss", "held out": "val_loss"}
    lines = {label: (epochs, history[key]) for label, key in shown.items() if key in history}
    return curves(plt, lines, levels or {}, title, xlabel="epoch", ylabel=loss)


def long_memory(plt: Any, task: Any, scores: dict[str, tuple[list[int], list[float]]]) -> Any:
    """Score of each network while it trains, with guessing and the goal."""
    levels = {"guessing": task.guessing, "goal": task.goal}
    scale = "log" if task.goal < task.guessing else "linear"
    labels = {"xlabel": "updates", "ylabel": task.score_name}
    return curves(plt, scores, levels, f"The {task.about}", yscale=scale, **labels)


def custom_layer(plt: Any, histories: dict[str, Any]) -> Any:
    """Loss of both nets over the epochs, beside that of guessing."""
    lines = {name: (range(1, h.epochs + 1), h["loss"]) for name, h in histories.items()}
    labels = {"xlabel": "epoch", "ylabel": "cross-entropy"}
    return curves(plt, lines, {"guessing": np.log(3)}, "Eight sigmoid layers", **labels)


def custom_cell(plt: Any, scores: dict[str, Any]) -> Any:
    """Accuracy of the three cells over the updates, beside guessing."""
    lines = {name: rows.T for name, rows in scores.items()}
    labels = {"xlabel": "updates", "ylabel": "accuracy on 500 test strings"}
    return curves(plt, lines, {"guessing": 0.25}, "Temporal order", **labels)


def spiral_regions(plt: Any, models: dict[str, Any], points: Any, labels: Any) -> Any:
    """Plane, coloured by the class that each net sees there, with the 300 points."""
    side = np.linspace(-1.2, 1.2, 300)
    plane = np.stack(np.meshgrid(side, side), axis=-1)
    arms = [RED, BLUE, GREEN]
    figure, axes = plt.subplots(1, 2, figsize=(10, 5.2), layout="constrained")
    for ax, (name, model) in zip(axes, models.items(), strict=True):
        seen = model.predict(plane).argmax(axis=-1)
        ax.contourf(side, side, seen, levels=[-0.5, 0.5, 1.5, 2.5], colors=arms, alpha=0.28)
        for arm, colour in enumerate(arms):
            x, y = points[labels == arm].T
            ax.scatter(x, y, s=22, color=colour, edgecolor="white", linewidth=0.6)
        accuracy = np.mean(model.predict(points).argmax(axis=1) == labels)
        ax.set(title=f"{name}: {accuracy:.1%} of the points right", aspect="equal")
        ax.set(xlabel="first coordinate", ylabel="second coordinate")
        ax.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1], xlim=(-1.2, 1.2), ylim=(-1.2, 1.2))
    return figure


def spiral_gradients(plt: Any, gradients: dict[str, Any]) -> Any:
    """Size of the first two layers' gradients over the iterations, ReLU beside sigmoid."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), sharey=True, layout="constrained")
    for ax, (name, rows) in zip(axes, gradients.items(), strict=True):
        iteration = rows[:, 0] + 1  # the axis is logarithmic, and log 0 is nowhere
        ax.loglog(iteration, rows[:, 2], color=ORANGE, label="second layer")
        ax.loglog(iteration, rows[:, 1], color=BLUE, label="first layer")
        if name == "Sigmoid":
            relu = gradients["ReLU"]
            style = {"color": BLUE, "linestyle": ":", "linewidth": 1.2}
            ax.loglog(relu[:, 0] + 1, relu[:, 1], **style, label="first layer under ReLU")
        ax.set(title=name, xlabel="iteration")
        ax.grid(which="major", alpha=0.3)
        ax.legend(frameon=False, loc="upper right")
    axes[0].set_ylabel("size of the gradient,\nsum |dW| / (rows + columns)")
    return figure


def binary_addition(plt: Any, curve: Any, ones: Any, states: Any, output: Any) -> Any:
    """Right sums during training; the hidden units, which have learned to count the ones."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    seen, wrong = np.array(curve).T
    left.plot(seen, 100 - wrong / 655.36, color=BLUE, linewidth=2)
    left.set(xlabel="random pairs seen in training", ylabel="% of all 65,536 sums without an error")
    left.set(ylim=(-3, 103), xscale="log", title="Learning to add")
    left.grid(alpha=0.3)

    # Two readings of the units: the net's own output, and the best linear guess at the carry.
    with_one = np.column_stack([states, np.ones(len(states))])
    carry = with_one @ np.linalg.lstsq(with_one, ones // 2, rcond=None)[0]
    right.axhline(0, color="0.8", zorder=0)
    right.axvline(0.5, color="0.8", zorder=0)
    for count, colour in enumerate([GREY, ORANGE, BLUE, GREEN]):
        group = ones == count
        label = f"{count}: write {count % 2}, carry {count // 2}"
        right.scatter(carry[group], output[group], s=14, alpha=0.6, color=colour, label=label)
    right.set(title="What the 16 hidden units say after each step")
    right.set(xlabel="carry, read from the units", ylabel="output: above 0, write a 1")
    right.legend(title="ones that meet at the step", loc="center", framealpha=0.9)
    return figure


def digits(plt: Any, images: Any, labels: Any, guesses: Any, after_each_row: Any) -> Any:
    """Six test digits, and below each what the net would say after every row."""
    figure, axes = plt.subplots(
        2, len(images), figsize=(2.1 * len(images), 4.6), sharey="row", layout="constrained"
    )
    for (above, below), image, label, guess, shares in zip(
        axes.T, images, labels, guesses, after_each_row, strict=True
    ):
        above.imshow(image, cmap="gray_r", vmin=0, vmax=1)
        verdict = "read as" if guess == label else "misread as"
        above.set_title(f"{label}, {verdict} {guess}", fontsize=11)
        above.set(xticks=[], yticks=[])
        below.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        below.set(xticks=range(10), yticks=range(8), xlabel="digit")
        below.tick_params(length=0, labelsize=8)
    axes[1, 0].set_yticks(range(8), [f"row {k}" for k in range(1, 9)])
    return figure


def vowels(plt: Any, counts: Any, score: float) -> Any:
    """Confusion matrix of the median net: who spoke, and whom the net named."""
    figure, ax = plt.subplots(figsize=(6.2, 5.6), layout="constrained")
    shares = counts / counts.sum(axis=1, keepdims=True)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            ax.text(column, row, count, ha="center", va="center", color=colour)
    names = range(1, len(counts) + 1)
    ax.set_xticks(range(len(counts)), names)
    ax.set_yticks(range(len(counts)), names)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="speaker named by the net", ylabel="who spoke")
    ax.set_title(f"370 test utterances, {score:.2f} % named rightly")
    return figure


def sunspots(plt: Any, years: Any, spots: Any, guesses: dict[str, Any], held_out: int) -> Any:
    """Sunspots of the last 60 years, the ten held-out ones shaded, with the three forecasts."""
    figure, ax = plt.subplots(figsize=(10, 4.6), layout="constrained")
    known, unseen = slice(-60, -held_out), slice(-held_out - 1, None)
    ax.axvspan(years[-held_out] - 0.5, years[-1] + 0.5, color="0.94")
    ax.plot(years[known], spots[known], color="0.25", linewidth=1.6, label="counted")
    ax.plot(
        years[unseen], spots[unseen], "o-", color="0.25", markersize=5, label="counted, held out"
    )
    for (name, guess), (colour, line) in zip(
        guesses.items(), [(RED, "-"), (GREEN, "--"), (BLUE, ":")], strict=True
    ):
        ax.plot(years[-held_out:], guess, line, color=colour, linewidth=1.8, label=name)
    ax.set(xlabel="year", ylabel="sunspot number", title="Ten years ahead")
    ax.set(xlim=(years[-60], years[-1] + 0.5), ylim=(0, 235))
    ax.legend(frameon=False, ncols=5, loc="upper center")
    bare(ax)
    return figure


def forecast(plt: Any, series: Any, ahead: Any, width: Any, name: str) -> Any:
    """Forecast, with the interval that should hold nine of ten values."""
    figure, ax = plt.subplots(figsize=(10, 4.6), layout="constrained")
    rows = np.arange(1, len(series) + 1)
    shown = min(len(series), 8 * len(ahead))
    future = len(series) + np.arange(1, len(ahead) + 1)
    ax.plot(rows[-shown:], series[-shown:], color="0.25", linewidth=1.4, label=name)
    ax.fill_between(
        future, ahead - width, ahead + width, color=RED, alpha=0.18, linewidth=0, label="9 of 10"
    )
    ax.plot(future, ahead, "o-", color=RED, markersize=4, linewidth=1.8, label="forecast")
    ax.set(xlabel="row of the file", ylabel=name, title=f"The next {len(ahead)} values")
    ax.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    bare(ax)
    return figure


def translate(plt: Any, dates: list[tuple[str, str, Any]]) -> Any:
    """Where the decoder looked in the written date before each character of the ISO date."""
    figure, axes = plt.subplots(len(dates), 1, figsize=(10, 3.1 * len(dates)), layout="constrained")
    for ax, (text, guess, weights) in zip(axes, dates, strict=True):
        plot_attention(weights, source=text, target=guess, ax=ax)
    return figure


def insight_gradients(plt: Any, seen: Any) -> Any:
    """Norm of the gradient on the state at each time step."""
    return plot_gradients(seen)


def insight_gates(plt: Any, layer: Any, text: str) -> Any:
    """Gates of the LSTM while it reads one sequence."""
    title = "An LSTM copies two symbols over sixty steps: the gates of some of its units"
    return plot_gates(layer, text=text, units=range(min(16, layer.hidden.shape[2])), title=title)


def insight_histograms(plt: Any, seen: Any) -> Any:
    """How the LSTM's gates and states are spread, before and after."""
    return plot_histograms(seen)


def digit_strings(plt: Any, strips: list[tuple[Any, Any, Any, Any]]) -> Any:
    """Three strips of digits, and below each what the net says at every column."""
    size, ratios = (10, 3.4 * len(strips)), [1, 1.6] * len(strips)
    figure, axes = plt.subplots(
        2 * len(strips), 1, figsize=size, height_ratios=ratios, layout="constrained"
    )
    for k, (pixels, shares, read, truth) in enumerate(strips):
        above, below = axes[2 * k], axes[2 * k + 1]
        above.imshow(pixels.T, cmap="gray_r", vmin=0, vmax=1, aspect="auto")
        above.set(xticks=[], yticks=[])
        text, right = ("".join(map(str, digits)) for digits in (read, truth))
        above.set_title(f"read as {text}" + ("" if text == right else f", should be {right}"))
        below.imshow(shares[:, :10].T, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        below.plot(9.5 - 10 * shares[:, 10], color=GREY, linewidth=1, label="blank")
        below.set(yticks=range(10), xticks=[], ylabel="digit")
        below.tick_params(length=0, labelsize=8)
    axes[1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    axes[-1].set_xlabel("column of the strip")
    return figure
