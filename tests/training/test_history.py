"""What a run leaves behind, in a program, a table, a picture, and a few words."""

from __future__ import annotations

import csv
import math
import pickle
import sys

import numpy as np
import pytest

from minirnn import History


def history_of(**lists) -> History:
    history = History({"accuracy": True})
    for k in range(max(map(len, lists.values()), default=0)):
        history.append({name: values[k] for name, values in lists.items()})
    return history


@pytest.fixture
def history():
    return history_of(loss=[2.0, 1.0, 0.5], accuracy=[0.1, 0.9, 0.8], val_loss=[2.5, 1 / 3, 3.0])


def test_a_mapping_from_names_to_lists(history):
    assert list(history) == ["loss", "accuracy", "val_loss"]
    assert (len(history), history.epochs) == (3, 3)
    assert history["loss"] == [2.0, 1.0, 0.5]
    assert "val_loss" in history
    assert history.get("perplexity") is None
    assert dict(history)["accuracy"] == [0.1, 0.9, 0.8]
    with pytest.raises(KeyError, match="no 'acc' in this history; it has loss, accuracy, val_loss"):
        history["acc"]
    with pytest.raises(KeyError, match="it has nothing yet"):
        History()["loss"]


def test_figures_that_come_or_go():
    history = History()
    history.append({"loss": 1})
    history.append({"loss": 2, "val_loss": np.float32(0.5)})
    history.append({"val_loss": 3})
    assert history["loss"][:2] == [1.0, 2.0]
    assert history["val_loss"][1:] == [0.5, 3.0]
    assert math.isnan(history["loss"][2])
    assert math.isnan(history["val_loss"][0])
    assert history.epochs == 3
    assert type(history["val_loss"][1]) is float


def test_the_best_is_what_the_metric_says_and_nothing_where_it_says_nothing():
    history = History({"f1": True, "odd": None})
    for f1, odd in [(0.9, 1.0), (0.3, 2.0)]:
        history.append({"loss": 1.0, "f1": f1, "val_f1": f1, "odd": odd, "unheard": odd})
    lines = {line.split()[0]: line for line in repr(history).splitlines()[2:]}
    assert "0.9  (epoch 1)" in lines["f1"]
    assert "0.9  (epoch 1)" in lines["val_f1"]
    assert "epoch" not in lines["odd"]
    assert "epoch" not in lines["unheard"]


def test_lists_of_unequal_length_are_no_history():
    with pytest.raises(ValueError, match="unequal lengths"):
        History().load_state_dict({"loss": [1.0], "val_loss": []})


def test_to_frame(history):
    pandas = pytest.importorskip("pandas")
    frame = history.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == list(history)
    assert list(frame.index) == [1, 2, 3]
    assert frame.loc[2, "accuracy"] == 0.9


def test_its_state_is_a_copy(history):
    state = history.state_dict()
    again = History()
    again.load_state_dict(state)
    state["loss"].append(9.0)
    history.append({"loss": 7.0})
    assert again["loss"] == [2.0, 1.0, 0.5]


# ---------------------------------------------------------------- csv


def test_csv_has_every_bit(tmp_path, history):
    path = tmp_path / "history.csv"
    history.append({"loss": 1e-300, "accuracy": math.inf, "val_loss": math.nan})
    history.to_csv(path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    for name, values in history.items():
        read = np.array([float(row[name]) for row in rows])
        np.testing.assert_array_equal(read, values)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_csv_quotes_names(tmp_path):
    history_of(**{"loss, in nats": [1.0], 'a "b"': [2.0]}).to_csv(tmp_path / "history.csv")
    with (tmp_path / "history.csv").open(newline="") as file:
        assert next(csv.reader(file)) == ["epoch", "loss, in nats", 'a "b"']


def test_csv_of_nothing(tmp_path):
    History().to_csv(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_text() == "epoch\n"


# ---------------------------------------------------------------- in words


def test_repr_shows_last_and_best(history):
    assert repr(history).splitlines() == [
        "History of 3 epochs",
        "              last      best",
        "loss           0.5       0.5  (epoch 3)",
        "accuracy       0.8       0.9  (epoch 2)",
        "val_loss         3    0.3333  (epoch 2)",
    ]


def test_repr_of_few_or_odd_numbers():
    assert repr(History()) == "History of 0 epochs"
    assert repr(history_of(loss=[1.0])).startswith("History of 1 epoch\n")
    text = repr(history_of(loss=[math.nan, 1.0, math.nan], never=[math.nan] * 3))
    assert "nan         1  (epoch 2)" in text
    assert "never" in text.splitlines()[-1], "a figure that is nan throughout is not left out"
    assert "(epoch 1)" in repr(history_of(val_accuracy=[0.5, 0.5])), "the first of equals"


# ---------------------------------------------------------------- picture


class TestPlot:
    @pytest.fixture(autouse=True)
    def matplotlib(self):
        pytest.importorskip("matplotlib")

    def test_a_panel_for_each_figure_with_both_its_lines(self, history):
        panels = history.plot().axes
        assert [panel.get_ylabel() for panel in panels] == ["loss", "accuracy"]
        drawn = {
            (panel.get_ylabel(), line.get_label()): line for panel in panels for line in panel.lines
        }
        assert {key: list(line.get_ydata()) for key, line in drawn.items()} == {
            ("loss", "training"): history["loss"],
            ("loss", "validation"): history["val_loss"],
            ("accuracy", "training"): history["accuracy"],
        }
        assert all(list(line.get_xdata()) == [1, 2, 3] for line in drawn.values())
        assert panels[-1].get_xlabel() == "epoch"
        assert all(panel.get_legend() is not None for panel in panels)

    def test_a_figure_of_the_validation_data_alone(self):
        (panel,) = history_of(val_loss=[1.0, 2.0]).plot().axes
        assert [line.get_label() for line in panel.lines] == ["validation"]

    @pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
    def test_written_in_the_format_of_its_ending(self, ending, history, tmp_path):
        path = tmp_path / f"history.{ending}"
        figure = history.plot(path)
        beginning = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending]
        assert path.read_bytes().startswith(beginning)
        assert figure.axes

    def test_no_window_and_no_global_state(self, history):
        import matplotlib.pyplot as plt

        history.plot()
        assert plt.get_fignums() == []

    def test_one_epoch_and_nan(self, tmp_path):
        history_of(loss=[1.0]).plot(tmp_path / "one.png")
        history_of(loss=[math.nan, math.nan]).plot(tmp_path / "nan.png")

    def test_nothing_to_draw(self):
        with pytest.raises(ValueError, match=r"History\.plot: there is no epoch to draw yet"):
            History().plot()


def test_without_matplotlib_it_says_what_to_install(history, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "\.\[plot\]"'):
        history.plot()


def test_on_axes_of_ones_own():
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    history = history_of(loss=[3.0, 2.0], accuracy=[0.5, 0.6], val_loss=[3.0, 1.0])
    own = Figure().subplots(2)
    assert history.plot(ax=own) is own
    np.testing.assert_array_equal(own[0].lines[1].get_ydata(), [3.0, 1.0])
    assert own[1].get_ylabel() == "accuracy"
    alone = Figure().subplots()
    history.plot(ax=alone)
    assert alone.get_ylabel() == "loss"
    with pytest.raises(ValueError, match=r"one axes for each panel, 2 \(loss, accuracy\), got 3"):
        history.plot(ax=Figure().subplots(3))


def test_a_notebook_shows_a_picture_and_a_table():
    history = history_of(loss=[3.0, 2.0], own=[1.0, math.nan])
    assert "<td" in history._repr_html_()
    assert "History of 2 epochs" in history._repr_html_()
    pytest.importorskip("matplotlib")
    assert history.plot()._repr_png_()[:4] == b"\x89PNG"


def test_a_history_is_a_dictionary_and_so_a_data_frame():
    history = history_of(loss=[3.0, 2.0], val_loss=[3.0, 1.0])
    assert dict(history) == {"loss": [3.0, 2.0], "val_loss": [3.0, 1.0]}
    assert pickle.loads(pickle.dumps(history)) == history
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(history)
    assert list(frame.columns) == ["loss", "val_loss"]
    assert frame["val_loss"].tolist() == [3.0, 1.0]
    assert history.to_frame().index.tolist() == [1, 2]
