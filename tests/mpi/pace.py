"""Runs that are slow until they are told to hurry: what happens to them meanwhile does not depend on how fast the machine is."""

import shutil
from pathlib import Path

from mpi.launcher import PROGRAMS

PACED = ("--env", "paced:Napping", "--episode-length", "50")
"""Arguments of a run whose pace is set; it learns the same at any."""


def slowly(cwd: Path) -> None:
    """A paced run in this folder will take half a second or more for an iteration of a few episodes a rank."""
    shutil.copy(PROGRAMS / "paced.py", cwd)
    (cwd / "nap").touch()


def hurry(cwd: Path) -> None:
    """The run in this folder makes haste from now on."""
    (cwd / "nap").unlink()
