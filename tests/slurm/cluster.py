"""A real SLURM on this machine: munge, slurmctld and four slurmd, started and ended by whoever asks for one.

Its nodes share one host name and one network: they test scheduling, signals, requeues and the job scripts, not the network.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from mpi.launcher import FOREIGN

NODES = 4
DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
PACKAGES = "slurmctld slurmd slurm-client munge libpmi2-0"
CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
TmpFS={folder}/tmp.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
MpiDefault=pmi2
ReturnToService=1
InactiveLimit=0
KillWait=5
OverTimeLimit=2
JobRequeue=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=4 RealMemory=5000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def missing() -> str:
    """Why there can be no such cluster here; empty if there can."""
    if os.geteuid() != 0:
        return "SLURM's daemons need root"
    absent = [name for name in (*DAEMONS, *CLIENTS) if shutil.which(name) is None]
    return f"no {', '.join(absent)}: `apt-get install {PACKAGES}` (Debian, Ubuntu)" if absent else ""


class Cluster:
    """A running cluster, ended with all its processes and jobs when the ``with`` block is left.

    Args:
        folder: empty; its path must be short, for sockets live there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._daemons: list[subprocess.Popen[bytes]] = []
        ports = _free_ports(NODES + 1)
        for name in ("state", *(f"tmp.n{node}" for node in range(1, NODES + 1))):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        names = {"folder": folder, "host": socket.gethostname(), "nodes": NODES}
        names |= {"port": ports, "first": ports + 1, "last": ports + NODES}
        (folder / "slurm.conf").write_text(CONFIGURATION.format(**names))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        self.environment = inherited | {"SLURM_CONF": str(folder / "slurm.conf")}

    def __enter__(self) -> Cluster:
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.SubprocessError):
            self.clear()
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._kill()

    def clear(self) -> None:
        """Ends all jobs."""
        self.run("scancel", "--user=root")
        if not self._until(lambda: not self.run("squeue", "-h") and not self.processes("mlsh_mpi"), 60, strict=False):
            self._kill("mlsh_mpi")

    def _kill(self, *words: str) -> None:
        for process in self.processes(*words):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def processes(self, *words: str) -> list[int]:
        """Living processes that belong to the cluster, daemons apart, and have all the words on their command line."""
        mark, found = f"SLURM_CONF={self.folder}/slurm.conf".encode(), []
        own = {daemon.pid for daemon in self._daemons} | {os.getpid()}
        for path in Path("/proc").iterdir():
            if path.name.isdigit() and int(path.name) not in own:
                with contextlib.suppress(OSError):
                    line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if line and mark in (path / "environ").read_bytes().split(b"\0") and all(word in line for word in words):
                        found.append(int(path.name))
        return found

    def run(self, *command: object, cwd: Path | None = None, **extra: str) -> str:
        """What a client command of the cluster says.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        words = [str(word) for word in command]
        done = subprocess.run(
            words, cwd=cwd, env=self.environment | extra, capture_output=True, text=True, timeout=180, check=False
        )
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, words, done.stdout, done.stderr)
        return done.stdout

    def submit(self, *arguments: object, cwd: Path, **extra: str) -> str:
        """Submits a batch script; returns the job's number."""
        return self.run("sbatch", "--parsable", *arguments, cwd=cwd, **extra).strip()

    def fields(self, job: str) -> Mapping[str, str]:
        """What SLURM knows of a job, also for some minutes after its end."""
        line = self.run("scontrol", "show", "job", "-o", job).splitlines()[0]
        return dict(word.split("=", 1) for word in line.split() if "=" in word)

    def state(self, job: str) -> str:
        """Of a job: PENDING, RUNNING, COMPLETED and so on."""
        return self.fields(job)["JobState"]

    def wait_for(self, what: str, condition: Callable[[], bool], patience: float = 900) -> None:
        """Waits until something has come true.

        Raises:
            TimeoutError: it has not.
        """
        if not self._until(condition, patience, strict=False):
            raise TimeoutError(f"{what}\n{self.run('squeue')}\n{self.run('scontrol', 'show', 'job')}")

    def wait(self, job: str, *states: str) -> None:
        """Waits until a job has come into one of some states, by default done."""
        expected = states or ("COMPLETED",)
        self.wait_for(f"job {job} never became {expected}", lambda: self.state(job) in expected)

    def _begin(self) -> None:
        here = self.folder
        self._start(
            "munged", "--foreground", "--force", f"--key-file={here}/munge.key", f"--socket={here}/munge.sock",
            f"--pid-file={here}/munged.pid", f"--log-file={here}/munged.log", f"--seed-file={here}/munge.seed",
        )  # fmt: skip
        self._until((here / "munge.sock").exists, 10)
        self._start("slurmctld", "-D", "-c")
        for node in range(1, NODES + 1):
            self._start("slurmd", "-D", "-N", f"n{node}")
        self._until(lambda: self.run("sinfo", "-h", "-o", "%D %T").split() == [str(NODES), "idle"], 300)

    def _start(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            path = shutil.which(name)
            assert path is not None
            self._daemons.append(
                subprocess.Popen(
                    [path, *arguments],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
            )

    def _until(self, condition: Callable[[], bool], patience: float, strict: bool = True) -> bool:
        deadline = time.monotonic() + patience
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):  # the controller may not answer yet
                if condition():
                    return True
            if time.monotonic() > deadline:
                if strict:
                    logs = "\n".join(f"{path}:\n{path.read_text()[-1000:]}" for path in self.folder.glob("*.out"))
                    raise TimeoutError(f"the cluster did not start\n{logs}")
                return False
            time.sleep(0.4)  # asking costs a process and an answer of the controller


def _free_ports(count: int) -> int:
    """The first of some ports in a row that nobody uses."""
    for first in range(17000 + os.getpid() % 1000 * 10, 60000, 10):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise OSError("no free ports")
