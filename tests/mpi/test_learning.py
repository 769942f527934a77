"""The main job learns what it is for."""

import json

import numpy as np
import pytest

from mlsh_mpi.algorithm.ppo import DIAGNOSTICS
from mpi.launcher import PROGRAMS, mpirun

pytestmark = [pytest.mark.mpi, pytest.mark.slow]


def test_the_default_preset_finds_two_distinct_primitives(tmp_path):
    """A shortened run, 4.2 million steps: collapsed, one column would be low and a fresh master's mean near 23."""
    options = ["--iterations", "70", "--whole-episode-iterations", "55", "--folder", "run"]
    mpirun(2, "-m", "mlsh_mpi.train", *options, cwd=tmp_path, patience=1200).succeeded()
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    forced = np.array([task["forced"] for task in summary["tasks"].values()])
    other, own = np.sort(forced, axis=1).T
    assert own.min() >= 35
    assert other.max() <= 8
    assert forced.argmax(1).tolist() in ([0, 1], [1, 0])
    assert summary["adapted"] >= 34
    assert 12 < summary["curve"][0] < 21


def learned(cwd, *arguments):
    """adaptation.json of a test that a job left in `cwd`."""
    mpirun(2, "-m", *arguments, "--folder", str(cwd / "run"), cwd=PROGRAMS, patience=1200).succeeded()
    path = next(cwd.glob("run/**/adaptation.json"), None)
    return json.loads(path.read_text()) if path else json.loads((cwd / "run/summary.json").read_text())


def test_one_policy_from_scratch_solves_cartpole(tmp_path):
    """Gymnasium asks for 475 of 500; random actions keep the pole up for 22 steps."""
    options = "--method scratch --env small_envs:CartPole --episode-length 500 --updates 24 --test-masters 4".split()
    returns = np.array(learned(tmp_path, "mlsh_mpi", "adapt", "moving-bandits", *options)["returns_without_exploration"])
    assert returns[0].max() < 60
    assert returns.max(0).min() >= 475


def test_a_quarter_of_an_episode_an_iteration_solves_cartpole_too(tmp_path):
    """8 lanes of 125 steps, with what tuned PPOs have: 40,000 steps in all."""
    more = "--env small_envs:CartPole --episode-length 500 --macro-length 500 --steps 125 --groups 8 --iterations 40"
    tuned = "learning-rate=0.001 minibatches=4 lam=0.9 adaptive-kl=0.02 max-gradient-norm=1".split()
    tuned = [f"--primitive.{setting}" for setting in (*tuned, "standardise-values", "bootstrap-time-limits")]
    learned(tmp_path, "mlsh_mpi.train", "moving-bandits-shared", *more.split(), "--test-masters", "2", *tuned)
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    returns = [row["return/mean"] for row in rows if "return/mean" in row]
    assert returns[0] < 60
    assert np.mean(returns[-5:]) >= 475
    assert rows[-1]["primitive/explained_variance_0"] <= 1
    assert {f"primitive/{name}_0" for name in DIAGNOSTICS if name != "standard_deviation"} <= set(rows[-1])


def test_rl2_learns_which_of_two_arms_pays_from_what_they_paid(tmp_path):
    """Five pulls an episode, four episodes a trial: 2.5 without a memory, 4.5 for who knows the arm."""
    options = "--env small_envs:Arms --episode-length 5 --trial 4 --macro-length 1 --groups 10 --steps 400".split()
    summary = learned(tmp_path, "mlsh_mpi.train", "moving-bandits-rl2", *options, "--iterations", "50", "--hidden", "32")
    assert summary["curve"][-1] > 3.5
    assert min(task["adapted"] for task in summary["tasks"].values()) > 3.2
    assert summary["curve"][-1] > summary["curve"][0]


def test_maml_takes_one_step_to_the_arm_that_pays(tmp_path):
    """Where the shared policy must be even-handed, one gradient step tells: 2.5 before."""
    options = "--env small_envs:Arms --episode-length 5 --macro-length 1 --groups 10 --steps 200 --inner-rate 1".split()
    summary = learned(tmp_path, "mlsh_mpi.train", "moving-bandits-maml", *options, "--iterations", "60", "--hidden", "32")
    assert summary["curve"][0] == pytest.approx(2.5, abs=0.6)
    assert min(task["curve"]["mean"][1] for task in summary["tasks"].values()) > 3.5
