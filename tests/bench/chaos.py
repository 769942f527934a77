"""Does a run that is killed again and again end with the very phi of one that is left in peace?

    python tests/bench/chaos.py [--kills 50] [--ranks 2] [--seed 0] [--check] [--quick]

One run of Moving Bandits is left in peace. Another is started over and over, and each time a rank, mpirun or all of them at once,
as when a machine dies, are killed with SIGKILL at a random moment or while a checkpoint is being written; then the same command
continues it. At the end the checkpoints of both are compared bit for bit, and so are the logs but for their times.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

OPTIONS = "--groups 6 --steps 500 --whole-episode-iterations 30 --test-masters 2 --checkpoint-interval 1".split()
OF_TIME = ("time/", "speed/", "seconds", "communication/milliseconds", "evaluation/seconds", "check")
"""How the names of metrics begin that differ between equal runs; a line's checksum is over them, too."""
VICTIMS = ("a rank", "mpirun", "everything", "everything in a write")


def start(
    folder: Path, ranks: int, iterations: int, options: Sequence[str] = OPTIONS, of_mpirun: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """The command, the same each time."""
    settings = [*options, "--iterations", str(iterations), "--folder", str(folder)]
    command = ["mpirun", *of_mpirun, "-np", str(ranks), sys.executable, "-m", "mlsh_mpi.train", *settings]
    with (folder.parent / f"{folder.name}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def members(job: subprocess.Popen[bytes]) -> list[int]:
    """mpirun and all that descends from it."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            parents.setdefault(parent, []).append(int(path.name))
    found = [job.pid]
    for process in found:
        found += parents.get(process, [])
    return found


def is_rank(process: int) -> bool:
    """Whether a process is a Python of the job."""
    try:
        return b"mlsh_mpi.train" in (Path("/proc") / str(process) / "cmdline").read_bytes().split(b"\0")[1:4]
    except OSError:
        return False


def kill(job: subprocess.Popen[bytes], victim: str, folder: Path, chance: random.Random, moment: float) -> bool:
    """Waits for the moment and strikes.

    Returns:
        Whether the job was still there; False if it had ended by itself.
    """
    time.sleep(moment)
    while victim == "everything in a write" and job.poll() is None and not list(folder.glob("checkpoints/.*.tmp*")):
        time.sleep(0.0002)
    everyone = members(job)
    ranks = [process for process in everyone if is_rank(process) and process != job.pid]
    targets = {"a rank": ranks and [chance.choice(ranks)], "mpirun": [job.pid]}.get(victim, everyone)
    if job.poll() is not None:
        return False
    for process in targets:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + 10
    job.wait(10)
    while any((Path("/proc") / str(process)).exists() and is_rank(process) for process in ranks):
        if time.monotonic() > deadline:
            raise TimeoutError(f"ranks were left 10 s after {victim} was killed")
        time.sleep(0.01)
    return True


def left(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a run ends with: its last checkpoint, and its log but for what depends on time."""
    saved = torch.load(max(folder.glob("checkpoints/*.pt")), weights_only=True)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return saved, [{name: value for name, value in row.items() if not name.startswith(OF_TIME)} for row in rows]


def main() -> None:
    """Prints a line a kill and the figures in the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 if the two runs differ")
    parser.add_argument("--quick", action="store_true", help="five kills: to try it out")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    kills = 5 if arguments.quick else arguments.kills
    chance, iterations = random.Random(arguments.seed), 40 * kills
    with tempfile.TemporaryDirectory() as root:
        peaceful, troubled = Path(root) / "peaceful", Path(root) / "troubled"
        entered = time.perf_counter()
        assert start(peaceful, arguments.ranks, iterations).wait() == 0
        alone = time.perf_counter() - entered
        struck: Counter[str] = Counter()
        while sum(struck.values()) < kills:
            victim = chance.choice(VICTIMS)
            if not kill(start(troubled, arguments.ranks, iterations), victim, troubled, chance, chance.uniform(0.5, 6)):
                sys.exit(f"the run ended before it had been killed {kills} times: {struck}")
            struck[victim] += 1
            files = sorted(path.name for path in troubled.glob("checkpoints/*.pt"))
            print(f"kill {sum(struck.values())}: {victim}; newest checkpoint {files[-1] if files else 'none yet'}", flush=True)
        assert start(troubled, arguments.ranks, iterations).wait() == 0
        (one, log), (other, other_log) = left(peaceful), left(troubled)
    parts = ("primitives", "masters")
    same = all(torch.equal(one[part][name], other[part][name]) for part in parts for name in one[part])
    figures = {
        "kills": dict(struck),
        "iterations": iterations,
        "phi and theta bitwise the same": same,
        "log the same": log == other_log,
        "seconds in peace": round(alone, 1),
    }
    print(json.dumps(figures))
    sys.exit(1 if arguments.check and not (same and log == other_log) else 0)


if __name__ == "__main__":
    main()
