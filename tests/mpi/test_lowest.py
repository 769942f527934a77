"""With the lowest versions that setup.py allows, what is learned is what the ordinary ones learn."""

import contextlib
import os
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from mpi.launcher import PROGRAMS, Job

pytestmark = [
    pytest.mark.mpi,
    pytest.mark.skipif(
        os.environ.get("MLSH_CONSTRAINTS") != "launch/lowest.txt",
        reason="compares the lowest versions with the ordinary ones: launch/test.sh --lowest",
    ),
]
ROOT = Path(__file__).resolve().parents[2]
ORDINARY = ROOT / ".venv"


def test_the_versions_here_are_the_lowest():
    lines = (line.partition("#")[0].strip() for line in (ROOT / "launch" / "lowest.txt").read_text().splitlines())
    pins = {pin.name: pin.specifier for pin in map(Requirement, filter(None, lines))}
    here = {}
    for name in pins:
        with contextlib.suppress(metadata.PackageNotFoundError):  # the other MPI's
            here[name] = metadata.version(name)
    assert {"torch", "numpy", "gymnasium", "mpi4py"} <= here.keys()
    assert {name: version for name, version in here.items() if version not in pins[name]} == {}


def learned(environment, folder):
    """Parameters and Adam's moments of the primitives after a short training on two ranks."""
    folder.mkdir()
    programs = environment / "bin"
    command = [programs / "mpirun", "-np", 2, programs / "python", PROGRAMS / "corridor.py", "run"]
    with Job([str(word) for word in command], folder) as job:
        assert job.wait().succeeded().stderr == ""
    return torch.load(folder / "run" / "checkpoints" / "iteration-00000010.pt", weights_only=True)["primitives"]


def test_they_learn_what_the_ordinary_versions_learn(tmp_path):
    if not (ORDINARY / "bin" / "mpirun").exists():
        missing = f"there is no ordinary environment with an MPI in {ORDINARY}: run launch/setup.sh first"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    lowest, ordinary = learned(Path(sys.prefix), tmp_path / "lowest"), learned(ORDINARY, tmp_path / "ordinary")
    assert (ordinary["mean"].abs().amax(1) > 1e-2).all()
    for name in ("parameters", "mean", "square"):
        torch.testing.assert_close(lowest[name], ordinary[name], rtol=0, atol=1e-6)
