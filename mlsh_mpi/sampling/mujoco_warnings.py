"""MuJoCo's warnings: each rank prints each kind once, and none goes to a file MUJOCO_LOG.TXT in the current folder."""

from __future__ import annotations

import re
import sys

from mlsh_mpi.output import warn

_told: set[str] = set()


def tell_once() -> None:
    """Handles MuJoCo's warnings, if MuJoCo is loaded and nobody else handles them."""
    mujoco = sys.modules.get("mujoco")
    if mujoco is not None and hasattr(mujoco, "get_mju_user_warning") and mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_tell)


def _tell(text: str) -> None:
    """Prints a warning, unless it differs only in its numbers from an earlier one."""
    kind = re.sub(r"-?\d+(\.\d+)?(e[+-]?\d+)?", "#", text)
    if kind not in _told:
        _told.add(kind)
        warn(f"mlsh_mpi: MuJoCo warns: {' '.join(text.split())} (warnings that differ only in their numbers are not repeated)")
