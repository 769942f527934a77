"""Runs that are slow until they are told to hurry: what happens to them meanwhile does not depend on how fast the machine is."""

import shutil
from pathlib import Path

from mpi.launcher import PROGRAMS

PACED = ("--env", "paced:Napping", "--episode-length", "50", "--folder", "runs/moving-bandits-seed3")
"""Arguments of a run whose pace is set; it learns the same at any."""


def slowly(cwd: Path, nap: float = 0.1) -> None:
    """A paced run in this folder will wait so many seconds at each reset: five times in an iteration of 250 steps of a worker."""
    shutil.copy(PROGRAMS / "paced.py", cwd)
    (cwd / "nap").write_text(str(nap))


def hurry(cwd: Path) -> None:
    """The run in this folder makes haste from now on."""
    (cwd / "nap").unlink()
