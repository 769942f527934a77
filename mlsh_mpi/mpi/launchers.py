"""The launcher: its processes above this rank (mpirun, and its proxy on each host), and how it numbers ranks. Needs no MPI."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from itertools import islice, takewhile
from pathlib import Path

NAMES = {
    *("mpirun", "mpiexec", "mpiexec.hydra", "hydra_pmi_proxy", "hydra_bstrap_pr", "srun"),
    *("prterun", "prted", "orterun", "orted"),
}
"""Names of the launchers' processes, cut to the length that the kernel keeps."""
STEPS = {"slurmstepd"}
"""The process that starts the ranks on a host for srun. SLURM itself ends it."""
RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID")
"""Environment variables in which launchers give the number of a rank."""


def promised_ranks(environment: Mapping[str, str]) -> int | None:
    """Number of ranks according to the launcher; None if it does not say."""
    names = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"]
    if "SLURM_PROCID" in environment:
        names.append("SLURM_STEP_NUM_TASKS")
    return _first_number(environment, *names)


def promised_ranks_here(environment: Mapping[str, str]) -> int | None:
    """Number of ranks on this host according to the launcher; None if it does not say. Without a launcher there is one."""
    if not environment.keys() & {*RANK_VARIABLES}:
        return 1
    ranks = _first_number(environment, "MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE")
    if ranks is None and environment.get("SLURM_STEP_NUM_NODES") == "1":  # srun's, which mpirun may inherit from a batch job
        return promised_ranks(environment)
    return ranks


def is_first_here(environment: Mapping[str, str]) -> bool:
    """Whether this is the lowest rank of its host, or the only one, as far as the launcher says so."""
    names = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID", *RANK_VARIABLES)
    return _first_number(environment, *names) in (None, 0)


def _first_number(environment: Mapping[str, str], *names: str) -> int | None:
    return next((int(environment[name]) for name in names if name in environment), None)


def above() -> list[Path]:
    """The folders in /proc of the launcher's processes, the nearest first. Empty if the rank was started without a launcher."""
    return list(takewhile(lambda process: _name(process) in NAMES, islice(_ancestors(), 6)))


def _ancestors() -> Iterator[Path]:
    """The folders in /proc of the processes above this one, as far as they can be seen."""
    process = Path("/proc/self")
    with contextlib.suppress(OSError, ValueError, KeyError):
        while (process := Path("/proc") / _status(process)["PPid"]).name != "0":
            yield process


class Lifeline:
    """Tells whether the launcher process that started this rank on this host still exists."""

    def __init__(self) -> None:
        launchers = (process for process in islice(_ancestors(), 6) if _name(process) in NAMES | STEPS)
        self._process = next(launchers, None) if os.environ.keys() & {*RANK_VARIABLES} else None
        self._since = _since(self._process) if self._process else None

    def gone(self) -> bool:
        """Whether there was one and it has ended."""
        return self._process is not None and _since(self._process) != self._since


def _since(process: Path) -> str | None:
    """When a process began, to distinguish it from a later one with the same number; None if it has ended."""
    try:
        state, *rest = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else rest[18]


def kill_later(seconds: float) -> None:
    """Kills the launcher's processes that still exist after this time: one that waits for an unreachable host would never end."""
    still = []
    for path in above():
        with contextlib.suppress(OSError):  # the process has ended meanwhile
            still.append(f'[ "$(cat {path}/comm)" != "{_name(path)}" ] || kill -9 {path.name}')
    if still:
        script = f"exec </dev/null >/dev/null 2>&1; sleep {seconds}; {'; '.join(still)}"
        local = {"PATH": "/usr/bin:/bin"}  # the network may be gone, and with it the rest of PATH
        subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True, env=local)


def _status(process: Path) -> dict[str, str]:
    lines = (process / "status").read_text(encoding="utf-8").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def _name(process: Path) -> str:
    """A process's name in the kernel, given its folder in /proc; empty if it has ended."""
    try:
        return (process / "comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""
