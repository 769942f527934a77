"""Starts real MPI jobs, and leaves none behind.

mpirun gets a process group of its own, but may put its helpers and ranks into others. So every process of a job also
carries a mark in its environment, by which it is found and ended even if mpirun is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(__file__).with_name("programs")
FOREIGN = ("PMI_", "PMIX", "OMPI_", "PRTE_", "HYDI_", "MPI_LOCAL", "SLURM_", "OMP_", "MKL_", "OPENBLAS_")
"""What a launcher around the tests may have left in the environment; a job must not take itself for part of it."""
OWN = {
    "OMP_NUM_THREADS": "1",
    # Open MPI refuses root, and more ranks than cores, unless told, and binds every job to the same cores; others ignore it.
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}
MARK = "MLSH_TEST_JOB"
PATIENCE = 600.0
"""Seconds that a job may take by default; many times what the slowest of the ordinary ones needs, on slow machines too."""
GRACE = 5.0
"""Seconds between asking a job to end and ending it."""


@dataclass(frozen=True)
class Result:
    """What a job left."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def told(self) -> list[str]:
        """Lines of standard error, without the block in which Open MPI's launcher repeats the exit code."""
        rule = r"^-{60,}\n"
        return re.sub(rf"{rule}(?s:.*?){rule}", "", self.stderr, flags=re.MULTILINE).splitlines()

    def succeeded(self) -> Result:
        """Itself, if the job did; else all it said is in the error."""
        assert self.code == 0, f"exit {self.code}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        return self


def mpirun_path() -> str:
    """The mpirun that belongs to this Python's MPI: beside it, else the first on PATH."""
    beside = Path(sys.executable).with_name("mpirun")
    found = str(beside) if beside.exists() else shutil.which("mpirun")
    assert found, "no mpirun beside Python or on PATH: the tests need an MPI (launch/test.sh installs one)"
    return found


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a job."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return inherited | OWN | dict(extra or {})


def mpirun(ranks: int, *arguments: object, cwd: Path, patience: float = PATIENCE, **extra: str) -> Result:
    """Runs ``mpirun -np RANKS python ARGUMENTS`` to its end.

    Args:
        ranks: of the job.
        arguments: of Python.
        cwd: where.
        patience: seconds after which the job is ended.
        extra: more environment variables.

    Raises:
        TimeoutError: it did not end by itself; nothing of it is left.
    """
    with Job([mpirun_path(), "-np", str(ranks), sys.executable, *map(str, arguments)], cwd, extra) as job:
        return job.wait(patience)


def python(*arguments: object, cwd: Path, patience: float = PATIENCE, **extra: str) -> Result:
    """The same without mpirun."""
    with Job([sys.executable, *map(str, arguments)], cwd, extra) as job:
        return job.wait(patience)


def mpirun_each(ranks: int, *commands: Sequence[object], cwd: Path, patience: float = PATIENCE) -> list[Result]:
    """What :func:`mpirun` would return for each of several commands, which one job runs one after another.

    Its ranks start once, which is most of what a short command takes. Not for what ends its processes, nor for a command that is
    to find nothing in memory of the one before: what continues a run belongs into the next job.

    Args:
        ranks: of the job.
        commands: arguments of Python: ``-m``, a module of ours, its arguments.
        cwd: where.
        patience: seconds after which the job is ended.

    Raises:
        AssertionError: not all came to their ends.
    """
    with tempfile.TemporaryDirectory(prefix="mlsh-commands-") as name:
        folder = Path(name)
        (folder / "commands.json").write_text(json.dumps([[str(word) for word in command[1:]] for command in commands]))
        job = mpirun(ranks, PROGRAMS / "commands.py", folder, cwd=cwd, patience=patience)
        if job.code:
            said = [f"--- {path.name}\n{path.read_text()}" for path in sorted(folder.glob("*-*.*")) if path.stat().st_size]
            raise AssertionError("\n".join([f"exit {job.code} of {commands}", job.stdout, job.stderr, *said]))
        return [_joint_result(folder, number, ranks, job.seconds) for number in range(len(commands))]


def _joint_result(folder: Path, number: int, ranks: int, seconds: float) -> Result:
    out, err, code = (
        [(folder / f"{number:03}-{rank:03}.{part}").read_text() for rank in range(ranks)] for part in ("out", "err", "code")
    )
    assert len(set(code)) == 1, f"ranks ended with {code}"
    return Result(int(code[0]), "".join(out), "".join(err), seconds)


class Job:
    """A running job, ended with all its processes when the ``with`` block is left."""

    def __init__(self, command: list[str], cwd: Path, extra: Mapping[str, str] | None = None) -> None:
        self._mark = f"{MARK}={uuid.uuid4().hex}"
        # Files, not pipes: a process that outlives mpirun would keep a pipe open and the reader waiting.
        self._out, self._err = os.memfd_create("stdout"), os.memfd_create("stderr")
        self._started = time.monotonic()
        name, value = self._mark.split("=")
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(extra) | {name: value},
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            start_new_session=True,
        )

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        os.close(self._out)
        os.close(self._err)

    @property
    def stdout(self) -> str:
        """What it has said so far."""
        return _text(self._out)

    def wait(self, patience: float = PATIENCE) -> Result:
        """Its result, once mpirun and all ranks are gone.

        Raises:
            TimeoutError: that took too long; the job is ended.
        """
        gone = _until(lambda: self.process.poll() is not None and not self.members(), patience)
        seconds = time.monotonic() - self._started
        self.end()
        out, err = _text(self._out), _text(self._err)
        if not gone:
            raise TimeoutError(f"ended after {seconds:.0f} s\n--- stdout\n{out}\n--- stderr\n{err}")
        return Result(self.process.returncode, out, err, seconds)

    def wait_for(self, text: str, patience: float = PATIENCE) -> None:
        """Waits until standard output holds a text.

        Raises:
            TimeoutError: it did not come.
        """
        _until(lambda: text in self.stdout or self.process.poll() is not None, patience)
        if text not in self.stdout:
            raise TimeoutError(f"no {text!r} in\n{self.stdout}\n--- stderr\n{_text(self._err)}")

    def signal(self, name: str) -> None:
        """Sends mpirun a signal."""
        self.process.send_signal(signal.Signals[name])

    def members(self) -> list[int]:
        """Every living process of the job, whatever group or parent it has now."""
        return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and self._owns(path)]

    def end(self) -> None:
        """Asks the job's process group to end, then ends it and everything that carries the job's mark."""
        if self.process.poll() is None:
            _signal_group(self.process.pid, signal.SIGTERM)
            _until(lambda: self.process.poll() is not None and not self.members(), GRACE)
        if self.process.poll() is None:
            _signal_group(self.process.pid, signal.SIGKILL)
            self.process.wait()
        while members := self.members():
            for member in members:
                _signal(member, signal.SIGKILL)
            time.sleep(0.02)

    def _owns(self, process: Path) -> bool:
        try:
            marked = self._mark.encode() in (process / "environ").read_bytes().split(b"\0")
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return False  # it ended meanwhile, or belongs to somebody else
        return marked and state not in "ZX"


def _until(condition: Callable[[], bool], patience: float) -> bool:
    """Whether a condition came true in time."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _text(descriptor: int) -> str:
    """All of a file that somebody may still be writing, without moving its position."""
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def _signal(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)
