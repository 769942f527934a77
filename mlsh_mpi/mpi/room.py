"""Room for MPI in /dev/shm: what MPICH needs there, what is free, and what killed jobs have left. Needs no MPI.

MPICH does not look whether there is room: a rank that touches memory which does not exist ends with a bus error or a
segmentation fault, without a word.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from mlsh_mpi.mpi.launchers import is_first_here, promised_ranks

SHARED = Path("/dev/shm")
RANK = 1.06e6
"""Bytes that MPICH 5.0 takes there for each rank of a host."""
RANK_WITH_UCX = 5.4e6
"""The same where UCX keeps its own part there too, which it does for ranks on several hosts (transports.py)."""
STARTING = 600.0
"""Seconds for which a file may be of this very job, another rank of which has come here earlier."""
OURS = ("mpich_shm_*", "mlsh_mpi-*")
"""Names of what jobs make there."""


def lack_of_room(environment: Mapping[str, str], folder: Path = SHARED) -> str | None:
    """Why MPICH cannot start here, as a sentence; None if it can, or if another MPI or no launcher has started this process.

    Args:
        environment: environment variables, among them those of the launcher.
        folder: the shared memory.
    """
    ranks = _int(environment, "MPI_LOCALNRANKS")
    if ranks is None:
        return None
    try:
        needed = needed_bytes(ranks, one_host=ranks == (promised_ranks(environment) or ranks))
        free, size = free_bytes(folder)
        free += 0 if is_first_here(environment) else _bytes(_recent(folder))
    except OSError:
        return None
    if free >= RANK * ranks and size >= needed:
        return None
    return words(socket.gethostname(), ranks, needed, min(free, size), leftovers(folder), folder)


def needed_bytes(ranks: int, one_host: bool) -> float:
    """What MPICH takes for the ranks of this host.

    Args:
        ranks: their number.
        one_host: whether the job has no others.
    """
    return ranks * (RANK if one_host and "UCX_TLS" not in os.environ else RANK_WITH_UCX)


def free_bytes(folder: Path = SHARED) -> tuple[float, float]:
    """Free bytes of the shared memory, and its size.

    Raises:
        OSError: there is none.
    """
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def words(host: str, ranks: int, needed: float, free: float, left: list[Path], folder: Path = SHARED) -> str:
    """What to tell a user whose ranks have too little room."""
    cure = "start a container with more (docker run --shm-size=1g, or --ipc=host), or fewer ranks"
    if left:
        cure += f", or remove what killed jobs have left there: {listed(left)}"
    return f"MPI needs {needed / 1e6:.1f} MB in {folder} for {ranks} ranks, but {host} has {free / 1e6:.1f} MB there: {cure}"


def listed(left: list[Path]) -> str:
    """The command that removes leftovers; it names a few of many."""
    more = f" (and {len(left) - 3} more)" if len(left) > 3 else ""
    return f"rm -r {' '.join(map(str, left[:3]))}{more}"


def leftovers(folder: Path = SHARED) -> list[Path]:
    """Files of this user's jobs in the shared memory that no process uses any more: their jobs were killed."""
    found = []
    with suppress(OSError):
        found = [path for path in sorted(_of_jobs(folder)) if path.stat().st_uid == os.getuid()]
    used = _mapped(folder) if found else ""
    return [path for path in found if str(path) not in used]


def _of_jobs(folder: Path) -> Iterable[Path]:
    return [path for pattern in OURS for path in folder.glob(pattern)]


def _mapped(folder: Path) -> str:
    """The lines of all processes' memory maps that lie in a folder."""
    lines = []
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):  # it has ended, or is somebody else's
            lines += [line for line in maps.read_text(encoding="utf-8", errors="replace").splitlines() if f" {folder}/" in line]
    return "\n".join(lines)


def _recent(folder: Path) -> list[Path]:
    """Files that another rank of this very job may have made."""
    return [path for path in folder.glob(OURS[0]) if path.stat().st_mtime > time.time() - STARTING]


def _bytes(paths: Iterable[Path]) -> float:
    return sum(path.stat().st_blocks * 512 for path in paths)


def _int(environment: Mapping[str, str], name: str) -> int | None:
    return int(environment[name]) if name in environment else None
