"""What an ordinary job says and what it leaves. Short, so that --quick of launch/test.sh can have it."""

import json
import re

import numpy as np
import PIL.Image
import pytest
import torch
from bench import chaos
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from metrics_page import unexplained
from mlsh_mpi.config.overrides import from_dict
from mlsh_mpi.tracking.explained import FILES
from mpi.conftest import ITERATIONS, ORDINARY, but_for_time, rows_of
from mpi.launcher import mpirun

pytestmark = pytest.mark.mpi


def test_the_header_says_who_runs_what_and_how_much(finished_job):
    header = finished_job.result.stdout.split("training  1/")[0]
    lines = dict(line.strip().split(maxsplit=1) for line in header.splitlines())
    assert lines["ranks"].startswith("2 on 1 host (")
    assert re.search(r"MPI\w* .*\d+\.\d+", lines["ranks"])
    assert lines["workers"].startswith("4 in 4 groups")
    assert "moving-bandits, seed 3, on mlsh/MovingBandits-v0" in lines["preset"]
    for part in ("K = 2", "N = 10 (50 for the first 4 iterations)", "W = 9", "U = 1"):
        assert part in lines["hierarchy"]
    assert lines["work"] == f"{ITERATIONS} iterations of 1,000 environment steps: {1000 * ITERATIONS:,} steps"
    assert lines["folder"] == "runs/moving-bandits-seed3"


def test_it_says_one_plain_line_an_iteration(finished_job):
    lines = re.findall(
        r"^training +(\d+)/(\d+)  .*\breturn -?\d+\.\d\d(?:\d\d)?\b.* left$", finished_job.result.stdout, re.MULTILINE
    )
    assert lines == [(str(i + 1), str(ITERATIONS)) for i in range(ITERATIONS)]
    assert not set(finished_job.result.stdout) & set("\r\x1b")
    assert finished_job.result.stderr == ""


def test_it_ends_with_a_table_of_tasks_and_one_of_primitives(finished_job):
    tables = finished_job.result.stdout.split("testing 14/14")[1]
    for word in ("goal=0", "goal=1", "primitive 0", "primitive 1", "without exploration", "entropy", "usage"):
        assert word in tables
    for share in ("environment", "policy", "learning", "communication"):
        assert re.search(rf"{share} \d+%", tables)
    assert (finished_job.folder / "summary.txt").read_text() in finished_job.result.stdout


def test_it_leaves_these_files_and_no_others(finished_job):
    names = {path.name for path in finished_job.folder.iterdir()}
    events = {name for name in names if name.startswith("events.out.tfevents.")}
    files = {
        "checkpoints",
        "config.json",
        "jobs.jsonl",
        "metrics.jsonl",
        "phi.pt",
        "plot.png",
        "report.html",
        "summary.json",
        "summary.txt",
        "lock",
    }
    assert names - events == files
    assert files <= {name.strip("/") for each in FILES for name in each.split(", ")}  # explained on the page
    assert len(events) == 2  # the log, and the picture
    assert [path.name for path in finished_job.cwd.iterdir()] == ["runs"]


def test_the_config_is_the_resolved_one(finished_job):
    config = from_dict(json.loads((finished_job.folder / "config.json").read_text()), "config.json")
    assert (config.preset, config.sampling.groups, config.run.iterations, config.run.seed) == ("moving-bandits", 4, ITERATIONS, 3)


def test_metrics_are_one_flat_object_an_iteration(finished_job):
    rows = rows_of(finished_job.folder)
    assert [row["iteration"] for row in rows] == list(range(1, ITERATIONS + 1))
    assert [row["environment_steps"] for row in rows] == [1000 * (i + 1) for i in range(ITERATIONS)]
    assert [row["schedule/macro_length"] for row in rows] == [50] * 4 + [10] * (ITERATIONS - 4)
    for row in rows:
        assert all(isinstance(value, (int, float)) for value in row.values())
        assert 0 <= row["return/mean"] <= 50
        assert 0 <= row["master/entropy"] <= np.log(2) + 1e-6
        assert row["primitive/usage_0"] + row["primitive/usage_1"] == pytest.approx(1, abs=1e-4)
        assert sum(value for name, value in row.items() if name.startswith("time/")) == pytest.approx(1, abs=1e-3)
    assert sum(row["schedule/joint_groups"] for row in rows) > 0
    assert unexplained(name for row in rows for name in row) == []
    assert all(
        f" ({row['schedule/joint_groups']:.0f} group" in finished_job.result.stdout for row in rows if "return/adapted" in row
    )


def test_tensorboard_reads_the_same_numbers(finished_job):
    events = EventAccumulator(str(finished_job.folder), size_guidance={"scalars": 0})
    events.Reload()
    rows = rows_of(finished_job.folder)
    scalars = events.Scalars("return/mean")
    assert [event.step for event in scalars] == [row["environment_steps"] for row in rows]
    np.testing.assert_allclose([event.value for event in scalars], [row["return/mean"] for row in rows], rtol=1e-5)
    assert {name for row in rows for name in row if "/" in name} <= set(events.Tags()["scalars"])
    (text,) = events.Tensors("settings/text_summary")
    settings = text.tensor_proto.string_val[0].decode()
    assert "| hierarchy.primitives | `2` |" in settings
    assert "| run.seed | `3` |" in settings


def test_the_picture_is_one(finished_job):
    with PIL.Image.open(finished_job.folder / "plot.png") as picture:
        assert picture.format == "PNG"
        picture.load()
        assert min(picture.size) >= 300
        assert np.asarray(picture.convert("L")).std() > 5


def test_the_summary_has_each_task_and_the_separation_matrix(finished_job):
    summary = json.loads((finished_job.folder / "summary.json").read_text())
    assert summary["environment_steps"] == 1000 * ITERATIONS
    assert (summary["masters"], summary["updates"], len(summary["curve"])) == (2, 9, 10)
    assert list(summary["tasks"]) == ["goal=0", "goal=1"]
    for task in summary["tasks"].values():
        assert {"fresh", "adapted", "without_exploration", "entropy", "usage", "forced"} <= set(task)
        assert len(task["forced"]) == len(task["usage"]) == 2
        assert sum(task["usage"]) == pytest.approx(1, abs=1e-3)


def test_phi_loads_as_plain_tensors_by_layer(finished_job):
    saved = torch.load(finished_job.folder / "phi.pt", weights_only=True)
    shapes = {name: tuple(tensor.shape) for name, tensor in saved["primitives"].items()}
    assert shapes == {
        f"{net}.{layer}.{kind}": (2, *shape)
        for net, outputs in (("policy", 5), ("value", 1))
        for layer, widths in enumerate([(6, 64), (64, 64), (64, outputs)])
        for kind, shape in (("weight", widths), ("bias", widths[1:]))
    }
    assert all(tensor.isfinite().all() for tensor in saved["primitives"].values())
    assert saved["environment"] == "mlsh/MovingBandits-v0"


def test_two_runs_with_one_seed_and_layout_are_identical(finished_job, same_job_again):
    one, other = (torch.load(run.folder / "phi.pt", weights_only=True)["primitives"] for run in (finished_job, same_job_again))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert rows_of(finished_job.folder) != []
    one, other = ([but_for_time(row) for row in rows_of(run.folder)] for run in (finished_job, same_job_again))
    assert one == other
    (_, one), (_, other) = (chaos.left(run.folder) for run in (finished_job, same_job_again))
    assert one == other, "tests/bench/chaos.py would take equal runs for different ones"


def test_starting_a_finished_run_again_shows_what_is_there(finished_job):
    before = {path.name: path.read_bytes() for path in finished_job.folder.iterdir() if path.is_file()}
    result = mpirun(2, "-m", "mlsh_mpi.train", *ORDINARY, cwd=finished_job.cwd).succeeded()
    for part in (
        "runs/moving-bandits-seed3",
        "finished",
        "--iterations",
        "--fresh",
        (finished_job.folder / "summary.txt").read_text(),
    ):
        assert part in result.stdout
    assert "training" not in result.stdout
    assert {path.name: path.read_bytes() for path in finished_job.folder.iterdir() if path.is_file()} == before
