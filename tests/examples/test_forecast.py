"""forecast.py on a file of one's own: what it reads, what it compares with, what it refuses."""

import numpy as np
import pytest

from minirnn import Layer, Sequential


def write(path, columns):
    names = list(columns)
    lines = [",".join(names)]
    lines += [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def sales(tmp_path):
    t = np.arange(120)
    units = 50 + 10 * np.sin(2 * np.pi * t / 12)
    return write(tmp_path / "sales.csv", {"month": t, "units": units.round(3), "note": ["a"] * 120})


@pytest.mark.parametrize(
    ("season", "expected"), [(1, [6, 6, 6, 6]), (3, [4, 5, 6, 4]), (7, [0, 1, 2, 3])]
)
def test_the_seasonal_naive_forecast_goes_on_with_the_last_season(example, season, expected):
    inputs = np.arange(7.0)[np.newaxis, :, np.newaxis]
    found = example("forecast").seasonal_naive(inputs, 4, season)
    np.testing.assert_array_equal(found, [expected])


class Rising(Layer):
    """One more at each distance."""

    def forward(self, x):
        return np.tile(np.arange(1.0, 4.0), (len(x), 1))


def test_the_model_says_differences_from_the_last_value(example):
    inputs = np.array([[[1.0], [5.0]], [[2.0], [7.0]]])
    found = example("forecast").forecast(Sequential([Rising()]), inputs)
    np.testing.assert_array_equal(found, [[6, 7, 8], [8, 9, 10]])


def test_a_file_of_ones_own(example, sales, capsys, tmp_path):
    options = [str(sales), "--column", "units", "--horizon", "6", "--season", "12", "--quick"]
    assert example("forecast").main(options) == 0
    text = capsys.readouterr().out
    assert "seasonal naive: 12 rows before" in text
    (line,) = (line for line in text.splitlines() if "seasonal naive" in line)
    assert float(line.split()[5]) < 1e-6  # the file repeats itself
    assert "row 121:" in text
    assert "row 126:" in text


def test_a_saved_model_forecasts_on(example, sales, capsys, tmp_path):
    model = tmp_path / "sales.model"
    column = [str(sales), "--column", "units"]
    more = ["--horizon", "3", "--season", "12", "--quick", "--save", str(model)]
    assert example("forecast").main([*column, *more]) == 0
    first = capsys.readouterr().out.split("after the end of the file:\n")[1]
    assert example("forecast").main([*column, "--load", str(model)]) == 0
    again = capsys.readouterr().out.split("after the end of the file:\n")[1]
    assert first.splitlines()[:3] == again.splitlines()[:3]
    with pytest.raises(SystemExit, match="not a model that --save wrote"):
        example("forecast").main([*column, "--load", str(sales)])


def test_sunspots_by_default(example, capsys):
    assert example("forecast").main(["--quick"]) == 0
    assert "38 forecasts of 10 values" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--column", "price"], "has no column price; it has month, units, note"),
        ([], "column note should hold numbers only: could not convert string to float: 'a'"),
        (["--column", "units", "--length", "100"], "120 rows are too few to read 100 and say 10"),
    ],
)
def test_a_file_that_cannot_be_forecast(example, sales, arguments, words):
    with pytest.raises(SystemExit) as error:
        example("forecast").main([str(sales), *arguments])
    assert words in str(error.value)


def test_values_that_are_missing(example, tmp_path):
    path = write(tmp_path / "holes.csv", {"day": [1, 2, 3], "units": [1.0, "", 3.0]})
    with pytest.raises(SystemExit, match="should hold numbers only"):
        example("forecast").main([str(path)])
    path = write(tmp_path / "holes.csv", {"units": [1.0, "nan", 3.0]})
    with pytest.raises(SystemExit, match="not finite"):
        example("forecast").main([str(path)])
