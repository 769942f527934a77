"""The launcher's processes above this rank: mpirun, and its proxy on each host."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

NAMES = {
    *("mpirun", "mpiexec", "mpiexec.hydra", "hydra_pmi_proxy", "hydra_bstrap_pr", "srun"),
    *("prterun", "prted", "orterun", "orted"),
}
"""Of processes, as the kernel cuts them off."""


def above() -> list[Path]:
    """Their folders in /proc, the nearest first. None where a rank is started by other means, or by hand."""
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


def end_later(seconds: float) -> None:
    """Ends those that are still there then: one that waits for a host out of reach would stay for ever."""
    still = []
    for path in above():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            still.append(f'[ "$(cat {path}/comm)" != "{_name(path)}" ] || kill -9 {path.name}')
    if still:
        script = f"exec </dev/null >/dev/null 2>&1; sleep {seconds}; {'; '.join(still)}"
        local = {"PATH": "/usr/bin:/bin"}  # the network may be gone, and with it what else is on PATH
        subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True, env=local)


def _name(process: Path) -> str:
    """As the kernel has it, given the folder in /proc."""
    return (process / "comm").read_text(encoding="utf-8").strip()
