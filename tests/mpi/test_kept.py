"""What a run has kept may be damaged between two starts; names of tasks, and how an environment ends, cost nothing."""

import pytest

from mpi.launcher import PROGRAMS, python

pytestmark = pytest.mark.mpi
SCENES = [
    "longer",
    "log",
    "names",
    "test",
    "unfit moving-bandits",
    "unfit moving-bandits-rl2",
    "unfit moving-bandits-maml",
    "closing Unclosable",
    "closing Leaves",
]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the program says of its scenes; one process has them all, because most of a short run is its start."""
    return python(PROGRAMS / "kept.py", cwd=tmp_path_factory.mktemp("kept")).succeeded().stdout


@pytest.mark.parametrize("scene", SCENES)
def test_a_run_is_as_it_should_be_after_all(told, scene):
    assert f"{scene}: as it should be" in told.splitlines(), told
