"""Several ranks under mpiexec against one process on the whole batches."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mpi4py", reason="mpi4py is not installed")

from tests.mpi import program

ROOT = Path(__file__).parents[2]
MPIEXEC = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")

# Open MPI asks before it starts more ranks than there are cores, or as root; MPICH does not.
OPEN_MPI = {
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_rmaps_base_oversubscribe": "true",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}

pytestmark = pytest.mark.skipif(MPIEXEC is None, reason="there is no mpiexec")


def mpiexec(scenario, folder, ranks):
    folder.mkdir(exist_ok=True)
    return start(ranks, ROOT / "tests/mpi/program.py", scenario, folder, cwd=ROOT)


def start(ranks, *program, cwd):
    return subprocess.run(
        [MPIEXEC, "-n", str(ranks), sys.executable, "-m", "mpi4py", *map(str, program)],
        capture_output=True, text=True, timeout=300, check=False, cwd=cwd,
        env={name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
        | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", **OPEN_MPI},
    )  # fmt: skip


def run(scenario, folder, ranks):
    """Return what each rank ended with."""
    done = mpiexec(scenario, folder, ranks)
    assert done.returncode == 0, done.stdout + done.stderr
    found = []
    for rank in range(ranks):
        with np.load(folder / f"rank{rank}.npz") as file:
            found.append(dict(file))
    return found


def assert_same(one, two, tolerance):
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("scenario", "tolerance"), [("masked", 1e-10), ("few", 1e-10), ("single", 1e-5)]
)
def test_any_number_of_ranks_gives_the_numbers_of_one_process(scenario, tolerance, tmp_path):
    alone = program.result(getattr(program, scenario)(None, tmp_path))
    for ranks in (1, 2, 4):
        first, *others = run(scenario, tmp_path / str(ranks), ranks)
        assert_same(first, alone, tolerance)
        for other in others:
            assert_same(first, other, 0)
    if scenario == "masked":
        assert len(alone["history.val_loss"]) > 1
        written = (tmp_path / "2" / "history.csv").read_text().splitlines()
        assert len(written) == 1 + len(alone["history.loss"])


def test_the_program_of_the_docs(tmp_path):
    text = (ROOT / "docs" / "clusters.md").read_text("utf-8")
    _, _, block = text.partition("```py\n# train.py\n")
    (tmp_path / "train.py").write_text(block.partition("```")[0], "utf-8")
    done = start(2, "train.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("accuracy on sequences it never saw: 0.")
    assert list(tmp_path.glob("weights.*"))


def test_a_resumed_run_is_the_run_that_was_not_interrupted(tmp_path):
    whole = run("dropout", tmp_path / "whole", 2)
    pieces = run("resumed", tmp_path / "pieces", 2)
    for one, two in zip(whole, pieces, strict=True):
        assert_same(one, two, 0)
    assert sorted(path.name for path in (tmp_path / "pieces").glob("*run*")) == ["run.safetensors"]


def test_a_rank_that_fails_ends_all_with_its_message(tmp_path):
    done = mpiexec("fails", tmp_path, 2)
    assert done.returncode != 0
    assert "the disk of this rank is full" in done.stderr
    assert "Error on rank 1 of 2" in done.stderr
    assert not list(tmp_path.glob("rank*"))


def test_ranks_with_other_data_are_refused(tmp_path):
    done = mpiexec("other_data", tmp_path, 2)
    assert done.returncode != 0
    assert "the ranks have different batches" in done.stderr


def test_a_ctrl_c_of_one_rank_ends_all_after_the_same_batch(tmp_path):
    first, second = run("interrupted", tmp_path, 2)
    assert_same(first, second, 0)
