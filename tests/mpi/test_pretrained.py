"""The trained primitives that come with the code: each does its own, and fresh masters use them, without any training."""

import json
from pathlib import Path

import pytest

from mpi.launcher import mpirun_each

pytestmark = [pytest.mark.mpi, pytest.mark.slow]
PRIMITIVES = Path(__file__).resolve().parents[2] / "launch" / "paper" / "primitives"


TESTS = {
    "moving-bandits": "--updates 6",
    "four-rooms": "--held-out --updates 6 --test-masters 10 --macro-length 2 --exploration 0.02",
    "ant-twowalk": "--updates 1 --test-masters 4 --test-episodes 2 --steps 1000",
}


@pytest.fixture(scope="module")
def reached(tmp_path_factory):
    """The summary of each of the tests."""
    cwd, summaries = tmp_path_factory.mktemp("shipped"), {}
    commands = [("-m", "mlsh_mpi", "adapt", PRIMITIVES / f"{name}.pt", *options.split()) for name, options in TESTS.items()]
    for name, result in zip(TESTS, mpirun_each(2, *commands, cwd=cwd), strict=True):
        result.succeeded()
        (summary,) = (cwd / "runs" / name / "adapt").glob("*/summary.json")
        summaries[name] = json.loads(summary.read_text())
    return summaries


def test_bandits_are_mastered_in_a_few_updates(reached):
    summary = reached["moving-bandits"]
    assert summary["curve"][0] < 20
    for task in summary["tasks"].values():
        assert task["adapted"] > 37
        assert min(task["forced"]) < 6 < 38 < max(task["forced"])


def test_unseen_rooms_are_found_by_masters_over_blind_directions(reached):
    curve = reached["four-rooms"]["curve"]
    assert curve[0] < 8
    assert curve[-1] > 15


def test_each_of_the_ants_primitives_walks_to_a_target_of_its_own(reached):
    ahead, left = (task["forced"] for task in reached["ant-twowalk"]["tasks"].values())
    assert min(ahead[0], left[1]) > -0.5
    assert max(ahead[1], left[0]) < -0.75
