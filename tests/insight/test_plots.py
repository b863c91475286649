"""The pictures show the numbers that were recorded, with axes that say what they are."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest

from minirnn import GRU, LSTM, RNN, Attention, Recurrent, ReLU, Sequential, Tanh
from minirnn.insight import (
    Recorder,
    plot_attention,
    plot_gates,
    plot_gradients,
    plot_histograms,
)

TEXT = "ab $x\n_é"


def recorded(layer=None, mask=None):
    model = Sequential([layer or LSTM(3, 4, rng=0), Tanh(), ReLU()])
    x = np.random.default_rng(0).standard_normal((2, len(TEXT), 3))
    with Recorder(model) as record:
        model.backward(np.ones_like(model.forward(x, mask)))
    return record


@pytest.mark.parametrize("draw", [plot_gradients, plot_histograms])
def test_without_matplotlib_it_says_what_to_install(draw, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    record = recorded()
    with pytest.raises(ImportError, match=r'pip install "\.\[plot\]"'):
        draw(record)
    with pytest.raises(ImportError, match=r'pip install "\.\[plot\]"'):
        plot_gates(record["layers.0"])
    with pytest.raises(ImportError, match=r'pip install "\.\[plot\]"'):
        plot_attention(np.zeros((2, 3)))


class TestPictures:
    @pytest.fixture(autouse=True)
    def matplotlib(self):
        pytest.importorskip("matplotlib")

    def test_gradients_of_two_models_side_by_side(self, tmp_path):
        one, two = recorded(), recorded(GRU(3, 4, rng=0))
        figure = plot_gradients(
            {"LSTM": {"a": one, "b": one}, "GRU": two}, path=tmp_path / "picture.png"
        )
        left, right = figure.axes
        assert [axes.get_title() for axes in figure.axes] == ["LSTM", "GRU"]
        assert left.get_yscale() == "log"
        assert left.get_ylabel() == "norm of the gradient on the state"
        assert left.get_xlabel() == "time step"
        np.testing.assert_array_equal(left.lines[0].get_ydata(), one["layers.0"].gradient_norms)
        assert [text.get_text() for text in left.get_legend().get_texts()] == ["a", "b"]
        np.testing.assert_array_equal(right.lines[0].get_ydata(), two["layers.0"].gradient_norms)
        assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"

    def test_reach(self):
        record = recorded(RNN(3, 4, rng=0))
        (axes,) = plot_gradients(record, reach=True).axes
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), record["layers.0"].reach)

    def test_gates_over_the_characters_of_a_text(self, tmp_path):
        record = recorded()
        layer = record["layers.0"]
        figure = plot_gates(layer, text=TEXT, sequence=1, path=tmp_path / "gates.pdf")
        panels = [axes for axes in figure.axes if axes.images]
        assert [axes.get_title(loc="left")[0] for axes in panels] == list("ifogc")
        for axes in panels:
            name = axes.get_title(loc="left")[0]
            np.testing.assert_array_equal(axes.images[0].get_array(), layer.signals[name][1].T)
        assert panels[1].get_title(loc="left") == "f, forget gate: what is kept"
        assert panels[0].images[0].get_clim() == (0, 1)
        assert panels[3].images[0].get_clim() == (-1, 1)
        shown = [label.get_text() for label in panels[-1].get_xticklabels()]
        assert shown == ["a", "b", "␣", "$", "x", "↵", "_", "é"]
        assert (tmp_path / "gates.pdf").exists()

    def test_only_some_gates_and_units(self):
        layer = recorded()["layers.0"]
        figure = plot_gates(layer, gates=["h", "f"], units=[2, 0])
        panels = [axes for axes in figure.axes if axes.images]
        np.testing.assert_array_equal(
            panels[1].images[0].get_array(), layer.gates["f"][0][:, [2, 0]].T
        )
        assert panels[1].get_xlabel() == "time step"

    def test_masked_steps_are_not_drawn(self):
        mask = np.arange(len(TEXT)) < np.array([[5], [8]])
        layer = recorded(mask=mask)["layers.0"]
        for text in (TEXT, TEXT[:5]):
            figure = plot_gates(layer, text=text)
            assert figure.axes[0].images[0].get_array().shape == (4, 5)
            assert len(figure.axes[4].get_xticklabels()) == 5

    def test_a_cell_without_gates_shows_its_state(self):
        record = recorded(Recurrent(RNN(3, 4, rng=0).cell))
        figure = plot_gates(record["layers.0"])
        assert figure.axes[0].get_title(loc="left") == "h, state"

    def test_wrong_calls_of_the_heat_map(self):
        layer = recorded()["layers.0"]
        with pytest.raises(ValueError, match="symbol for each of the 8 steps of sequence 0, got 3"):
            plot_gates(layer, text="abc")
        with pytest.raises(ValueError, match="no gate q; there are i, f, o, g, h, c"):
            plot_gates(layer, gates="q")
        with pytest.raises(ValueError, match="sequence should be below 2"):
            plot_gates(layer, sequence=2)
        with pytest.raises(
            TypeError, match=r'one recurrent layer, as recorder\["layers\.0"\], got'
        ):
            plot_gates(recorded())
        with pytest.raises(TypeError, match="takes a Recorder, a record of a layer"):
            plot_gradients(3)

    def test_attention_of_a_layer(self):
        layer = Attention(3, 3)
        keys = np.random.default_rng(0).standard_normal((2, 5, 3))
        layer.forward(keys[:, :4], keys, mask=np.arange(5) < np.array([[5], [3]]))
        axes, bar = plot_attention(layer, sequence=1, target="ab c").axes
        np.testing.assert_array_equal(axes.images[0].get_array(), layer.weights[1])
        assert axes.images[0].get_clim() == (0, 1)
        assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "␣", "c"]
        assert axes.get_ylabel() == "written"
        assert axes.get_xlabel() == "step that is read"
        assert bar is not axes
        layer.forward(keys[:, 0], keys)  # one query for each sequence
        row = plot_attention(layer, sequence=1).axes[0].images[0].get_array()
        np.testing.assert_array_equal(row, layer.weights[1:])

    def test_symbols_leave_the_padding_of_weights_out(self, tmp_path):
        from matplotlib.figure import Figure

        weights = np.random.default_rng(0).random((4, 5))
        own = Figure().subplots()
        path = tmp_path / "attention.png"
        assert plot_attention(weights, source="xyz", target="ab", ax=own, path=path) is own
        np.testing.assert_array_equal(own.images[0].get_array(), weights[:2, :3])
        assert [label.get_text() for label in own.get_xticklabels()] == ["x", "y", "z"]
        assert path.exists()

    def test_wrong_calls_of_the_attention_plot(self):
        weights = np.zeros((2, 4, 5))
        with pytest.raises(RuntimeError, match="no weights to draw before its forward"):
            plot_attention(Attention(3, 3))
        with pytest.raises(ValueError, match=r"\(queries, time\), got shape \(5,\)"):
            plot_attention(weights[0, 0])
        with pytest.raises(ValueError, match=r"\(queries, time\), got shape \(\)"):
            plot_attention("weights")
        with pytest.raises(ValueError, match="sequence should be below 2"):
            plot_attention(weights, sequence=2)
        with pytest.raises(ValueError, match="source should have at most 5 symbols, .* got 6"):
            plot_attention(weights, source="abcdef")
        with pytest.raises(ValueError, match="target should have at most 4 symbols, .* got 5"):
            plot_attention(weights, target="abcde")

    def test_histograms_hold_all_values(self, tmp_path):
        record = recorded()
        figure = plot_histograms(record, path=tmp_path / "h.svg")
        visible = [axes for axes in figure.axes if axes.get_visible()]
        assert len(visible) == 8  # i f o g c h, tanh, relu
        for axes in visible:
            heights = axes.patches[-1].get_xy()[:, 1]
            assert heights.max() > 0
        share = record["layers.1"].saturation()["output"].total
        assert visible[6].get_title() == "layers.1 (Tanh)"
        assert visible[6].get_xlabel() == f"value (in the grey: {100 * share:.0f} %)"

    def test_histograms_of_two_are_compared_in_the_same_panels(self):
        one, two = recorded(), recorded(LSTM(3, 4, rng=1))
        figure = plot_histograms({"before": one["layers.0"], "after": two["layers.0"]})
        titles = [axes.get_title() for axes in figure.axes]
        assert titles[0] == "i, input gate: what is written"
        assert len(titles) == 6
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["before", "after"]

    def test_histograms_of_nothing_are_refused(self):
        with Recorder(LSTM(3, 4)) as record:
            pass
        with pytest.raises(ValueError, match="nothing to draw"):
            plot_histograms(record)

    def test_values_that_are_all_equal_can_be_drawn(self):
        layer = RNN(3, 4, activation="relu", rng=0)
        layer.cell.b.value -= 99
        with Recorder(layer) as record:
            layer.forward(np.zeros((1, 2, 3)))
        plot_histograms(record).canvas.draw()

    def test_on_axes_of_ones_own(self):
        from matplotlib.figure import Figure

        record = recorded(RNN(3, 4, rng=0))
        own = Figure().subplots(2, 2)
        assert plot_gradients(record, ax=own[0, 0]) is own[0, 0]
        assert len(own[0, 0].lines) == 1
        assert plot_gates(record["layers.0"], ax=[own[0, 1]]) == [own[0, 1]]
        assert own[0, 1].images
        plot_histograms({"a": record["layers.0"], "b": record["layers.0"]}, ax=own[1, 0])
        assert len(own[1, 0].patches) == 4  # two shaded ends, two histograms
        with pytest.raises(ValueError, match=r"one axes for each panel, 3 \(.*\), got 4"):
            plot_histograms(record, ax=own)
        with pytest.raises(TypeError, match="should be matplotlib axes, .* got str"):
            plot_gradients(record, ax="here")

    def test_a_notebook_can_show_it_without_pyplot(self):
        figure = pickle.loads(pickle.dumps(plot_gradients(recorded())))
        assert figure._repr_png_()[:4] == b"\x89PNG"
