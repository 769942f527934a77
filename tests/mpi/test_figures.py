"""A figure from nothing: its runs are made, interrupted, continued, and not made again."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

from mlsh_mpi.reporting.curves import read_points
from mpi.launcher import PROGRAMS, Job, mpirun_path, python

pytestmark = pytest.mark.mpi
RUN = (
    "moving-bandits --groups 2 --steps 100 --whole-episode-iterations 0 --test-masters 2 --test-episodes 1 "
    "--checkpoint-minutes 0.01"
)
PATH = {"PATH": f"{Path(mpirun_path()).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "paper"
    (folder / "fig0").mkdir(parents=True)
    (folder / "paper-curves.csv").write_text("panel,series,x,y,note\nfig0,MLSH,1,3.0,digitised\n")
    runs = [f"{RUN} --iterations 60 --seed {seed} --folder runs/small/run-seed{seed}" for seed in range(3)]
    (folder / "fig0/runs.txt").write_text("\n".join(runs) + "\n")
    (folder / "fig0/tests.txt").write_text(
        "adapt runs/small/run-seed1 --updates 2 --steps 100 --test-masters 2 --folder runs/small/test-seed1\n"
    )
    return folder


def test_a_figure_is_made_from_nothing_and_continues_where_it_was_left(home, tmp_path):
    command = (PROGRAMS / "figures.py", home, "fig0", "--make")
    with Job([sys.executable, *map(str, command)], tmp_path, PATH) as job:
        job.wait_for("fig0 1/4  finished runs/small/run-seed")
        job.signal("SIGINT")
        left = job.wait()
    assert left.code == 2
    assert "runs of fig0 are not finished; the same command continues them" in left.told[-1]
    assert "FAILED" not in left.stdout

    again = python(*command, cwd=tmp_path, **PATH).succeeded().stdout
    assert re.match(r"fig0: [23] runs to make\n", again)
    assert "drawn: paper/fig0/fig0.png" in again
    curves = {(curve.series, curve.seed, curve.task) for curve in read_points(home / "fig0/curves.csv")}
    assert curves == {("small/run", s, "") for s in range(3)} | {("small/test", 1, f"goal={goal}") for goal in (0, 1)}
    cost = json.loads((home / "fig0/cost.json").read_text())
    assert set(cost) == {"small/run-seed0", "small/run-seed1", "small/run-seed2", "small/test-seed1"}
    assert all(seconds > 0 for seconds in cost.values())
    assert python(*command, cwd=tmp_path, **PATH).succeeded().stdout == "drawn: paper/fig0/fig0.png\n"


def test_a_figure_of_tests_alone_is_made(home, tmp_path):
    (home / "fig0/runs.txt").unlink()
    test = "adapt moving-bandits --method scratch --updates 2 --steps 100 --test-masters 2 --folder runs/small/test-seed0"
    (home / "fig0/tests.txt").write_text(f"{test}\n")
    said = python(PROGRAMS / "figures.py", home, "fig0", "--make", cwd=tmp_path, **PATH).succeeded().stdout
    assert said.startswith("fig0: 1 runs to make\n")
    assert {curve.series for curve in read_points(home / "fig0/curves.csv")} == {"small/test"}


def test_a_run_that_fails_is_named_and_the_others_are_made(home, tmp_path):
    (home / "fig0/tests.txt").unlink()
    good = f"{RUN} --iterations 2 --folder runs/small/run-seed0"
    (home / "fig0/runs.txt").write_text(f"{good}\nmoving-bandits --itrations 2 --folder runs/small/run-seed1\n")
    result = python(PROGRAMS / "figures.py", home, "fig0", "--make", cwd=tmp_path, **PATH)
    assert result.code == 2
    assert "FAILED with exit code 2, see runs/small/console/run-seed1.txt: runs/small/run-seed1" in result.stdout
    assert "--itrations" in (tmp_path / "runs/small/console/run-seed1.txt").read_text()
    assert "1 runs of fig0 are not finished" in result.told[-1]
    assert [curve.seed for curve in read_points(home / "fig0/curves.csv")] == [0]
