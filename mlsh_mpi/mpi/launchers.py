"""The launcher: its processes above this rank (mpirun, and its proxy on each host), and how it numbers ranks. Needs no MPI."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

NAMES = {
    *("mpirun", "mpiexec", "mpiexec.hydra", "hydra_pmi_proxy", "hydra_bstrap_pr", "srun"),
    *("prterun", "prted", "orterun", "orted"),
}
"""Names of the launchers' processes, cut to the length that the kernel keeps."""
RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID")
"""Environment variables in which launchers leave the number of a rank."""


def above() -> list[Path]:
    """The folders in /proc of these processes, the nearest first. Empty if the rank was started by other means, or by hand."""
    found: list[Path] = []
    process = Path("/proc/self")
    with contextlib.suppress(OSError, ValueError):
        for _ in range(6):
            lines = (process / "status").read_text(encoding="utf-8").splitlines()
            status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            process = Path("/proc") / status["PPid"]
            if _name(process) not in NAMES:
                break
            found.append(process)
    return found


def kill_later(seconds: float) -> None:
    """Kills those that still exist after this time: a launcher that waits for an unreachable host would stay for ever."""
    still = []
    for path in above():
        with contextlib.suppress(OSError):  # the process has ended meanwhile
            still.append(f'[ "$(cat {path}/comm)" != "{_name(path)}" ] || kill -9 {path.name}')
    if still:
        script = f"exec </dev/null >/dev/null 2>&1; sleep {seconds}; {'; '.join(still)}"
        local = {"PATH": "/usr/bin:/bin"}  # the network may be gone, and with it the rest of PATH
        subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True, env=local)


def _name(process: Path) -> str:
    """A process's name in the kernel, given its folder in /proc."""
    return (process / "comm").read_text(encoding="utf-8").strip()
