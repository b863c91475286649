"""The sweep of examples/sweep.py, estimators on a Dask cluster, Optuna's pruning."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("joblib", reason="joblib is not installed")

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def example():
    from joblib.externals.loky import get_reusable_executor

    sys.path.insert(0, str(EXAMPLES))
    get_reusable_executor().shutdown(wait=True)  # workers of earlier tests have another path
    spec = importlib.util.spec_from_file_location("sweep", EXAMPLES / "sweep.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["sweep"] = module
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(EXAMPLES))
    del sys.modules["sweep"]


def square(settings):
    return {"accuracy": settings["x"] ** 2, "ran": True}


class StoppedError(Exception):
    pass


def test_an_interrupted_sweep_goes_on_where_it_was(example, tmp_path):
    runs = example.grid({"x": [1, 2, 3, 4]}, seeds=2)
    assert len(runs) == 8
    for k, _ in enumerate(example.sweep(square, runs, tmp_path, jobs=1)):
        if k == 2:
            break
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(before) == 3
    again = []

    def watched(settings):
        again.append(settings)
        return square(settings)

    results = list(example.sweep(watched, runs, tmp_path, jobs=1))
    assert len(again) == 5
    assert sorted(r["accuracy"] for r in results) == [1, 1, 4, 4, 9, 9, 16, 16]
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert example.table(results, ["x"])[0].startswith("1600.0 %")


def test_a_run_that_fails_leaves_the_others_done(example, tmp_path):
    def fails(settings):
        if settings["x"] == 3:
            raise StoppedError
        return square(settings)

    with pytest.raises(StoppedError):
        list(example.sweep(fails, example.grid({"x": [1, 2, 3]}, seeds=1), tmp_path, jobs=1))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("dask", [None, "local"])
def test_training_in_two_processes_is_training_here(example, dask, tmp_path):
    if dask:
        pytest.importorskip("distributed", reason="Dask is not installed")
    data = str(EXAMPLES / "data" / "japanese_vowels.npz")
    options = {"cell": ["gru"], "hidden_size": [4], "learning_rate": [1e-2]}
    runs = example.grid(options, seeds=2, epochs=1, data=data)
    with example.backend(dask, 2):
        results = list(example.sweep(example.train, runs, tmp_path, jobs=2))
    for result in results:
        here = example.train({name: result[name] for name in (*options, "seed", "epochs", "data")})
        assert json.loads(json.dumps(here["history"])) == result["history"]


def test_grid_search_on_a_dask_cluster():
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from joblib import parallel_config
    from sklearn.model_selection import GridSearchCV

    from minirnn.sklearn import SequenceClassifier

    rng = np.random.default_rng(0)
    sequences = [rng.standard_normal((n, 2)) for n in rng.integers(3, 8, size=20)]
    labels = np.arange(20) % 2
    search = GridSearchCV(
        SequenceClassifier(epochs=2, random_state=0), {"hidden_size": [2, 3]}, cv=2
    )
    expected = search.fit(sequences, labels).cv_results_["mean_test_score"]
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster), parallel_config(backend="dask"):
        found = search.fit(sequences, labels).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(found, expected)


def test_optuna_prunes_what_does_not_look_promising():
    optuna = pytest.importorskip("optuna", reason="Optuna is not installed")
    from minirnn import RNN, SGD, Dense, LastStep, MeanSquaredError, Sequential, Trainer
    from minirnn.callbacks import OptunaPruning

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 4, 2))
    y = x.sum(axis=1)[:, :1]
    epochs = []

    def objective(trial):
        rate = trial.suggest_categorical("rate", [1e-1, 1e-6])
        model = Sequential([RNN(2, 4, rng=0), LastStep(), Dense(4, 1, rng=1)])
        trainer = Trainer(
            model, MeanSquaredError(), SGD(model.parameters(), rate), rng=0,
            callbacks=[OptunaPruning(trial, "val_loss")],
        )  # fmt: skip
        try:
            return trainer.fit(x, y, epochs=8, validation=(x, y), progress=False)["val_loss"][-1]
        finally:
            epochs.append(trainer.epoch)

    study = optuna.create_study(
        sampler=optuna.samplers.GridSampler({"rate": [1e-1, 1e-6]}, seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=3),
    )
    study.enqueue_trial({"rate": 1e-1})
    study.optimize(objective, n_trials=3)
    states = {trial.params["rate"]: trial.state.name for trial in study.trials}
    assert states[1e-6] == "PRUNED"
    assert study.best_params["rate"] == 1e-1
    assert min(epochs) < 8
