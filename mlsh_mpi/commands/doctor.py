"""Checks, before a long run, for what could go wrong here: launcher, hosts, network, filesystem and rendering.

mpirun -np 4 python -m mlsh_mpi doctor        (launch/doctor.sh chooses the launcher and checks more)
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from mlsh_mpi.mpi import room
from mlsh_mpi.mpi.job import Job, job
from mlsh_mpi.mpi.launchers import promised_ranks
from mlsh_mpi.mpi.recovery import lacking
from mlsh_mpi.mpi.software import PACKAGES, software
from mlsh_mpi.output import say

T = TypeVar("T")
OK, NOTE, WRONG = "ok", "note", "WRONG"
PATIENCE = 30.0
"""Seconds that any check may take."""
RANK_BYTES = 100e6
"""Bytes of memory that a rank needs for environments and batches, in addition to what it uses for these checks."""
SLOW = 5e-3
"""Seconds above which an allreduce of 8 bytes is slow, where each rank has a core of its own."""
PICTURE = "import gymnasium, mlsh_envs as m; e = m.AntTwowalk('rgb_array'); e.reset(seed=0); e.render(); e.close()"


@dataclass(frozen=True)
class Verdict:
    """The result of a check, which is printed as one line."""

    level: str
    about: str
    text: str

    def __str__(self) -> str:
        return f"{self.level:6} {self.about:11} {self.text}"


def main() -> None:
    """Entry point of ``python -m mlsh_mpi doctor``: exits with 0 unless a verdict is WRONG."""
    about = argparse.ArgumentParser("mlsh doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    about.parse_args()
    with job(lambda text: str(Verdict(WRONG, "start", text))) as current:
        current.set_patience(PATIENCE)
        verdicts = []
        for check in (start, recovery, hosts, shared_memory, binding, network, filesystem, pictures, slurm):
            verdicts.append(check(current))
            if current.world.rank == 0:
                say(str(verdicts[-1]))
    sys.exit(any(verdict.level == WRONG for verdict in verdicts))


def start(current: Job) -> Verdict:
    """Launcher, software and clocks. All ranks have the same software, or the job would not have got this far."""
    size, world = current.world.size, current.world
    times = world.allgather(time.time())
    spread = max(times) - min(times)
    versions = software()
    names = ", ".join(f"{name} {versions[name]}" for name in ("Python", *PACKAGES))
    ranks = f"{size} rank{'s' if size > 1 else ''}"
    text = f"{ranks} with {current.library}; {names}, mlsh_mpi {versions['mlsh_mpi'][:8]}"

    if size == 1 and promised_ranks(os.environ) is None:
        return Verdict(NOTE, "start", f"{text}; started without a launcher: put mpirun -np N in front")
    if spread >= 1:
        return Verdict(NOTE, "start", f"{text}; clocks are {spread:.1f} s apart: set them (NTP)")
    return Verdict(OK, "start", text)


def recovery(_: Job) -> Verdict:
    """Whether a job can go on without ranks that die."""
    reason = lacking()
    return Verdict(OK, "recovery", f"--recover cannot be used: {reason}" if reason else "--recover can be used, by launch/*.sh")


def hosts(current: Job) -> Verdict:
    """Ranks, cores and memory of each host."""
    summaries, crowded, poor = [], [], []
    for host, ranks in _by_host(current, (current.cores, _free_memory())):
        cores, memory = ranks[0]
        summaries.append(f"{host} ({len(ranks)} on {cores} cores)")
        crowded += [host] if len(ranks) > cores else []
        poor += [f"{host} ({memory / 1e9:.1f} GB)"] if memory < len(ranks) * RANK_BYTES else []
    count, more = len(summaries), ", ..." if len(summaries) > 6 else ""
    text = f"ranks on {count} host{'s' if count > 1 else ''}: {', '.join(summaries[:6])}{more}"
    if poor:
        return Verdict(WRONG, "hosts", f"{text}; too little free memory on {', '.join(poor[:4])}: start fewer ranks there")
    if crowded:
        return Verdict(NOTE, "hosts", f"{text}; more ranks than cores on {', '.join(crowded[:4])}: they take turns")
    return Verdict(OK, "hosts", text)


def shared_memory(current: Job) -> Verdict:
    """Room in /dev/shm on each host, of which this job already occupies its share, and what killed jobs have left there."""
    room_here = (*room.free_bytes(), room.leftovers()) if current.is_lowest_on_host and room.SHARED.is_dir() else None
    summaries, left = [], []
    for host, ranks in _by_host(current, room_here):
        free, size, files = next((each for each in ranks if each is not None), (0.0, 0.0, []))
        needed = room.needed_bytes(len(ranks), one_host=len(current.hosts) == 1) if "MPICH" in current.library else 0.0
        if size < needed:
            return Verdict(WRONG, "shm", room.words(host, len(ranks), needed, size, files))
        summaries.append(f"{free / 1e6:,.0f} of {size / 1e6:,.0f} MB free on {host}")
        left += [f"{room.listed(files)} on {host}"] if files else []
    text = f"{room.SHARED}: {', '.join(summaries[:6])}{', ...' if len(summaries) > 6 else ''}"
    if left:
        return Verdict(NOTE, "shm", f"{text}; killed jobs have left files there: {', '.join(left[:3])}")
    return Verdict(OK, "shm", text)


def binding(current: Job) -> Verdict:
    """Threads of a rank, and whether ranks are bound to the same cores while others are idle."""
    facts = (frozenset(os.sched_getaffinity(0)), os.cpu_count() or 1, os.environ.get("OMP_NUM_THREADS", "unset"))
    by_host = _by_host(current, facts)
    for host, ranks in by_host:
        used = frozenset().union(*(cores for cores, _, _ in ranks))
        if len(used) < min(len(ranks), ranks[0][1]):
            return Verdict(
                WRONG,
                "binding",
                f"{len(ranks)} ranks of {host} are bound to {len(used)} of its {ranks[0][1]} cores: start with --bind-to none "
                "(Open MPI), unset SLURM_CPUS_PER_TASK before mpirun, or ask SLURM for as many --ntasks-per-node",
            )
    threads = sorted({number for _, ranks in by_host for _, _, number in ranks})
    if threads != ["1"]:
        return Verdict(WRONG, "binding", f"OMP_NUM_THREADS is {', '.join(threads)}: set it to 1, a rank is one thread")
    return Verdict(OK, "binding", "one thread a rank, enough cores for each")


def network(current: Job) -> Verdict:
    """Time and bandwidth of an allreduce over all ranks."""
    if current.world.size == 1:
        return Verdict(NOTE, "network", "there is only one rank")

    seconds = {}
    for size in (2, 25_000, 1_000_000):
        values = np.ones(size, np.float32)
        times = []
        for _ in range(20 if size < 1_000_000 else 5):
            began = time.perf_counter()
            current.world.allreduce(values)
            times.append(time.perf_counter() - began)
            values[:] = 1
        seconds[size] = statistics.median(times)

    text = (
        f"a sum over all ranks takes {seconds[2] * 1e3:.2f} ms for 8 bytes, {seconds[25_000] * 1e3:.2f} for 100 kB, "
        f"{seconds[1_000_000] * 1e3:.1f} for 4 MB ({4e-3 / seconds[1_000_000]:.2f} GB/s)"
    )

    crowded = current.world.any([current.ranks_here > current.cores])[0]
    if current.world.any([seconds[2] > SLOW and not crowded])[0]:
        return Verdict(NOTE, "network", f"{text}: slow; name the fast network with hosts.sh --interface, or ask for nearby nodes")
    return Verdict(OK, "network", text)


def filesystem(current: Job) -> Verdict:
    """Whether the other hosts see a new file, a rename and a lock in the current folder."""
    folder, world = Path.cwd(), current.world
    name = world.bcast(f".doctor-{uuid.uuid4().hex}")
    draft, final = folder / f"{name}.tmp", folder / name
    mistake = None

    with contextlib.ExitStack() as held:
        if world.rank == 0:
            try:
                draft.write_text("whole", encoding="utf-8")
                draft.rename(final)
                lock = held.enter_context(final.open(encoding="utf-8"))
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                mistake = error.strerror

        began = time.perf_counter()
        mistake = world.bcast(mistake)
        seen_by = current.seen_by(final) if mistake is None else []
        milliseconds = (time.perf_counter() - began) * 1e3
        refused = world.allgather(world.rank == 0 or _is_locked(final)) if seen_by else []
        if world.rank == 0:
            for path in (draft, final):
                path.unlink(missing_ok=True)

    if mistake is not None:
        return Verdict(
            WRONG, "filesystem", f"{folder} on {current.host_of[0]}: {mistake}; start in a folder with room, or use --folder"
        )

    blind = [host for host in current.hosts if host not in seen_by]
    if blind:
        level = WRONG if "SLURM_JOB_ID" in os.environ else NOTE
        why = f"runs there continue only with their first rank on {current.host_of[0]}"
        return Verdict(
            level, "filesystem", f"{folder} is not shared with {', '.join(blind[:5])}: {why}; use a --folder that all share"
        )

    if not all(refused):
        return Verdict(NOTE, "filesystem", f"{folder} has no locks: make sure yourself that no two jobs write to one run folder")

    shared = f"seen by all hosts within {milliseconds:.0f} ms, locked for all" if len(current.hosts) > 1 else "written and locked"
    return Verdict(OK, "filesystem", f"{folder}: {shared}; {shutil.disk_usage(folder).free / 1e9:.0f} GB free")


def pictures(current: Job) -> Verdict:
    """Whether MuJoCo renders on rank 0's host, tried in a process of its own because it may crash."""
    text: str | None = None
    if current.world.rank == 0:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PMI", "OMPI_", "PRTE_", "HYDI_"))
        }
        with contextlib.suppress(subprocess.TimeoutExpired):  # text stays None
            began = time.perf_counter()
            tried = subprocess.run(
                [sys.executable, "-c", PICTURE], capture_output=True, env=environment, timeout=PATIENCE, check=False
            )
            seconds = time.perf_counter() - began
            text = f"MuJoCo draws an ant ({seconds:.1f} s including its start)" if tried.returncode == 0 else None

    text = current.world.bcast(text)

    if text is None:
        return Verdict(
            NOTE,
            "pictures",
            "MuJoCo cannot draw. Training does not need it, but films of ants do (libegl1 libgl1-mesa-dri, or MUJOCO_GL=osmesa)",
        )
    return Verdict(OK, "pictures", text)


def slurm(current: Job) -> Verdict:
    """What SLURM has allocated, and whether the job can requeue itself."""
    return _slurm(os.environ, current.world.size, shutil.which)


def _slurm(environment: Mapping[str, str], ranks: int, which: Callable[[str], str | None]) -> Verdict:
    if "SLURM_JOB_ID" not in environment:
        hint = "sbatch launch/slurm/train.sbatch doctor checks its nodes" if which("sbatch") else "not installed here"
        return Verdict(OK, "SLURM", f"this is not a SLURM job; {hint}")
    text = f"job {environment['SLURM_JOB_ID']}, nodes {environment.get('SLURM_JOB_NODELIST', '?')}"
    tasks = int(environment.get("MLSH_RANKS", environment.get("SLURM_NTASKS", ranks)))
    if tasks != ranks:
        return Verdict(WRONG, "SLURM", f"{text}: {tasks} tasks, but {ranks} ranks; start with mpirun -np {tasks}")
    if not which("scontrol") and not which("sbatch"):
        reason = "this node has neither scontrol nor sbatch: submit several jobs with --dependency=singleton"
        return Verdict(NOTE, "SLURM", f"{text}; the job cannot requeue itself, because {reason}")
    return Verdict(OK, "SLURM", f"{text}, {tasks} tasks; the job can requeue itself")


def _by_host(current: Job, value: T) -> list[tuple[str, list[T]]]:
    """The values of all ranks, by host."""
    values = current.world.allgather(value)
    return [(host, [one for one, name in zip(values, current.host_of, strict=True) if name == host]) for host in current.hosts]


def _free_memory() -> float:
    """Bytes of memory left for the job on this host: what is free, or less if a control group (as SLURM makes them) limits it."""
    free = [math.inf]
    with contextlib.suppress(OSError):
        facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
        free.append(float(facts["MemAvailable"].split()[0]) * 1024)
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers in ("", "memory"):
                folder = Path("/sys/fs/cgroup", controllers, group.lstrip("/"))
                free += [left for level in (folder, *folder.parents[:8]) if (left := _left(level)) is not None]
    return min(free)


def _left(group: Path) -> float | None:
    """Bytes of memory that a control group of either version still allows; None if it does not limit them."""
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        with contextlib.suppress(OSError, ValueError):
            return float((group / limit).read_text(encoding="utf-8")) - float((group / used).read_text(encoding="utf-8"))
    return None


def _is_locked(path: Path) -> bool:
    """Whether another rank has locked a file; also True if the file is not visible, because then nothing can be said."""
    try:
        with path.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False
