"""The command at its quick setting: what it prints and writes, with PyTorch and without."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import machine, memory
from benchmarks.ladder import CELLS, LADDER, NAMES
from minirnn.interop import weights

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path):
    """Write nothing into the checkout, and stay in this process, with threadpoolctl or without."""
    monkeypatch.setattr(command, "OUTPUT", tmp_path / "output")
    for name in machine._VARIABLES:
        monkeypatch.setenv(name, "1")


@pytest.fixture
def no_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # `import torch` raises ImportError


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def _refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def _read(path):
    return json.loads(path.read_text(), parse_constant=_refuse)


def _check_document(document, peers_of):
    assert document["quick"] is True
    assert document["threads"] == 1
    assert {"processor", "cores", "system"} <= set(document["machine"])
    assert {"minirnn", "python", "numpy", "blas", "torch"} == set(document["versions"])
    assert str(ROOT) not in json.dumps(document)
    taken = [(r["name"], r["cell"], r["measure"]) for r in document["results"]]
    wanted = [(rung.name, cell, m) for rung in LADDER for cell in CELLS for m in rung.measures]
    assert taken == wanted
    for result in document["results"]:
        others = peers_of(result["measure"])
        assert set(result["seconds"]) == {"minirnn", "limit", *others}
        assert set(result["ratios"]) == {f"{who} / minirnn" for who in others} | {"minirnn / limit"}
        for spread in [*result["seconds"].values(), *result["ratios"].values()]:
            lower, upper = spread["quartiles"]
            assert 0 < lower <= spread["median"] <= upper
        for spread in result["seconds"].values():
            assert len(spread["samples"]) == document["settings"]["rounds"]
            assert spread["median"] == pytest.approx(np.median(spread["samples"]))


def test_without_torch_its_columns_are_empty(no_torch, tmp_path, capsys):
    assert command.main(["--quick", "--json", str(tmp_path / "times.json")]) == 0
    document = _read(tmp_path / "times.json")
    _check_document(document, lambda measure: [])
    assert document["versions"]["torch"] is None
    text = capsys.readouterr().out
    assert "without PyTorch" in text
    assert "No figures" in text
    rows = [line for line in text.splitlines() if line.startswith(NAMES)]
    assert len(rows) == len(document["results"])
    assert all(line.count("[") == 1 for line in rows)  # the quartiles of minirnn alone
    assert not (tmp_path / "output").exists()


def test_with_torch_every_ratio_is_there(torch, tmp_path, capsys):
    threads = torch.get_num_threads()
    assert command.main(["--quick", "--json", str(tmp_path / "times.json")]) == 0
    assert torch.get_num_threads() == threads
    document = _read(tmp_path / "times.json")
    both, one = ["torch", "torch_autograd"], ["torch"]
    _check_document(document, lambda measure: both if "step" in measure else one)
    assert document["versions"]["torch"] == torch.__version__
    text = capsys.readouterr().out
    assert text.count("step, inference_mode") == text.count("step, autograd on") == 2 * len(CELLS)


def test_a_different_network_is_not_compared(torch, monkeypatch):
    monkeypatch.setitem(weights.TORCH, "lstm", weights.MINIRNN["lstm"])
    assert command.main(["--quick", "--only", "adder", "gru"]) == 0
    with pytest.raises(AssertionError, match="torch"):
        command.main(["--quick", "--only", "adder", "lstm"])


def test_markdown_is_a_table_for_the_readme(no_torch, capsys):
    command.main(["--quick", "--markdown", "--only", "small", "lstm"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 6  # training and forward: head, rule, one row
    assert {line.count("|") for line in lines} == {lines[0].count("|")}
    assert lines[2].startswith("| small | LSTM | ")


def test_a_run_that_is_not_quick_writes_its_files(no_torch, tmp_path):
    pytest.importorskip("matplotlib")
    command.main(["--only", "adder", "step", "rnn", "--rounds", "1"])
    document = _read(tmp_path / "output" / "times.json")
    assert [result["target"] for result in document["results"]] == [8, None, None, 5]
    assert document["results"][0]["sizes"] == {
        "batch": 32, "steps": 8, "inputs": 2, "hidden": 16, "outputs": 2
    }  # fmt: skip
    assert (tmp_path / "output" / "times.png").read_bytes().startswith(b"\x89PNG")


def test_the_chart_has_torch_and_targets(torch, tmp_path):
    pytest.importorskip("matplotlib")
    chart = tmp_path / "chart.png"
    command.main(["--quick", "--only", "adder", "step", "lstm", "gru", "--chart", str(chart)])
    assert chart.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_no_chart(no_torch, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    chart = tmp_path / "chart.png"
    assert command.main(["--quick", "--only", "adder", "rnn", "--chart", str(chart)]) == 0
    assert not chart.exists()
    assert "matplotlib is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "huge"], "'huge' is neither a network"),
        (["--threads", "0"], "--threads should be at least 1"),
        (["--rounds", "0"], "--rounds should be at least 1"),
    ],
)
def test_wrong_options_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as refused:
        command.main(arguments)
    assert refused.value.code == 2
    assert message in capsys.readouterr().err


# ---------------------------------------------------------------- threads


def test_the_number_of_threads_reaches_the_blas(no_torch):
    pytest.importorskip("threadpoolctl")
    before = machine.blas_threads()
    with machine.limited(1) as settled:
        assert settled
        assert machine.blas_threads() in (1, None)
    assert machine.blas_threads() == before


def test_without_threadpoolctl_the_command_runs_again(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    seen = []

    def run(arguments, *, env, check):
        seen.append((arguments, env["OPENBLAS_NUM_THREADS"], env["OMP_NUM_THREADS"]))
        return subprocess.CompletedProcess(arguments, 3)

    monkeypatch.setattr(subprocess, "run", run)
    assert command.main(["--quick", "--threads", "2"]) == 3
    again = [sys.executable, "-m", "benchmarks", "--quick", "--threads", "2"]
    assert seen == [(again, "2", "2")]


def test_as_a_command_without_any_optional_package(tmp_path):
    for name in ("torch", "threadpoolctl", "matplotlib"):
        (tmp_path / f"{name}.py").write_text("raise ImportError\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    environment.pop("OPENBLAS_NUM_THREADS", None)
    words = ["--quick", "--only", "tiny", "rnn", "--json", str(tmp_path / "times.json")]
    subprocess.run(
        [sys.executable, "-W", "error", "-m", "benchmarks", *words],
        cwd=ROOT, env=environment, check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    assert len(_read(tmp_path / "times.json")["results"]) == 2


# ---------------------------------------------------------------- memory


def test_peak_memory_of_a_network_is_of_its_size():
    found = memory.peak_of("minirnn", "lstm", "small")
    if found["method"].startswith("ru_maxrss"):
        pytest.skip("no exact peak on this system")
    kept = 32 * 50 * 64 * 4  # one number for each hidden unit and step, in float32
    assert 6 * kept < found["bytes"] < 40 * kept


def test_memory_as_a_table(no_torch, monkeypatch, tmp_path, capsys):
    said = {"bytes": 3 * 2**20, "method": "VmHWM"}
    monkeypatch.setattr(memory, "peak_of", lambda side, *rest, **options: said)
    file = tmp_path / "memory.json"
    command.main(["--memory", "--only", "tiny", "step", "lstm", "gru", "--json", str(file)])
    results = _read(file)["memory"]
    assert [(r["name"], r["cell"]) for r in results] == [("tiny", "lstm"), ("tiny", "gru")]
    assert all(result["minirnn"] == said and "torch" not in result for result in results)
    assert len(re.findall(r" 3\.0$", capsys.readouterr().out, re.MULTILINE)) == 2
