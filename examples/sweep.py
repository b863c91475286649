"""Which cell, how many units, what learning rate? A grid over several seeds, on all cores.

Each run of the sweep is one call of a plain function; joblib spreads the calls over the cores of
this machine, or over the workers of a Dask cluster. Every result is a small file, written when it
arrives: a sweep that was interrupted, by Ctrl-C or by a machine that stopped, goes on with the runs
that have no file. The task is that of vowels.py: nine speakers, utterances of unequal length, a
fifth of the training utterances held out.

    python examples/sweep.py                        # two processes on this machine
    python examples/sweep.py --jobs 8
    python examples/sweep.py --dask local           # a Dask cluster of two workers, started here
    python examples/sweep.py --dask tcp://node1:8786
    python examples/sweep.py --quick

Needs ``pip install ".[cluster]"`` in the folder above.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from minirnn import (
    GRU,
    LSTM,
    Accuracy,
    Adam,
    Bidirectional,
    Dense,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
)
from minirnn.data import pad_sequences
from minirnn.files import replacing
from minirnn.layers import MeanOverTime

SPEAKERS = 9
CELLS = {"gru": GRU, "lstm": LSTM}
GRID = {"cell": ["gru", "lstm"], "hidden_size": [16, 32], "learning_rate": [3e-3, 1e-2]}


# ---------------------------------------------------------------- one run


def utterances(path: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the training utterances (time, 12) and their speakers."""
    with np.load(path) as data:
        ends = np.cumsum(data["train_lengths"])
        return np.split(data["train_values"], ends[:-1]), data["train_labels"].astype(int)


def train(settings: dict[str, Any]) -> dict[str, Any]:
    """Train one model as `settings` say; return its history and its accuracy on what it never saw.

    A plain function of plain arguments: any scheduler can call it in any process.
    """
    rng = np.random.default_rng(settings["seed"])
    sequences, speakers = utterances(settings["data"])
    order = rng.permutation(len(sequences))
    parts = np.split(order, [len(order) // 5])
    (x_val, val_mask), (x, mask) = (pad_sequences([sequences[k] for k in part]) for part in parts)
    validation, training = parts
    layer, size = CELLS[settings["cell"]], settings["hidden_size"]
    model = Sequential(
        [
            Bidirectional(layer(12, size, rng=rng), layer(12, size, rng=rng)),
            MeanOverTime(),
            Dense(2 * size, SPEAKERS, rng=rng),
        ]
    )
    optimizer = Adam(model.parameters(), settings["learning_rate"], clip_norm=1.0)
    trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer, metrics=[Accuracy()], rng=rng)
    history = trainer.fit(
        x, speakers[training], mask=mask, validation=(x_val, speakers[validation], val_mask),
        epochs=settings["epochs"], batch_size=32, progress=False,
    )  # fmt: skip
    if trainer.epoch < settings["epochs"]:
        raise KeyboardInterrupt  # Ctrl-C reached this process: half a run is no result
    return {"accuracy": history["val_accuracy"][-1], "history": dict(history.items())}


# ---------------------------------------------------------------- many runs


def grid(options: dict[str, list[Any]], seeds: int, **fixed: Any) -> list[dict[str, Any]]:
    """Return the settings of every combination, with every seed."""
    combinations = itertools.product(*options.values())
    return [
        {**dict(zip(options, values, strict=True)), "seed": seed, **fixed}
        for values in combinations
        for seed in range(seeds)
    ]


def file_of(folder: Path, settings: dict[str, Any]) -> Path:
    """Return the file of a run: its name says its settings."""
    shown = {name: value for name, value in settings.items() if name != "data"}
    return folder / ("_".join(f"{name}={value}" for name, value in shown.items()) + ".json")


def sweep(
    function: Callable[[dict[str, Any]], dict[str, Any]],
    runs: list[dict[str, Any]],
    folder: Path,
    jobs: int = 2,
) -> Iterator[dict[str, Any]]:
    """Yield settings and result of every run; those that have a file are not run again."""
    from joblib import Parallel, delayed

    folder.mkdir(parents=True, exist_ok=True)
    waiting = []
    for settings in runs:
        path = file_of(folder, settings)
        if path.exists():
            yield json.loads(path.read_text("utf-8"))
        else:
            waiting.append(settings)
    if not waiting:
        return
    pool = Parallel(n_jobs=jobs, return_as="generator_unordered")
    for settings, result in pool(delayed(_with_settings)(function, one) for one in waiting):
        done = settings | result
        with replacing(file_of(folder, settings)) as file:  # complete, or absent
            file.write(json.dumps(done).encode())
        yield done


def _with_settings(function: Any, settings: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    return settings, function(settings)


@contextmanager
def backend(dask: str | None, workers: int) -> Iterator[None]:
    """Run joblib's calls on a Dask cluster: that of an address, or a local one; None: without."""
    if dask is None:
        yield
        return
    from distributed import Client, LocalCluster
    from joblib import parallel_config

    cluster = None
    if dask == "local":
        cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
    try:
        with Client(cluster or dask), parallel_config(backend="dask"):
            yield
    finally:
        if cluster is not None:
            cluster.close()


def table(results: list[dict[str, Any]], names: list[str]) -> list[str]:
    """Return a line for each combination: mean accuracy over the seeds, best first."""
    groups: dict[tuple[Any, ...], list[float]] = {}
    for result in results:
        key = tuple(result[name] for name in names)
        groups.setdefault(key, []).append(result["accuracy"])
    ordered = sorted(groups.items(), key=lambda item: -np.mean(item[1]))
    return [
        f"{100 * np.mean(found):5.1f} %  (lowest {100 * min(found):5.1f}, {len(found)} seeds)  "
        + "  ".join(f"{name}={value}" for name, value in zip(names, key, strict=True))
        for key, found in ordered
    ]


def main(argv: list[str] | None = None) -> int:
    """Run what has not been run, and print the table."""
    from _script import parser_for, stop, verdict, whole_number  # workers do without it

    parser = parser_for(__doc__ or "", quick="two combinations, two epochs")
    here = Path(__file__).parent
    parser.add_argument("--jobs", type=whole_number(1), default=2, help="processes (default 2)")
    parser.add_argument("--dask", metavar="ADDRESS", help="of a scheduler, or local")
    parser.add_argument("--seeds", type=whole_number(1), default=3, help="for each (default 3)")
    parser.add_argument("--folder", type=Path, help="of the results (default output/sweep)")
    options = parser.parse_args(argv)
    try:
        import joblib  # noqa: F401
    except ImportError:
        if options.quick:
            print('Left out: joblib is not installed (pip install ".[cluster]").')
            return 0
        stop('needs joblib: pip install ".[cluster]" in the folder of README.md')
    data = str(here / "data" / "japanese_vowels.npz")
    choices = {name: values[:1] for name, values in GRID.items()} if options.quick else GRID
    seeds, epochs = (2, 2) if options.quick else (options.seeds, 40)
    runs = grid(choices, seeds, epochs=epochs, data=data)
    for run in runs:
        run["seed"] += options.seed
    folder = options.folder or here / "output" / ("sweep-quick" if options.quick else "sweep")
    there = sum(file_of(folder, run).exists() for run in runs)
    print(f"{len(runs)} runs, {there} of them done before; results in {folder}")
    results = []
    try:
        with backend(options.dask, options.jobs):
            for result in sweep(train, runs, folder, options.jobs):
                results.append(result)
                print(
                    f"{len(results):3} of {len(runs)}: {100 * result['accuracy']:.1f} %", flush=True
                )
    except KeyboardInterrupt:
        stop(f"interrupted after {len(results)} of {len(runs)} runs; the same command goes on")
    print("\n".join(table(results, list(GRID))))
    best = max(np.mean([r["accuracy"] for r in results if r["cell"] == cell]) for cell in CELLS
               if any(r["cell"] == cell for r in results))  # fmt: skip
    return verdict(options.quick, bool(best > 0.92), "a cell whose runs average over 92 %")


if __name__ == "__main__":
    sys.exit(main())
