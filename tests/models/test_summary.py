"""The table that Sequential.summary() returns, and its repr."""

import numpy as np

import minirnn as m


def _model():
    return m.Sequential(
        [
            m.Embedding(70, 8, rng=0),
            m.Sequential([m.LSTM(8, 100, rng=1), m.Dropout(0.5)]),
            m.LastStep(),
            m.Dense(100, 3, rng=2),
        ]
    )


def test_parameters_add_up_and_shapes_are_those_of_the_latest_forward():
    model = _model()
    lstm, dense = 8 * 400 + 100 * 400 + 400, 303
    model.forward(np.zeros((2, 5), int))
    text = str(model.summary())
    expected = {
        "0 Embedding": ("(2, 5, 8)", "560"),
        "1 Sequential": ("(2, 5, 100)", ""),
        "  0 LSTM": ("(2, 5, 100)", f"{lstm:,}"),
        "  1 Dropout": ("(2, 5, 100)", "0"),
        "2 LastStep": ("(2, 100)", "0"),
        "3 Dense": ("(2, 3)", "303"),
        "total": ("", f"{560 + lstm + dense:,}"),
    }
    for name, (shape, count) in expected.items():
        line = next(line for line in text.splitlines() if line.startswith(name))
        engine = model[1][0].engine if "LSTM" in name else ""
        line = line.removeprefix(name).removesuffix(engine).rstrip()
        assert line.removesuffix(count).strip() == shape
    model.forward(np.zeros((4, 1), int))
    assert "(4, 1, 100)" in model.summary()


def test_columns_are_aligned():
    model = _model()
    model.forward(np.zeros((2, 5), int))
    lines = str(model.summary()).splitlines()
    header, rule, *rows, second_rule, total = lines
    assert set(rule) == set(second_rule) == {"-"}
    assert len(rule) == len(second_rule) == max(map(len, lines))
    column = header.index("output shape")
    for row in rows:
        assert row[column] == "("
        assert row[column - 2 : column] == "  "
    end = header.index("parameters") + len("parameters")
    assert {line[end - 1] for line in [*rows, total] if not line.endswith(")")} <= set("0123456789")
    lstm = next(row for row in rows if "LSTM" in row)
    assert lstm.index(model[1][0].engine) == header.index("engine")


def test_before_any_forward_sizes_stand_as_words():
    lines = str(_model().summary()).splitlines()
    assert "(batch, time, 8)" in lines[2]
    assert "(batch, time, 100)" in lines[3]
    assert "(batch, time, 100)" in lines[4]
    assert "(batch, 100)" in lines[6]
    assert "(batch, 3)" in lines[7]


def test_summary_shows_its_lines_in_a_session():
    summary = _model().summary()
    assert repr(summary) == str(summary)
    assert isinstance(summary, str)


def test_repr_shows_the_nesting():
    assert repr(_model()) == (
        "Sequential([\n"
        "    Embedding(vocabulary_size=70, output_size=8),\n"
        "    Sequential([\n"
        "        LSTM(input_size=8, hidden_size=100),\n"
        "        Dropout(rate=0.5),\n"
        "    ]),\n"
        "    LastStep(),\n"
        "    Dense(input_size=100, output_size=3),\n"
        "])"
    )


def test_a_size_that_only_a_run_tells_is_not_guessed():
    both = m.Parallel([m.MeanOverTime(), m.MaxOverTime()])
    model = m.Sequential([m.GRU(3, 4, rng=0), both, m.Dense(8, 2, rng=1)])
    assert "(batch, ?)" in model.summary()
    model.forward(np.ones((2, 5, 3)))
    assert "(2, 8)" in model.summary()


class Own(m.Layer):
    """A model of a user's own, with an attribute for each layer."""

    uses_mask = True

    def __init__(self):
        self.project = m.Dense(3, 4, rng=0)
        self.read = m.LSTM(4, 5, rng=1)
        self.wide = m.Sequential([m.ReLU(), m.Dense(5, 7, rng=2)])

    def forward(self, x, mask=None):
        return self.wide.forward(self.read.forward(self.project.forward(x), mask))


def test_a_model_of_ones_own_shows_the_shapes_for_an_input():
    for model in (Own(), m.Sequential([Own(), m.LastStep()])):
        rows = str(model.summary(np.ones((2, 6, 3)), np.ones((2, 6), bool))).splitlines()
        shapes = {row.split()[1]: row.split("(")[1].split(")")[0] for row in rows if "(" in row}
        assert shapes["LSTM"] == "2, 6, 5"
        assert shapes["ReLU"] == "2, 6, 5"
        assert shapes["Sequential"] == "2, 6, 7"
        assert any("Dense" in row and "(2, 6, 4)" in row for row in rows)
        assert any("Dense" in row and "(2, 6, 7)" in row for row in rows)


def test_without_an_input_a_model_of_ones_own_shows_the_sizes_that_are_known():
    rows = str(Own().summary()).splitlines()
    assert any("project Dense" in row and "(..., 4)" in row for row in rows)
    assert any("read LSTM" in row and "(batch, time, 5)" in row for row in rows)


def test_a_chain_whose_layers_are_called_one_by_one_has_the_shape_of_the_last():
    encoder = m.Sequential([m.Embedding(9, 4), m.GRU(4, 5)])
    model = m.EncoderDecoder(encoder, m.Sequential([m.Embedding(9, 4), m.GRU(4, 5)]))
    table = model.summary((np.zeros((2, 6), int), np.zeros((2, 3), int)))
    rows = {row.split()[0]: row for row in str(table).splitlines()}
    assert "(2, 6, 5)" in rows["encoder"]
    assert "(2, 3, 5)" in rows["decoder"]


def test_a_summary_for_an_input_changes_nothing():
    model = _model()
    y = model.forward(np.zeros((2, 5), int))
    kept = model[1][0].state
    model.summary(np.zeros((3, 4), int))
    assert model[1][0].state is kept
    model.backward(np.ones_like(y))  # belongs to the forward before
    assert "(2, 5, 100)" in model.summary()
