"""The launcher's processes above this rank: mpirun, and its proxy on each host."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

NAMES = ("mpirun", "mpiexec", "hydra_pmi_proxy", "mpiexec.hydra", "prterun", "prted", "orterun", "orted", "srun")


def above() -> list[Path]:
    """Their folders in /proc, the nearest first. None where a rank is started by other means, or by hand."""
    found: list[Path] = []
    process = Path("/proc/self")
    with contextlib.suppress(OSError, ValueError):
        for _ in range(6):
            status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
            process = Path("/proc") / status["PPid"]
            if (process / "comm").read_text().strip() not in NAMES:
                break
            found.append(process)
    return found


def end_later(seconds: float) -> None:
    """Ends those that are still there then: one that waits for a host out of reach would stay for ever."""
    still = [f'[ "$(cat {path}/comm)" != "{(path / "comm").read_text().strip()}" ] || kill -9 {path.name}' for path in above()]
    if still:
        script = f"exec </dev/null >/dev/null 2>&1; sleep {seconds}; {'; '.join(still)}"
        subprocess.Popen(["sh", "-c", script], start_new_session=True)
