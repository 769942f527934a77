"""One ordinary job, shared by the tests that look at what it said and left."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from mpi.launcher import Result, mpirun

ITERATIONS = 12
ORDINARY = f"--groups 4 --steps 250 --iterations {ITERATIONS} --whole-episode-iterations 4 --test-masters 2 --seed 3".split()


@dataclass(frozen=True)
class FinishedJob:
    """A job that ended well."""

    result: Result
    cwd: Path
    folder: Path


def ordinary_job(cwd: Path, *more: object) -> FinishedJob:
    """The main job with little to do, on two ranks."""
    result = mpirun(2, "-m", "mlsh_mpi.train", *ORDINARY, *more, cwd=cwd).succeeded()
    return FinishedJob(result, cwd, cwd / "runs" / "moving-bandits-seed3")


def but_for_time(metrics: dict[str, float]) -> dict[str, float]:
    """The metrics of an iteration that do not depend on how fast it was, or on who talked to whom."""
    left_out = ("time/", "communication/", "speed/", "seconds", "evaluation/seconds", "check")
    return {name: value for name, value in metrics.items() if not name.startswith(left_out)}


def rows_of(folder):
    """metrics.jsonl, read as strictly as JSON is meant."""

    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="session")
def finished_job(tmp_path_factory):
    return ordinary_job(tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="session")
def same_job_again(tmp_path_factory):
    """Seed and layout are those of `finished_job`."""
    return ordinary_job(tmp_path_factory.mktemp("again"))
