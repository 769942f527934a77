"""What a user reads: the header before a run, and the tables after it."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from mlsh_mpi.adapt import Adaptation
from mlsh_mpi.comm import Job
from mlsh_mpi.config import Config
from mlsh_mpi.lanes import Spec
from mlsh_mpi.logs import jsonable
from mlsh_mpi.metrics import COMMUNICATION, TIMES, shown

Array = np.ndarray[Any, np.dtype[Any]]


def steps_per_iteration(config: Config, spec: Spec, groups: int) -> int:
    """Environment steps of one iteration, over all ranks."""
    workers = groups * config.sampling.workers
    return workers * (config.sampling.steps // spec.episode_length) * spec.episode_length


def header(config: Config, job: Job, spec: Spec, groups: int, folder: Path, done: int) -> str:
    """Who runs what, and how much of it there is to come after the iterations that are done."""
    ranks, hosts = job.world.size, len(job.hosts)
    steps = steps_per_iteration(config, spec, groups)
    hierarchy, iterations = config.hierarchy, config.run.iterations
    forming = ""
    if hierarchy.forming_iterations:
        forming = f" ({spec.episode_length} for the first {hierarchy.forming_iterations} iterations)"
    waiting = f"; {job.ranks_here} ranks share {job.cores} cores here" if job.ranks_here > job.cores else ""
    lines = {
        "preset": f"{config.preset}, seed {config.run.seed}, on {spec.name}",
        "ranks": f"{ranks} on {hosts} host{'s' if hosts > 1 else ''} ({', '.join(job.hosts[:8])}), {job.library}{waiting}",
        "workers": f"{groups * config.sampling.workers} in {groups} groups; each group has a task and a master of its own",
        "hierarchy": f"K = {hierarchy.primitives} primitives, N = {hierarchy.macro_length}{forming}, "
        f"W = {hierarchy.warmup}, U = {hierarchy.joint}",
        "work": f"{iterations:,} iterations of {steps:,} environment steps: {iterations * steps:,} steps",
        "folder": str(folder),
    }
    if done:
        lines["continues"] = f"from the checkpoint after iteration {done:,}; {iterations - done:,} to go"
    return "\n".join(f"{name:>10}  {text}" for name, text in lines.items())


def summarise(rows: Sequence[dict[str, float]], adaptation: Adaptation, matrix: Array, spec: Spec, config: Config) -> Any:
    """Everything the final table says, as JSON."""
    labels = [spec.label(task) for task in adaptation.tasks]
    columns = {spec.label(task): column for column, task in enumerate(spec.tasks)}
    tasks = {}
    for label in columns or sorted(set(labels)):
        here = np.array([other == label for other in labels])
        tasks[label] = {
            "fresh": adaptation.returns[0, here].mean(),
            "adapted": adaptation.returns[-1, here].mean(),
            "adapted_worst": adaptation.returns[-1, here].min(),
            "unexplored": adaptation.unexplored[here].mean(),
            "entropy": adaptation.entropy[here].mean(),
            "usage": adaptation.usage[here].mean(0),
            **({"forced": matrix[:, columns[label]]} if label in columns else {}),
        }
    skip = len(rows) // 5
    shares = {name: float(np.mean([row[f"time/{name}"] for row in rows[skip:]])) for name in TIMES}
    communication = {name: np.mean([row[f"communication/{name}"] for row in rows[skip:]]) for name in COMMUNICATION}
    return jsonable(
        {
            "iterations": int(rows[-1]["iteration"]),
            "environment_steps": rows[-1]["environment_steps"],
            "seconds": rows[-1]["seconds"],
            "updates": config.hierarchy.warmup,
            "masters": len(labels),
            "curve": adaptation.returns.mean(1),
            "adapted": adaptation.returns[-1].mean(),
            "unexplored": adaptation.unexplored.mean(),
            "tasks": tasks,
            "separated": separation(matrix),
            "time_shares": shares,
            "communication": communication,
            "steps_per_cpu_second": np.median([row["speed/steps_per_cpu_second"] for row in rows[skip:]]),
        }
    )


def separation(matrix: Array) -> float | None:
    """How far apart the primitives are: of all ways to give each task a primitive of its own, the best mean return on the own
    task less the mean return of the primitives on the tasks of others. None where tasks are not listed or outnumber them."""
    if not matrix.size or matrix.shape[1] > matrix.shape[0] or matrix.shape[1] < 2:
        return None
    tasks = matrix.shape[1]
    best = max(
        itertools.permutations(range(matrix.shape[0]), tasks),
        key=lambda ks: sum(matrix[k, t] for t, k in enumerate(ks)),
    )
    chosen = matrix[list(best)]
    return float(np.diag(chosen).mean() - chosen[~np.eye(tasks, dtype=bool)].mean())


def tables(summary: Any, width: int = 110) -> str:
    """The final tables as plain text."""
    text = io.StringIO()
    console = Console(file=text, width=width)
    updates = summary["updates"]
    title = f"{summary['masters']} fresh masters over the frozen primitives, mean return of an episode"
    table = Table(title=title, title_justify="left")
    columns = ("task", "untrained", f"{updates} updates", "(worst master)", "exploration off", "entropy", "usage")
    for name in columns:
        table.add_column(name, justify="left" if name == "task" else "right")
    for label, task in summary["tasks"].items():
        numbers = (task[key] for key in ("fresh", "adapted", "adapted_worst", "unexplored", "entropy"))
        table.add_row(label, *map(shown, numbers), _shares(task["usage"]))
    table.add_section()
    table.add_row("all", *map(shown, (summary["curve"][0], summary["adapted"])), "", shown(summary["unexplored"]), "", "")
    console.print(table)
    forced = {label: task["forced"] for label, task in summary["tasks"].items() if "forced" in task}
    if forced:
        table = Table(title="Each primitive alone on each task, mean return of an episode", title_justify="left")
        table.add_column("task")
        for k in range(len(next(iter(forced.values())))):
            table.add_column(f"primitive {k}", justify="right")
        for label, values in forced.items():
            table.add_row(label, *map(shown, values))
        console.print(table)
    console.print("learning curve of the fresh masters: " + " ".join(map(shown, summary["curve"])))
    shares = ", ".join(f"{name} {share:.0%}" for name, share in summary["time_shares"].items())
    console.print(f"time: {shares} (communication includes waiting)")
    spent = summary["communication"]
    console.print(
        f"communication of a rank in an iteration: {spent['calls']:.0f} sums and broadcasts of {spent['bytes'] / 1e6:.2f} MB "
        f"in all, {spent['milliseconds']:.1f} ms with waiting"
    )
    console.print(
        f"{summary['environment_steps']:,} environment steps in {summary['seconds']:.0f} s, "
        f"{summary['steps_per_cpu_second']:,.0f} steps a CPU-second"
    )
    return text.getvalue()


def _shares(usage: Sequence[float]) -> str:
    return " / ".join(f"{share:.0%}" for share in usage)
