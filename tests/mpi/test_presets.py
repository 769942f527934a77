"""Every preset with a world of its own: it starts, is stopped after an iteration, continues, and ends with its tables."""

import json

import gymnasium as gym
import numpy as np
import pytest
import torch

import mlsh_envs  # noqa: F401 (registers the environments)
from metrics_page import unexplained
from mlsh_mpi.config.presets import PRESETS
from mpi.launcher import mpirun_each

pytestmark = pytest.mark.mpi
NAMES = [name for name in PRESETS if not name.startswith("moving-bandits")]
SMALL = "--groups 2 --workers 1 --iterations 2 --warmup 1 --joint 1 --test-masters 2 --test-episodes 1".split()
BRIEF = "--primitive.epochs 1 --primitive.minibatches 2 --master.epochs 1".split()


def length_of(name):
    """Steps of an episode here: two decisions of a master. What goes wrong only in longer ones is the environments' affair."""
    config = PRESETS[name].config
    longest = gym.spec(config.environment.env).max_episode_steps
    config.check(longest)
    return min(2 * config.hierarchy.macro_length, longest)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Where each preset has been trained, what it said until it was stopped, and what the job that continued it said."""
    cwd, commands = tmp_path_factory.mktemp("presets"), []
    for name in NAMES:
        first = ("--whole-episode-iterations", "1") if PRESETS[name].config.hierarchy.whole_episode_iterations else ()
        more = ("--steps", length_of(name), "--episode-length", length_of(name), "--folder", name)
        commands.append(("-m", "mlsh_mpi.train", name, *SMALL, *BRIEF, *first, *more))
    stopped = mpirun_each(2, *((*command, "--time-limit", "0.00001") for command in commands), cwd=cwd)
    results = zip(NAMES, stopped, mpirun_each(2, *commands, cwd=cwd), strict=True)
    return {name: (cwd / name, stopped, again) for name, stopped, again in results}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_trains_stops_continues_and_finishes(trained, name):
    config, length = PRESETS[name].config, length_of(name)
    folder, stopped, again = trained[name]
    assert stopped.code == 75, stopped.stderr
    assert "training 1/2" in stopped.stdout
    assert "training 2/2" not in stopped.stdout
    again.succeeded()
    assert "from the checkpoint after iteration 1" in again.stdout
    assert "training 1/2" not in again.stdout
    assert "training 2/2" in again.stdout
    assert again.stderr == ""

    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["environment_steps"] for row in rows] == [2 * length, 4 * length]
    assert all(np.isfinite(row["return/mean"]) for row in rows)
    assert unexplained(metric for row in rows for metric in row) == []
    saved = torch.load(folder / "phi.pt", weights_only=True)
    assert saved["primitives"]["policy.0.weight"].shape[0] == config.hierarchy.primitives
    assert (saved["observation_filter"] is not None) == config.network.filter_observations
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["iterations"] == 2
    assert len(summary["tasks"]) >= 1
    assert (folder / "summary.txt").read_text() in again.stdout
    assert (folder / "plot.png").stat().st_size > 5000


def test_the_presets_are_the_papers_experiments():
    """N, K, W and U of each (paper, section 6); K of mazes and humanoids is inferred from its figures."""
    expected = {
        "four-rooms": (25, 4, 20, 30),
        "ant-twowalk-paper": (200, 2, 20, 40),
        "ant-mazes-paper": (200, 3, 20, 40),
        "ant-obstacle-course-paper": (200, 2, 20, 40),
        "humanoid-walk-crawl-paper": (200, 2, 20, 40),
        "humanoid-combination-paper": (200, 2, 20, 40),
    }
    ours = {name.removesuffix("-paper") for name in expected} - {"four-rooms"}
    others = ["four-rooms-blind", "key-door", "allwalk", "ant-movement", "walker-obstacles", "swimmer-bandits"]
    assert sorted(NAMES) == sorted([*expected, *ours, *others])
    for name, values in expected.items():
        hierarchy, sampling = PRESETS[name].config.hierarchy, PRESETS[name].config.sampling
        assert (hierarchy.macro_length, hierarchy.primitives, hierarchy.warmup, hierarchy.joint) == values
        assert (sampling.groups, sampling.workers) == (10, 12)
        settings = PRESETS[name].config.environment.env_settings
        assert not any("integrator" in setting for setting in settings), "it is RK4"
