"""Diagnostics of a hierarchy: how much its primitives differ, which tasks use them, and whether they have collapsed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlsh_mpi.algorithm.metrics import finished
from mlsh_mpi.mpi.placement import place
from mlsh_mpi.networks.actor_critic import Array
from mlsh_mpi.networks.inference import PrimitivePolicies, outputs_of
from mlsh_mpi.output import format_value
from mlsh_mpi.sampling.episodes import Streams
from mlsh_mpi.sampling.experiment import Experiment
from mlsh_mpi.sampling.rollout import collect, constant_primitive

FORCED_ITERATION = 10_000
"""Number of the first random stream of the forced episodes, larger than any number of updates."""
PLACES = 4096
"""Number of observations at which primitives are compared, over all learners."""
ALIKE = 0.1
"""Two primitives are alike if their returns alone differ by less than this share of the range of all returns on every task."""
SAME_POLICY = 0.05
"""Divergence in nats below which two primitives are alike if returns cannot tell: about that between coins with 50 and 66 %
heads."""
UNUSED = 0.02
"""Share of the steps below which a primitive is hardly ever chosen."""
UNSERVED = 0.25
"""No primitive serves a task if the best return of one alone on it, above the lowest of all returns, is less than this share of
the best on any task."""
BEHIND = 0.5
"""A task is left behind if masters cover less than this share of the way from the return of a wrong primitive to their median
return, and the choice of a primitive matters less than this share of what it matters on the median task."""
MIN_INFORMATION_SHARE = 0.1
"""Masters choose alike if the mutual information of task and choice is less than this share of its maximum."""


def divergence(policies: PrimitivePolicies, observation: Array, learners: int, places: int) -> Array:
    """How differently the primitives act in visited states, whichever of them was active there.

    Args:
        policies: the K primitives.
        observation: (T, L, observation), filtered.
        learners: number of learners; their lanes are equal blocks of the L.
        places: number of observations of each learner, evenly spaced over all of its own, lane after lane.

    Returns:
        (K, K) symmetrised Kullback-Leibler divergence (KL(i, j) + KL(j, i)) / 2 in nats, averaged over the observations.
    """
    primitives = policies.primitives
    each = observation.swapaxes(0, 1).reshape(learners, -1, observation.shape[-1])
    chosen = np.linspace(0, each.shape[1] - 1, min(places, each.shape[1])).astype(np.int64)
    seen = policies.primitive_view(each[:, chosen].reshape(-1, observation.shape[-1]))
    outputs = outputs_of(primitives, np.repeat(seen[None], primitives.n, axis=0))
    log_std = primitives.network.log_std(primitives.parameters).numpy()
    nats = np.zeros((primitives.n, primitives.n))
    for i, j in itertools.permutations(range(primitives.n), 2):
        nats[i, j] = policies.head.divergence(outputs[i], log_std[i], outputs[j], log_std[j]).mean()
    return (nats + nats.T) / 2


def mutual_information(usage: Array) -> float:
    """Mutual information of task and primitive, in nats, from (tasks, K) shares of the steps; all tasks are equally likely."""
    joint = usage / usage.sum()
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    used = joint > 0
    return max(0.0, float((joint[used] * np.log(joint[used] / independent[used])).sum()))


@dataclass(frozen=True)
class ForcedReturns:
    """The separation matrix: the returns of each primitive alone on each task."""

    tasks: tuple[str, ...]
    """Labels of the tasks."""
    returns: Array
    """(K, tasks) mean return of an episode."""


def forced_returns(
    experiment: Experiment, policies: PrimitivePolicies, tasks: Sequence[Any], seed: int, advance: Callable[[str], None]
) -> ForcedReturns:
    """Runs each primitive alone on each task.

    Args:
        experiment: its `test_masters` workers, placed on the ranks of its job, run `test_episodes` episodes each.
        policies: the primitives and their observation filter, frozen.
        tasks: the columns of the matrix.
        seed: seeds every random stream of the test.
        advance: called with a note after each primitive on each task.
    """
    config, job, family = experiment.config, experiment.job, experiment.family
    count = max(config.run.test_masters, job.world.size)
    placement = place(count, 1, job.world.size, job.world.rank)

    sums = np.zeros((2, policies.primitives.n, len(tasks)))
    lanes = family.maker.lanes(len(placement.workers) * config.run.test_episodes)

    for k, column in np.ndindex(sums.shape[1:]):
        rollout = collect(
            lanes,
            constant_primitive(k),
            policies,
            [tasks[column]] * len(placement.workers),
            Streams(seed, FORCED_ITERATION + k * len(tasks) + column, placement.workers),
            steps=family.episode_length,
            macro_length=family.episode_length,
            watch=job.watch,
        )
        sums[:, k, column] = finished(rollout.steps.reward, rollout.steps.end)[:2]
        advance(f"primitive {k} alone on {family.label(tasks[column])}")

    experiment.close(lanes)
    job.world.allreduce(sums)
    return ForcedReturns(tuple(map(family.label, tasks)), sums[1] / np.maximum(sums[0], 1))


@dataclass(frozen=True)
class HierarchyDiagnostics:
    """Diagnostics of K primitives, and of the masters that use them on M tasks."""

    divergence: Array
    """(K, K): see :func:`divergence`."""
    usage: Array
    """(M, K) share of the steps in which each primitive was active, without exploration."""
    forced: Array
    """(K, M) mean return of each primitive alone; (K, 0) if tasks are not listed."""
    tasks: Sequence[str]
    """(M,) labels of the tasks."""
    adapted: Array | None = None
    """(M,) mean return that masters have reached on each task; None if it is not known."""

    @property
    def information(self) -> float:
        """:func:`mutual_information` of task and primitive, in nats."""
        return mutual_information(self.usage)

    @property
    def most_information(self) -> float:
        """Its largest possible value, in nats."""
        return float(np.log(min(self.usage.shape)))

    def verdict(self) -> list[str]:
        """A sentence on each problem, with what to try; empty if there is none, or only one primitive."""
        primitives = range(len(self.divergence))
        pairs = [pair for pair in itertools.combinations(primitives, 2) if self._alike(*pair)]
        sentences = [
            f"primitives {i} and {j} have collapsed onto one another: {self._evidence(i, j)}. Try "
            "--whole-episode-iterations (a macro-action lasts an episode at first), "
            "--no-learn-from-explored, more --groups, or fewer --primitives."
            for i, j in pairs
        ]

        sentences += [
            f"primitive {k} is hardly ever chosen ({self.usage[:, k].mean():.1%} of the steps). Try fewer --primitives, or more "
            "--exploration."
            for k in primitives
            if self.usage[:, k].mean() < UNUSED
        ]

        unserved = self._unserved()
        if unserved:
            some = ", ".join(self.tasks[t] for t in unserved[:4]) + ", ..." * (len(unserved) > 4)
            most = format_value(self.forced[:, unserved].max())
            sentences.append(
                f"no primitive serves {some}: alone the best earns {most} there, and {format_value(self.forced.max())} "
                "elsewhere. Try more --groups, more --iterations, or more --primitives."
            )
        sentences += [self._left_behind_sentence(task) for task in self._left_behind() if task not in unserved]

        # Only if nothing else explains it.
        if not sentences and self.most_information > 0 and self.information < MIN_INFORMATION_SHARE * self.most_information:
            sentences.append(
                f"masters choose alike whatever their task: their choices carry {self.information:.2f} nats about it, of at most "
                f"{self.most_information:.2f}. Try a longer --warmup, a longer --macro-length or a larger --master.learning-rate."
            )
        return sentences

    def _unserved(self) -> list[int]:
        """Indices of the tasks that no primitive serves; empty unless there are several tasks and several primitives."""
        if min(self.forced.shape) < 2:
            return []
        least, best = self.forced.min(), self.forced.max(0)
        return np.flatnonzero(best - least < UNSERVED * (best.max() - least)).tolist()

    def _left_behind(self) -> list[int]:
        """Indices of the tasks on which masters do no better than another task's primitive; empty for fewer than three tasks.

        The return of a wrong primitive is that of the second best on the median task, and the right return that of the masters
        there. Tasks whose returns are naturally lower do not count: on them the best primitive is better than the worst by as
        much as elsewhere, but on a task that none has learned all are equally bad.
        """
        if self.adapted is None or len(self.adapted) < 3 or self.forced.shape != self.usage.shape[::-1] or len(self.forced) < 2:
            return []
        ranked = np.sort(self.forced, axis=0)
        wrong, right, gain = np.median(ranked[-2]), np.median(self.adapted), ranked[-1] - ranked[0]
        if min(right - wrong, np.median(gain)) < UNSERVED * np.ptp(self.forced):  # the choice of a primitive hardly matters
            return []

        behind = (self.adapted - wrong < BEHIND * (right - wrong)) & (gain < BEHIND * np.median(gain))
        return np.flatnonzero(behind).tolist()

    def _left_behind_sentence(self, task: int) -> str:
        assert self.adapted is not None
        reached, median = format_value(self.adapted[task]), format_value(float(np.median(self.adapted)))
        foreign = format_value(float(np.median(np.sort(self.forced, axis=0)[-2])))
        return (
            f"{self.tasks[task]} is left behind: masters reach {reached} there and {median} on the median task, where "
            f"another task's primitive alone earns {foreign}. Try more --primitives, more --groups, or more --iterations."
        )

    def _alike(self, i: int, j: int) -> bool:
        """By returns; by policies if one of them earns nothing alone, as with sparse rewards: equal returns then mean little."""
        if not (self._earns(i) and self._earns(j)):
            return bool(self.divergence[i, j] < SAME_POLICY)
        return bool((np.abs(self.forced[i] - self.forced[j]) < ALIKE * np.ptp(self.forced)).all())

    def _earns(self, k: int) -> bool:
        """Whether a primitive alone serves any task."""
        if not self.forced.size or not np.ptp(self.forced):
            return False
        return bool(self.forced[k].max() - self.forced.min() >= UNSERVED * np.ptp(self.forced))

    def _evidence(self, i: int, j: int) -> str:
        evidence = f"in visited states they are {self.divergence[i, j]:.2f} nats apart"
        if not self.forced.size:
            return evidence
        task = int(np.abs(self.forced[i] - self.forced[j]).argmax())
        first, second = format_value(self.forced[i, task]), format_value(self.forced[j, task])
        return f"alone they earn {first} and {second} on the task where they differ most, and {evidence}"
