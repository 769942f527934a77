"""The log of a run that goes on, from what is left of the earlier one."""

import os
import subprocess
import sys

import pytest

from mlsh_mpi.mpi.launchers import RANK_VARIABLES
from mlsh_mpi.tracking.logs import Log
from mlsh_mpi.tracking.metrics_file import METRICS, read_rows


def logged(folder, iterations, done=0):
    """Logs iterations from `done` on; returns the totals."""
    log = Log(folder, "training", 9, 100, done)
    for iteration in range(done + 1, iterations + 1):
        log.iteration({"iteration": iteration, "return/mean": 1.0, "return/adapted/$x [left]": 2.0})
    log.close()
    return log.totals


@pytest.mark.parametrize("damage", ["no file", "empty", "middle", "none"])
def test_totals_do_not_depend_on_what_is_left_of_the_log(tmp_path, capsys, damage):
    logged(tmp_path, 4)
    path = tmp_path / METRICS
    lines = path.read_text().splitlines(keepends=True)
    if damage == "no file":
        path.unlink()
    elif damage != "none":
        path.write_text("" if damage == "empty" else lines[0] + lines[1][:-5] + "\n" + "".join(lines[2:]))
    capsys.readouterr()
    totals = logged(tmp_path, 6, done=4)
    assert (totals["iterations"], totals["environment_steps"]) == (6, 600)
    assert (totals["seconds"] is None) == (damage in ("no file", "empty"))
    said = capsys.readouterr().err
    lost = {"no file": 4, "empty": 4, "middle": 1, "none": 0}[damage]
    assert (f"{lost} of 4 iterations are missing" in said) == (lost > 0)
    assert ("line 2 cannot be read" in said) == (damage == "middle")
    assert len(read_rows(path, pytest.fail)) == 6 - lost


def test_what_was_logged_after_the_checkpoint_is_removed(tmp_path):
    logged(tmp_path, 5)
    logged(tmp_path, 4, done=3)
    assert [row["iteration"] for row in read_rows(tmp_path / METRICS, pytest.fail)] == [1, 2, 3, 4]


BAR = """
from mlsh_mpi.tracking.logs import Bar
bar = Bar("training", 2)
bar.advance("one")
bar.advance("two")
bar.close()
"""


@pytest.mark.parametrize("launcher", [{}, {"OMPI_COMM_WORLD_RANK": "0"}, {"PMI_RANK": "0"}], ids=str)
def test_a_bar_needs_a_terminal_of_ones_own(launcher):
    """Open MPI gives ranks a terminal, whatever the output of mpirun goes to."""
    ours, its = os.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES} | {"TERM": "xterm"}
    subprocess.run([sys.executable, "-c", BAR], stdout=its, env=environment | launcher, check=True, timeout=120)
    os.close(its)
    text = os.read(ours, 100_000).decode()
    os.close(ours)
    assert ("training 1/2  one" in text) == bool(launcher)
    assert ("\x1b[" in text) != bool(launcher)
