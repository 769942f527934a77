"""The picture of several runs, from what they have logged."""

import json
import sys

import numpy as np
import pytest

from mlsh_mpi.commands.seeds import main
from mlsh_mpi.errors import UserError
from mlsh_mpi.reporting.seeds import Run, draw_seeds


@pytest.fixture
def runs(tmp_path):
    """Three seeds of one preset, of which one is not finished, and one run of another."""
    for index, name in enumerate(("ant-seed0", "ant-seed1", "ant-seed12", "bandits")):
        folder = tmp_path / name
        folder.mkdir()
        rows = [{"iteration": i, "environment_steps": 1000 * i, "return/mean": 1.0} for i in range(1, 8 - index)]
        rows[2]["return/adapted"] = rows[3]["return/adapted"] = 5.0 + index
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if name != "ant-seed1":
            (folder / "summary.json").write_text(json.dumps({"curve": [1.0, 2.0 + index]}))
    return [tmp_path / name for name in ("ant-seed0", "ant-seed1", "ant-seed12", "bandits")]


def test_a_run_is_read_with_what_it_has(runs):
    read = [Run.read(folder) for folder in runs]
    assert [run.name for run in read] == ["ant", "ant", "ant", "bandits"]
    np.testing.assert_array_equal(read[1].curves["return/adapted"], [[3000, 6], [4000, 6]])
    assert len(read[1].curves["return/mean"]) == 6
    assert [run.test.size for run in read] == [2, 0, 2, 2]


def test_runs_that_differ_in_the_seed_share_a_curve(runs, tmp_path, monkeypatch):
    labels = []
    monkeypatch.setattr("mlsh_mpi.reporting.seeds._mean_and_band", lambda *given: labels.append(given[-1]))
    draw_seeds(tmp_path / "plot.png", [Run.read(folder) for folder in runs])
    assert labels == ["ant, 3 runs", "ant, 2 tested", "bandits, 1 run", "bandits, 1 tested"]


def test_the_command_writes_the_picture_and_names_mistakes(runs, tmp_path, monkeypatch, capsys):
    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["seeds", *map(str, arguments)])
        main()

    command(*runs, "--picture", tmp_path / "new" / "seeds.png")
    assert (tmp_path / "new" / "seeds.png").stat().st_size > 10_000
    command(tmp_path, *runs, "--picture", tmp_path / "seeds.png")
    told = capsys.readouterr()
    assert (told.out.splitlines()[-1], "left out: " in told.err) == (f"4 runs are in {tmp_path / 'seeds.png'}", True)
    for arguments, says in (
        ([], "name run folders"),
        (["a", "--picture"], "--picture, which takes a path\n"),
        ([tmp_path], "holds no run"),
        ([*runs, "--picture", "a.doc"], "a.doc"),
    ):
        with pytest.raises(SystemExit) as ended:
            command(*arguments)
        assert ended.value.code == 2
        assert says in capsys.readouterr().err


def test_a_folder_without_a_run_is_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        Run.read(tmp_path)
