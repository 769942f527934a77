"""Room for MPI in /dev/shm: what MPICH needs there, what is free, and what killed jobs have left. Needs no MPI.

MPICH does not check whether there is room: a rank without it ends with a bus error or a segmentation fault, without a message.
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
"""Bytes that MPICH 5.0 needs there for each rank of a host."""
RANK_WITH_UCX = 5.4e6
"""The same if UCX also keeps its own part there, which it does for ranks on several hosts (transports.py)."""
STARTING = 600.0
"""Seconds for which a file may belong to this very job, because another of its ranks started earlier."""
OURS = ("mpich_shm_*", "mlsh_mpi-*")
"""Names of the files that jobs create there."""


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
    """Bytes that MPICH needs for the ranks of this host.

    Args:
        ranks: their number.
        one_host: whether all ranks of the job are here.
    """
    return ranks * (RANK if one_host and "UCX_TLS" not in os.environ else RANK_WITH_UCX)


def free_bytes(folder: Path = SHARED) -> tuple[float, float]:
    """Free bytes of the shared memory, and its size.

    Raises:
        OSError: there is none.
    """
    statistics = os.statvfs(folder)
    return statistics.f_bavail * statistics.f_frsize, statistics.f_blocks * statistics.f_frsize


def words(host: str, ranks: int, needed: float, free: float, left: list[Path], folder: Path = SHARED) -> str:
    """The message for a user whose ranks have too little room."""
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
    own_files = []
    with suppress(OSError):
        own_files = [path for path in sorted(_of_jobs(folder)) if path.stat().st_uid == os.getuid()]
    used = _mapped(folder) if own_files else ""
    return [path for path in own_files if str(path) not in used]


def _of_jobs(folder: Path) -> Iterable[Path]:
    return [path for pattern in OURS for path in folder.glob(pattern)]


def _mapped(folder: Path) -> str:
    """The lines of all processes' memory maps that refer to a folder."""
    lines = []
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):  # it has ended, or is somebody else's
            lines += [line for line in maps.read_text(encoding="utf-8", errors="replace").splitlines() if f" {folder}/" in line]
    return "\n".join(lines)


def _recent(folder: Path) -> list[Path]:
    """Files that another rank of this very job may have created."""
    return [path for path in folder.glob(OURS[0]) if path.stat().st_mtime > time.time() - STARTING]


def _bytes(paths: Iterable[Path]) -> float:
    return sum(path.stat().st_blocks * 512 for path in paths)


def _int(environment: Mapping[str, str], name: str) -> int | None:
    return int(environment[name]) if name in environment else None
