"""The main job learns what it is for."""

import json

import numpy as np
import pytest

from mpi.launcher import mpirun

pytestmark = [pytest.mark.mpi, pytest.mark.slow]


def test_the_default_preset_finds_two_distinct_primitives(tmp_path):
    """A shortened run, 4.2 million steps: collapsed, one column would be low and a fresh master's mean near 23."""
    options = ["--iterations", "70", "--forming-iterations", "55", "--folder", "run"]
    mpirun(2, "-m", "mlsh_mpi.train", *options, cwd=tmp_path, patience=600).succeeded()
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    forced = np.array([task["forced"] for task in summary["tasks"].values()])
    other, own = np.sort(forced, axis=1).T
    assert own.min() >= 35
    assert other.max() <= 8
    assert forced.argmax(1).tolist() in ([0, 1], [1, 0])
    assert summary["adapted"] >= 34
    assert 12 < summary["curve"][0] < 21
