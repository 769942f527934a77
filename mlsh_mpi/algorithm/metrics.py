"""The results of one iteration: as a table that is summed over the ranks, and as flat metrics for the log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlsh_mpi.algorithm.info_sums import InfoSums
from mlsh_mpi.algorithm.ppo import DIAGNOSTICS
from mlsh_mpi.algorithm.schedule import Phase
from mlsh_mpi.mpi.placement import Placement
from mlsh_mpi.mpi.ranks import Meter, Ranks
from mlsh_mpi.sampling.rollout import Rollout

Array = np.ndarray[Any, np.dtype[Any]]
TIMES = ("environment", "policy", "learning", "communication")
"""Parts of a rank's wall time. Waiting for other ranks counts as communication."""
COSTS = (*TIMES, "cpu", "calls", "bytes")
"""Costs of a rank in an iteration: the times above and its CPU time, in seconds; number and bytes of its collectives."""
COMMUNICATION = ("milliseconds", "calls", "bytes")
"""Logged costs of a rank's allreduces and broadcasts in an iteration."""


class Clock:
    """Measures the costs of a rank from the moment it is created."""

    def __init__(self, meter: Meter) -> None:
        self._meter, self._before = meter, replace(meter)
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def costs(self, environment: float, policy: float) -> tuple[float, ...]:
        """The costs so far, as named in :data:`COSTS`, given the seconds spent in environments and policies."""
        meter, before = self._meter, self._before
        communication = meter.seconds - before.seconds
        learning = time.perf_counter() - self._wall - environment - policy - communication
        cpu = time.process_time() - self._cpu
        return environment, policy, learning, communication, cpu, meter.calls - before.calls, meter.bytes - before.bytes


@dataclass(frozen=True)
class Tally:
    """Sums over one iteration, float64. Each rank adds its own share, then `flat` is summed over the ranks."""

    flat: Array
    groups: Array
    """(G, 4 + K) view: number of episodes, their summed returns, their summed lengths in steps, entropy of the master's policy
    (nats; each rank of the group adds its share), and steps of each primitive."""
    samples: Array
    """(K,) view: number of samples that each primitive had to learn from."""
    learning: Array
    """(K + 1, 1 + diagnostics) view: for each primitive, and for all masters together, how many learned and the sums of their
    diagnostics (:data:`mlsh_mpi.algorithm.ppo.DIAGNOSTICS`)."""
    costs: Array
    """(R, 7) view: costs of each rank, as named in COSTS."""
    info: InfoSums
    """Sums of the numbers in the environments' `info`; also a view."""

    @classmethod
    def empty(cls, groups: int, primitives: int, ranks: int, names: list[str]) -> Tally:
        """A tally of zeros. `names` are the numbers of `info` known so far; :meth:`sum_over` adds new ones in place."""
        columns = 1 + len(DIAGNOSTICS)
        learned = (primitives + 1) * columns
        sizes = (groups * (4 + primitives), primitives, learned, ranks * len(COSTS), InfoSums.size(names, groups))
        flat = np.zeros(sum(sizes))
        by_group, samples, learning, costs, info = np.split(flat, np.cumsum(sizes)[:-1])
        views = (by_group.reshape(groups, -1), samples, learning.reshape(-1, columns), costs.reshape(ranks, -1))
        return cls(flat, *views, InfoSums(names, groups, info))

    def sum_over(self, world: Ranks) -> None:
        """Sums over the ranks, in place. Every rank must call it."""
        world.allreduce(self.flat)
        self.info.gather_new(world)

    def add_rollout(self, rollout: Rollout, placement: Placement) -> None:
        """Counts the finished episodes, the numbers of their `info`, and the primitives' steps of the groups on this rank."""
        steps = rollout.steps
        lanes_each = steps.reward.shape[1] // len(placement.groups)
        for row, group in enumerate(placement.groups):
            lanes = slice(row * lanes_each, (row + 1) * lanes_each)
            initial_return, initial_length = rollout.carried_over
            self.groups[group, :3] += finished(
                steps.reward[:, lanes], steps.end[:, lanes], initial_return[lanes], initial_length[lanes]
            )
            self.groups[group, 4:] += np.bincount(steps.primitive[:, lanes].reshape(-1), minlength=self.groups.shape[1] - 4)
        for lane, numbers in rollout.info:
            self.info.add(placement.groups[lane // lanes_each], numbers)

    def add_entropy(self, entropy: Array, placement: Placement, workers: int) -> None:
        """Adds the entropies of the masters on this rank; the shares of a group's ranks add up to the mean over its workers."""
        self.groups[list(placement.groups), 3] += entropy * placement.workers_per_group / workers

    def add_masters(self, entropy: Array, diagnostics: Array, placement: Placement, workers: int) -> None:
        """Adds the entropies and the other diagnostics of the masters on this rank."""
        self.add_entropy(entropy, placement, workers)
        self.learning[-1] += _counted(diagnostics).sum(0) * placement.workers_per_group / workers

    def add_primitives(self, samples: Array, diagnostics: Array, ranks: int) -> None:
        """Adds this rank's share of an update of the primitives in which `ranks` ranks took part."""
        self.samples[:] += samples / ranks
        self.learning[:-1] += _counted(diagnostics) / ranks

    def returns(self) -> Array:
        """(G,) mean return of each group's finished episodes; NaN where no episode finished."""
        with np.errstate(invalid="ignore"):
            return self.groups[:, 1] / np.where(self.groups[:, 0] > 0, self.groups[:, 0], np.nan)


def _counted(diagnostics: Array) -> Array:
    """(n, diagnostics), NaN for rows that did not learn -> (n, 1 + diagnostics): 1 and a row's diagnostics, or zeros."""
    learned = ~np.isnan(diagnostics[:, :1])
    return np.nan_to_num(np.concatenate((learned, np.where(learned, diagnostics, 0)), axis=1), neginf=0.0)


def finished(
    reward: Array, end: Array, initial_return: Array | float = 0.0, initial_length: Array | int = 0
) -> tuple[int, float, int]:
    """Number, summed return and summed length of the episodes that finished within (T, L) steps.

    Args:
        reward: (T, L) rewards.
        end: (T, L) bool, the episode ended with this step.
        initial_return: (L,) reward that the episode continued by the first step had received before it.
        initial_length: (L,) steps of that episode before the first step.
    """
    some = end.any(0)
    last = np.where(some, len(end) - 1 - end[::-1].argmax(0), -1)
    within = np.arange(len(end))[:, None] <= last
    total = reward[within].sum(dtype=np.float64) + (initial_return * some).sum()
    return int(end.sum()), float(total), int(within.sum() + (initial_length * some).sum())


def iteration_metrics(tally: Tally, phases: Sequence[Phase], labels: Sequence[str], min_samples: int) -> dict[str, float]:
    """Flat metrics of one iteration.

    Args:
        tally: sums over all ranks.
        phases: phase of each group.
        labels: label of each group's task; empty if tasks are not reported one by one.
        min_samples: number of samples below which a primitive skipped the update.
    """
    returns = tally.returns()
    adapted = np.array([phase.joint for phase in phases])
    fresh = np.array([phase.updates == 0 for phase in phases])

    metrics: dict[str, float] = {"return/mean": _mean(returns), "return/fresh_master": _mean(returns[fresh])}
    metrics["return/adapted"] = _mean(returns[adapted])

    for label in sorted(set(labels)):
        on_task = adapted & np.array([other == label for other in labels])
        metrics[f"return/adapted/{label}"] = _mean(returns[on_task])

    for name, values in tally.info.means():
        metrics |= {f"info/{name}": _mean(values), f"info/{name}/adapted": _mean(values[adapted])}

    metrics["episode/length"] = float(tally.groups[:, 2].sum() / max(tally.groups[:, 0].sum(), 1))
    metrics["master/entropy"] = float(tally.groups[:, 3].mean())
    usage = tally.groups[:, 4:].sum(0)
    metrics |= {f"primitive/usage_{k}": share for k, share in enumerate((usage / usage.sum()).tolist())}

    metrics["schedule/joint_groups"] = float(adapted.sum())
    metrics["schedule/groups_without_an_end"] = float(np.isnan(returns).sum())

    if adapted.any() or tally.samples.any():
        metrics |= {f"primitive/samples_{k}": count for k, count in enumerate(tally.samples.tolist())}
        metrics["primitive/sat_out"] = float((tally.samples < min_samples).sum())

    metrics |= _learning_metrics(tally.learning)
    metrics |= speed(float(usage.sum()), tally.costs) | costs_of_a_rank(tally.costs)
    return {name: value for name, value in metrics.items() if not np.isnan(value)}


def _learning_metrics(learning: Array) -> dict[str, float]:
    """Mean diagnostics of the primitives and masters that learned: (K + 1, 1 + diagnostics) of a :class:`Tally` -> metrics."""
    named = {}
    for row, (count, *sums) in enumerate(learning.tolist()):
        owner, suffix = ("master", "") if row == len(learning) - 1 else ("primitive", f"_{row}")
        for name, total in zip(DIAGNOSTICS, sums, strict=True):
            deterministic = name == "standard_deviation" and not total  # a categorical distribution has none
            if count and not deterministic and (owner, name) != ("master", "entropy"):  # that of its own policy is logged
                named[f"{owner}/{name}{suffix}"] = total / count
    return named


def speed(steps: float, costs: Array) -> dict[str, float]:
    """Environment steps of all ranks per second of wall time, and per CPU-second of all ranks: (R, 7) of :data:`COSTS`."""
    wall = float(costs[:, : len(TIMES)].sum(1).mean())
    cpu = float(costs[:, COSTS.index("cpu")].sum())
    return {"speed/steps_per_second": steps / max(wall, 1e-9), "speed/steps_per_cpu_second": steps / max(cpu, 1e-9)}


def costs_of_a_rank(costs: Array) -> dict[str, float]:
    """Shares of wall time, and communication, as means over the ranks: (R, 7) of :data:`COSTS` -> metrics."""
    means = dict(zip(COSTS, costs.mean(0).tolist(), strict=True))
    wall = max(sum(means[name] for name in TIMES), 1e-9)
    metrics = {f"time/{name}": means[name] / wall for name in TIMES}
    spent = (1000 * means["communication"], means["calls"], means["bytes"])
    return metrics | {f"communication/{name}": value for name, value in zip(COMMUNICATION, spent, strict=True)}


def _mean(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
