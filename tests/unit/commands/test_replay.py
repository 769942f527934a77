"""Where a film without a name goes."""

import pytest

from mlsh_mpi.commands.adapt import run_of
from mlsh_mpi.commands.replay import free_name
from mlsh_mpi.config import adaptation
from mlsh_mpi.config.adaptation import AdaptConfig


def test_the_first_free_name_is_taken(tmp_path):
    names = []
    for _ in range(3):
        names.append(free_name(tmp_path))
        names[-1].touch()
    assert [name.name for name in names] == ["replay.mp4", "replay-2.mp4", "replay-3.mp4"]


@pytest.mark.parametrize(
    ("source", "folder"),
    [("some/phi.pt", "some"), ("elsewhere/ant-mazes.pt", "runs/ant-mazes"), ("", "runs/moving-bandits-scratch-seed0")],
)
def test_it_is_a_runs_own_folder_or_one_below_runs(source, folder):
    test = adaptation.AdaptationSettings(method=None if source else "scratch")
    assert str(run_of(AdaptConfig(source=source, test=test))) == folder
