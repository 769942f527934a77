"""Logged metrics of learners after an update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mlsh_mpi.algorithm.metrics import Tally, costs_of_a_rank, speed
from mlsh_mpi.networks.actor_critic import Array


def update_metrics(
    update: int, labels: Sequence[str], curves: Mapping[str, Array], exploring: Tally, best: Tally
) -> dict[str, float]:
    """Means over all learners, and over those of each task if several share one; without unknown ones.

    Args:
        update: number of updates so far.
        labels: (M,) label of each learner's task.
        curves: results of the learners, by name: (updates + 1, M, ...).
        exploring: sums over the episodes with exploration, from which they learn.
        best: sums over the episodes without exploration; the same as `exploring` if there are none.
    """
    metrics: dict[str, float] = {"iteration": update + 1, "updates": update}
    metrics |= by_task("return/mean", curves["returns"][-1], labels)
    metrics |= by_task("return/without_exploration", curves["returns_without_exploration"][-1], labels)
    metrics["master/entropy"] = float(np.mean(curves["entropy"][-1]))
    metrics |= {f"primitive/usage_{k}": share for k, share in enumerate(curves["usage"][-1].mean(0).tolist())}
    for name, values in best.info.means():
        metrics |= by_task(f"info/{name}", values, labels)
    metrics |= speed(float(exploring.groups[:, 2].sum()), exploring.costs) | costs_of_a_rank(exploring.costs)
    return {name: value for name, value in metrics.items() if not np.isnan(value)}


def by_task(name: str, values: Array, labels: Sequence[str]) -> dict[str, float]:
    """(M,) values -> their mean, and the mean for each task if several learners share one; NaN counts as unknown."""
    parts, of = {name: values}, np.array(labels)
    if len(labels) > len(set(labels)):
        parts |= {f"{name}/{label}": values[of == label] for label in sorted(set(labels))}
    known = {name: part[~np.isnan(part)] for name, part in parts.items()}
    return {name: float(np.mean(part)) for name, part in known.items() if part.size}
