"""What the benchmarks of many ranks share: jobs of programs that print their figures, and one that trains."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mpi.launcher import Job, mpirun_path

Figures = dict[str, Any]
PATIENCE = 1500.0
"""Seconds."""
LATEST = 5
"""Values of a task that its return after the warm-up is the mean of."""


def begun(script: str, program: str, setting: Figures, *options: str, before: Sequence[str] = (), **environment: str) -> Job:
    """A job of one of a benchmark's programs, on as many ranks as its options for mpirun say.

    Args:
        script: `__file__` of the benchmark, which must call :func:`run_program`.
        program: one of those that it offers there.
        setting: handed to it.
        options: of mpirun.
        before: in front of mpirun.
        environment: more variables.
    """
    python = [sys.executable, str(Path(script).resolve()), "--program", program, json.dumps(setting)]
    return Job([*before, mpirun_path(), *options, *python], Path.cwd(), environment)


def figures(job: Job) -> Figures:
    """What rank 0 of a job printed last, once that has ended."""
    with job:
        return figures_of_running(job)


def figures_of_running(job: Job) -> Figures:
    """The same of a job whose ``with`` block the caller is in."""
    return json.loads(job.wait(PATIENCE).succeeded().stdout.strip().splitlines()[-1])


def run_program(programs: Mapping[str, Callable[[Figures], None]], main: Callable[[], None]) -> None:
    """What a benchmark does when it is started: one of its programs if the command line asks for it, else itself."""
    if sys.argv[1:2] == ["--program"]:
        programs[sys.argv[2]](json.loads(sys.argv[3]))
    else:
        main()


def adapted(rows: Sequence[Figures]) -> float:
    """Return after the warm-up: of each task the mean of its last values, and of these the mean; -inf until each has enough.

    Which tasks an iteration's groups have is chance, and one that no primitive serves must count as much as the others.
    """
    prefix = "return/adapted/"
    names = {name for row in rows for name in row if name.startswith(prefix)}
    last = [[row[name] for row in rows if isfinite(row.get(name, nan))][-LATEST:] for name in names]
    enough = bool(last) and all(len(values) == LATEST for values in last)
    return sum(map(sum, last)) / (LATEST * len(last)) if enough else -inf


def train_program(setting: Figures) -> None:
    """Algorithm 1 on all ranks, a group each of one worker if nothing else is set.

    Rank 0 prints "seconds", when each iteration ended; "rows", the metrics of each; "steps" of an iteration; "cpu", seconds of
    all ranks from their start; and "awake", the part of its cores' time that the job used.

    Args:
        setting: options of the trainer, with "preset"; "in_step" if all groups are to be in the same phase; and "until", the
            :func:`adapted` return at which training ends.
    """
    from mlsh_mpi.algorithm import schedule
    from mlsh_mpi.algorithm.mlsh import train
    from mlsh_mpi.config.overrides import with_options
    from mlsh_mpi.config.presets import PRESETS
    from mlsh_mpi.mpi.job import job
    from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
    from mlsh_mpi.sampling.experiment import Experiment
    from mlsh_mpi.sampling.task_family import TaskFamily

    preset, in_step = setting.pop("preset"), setting.pop("in_step", False)
    until = setting.pop("until", inf)
    if in_step:
        staggered = schedule.phase
        schedule.phase = lambda iteration, _, __, warmup, joint: staggered(iteration, 0, 1, warmup, joint)
    seconds, rows = [], []
    with job() as current:
        config = with_options(PRESETS[preset].config, {"workers": 1, "groups": current.world.size, **setting})
        maker = EnvironmentMaker.from_config(config.environment)

        def on_iteration(metrics: dict[str, float], _: object) -> bool:
            seconds.append(time.perf_counter())
            rows.append(metrics)
            return until < inf and adapted(rows) >= until  # else its time would count

        wall, cpu = time.perf_counter(), time.process_time()
        train(Experiment(config, current, TaskFamily.from_maker(maker)), None, on_iteration)
        used = current.world.allgather((time.process_time() - cpu) / (time.perf_counter() - wall))
        in_all = sum(current.world.allgather(time.process_time()))
        if current.world.rank == 0:
            steps = config.sampling.groups * config.sampling.workers * config.sampling.steps
            found = {"seconds": seconds, "rows": rows, "steps": steps, "cpu": in_all, "awake": sum(used) / current.cores}
            print(json.dumps(found))
