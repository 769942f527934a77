"""Does a job lose anything by being spread over ranks? On this machine's cores, under the MPI of this Python.

python tests/bench/scaling.py [pair] [crowd] [start] [first] [--repeats 5] [--quick] [--check]

pair: Ant Twowalk on as many ranks as there are cores against as many runs of one rank at the same time, in turns, so that both
keep every core busy. A rank has one group of one worker (2000 steps an iteration), W = 4, U = 8: the paper's mix of warm-up and
joint iterations. A second job has all groups in the same phase, to tell apart what synchronous updates and the stagger cost; a
third has several groups a rank, as the preset's ten have on two ranks, and is compared with runs of as many groups.

crowd: the same (W = 1, U = 2) and Moving Bandits on more and more ranks for the same cores: steps a second of all together.

start: 64 ranks of the trainer, until every one could begin to collect, against 64 ranks that import torch, gymnasium, mujoco and
mpi4py and do nothing: wall time, and memory a rank (proportional set size), in turns.

first: what a user waits for, on as many ranks as there are cores: from the command to the first iteration of `moving-bandits`,
in turns with ranks that only import; and the help.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from jobs import Figures, Job, begun, figures, figures_of_running, mpirun_path, run_program, train_program

CORES = len(os.sched_getaffinity(0))
ANT: Figures = {"preset": "ant-twowalk-paper"}
BANDITS: Figures = {"preset": "moving-bandits", "whole_episode_iterations": 0}
CROWD = (2, 8, 16, 64)
SEVERAL = 5
"""Groups a rank, as the preset has them on two ranks."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="pair, crowd, start, first; all by default")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few ranks, one repeat: to try it out")
    parser.add_argument("--check", action="store_true", help="exit 1 if a goal is missed")
    given = parser.parse_args()
    console = Console(width=120)
    repeats = 1 if given.quick else given.repeats
    crowd = CROWD[:2] if given.quick else CROWD
    parts = {
        "pair": lambda: pair(console, repeats, 24 if given.quick else 36),
        "crowd": lambda: [of_crowd(console, name, setting, crowd) for name, setting in (("ant", ANT), ("bandits", BANDITS))],
        "start": lambda: start(console, repeats, 4 if given.quick else 64),
        "first": lambda: first(console, repeats),
    }
    if unknown := set(given.parts) - set(parts):
        parser.error(f"there is no part {', '.join(unknown)}: choose from {', '.join(parts)}")
    reached = [parts[name]() for name in given.parts or parts]
    if given.check and not all(goal for part in reached for goal in (part if isinstance(part, list) else [part])):
        sys.exit("a goal is missed")


def job_of(ranks: int, program: str, setting: Figures) -> Job:
    """One of the programs on so many ranks."""
    return begun(__file__, program, setting, "-np", str(ranks))


def steps_a_second(run: Figures, skip: int) -> float:
    """Of a run's iterations after the first ones."""
    return (len(run["seconds"]) - skip) * run["steps"] / (run["seconds"][-1] - run["seconds"][skip - 1])


def pair(console: Console, repeats: int, iterations: int) -> bool:
    """All cores in one job, or each in a run of its own."""
    cycle = {"warmup": 4, "joint": 8, "iterations": iterations}
    jobs = {"staggered": (1, False), "in step": (1, True), f"{SEVERAL} groups a rank": (SEVERAL, False)}
    shares: dict[str, list[float]] = {name: [] for name in jobs}
    for repeat in range(repeats):
        alone: dict[int, float] = {}
        for name, (groups, in_step) in jobs.items():
            if groups not in alone:
                setting = {**ANT, **cycle, "groups": groups}
                with ExitStack() as running:  # if one fails the others end
                    runs = [
                        running.enter_context(job_of(1, "train", {**setting, "seed": repeat + core})) for core in range(CORES)
                    ]
                    alone[groups] = sum(steps_a_second(figures_of_running(job), 12) for job in runs)
            setting = {**ANT, **cycle, "groups": groups * CORES, "seed": repeat, "in_step": in_step}
            shares[name].append(steps_a_second(figures(job_of(CORES, "train", setting)), 12) / alone[groups])
        latest = ", ".join(f"{name} {found[-1]:.1%}" for name, found in shares.items())
        speeds = " and ".join(f"{speed:,.0f}" for speed in alone.values())
        console.print(f"pair {repeat + 1}: alone {speeds} steps a second, {latest}", highlight=False)
    medians = {name: statistics.median(found) for name, found in shares.items()}
    text = ", ".join(f"{name} {median:.1%}" for name, median in medians.items())
    console.print(f"{CORES} ranks against {CORES} runs of one rank (goal 97%): medians {text}")
    return medians["staggered"] >= 0.97


def of_crowd(console: Console, name: str, setting: Figures, crowd: tuple[int, ...]) -> bool:
    """More and more ranks on the same cores."""
    table = Table(title=f"{name}: ranks on {CORES} cores")
    for heading in ("ranks", "steps a second", "of the best", "communication and waiting", "calls", "MB", "cores in use"):
        table.add_column(heading, justify="right")
    runs = {}
    for ranks in crowd:
        iterations = 3 + 3 * max(1, round((64 if setting is ANT else 2000) / ranks / 3))
        runs[ranks] = figures(job_of(ranks, "train", {**setting, "warmup": 1, "joint": 2, "iterations": iterations}))
    speeds = {ranks: steps_a_second(run, 3) for ranks, run in runs.items()}
    best = max(speeds.values())
    for ranks, run in runs.items():
        share, calls, nbytes = (
            statistics.mean(row[metric] for row in run["rows"][3:])
            for metric in ("time/communication", "communication/calls", "communication/bytes")
        )
        spent = (f"{share:.0%}", f"{calls:.0f}", f"{nbytes / 1e6:.1f}", f"{run['awake']:.0%}")
        table.add_row(str(ranks), f"{speeds[ranks]:,.0f}", f"{speeds[ranks] / best:.1%}", *spent)
    console.print(table)
    return setting is not ANT or min(speeds.values()) >= 0.85 * best


def start(console: Console, repeats: int, ranks: int) -> bool:
    """Up to the first collection."""
    pairs = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            settings = {name: {"folder": f"{folder}/run"} for name in ("imports", "ready")}
            pairs.append([figures(job_of(ranks, name, {**each, "began": time.time()})) for name, each in settings.items()])
    table = Table(title=f"start of {ranks} ranks on {CORES} cores")
    for heading in ("", "imports alone", "the trainer, ready", "ratio (goal 1.15)"):
        table.add_column(heading, justify="right" if heading else "left")
    ratios = []
    for name, unit in (("seconds", "s"), ("megabytes", "MB a rank")):
        alone, whole = zip(*([one[name] for one in each] for each in pairs), strict=True)
        ratios.append(statistics.median(b / a for a, b in zip(alone, whole, strict=True)))
        table.add_row(unit, f"{statistics.median(alone):.1f}", f"{statistics.median(whole):.1f}", f"{ratios[-1]:.3f}")
    console.print(table)
    return max(ratios) <= 1.15


def first(console: Console, repeats: int) -> bool:
    """Up to the first iteration, and the help."""
    seconds: dict[str, list[float]] = {"imports alone": [], "first iteration (goal 3 s)": [], "help (goal 0.5 s)": []}
    train = [sys.executable, "-m", "mlsh_mpi.train"]
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            alone = figures(job_of(CORES, "imports", {"began": time.time()}))["seconds"]
            command = [mpirun_path(), "-np", str(CORES), *train, "moving-bandits", "--folder", f"{folder}/run"]
            found = (alone, _seconds_until(r"training +1/", command), _seconds_until("--iterations", [*train, "--help"]))
        for name, each in zip(seconds, found, strict=True):
            seconds[name].append(each)
    medians = {name: statistics.median(every) for name, every in seconds.items()}
    console.print(f"{CORES} ranks: " + ", ".join(f"{name} {median:.2f} s" for name, median in medians.items()))
    return medians["first iteration (goal 3 s)"] <= 3 and medians["help (goal 0.5 s)"] <= 0.5


def _seconds_until(pattern: str, command: list[str]) -> float:
    """From the start of a command until it has said something."""
    began = time.monotonic()
    with Job(command, Path.cwd()) as job:
        while not re.search(pattern, job.stdout):
            if job.process.poll() is not None and not re.search(pattern, job.stdout):
                sys.exit(f"{' '.join(command)} ended without {pattern}: {job.wait()}")
            time.sleep(0.005)
        return time.monotonic() - began


def imports_program(setting: Figures) -> None:
    """What any such program must import."""
    import gymnasium  # noqa: F401
    import mujoco  # noqa: F401
    import torch  # noqa: F401
    from mpi4py import MPI

    _tell_of_start(MPI.COMM_WORLD, setting["began"])


def ready_program(setting: Figures) -> None:
    """The command line of the trainer, until the first collection would begin."""
    from mlsh_mpi.algorithm import mlsh
    from mlsh_mpi.commands import train
    from mlsh_mpi.mpi.failure import exit_process  # os._exit, which a job refuses

    def collect(*_: object, **__: object) -> None:
        from mpi4py import MPI

        _tell_of_start(MPI.COMM_WORLD, setting["began"])
        sys.stdout.flush()
        MPI.Finalize()
        exit_process(0)

    mlsh.collect = collect  # type: ignore[assignment]
    sys.argv = ["train", "ant-twowalk-paper", *"--workers 1 --groups 1 --folder".split(), setting["folder"]]
    train.main()


def _tell_of_start(world: Any, began: float) -> None:
    """Rank 0 prints the seconds since the launch until all ranks are here, and their mean memory."""
    world.Barrier()
    seconds = time.time() - began
    (pss,) = re.findall(r"^Pss: +(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)
    every = world.allgather(int(pss) / 1024)
    world.Barrier()
    if world.Get_rank() == 0:
        print(json.dumps({"seconds": seconds, "megabytes": sum(every) / len(every)}))


if __name__ == "__main__":
    run_program({"train": train_program, "imports": imports_program, "ready": ready_program}, main)
