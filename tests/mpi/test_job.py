"""The main job: on odd numbers of ranks and on many, in a folder that is in use, and in an environment of one's own."""

import json
import sys

import pytest
import torch

from mpi.conftest import rows_of
from mpi.launcher import PROGRAMS, Job, mpirun, mpirun_each, mpirun_path

pytestmark = pytest.mark.mpi
TRAIN = ("-m", "mlsh_mpi.train")
BRIEF = "--primitive.epochs 1 --primitive.minibatches 2 --master.epochs 1".split()
TINY = ["--folder", "run", *"--steps 50 --iterations 3 --whole-episode-iterations 0 --warmup 1 --test-masters 2".split(), *BRIEF]
LASTING = "--groups 2 --iterations 100000 --folder run".split()


@pytest.mark.parametrize(("ranks", "groups"), [(3, 5), (7, 4)])
def test_fresh_starts_over_on_odd_numbers_of_ranks_and_keeps_what_was_there(tmp_path, ranks, groups):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    result = mpirun(ranks, *TRAIN, *TINY, "--groups", groups, "--fresh", cwd=tmp_path).succeeded()
    expected = max(ranks, groups)
    assert f"{expected} in {expected} groups" in result.stdout
    assert f"{ranks} on 1 host" in result.stdout
    assert [path.name for path in (tmp_path / "run.1").iterdir()] == ["config.json"]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["masters"] == ranks


@pytest.mark.slow
def test_sixty_four_ranks_sample_a_task_each(tmp_path):
    result = mpirun(64, *TRAIN, *TINY, "--groups", "4", cwd=tmp_path, patience=1800).succeeded()
    assert "64 in 64 groups" in result.stdout
    assert [row["environment_steps"] for row in rows_of(tmp_path / "run")] == [3200, 6400, 9600]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["masters"] == 64


def test_a_second_job_in_a_folder_in_use_is_refused(tmp_path):
    with Job([mpirun_path(), "-np", "1", sys.executable, *TRAIN, *LASTING], tmp_path) as first:
        first.wait_for("training      1/")
        results = [mpirun(2, *TRAIN, *LASTING, cwd=tmp_path), mpirun(1, *TRAIN, *LASTING, "--fresh", cwd=tmp_path)]
        assert first.process.poll() is None
    for result in results:
        assert result.code == 2
        (line,) = result.told
        for part in ("another process is writing to run", "--seed or --folder"):
            assert part in line
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


LAYERS = {"Walk": {"policy.2.bias": (3, 3)}, "Push": {"policy.2.bias": (3, 2), "policy.log_std": (3, 2)}}


@pytest.fixture(scope="module")
def own_environments(tmp_path_factory):
    """Runs in environments that are not ours, in folders by their names."""
    options = (
        "--groups 3 --steps 120 --iterations 4 --whole-episode-iterations 1 --warmup 1 --test-masters 3 --primitives 3".split()
    )
    lengths = "--episode-length 30 --macro-length 7 --filter-observations".split()
    folder = tmp_path_factory.mktemp("own")
    commands = [(*TRAIN, "--env", f"small_envs:{env}", *options, *lengths, *BRIEF, "--folder", folder / env) for env in LAYERS]
    for result in mpirun_each(2, *commands, cwd=PROGRAMS):
        result.succeeded()
    return folder


@pytest.mark.parametrize("env", LAYERS)
def test_an_environment_of_ones_own_trains_with_early_ends_and_a_filter(own_environments, env):
    folder, layers = own_environments / env, LAYERS[env]
    saved = torch.load(folder / "phi.pt", weights_only=True)
    assert {name: tuple(saved["primitives"][name].shape) for name in layers} == layers
    assert saved["environment"] == env
    assert saved["observation_filter"]["count"] == 4 * 3 * 120
    assert saved["observation_filter"]["total"].shape == (2,)
    rows = rows_of(folder)
    assert all(0 < row["episode/length"] < 30 for row in rows)
    assert all(f"primitive/usage_{k}" in row for row in rows for k in range(3))
    assert all(0 <= row.get("info/is_success", -1) <= 1 for row in rows) == (env == "Walk")
    summary = json.loads((folder / "summary.json").read_text())
    tasks = 3 if env == "Push" else 2  # Walk does not list its two, but draws them
    assert [len(task["forced"]) for task in summary["tasks"].values()] == [3] * tasks
    assert list(summary["info"]) == (["is_success", "is_success/adapted"] if env == "Walk" else [])
    assert (folder / "plot.png").stat().st_size > 5000
