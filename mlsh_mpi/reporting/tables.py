"""The tables that users see after a run."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from mlsh_mpi.adaptation.diagnostics import ForcedReturns, HierarchyDiagnostics
from mlsh_mpi.adaptation.loop import Adaptation
from mlsh_mpi.algorithm.metrics import COMMUNICATION, TIMES
from mlsh_mpi.config import methods
from mlsh_mpi.config.settings import Config
from mlsh_mpi.output import format_value
from mlsh_mpi.reporting.statistics import band
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.tracking.logs import jsonable

Array = np.ndarray[Any, np.dtype[Any]]


def summarise(
    rows: Sequence[dict[str, float]],
    totals: Mapping[str, float | None],
    adaptation: Adaptation,
    forced: ForcedReturns | None,
    family: TaskFamily,
    config: Config,
) -> Any:
    """The contents of the final tables, as a JSON value.

    Args:
        rows: the rows of the log; some or all may have been lost.
        totals: iterations, environment steps and seconds of the run.
        adaptation: results of the learners.
        forced: returns of each primitive alone, on all tasks or on some; None if they were not measured.
        family: the environment's task family.
        config: the configuration of the run or test.
    """
    labels = [family.label(task) for task in adaptation.tasks]
    matrix = np.zeros((adaptation.usage.shape[-1], 0)) if forced is None else forced.returns
    columns = {label: column for column, label in enumerate(forced.tasks)} if forced else {}
    tasks, usage = {}, []

    # Tasks in the order of the environment's list, if primitives were tried on all of them.
    whole = bool(columns) and columns.keys() >= set(labels)
    for label in columns if whole else sorted(set(labels)):
        on_task = np.array([other == label for other in labels])  # the learners of this task
        usage.append(adaptation.usage[-1, on_task].mean(0))
        tasks[label] = {
            "fresh": adaptation.returns[0, on_task].mean(),
            "adapted": adaptation.returns[-1, on_task].mean(),
            "adapted_worst": adaptation.returns[-1, on_task].min(),
            "without_exploration": adaptation.returns_without_exploration[-1, on_task].mean(),
            "entropy": adaptation.entropy[-1, on_task].mean(),
            "usage": usage[-1],
            "curve": _curve(adaptation.returns[:, on_task]),
            "curve_without_exploration": _curve(adaptation.returns_without_exploration[:, on_task]),
            **({"forced": matrix[:, columns[label]]} if label in columns else {}),
        }

    reached = np.array([_reached(task) for task in tasks.values()])
    listed = matrix if whole else matrix[:, :0]  # a few random tasks say nothing about the others
    diagnostics = HierarchyDiagnostics(adaptation.divergence[-1], np.stack(usage), listed, list(tasks), reached)

    last = rows[-1] if rows else {}
    return jsonable(
        {
            **totals,
            "info": {name.removeprefix("info/"): value for name, value in last.items() if name.startswith("info/")},
            "method": methods.METHODS[methods.method_of(config)].summary,
            "updates": len(adaptation.returns) - 1,
            "steps_per_update": adaptation.steps,
            "masters": len(labels),
            "curve": adaptation.returns.mean(1),
            "band": _curve(adaptation.returns)["band"],
            "curve_without_exploration": _curve(adaptation.returns_without_exploration),
            "adapted": adaptation.returns[-1].mean(),
            "without_exploration": adaptation.returns_without_exploration[-1].mean(),
            "tasks": tasks,
            "separated": separation(listed),
            "diagnostics": _diagnostics(diagnostics) if methods.method_of(config) == "master" else None,
            **mean_costs(rows),
        }
    )


def _reached(task: dict[str, Any]) -> float:
    """The return on a task after the last update, without exploration if that was measured."""
    evaluated: float = task["without_exploration"]
    return task["adapted"] if np.isnan(evaluated) else evaluated


def mean_costs(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Means over all but the first fifth of the iterations, which are slower; empty if nothing is left of the log."""
    late = rows[len(rows) // 5 :]
    speeds = {name: _median(late, f"speed/{name}") for name in ("steps_per_second", "steps_per_cpu_second")}
    names = (*(f"time/{name}" for name in TIMES), *(f"communication/{name}" for name in COMMUNICATION))
    late = [row for row in late if row.keys() >= set(names)]
    if not late:
        return {"time_shares": {}, "communication": {}} | speeds
    return {
        "time_shares": {name: np.mean([row[f"time/{name}"] for row in late]) for name in TIMES},
        "communication": {name: np.mean([row[f"communication/{name}"] for row in late]) for name in COMMUNICATION},
    } | speeds


def _median(rows: Sequence[Mapping[str, float]], name: str) -> float | None:
    """The median of a metric over the rows that have it; None if none has, as in a log of an earlier version."""
    known = [row[name] for row in rows if name in row]
    return float(np.median(known)) if known else None


def _diagnostics(diagnostics: HierarchyDiagnostics) -> dict[str, Any]:
    information = {"information": diagnostics.information, "most_information": diagnostics.most_information}
    return {"divergence": diagnostics.divergence, "verdict": diagnostics.verdict()} | information


def _curve(returns: Array) -> dict[str, Any]:
    """(U + 1, M) -> means over the learners with 95 % bands, for the updates with an evaluation."""
    known = np.flatnonzero(~np.isnan(returns).any(1))
    return {"updates": known, "mean": returns[known].mean(1), "band": [band(values) for values in returns[known]]}


def separation(matrix: Array) -> float | None:
    """How specialised the primitives are: for the best assignment of primitives to tasks, their mean return on their own task
    minus that on the others' tasks. None if tasks are not listed or outnumber the primitives."""
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
    console = _literal_console(text, width)

    console.print(_of_tasks(summary))
    if any("forced" in task for task in summary["tasks"].values()):
        console.print(_of_primitives(summary))
    console.print("learning curve: " + " ".join(map(format_value, summary["curve"])))

    diagnostics = summary["diagnostics"]
    if diagnostics is not None and len(diagnostics["divergence"]) > 1:
        divergence = diagnostics["divergence"]
        pairs = ", ".join(f"{i}-{j} {divergence[i][j]:.2f}" for i, j in itertools.combinations(range(len(divergence)), 2))
        console.print(f"divergence of primitives in visited states (nats): {pairs}")
        nats = f"{diagnostics['information']:.2f} of at most {diagnostics['most_information']:.2f} nats"
        console.print(f"information about the task in the choice of a primitive: {nats}")
        for sentence in diagnostics["verdict"]:
            console.print(f"WARNING: {sentence}")

    if "evaluation" in summary:
        best = summary["evaluation"]
        reached = f"{format_value(best['return'])} after iteration {best['iteration']:,}"
        console.print(f"best evaluation during training: {reached}, kept as best.pt")

    if summary["info"]:
        numbers = ", ".join(f"{name} {format_value(value)}" for name, value in summary["info"].items())
        console.print(f"info at the end of an episode, in the last iteration: {numbers}")

    for line in _costs(summary):
        console.print(line)
    return text.getvalue()


def _costs(summary: Any) -> Iterator[str]:
    """The costs of the run, as far as its log records them."""
    steps, spent = f"{summary['environment_steps']:,} environment steps", summary["communication"]
    if not spent:
        yield steps
        return
    shares = ", ".join(f"{name} {share:.0%}" for name, share in summary["time_shares"].items())
    yield f"time: {shares} (communication includes waiting)"
    yield (
        f"communication of a rank in an iteration: {spent['calls']:.0f} sums and broadcasts of {spent['bytes'] / 1e6:.2f} MB "
        f"in all, {spent['milliseconds']:.1f} ms including waiting"
    )
    steps += "" if summary["seconds"] is None else f" in {summary['seconds']:.0f} s"
    yield f"{steps}{_speeds(summary)}"


def _speeds(summary: Any) -> str:
    units = {"steps_per_second": "second of an iteration", "steps_per_cpu_second": "CPU-second"}
    return "".join(f", {summary[name]:,.0f} steps a {unit}" for name, unit in units.items() if summary[name] is not None)


def _of_tasks(summary: Any) -> Table:
    """The results of the learners of each task."""
    title = f"{summary['masters']} {summary['method']}, mean return of an episode"
    table = Table(title=title, title_justify="left")
    after = f"{summary['updates']} update{'s' * (summary['updates'] != 1)}"
    columns = ("task", "0 updates", after, "(worst)", "without exploration", "entropy", "usage")
    for name in columns:
        table.add_column(name, justify="left" if name == "task" else "right")
    for label, task in summary["tasks"].items():
        numbers = (task[key] for key in ("fresh", "adapted", "adapted_worst", "without_exploration", "entropy"))
        table.add_row(label, *map(format_value, numbers), _shares(task["usage"]))
    table.add_section()
    table.add_row(
        "all",
        *map(format_value, (summary["curve"][0], summary["adapted"])),
        "",
        format_value(summary["without_exploration"]),
        "",
        "",
    )
    return table


def _of_primitives(summary: Any) -> Table:
    """The mean return of each primitive alone on each task."""
    forced = {label: task["forced"] for label, task in summary["tasks"].items() if "forced" in task}
    table = Table(title="Each primitive alone on each task, mean return of an episode", title_justify="left")
    table.add_column("task")
    for k in range(len(next(iter(forced.values())))):
        table.add_column(f"primitive {k}", justify="right")
    for label, values in forced.items():
        table.add_row(label, *map(format_value, values))
    return table


def curve_table(summary: Any, width: int = 110) -> str:
    """Return against updates and environment steps, with 95 % bands, as plain text."""
    text = io.StringIO()
    table = Table(title="Mean return of an episode over all tasks, 95 % band of the mean", title_justify="left")
    for name in ("updates", "environment steps", "exploring", "band", "without exploration", "band"):
        table.add_column(name, justify="right")

    evaluated = summary["curve_without_exploration"]
    by_update = dict(zip(evaluated["updates"], zip(evaluated["mean"], evaluated["band"], strict=True), strict=True))

    for update, (mean, (low, high)) in enumerate(zip(summary["curve"], summary["band"], strict=True)):
        cells = [
            str(update),
            f"{update * summary['steps_per_update']:,}",
            format_value(mean),
            f"{format_value(low)} to {format_value(high)}",
        ]

        if update in by_update:
            mean, (low, high) = by_update[update]
            cells += [format_value(mean), f"{format_value(low)} to {format_value(high)}"]
        table.add_row(*cells)

    _literal_console(text, width).print(table)
    return text.getvalue()


def _literal_console(file: io.StringIO, width: int) -> Console:
    """A console that shows text literally: a task may be called [left] or :star:."""
    return Console(file=file, width=width, force_jupyter=False, markup=False, emoji=False, highlight=False)


def _shares(usage: Sequence[float]) -> str:
    return " / ".join(f"{share:.0%}" for share in usage)
