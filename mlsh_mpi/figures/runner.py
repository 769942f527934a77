"""Makes the missing runs of a figure on this machine, several at a time; unfinished runs are resumed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mlsh_mpi.errors import UserError
from mlsh_mpi.reporting.curves import run_name
from mlsh_mpi.tracking.logs import Bar
from mlsh_mpi.tracking.metrics_file import METRICS, read_rows
from mlsh_mpi.tracking.run_folder import SUMMARY

SPEED = "speed/steps_per_cpu_second"


@dataclass(frozen=True)
class Command:
    """A line of a list of runs: the arguments of `train`, or the word `adapt` and its arguments."""

    arguments: tuple[str, ...]
    folder: Path

    @classmethod
    def parse(cls, line: str, source: Path) -> Command:
        """Parses a line of the list.

        Raises:
            UserError: it names no run folder.
        """
        words = tuple(line.split())
        if "--folder" not in words[:-1]:
            raise UserError(f"every line of {source} must name its --folder, but one is: {line}")
        return cls(words, Path(words[words.index("--folder") + 1]))

    @property
    def name(self) -> str:
        """The run's name in figures."""
        return run_name(self.folder)

    @property
    def finished(self) -> bool:
        """Whether the run is finished."""
        return (self.folder / SUMMARY).exists()

    def start(self, ranks: int) -> subprocess.Popen[bytes]:
        """Starts the run on this machine, with its output in the file `log`."""
        name, arguments = "train", self.arguments
        if arguments[0] == "adapt":
            name, arguments = arguments[0], arguments[1:]
        if shutil.which("mpirun") is None:
            raise UserError("there is no mpirun on PATH: start with launch/local.sh figures, or load the module of your MPI")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            command = ["mpirun", "-np", str(ranks), sys.executable, "-m", "mlsh_mpi", name, *arguments]
            # In its own session: else a terminal's Ctrl-C would reach it directly, and some launchers then end the job.
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    @property
    def log(self) -> Path:
        """The file with the run's output."""
        return self.folder.parent / "console" / f"{self.folder.name}.txt"


def read_commands(folder: Path) -> list[list[Command]]:
    """The runs that a figure's folder lists: training runs (runs.txt), then tests of their results (tests.txt).

    Raises:
        UserError: a line names no run folder.
    """
    lists = [path for name in ("runs.txt", "tests.txt") if (path := folder / name).exists()]
    return [
        [Command.parse(line, path) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()] for path in lists
    ]


def cpu_seconds(folder: Path) -> float:
    """CPU-seconds that a run has taken so far, over all ranks; its wall time if no speed was logged."""
    rows, seconds, before = read_rows(folder / METRICS), 0.0, 0.0
    for row in rows:
        seconds += (row["environment_steps"] - before) / row.get(SPEED, float("inf"))
        before = row["environment_steps"]
    return seconds or (rows[-1].get("seconds", 0.0) if rows else 0.0)


def make(stages: Sequence[Sequence[Command]], title: str) -> None:
    """Makes the unfinished runs, as many at a time as there are cores, stage after stage.

    On INT or TERM it asks every run to stop with a checkpoint; the same call continues them.
    """
    cores, commands = len(os.sched_getaffinity(0)), [command for stage in stages for command in stage]
    leaving = threading.Event()

    def one(command: Command, ranks: int) -> None:
        if leaving.is_set():
            return
        began = time.monotonic()
        process = command.start(ranks)
        while process.poll() is None:
            if leaving.wait(0.2):  # repeated, because a starting job ignores it
                process.send_signal(signal.SIGUSR1)
                time.sleep(2)
        if not leaving.is_set():
            state = "finished" if command.finished else f"FAILED with exit code {process.returncode}, see {command.log}:"
            bar.advance(f"{state} {command.folder} after {(time.monotonic() - began) / 60:.1f} min")

    earlier = {number: signal.signal(number, lambda *_: leaving.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    bar = Bar(title, len(commands), sum(command.finished for command in commands))
    try:
        for stage in stages:
            missing = [command for command in stage if not command.finished]
            ranks = max(1, cores // max(1, len(missing)))
            with ThreadPoolExecutor(max(1, cores // ranks)) as pool:
                list(pool.map(one, missing, [ranks] * len(missing)))
    finally:
        bar.close()
        for number, handler in earlier.items():
            signal.signal(number, handler)
