"""Does a job lose anything by being spread over ranks? On this machine's cores, under the MPI of this Python.

python tests/bench/scaling.py [pair] [crowd] [start] [--repeats 5] [--quick] [--check]

pair: Ant Twowalk on as many ranks as there are cores against as many runs of one rank at the same time, in turns, so that both
keep every core busy. A rank has one group of one worker (2000 steps an iteration), W = 4, U = 8: the paper's mix of warm-up and
joint iterations. A second job has all groups in the same phase, to tell apart what synchronous updates and the stagger cost.

crowd: the same (W = 1, U = 2) and Moving Bandits on more and more ranks for the same cores: steps a second of all together.

start: 64 ranks of the trainer, until every one could begin to collect, against 64 ranks that import torch, gymnasium, mujoco and
mpi4py and do nothing: wall time, and memory a rank (proportional set size), in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mpi.launcher import Job, mpirun_path

CORES = len(os.sched_getaffinity(0))
ANT = {"preset": "ant-twowalk", "workers": 1}
BANDITS = {"preset": "moving-bandits", "workers": 1, "forming_iterations": 0}
CROWD = (2, 8, 16, 64)
PATIENCE = 1500.0
Figures = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="pair, crowd, start; all by default")
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
    }
    if unknown := set(given.parts) - set(parts):
        parser.error(f"there is no part {', '.join(unknown)}: choose from {', '.join(parts)}")
    reached = [parts[name]() for name in given.parts or parts]
    if given.check and not all(goal for part in reached for goal in (part if isinstance(part, list) else [part])):
        sys.exit("a goal is missed")


def begun(ranks: int, program: str, setting: Figures) -> Job:
    """A job of one of the programs below."""
    command = [mpirun_path(), "-np", str(ranks), sys.executable, str(Path(__file__).resolve())]
    return Job([*command, "--program", program, json.dumps(setting)], Path.cwd())


def figures(job: Job) -> Figures:
    """What rank 0 of a job printed, once that has ended."""
    with job:
        result = job.wait(PATIENCE).succeeded()
    return json.loads(result.stdout.strip().splitlines()[-1])


def steps_a_second(run: Figures, skip: int) -> float:
    """Of a run's iterations after the first ones."""
    return (len(run["seconds"]) - skip) * run["steps"] / (run["seconds"][-1] - run["seconds"][skip - 1])


def pair(console: Console, repeats: int, iterations: int) -> bool:
    """All cores in one job, or each in a run of its own."""
    cycle = {"warmup": 4, "joint": 8, "iterations": iterations}
    shares: dict[str, list[float]] = {"staggered": [], "in step": []}
    waits = []
    for repeat in range(repeats):
        apart = [begun(1, "train", {**ANT, **cycle, "groups": 1, "seed": repeat + core}) for core in range(CORES)]
        alone = sum(steps_a_second(figures(job), 12) for job in apart)
        for name in shares:
            run = figures(begun(CORES, "train", {**ANT, **cycle, "groups": CORES, "seed": repeat, "in_step": name == "in step"}))
            shares[name].append(steps_a_second(run, 12) / alone)
            waits.append(run["waiting"])
        console.print(f"pair {repeat + 1}: alone {alone:,.0f} steps a second, " + shown(shares, -1), highlight=False)
    console.print(f"[bold]{CORES} ranks against {CORES} runs of one rank (goal 97%):[/] median " + shown(shares, None))
    return statistics.median(shares["staggered"]) >= 0.97


def shown(shares: dict[str, list[float]], which: int | None) -> str:
    """One pair's shares, or their medians."""
    of = {name: values[which] if which is not None else statistics.median(values) for name, values in shares.items()}
    return ", ".join(f"{name} {share:.1%}" for name, share in of.items())


def of_crowd(console: Console, name: str, setting: Figures, crowd: tuple[int, ...]) -> bool:
    """More and more ranks on the same cores."""
    table, speeds = Table(title=f"{name}: ranks on {CORES} cores"), []
    for heading in (
        "ranks",
        "steps a second",
        "of the best",
        "communication and waiting",
        "calls",
        "MB",
        "a rank's CPU seconds awake",
    ):
        table.add_column(heading, justify="right")
    runs = []
    for ranks in crowd:
        iterations = 3 + 3 * max(1, round((64 if setting is ANT else 2000) / ranks / 3))
        run = figures(begun(ranks, "train", {**setting, "groups": ranks, "warmup": 1, "joint": 2, "iterations": iterations}))
        runs.append(run)
        speeds.append(steps_a_second(run, 3))
    for ranks, run, speed in zip(crowd, runs, speeds, strict=True):
        spent = (f"{run['waiting']:.0%}", f"{run['calls']:.0f}", f"{run['bytes'] / 1e6:.1f}", f"{run['awake']:.0%}")
        table.add_row(str(ranks), f"{speed:,.0f}", f"{speed / max(speeds):.1%}", *spent)
    console.print(table)
    return setting is not ANT or min(speeds) >= 0.85 * max(speeds)


def start(console: Console, repeats: int, ranks: int) -> bool:
    """Up to the first collection."""
    pairs = [[figures(begun(ranks, name, {"began": time.time()})) for name in ("imports", "ready")] for _ in range(repeats)]
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


def train_program(setting: Figures) -> None:
    """Algorithm 1 with this setting; rank 0 prints when each iteration ended, and what communication took."""
    from mlsh_mpi import schedule
    from mlsh_mpi.comm import job
    from mlsh_mpi.config import PRESETS
    from mlsh_mpi.lanes import Maker
    from mlsh_mpi.options import with_options
    from mlsh_mpi.train import train

    preset, in_step = setting.pop("preset"), setting.pop("in_step", False)
    if in_step:
        staggered = schedule.phase
        schedule.phase = lambda iteration, _, __, warmup, joint: staggered(iteration, 0, 1, warmup, joint)
    seconds, rows = [], []
    with job() as current:
        config = with_options(PRESETS[preset].config, setting)
        maker = Maker(config.environment.env, None)
        cpu = time.process_time()

        def on_iteration(metrics: dict[str, float], _: object) -> bool:
            seconds.append(time.perf_counter())
            rows.append(metrics)
            return False

        entered = time.perf_counter()
        train(config, current, maker, maker.spec(), None, on_iteration)
        awake = (time.process_time() - cpu) / (time.perf_counter() - entered)
        awake = sum(current.world.gather(awake)) / current.cores
        if current.world.rank == 0:
            mean = {name: statistics.mean(row[f"communication/{name}"] for row in rows[3:]) for name in ("calls", "bytes")}
            waiting = statistics.mean(row["time/communication"] for row in rows[3:])
            steps = setting["groups"] * config.sampling.steps
            print(json.dumps({"seconds": seconds, "steps": steps, "waiting": waiting, "awake": awake, **mean}))


def imports_program(setting: Figures) -> None:
    """What any such program must import."""
    import gymnasium  # noqa: F401
    import mujoco  # noqa: F401
    import torch  # noqa: F401
    from mpi4py import MPI

    _tell_of_start(MPI.COMM_WORLD, setting["began"])


def ready_program(setting: Figures) -> None:
    """The command line of the trainer, until the first collection would begin."""
    import tempfile

    from mlsh_mpi import run
    from mlsh_mpi import train as algorithm

    def collect(*_: object, **__: object) -> None:
        from mpi4py import MPI

        _tell_of_start(MPI.COMM_WORLD, setting["began"])
        sys.stdout.flush()
        MPI.Finalize()
        os._exit(0)

    algorithm.collect = collect  # type: ignore[assignment]
    sys.argv = [
        "train",
        "ant-twowalk",
        "--workers",
        "1",
        "--groups",
        "1",
        "--folder",
        f"{tempfile.gettempdir()}/mlsh-start-{setting['began']}",
    ]
    run.main()


def _tell_of_start(world: Any, began: float) -> None:
    """Rank 0 prints the seconds since the launch until all ranks are here, and their mean memory."""
    world.Barrier()
    seconds = time.time() - began
    pss = next(
        int(line.split()[1]) for line in Path("/proc/self/smaps_rollup").read_text().splitlines() if line.startswith("Pss:")
    )
    every = world.gather(pss / 1024)
    world.Barrier()
    if world.Get_rank() == 0:
        print(json.dumps({"seconds": seconds, "megabytes": sum(every) / len(every)}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--program"]:
        {"train": train_program, "imports": imports_program, "ready": ready_program}[sys.argv[2]](json.loads(sys.argv[3]))
    else:
        main()
