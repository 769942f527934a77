"""Which task each group has: drawn from the distribution, or dealt without replacement. Every rank knows every group's task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlsh_mpi.algorithm import schedule
from mlsh_mpi.algorithm.schedule import Phase
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.task_family import TaskFamily

COUNTED = 200
"""Draws per listed task in the test of whether all are equally likely."""


class TaskDraws:
    """The tasks of a run's groups.

    Args:
        family: the environment and its task distribution.
        seed: the run's seed.
        groups: number of groups.
        cycle: W + U, iterations on a task.
        deal: deal the listed tasks like cards, so that at any time the groups' tasks differ as much as possible; each task is as
            likely as before. Where tasks are not listed, or not all equally likely, they are drawn independently nevertheless.
    """

    def __init__(self, family: TaskFamily, seed: int, groups: int, cycle: int, *, deal: bool) -> None:
        self._family, self._seed, self._groups, self._cycle = family, seed, groups, cycle
        self._tasks = family.tasks if deal else ()
        self.dealt = len(self._tasks) > 1 and _equally_likely(family, self._tasks)
        """Whether tasks are dealt, not drawn."""
        self._deals = [seeding.stream(seed, "task").permutation(len(self._tasks))] if self.dealt else []

    def tasks(self, phases: Sequence[Phase]) -> list[Any]:
        """The tasks of all groups, given their phases."""
        return [self.task(group, phase) for group, phase in enumerate(phases)]

    def task(self, group: int, phase: Phase) -> Any:
        """The task of a group, given its phase."""
        if not self.dealt:
            return self._family.sample_task(seeding.stream(self._seed, "task", phase.cycle + 1, group))
        turn = schedule.turn(phase.cycle, group, self._groups, self._cycle)
        deal, card = divmod(turn, len(self._tasks))
        return self._tasks[int(self._deal(deal)[card])]

    def _deal(self, number: int) -> np.ndarray[Any, np.dtype[np.intp]]:
        """An order of all tasks. From one deal to the next only adjacent tasks may change places: so a task comes again after
        about as many others as there are, and not while another group still has it."""
        while len(self._deals) <= number:
            following = self._deals[-1].copy()
            first = len(self._deals) % 2 if len(following) > 2 else 0
            pairs = np.arange(first, len(following) - 1, 2)
            swapped = pairs[seeding.stream(self._seed, "task", len(self._deals)).random(len(pairs)) < 0.5]
            following[swapped], following[swapped + 1] = following[swapped + 1], following[swapped]
            self._deals.append(following)
        return self._deals[number]


def _equally_likely(family: TaskFamily, tasks: tuple[Any, ...]) -> bool:
    """Whether draws from the distribution agree with all listed tasks being equally likely, by a chi-square test."""
    counts = dict.fromkeys(map(family.label, tasks), 0)
    rng = seeding.stream(0, "task")
    for _ in range(COUNTED * len(tasks)):
        label = family.label(family.sample_task(rng))
        if label not in counts:
            return False
        counts[label] += 1
    statistic = sum((count - COUNTED) ** 2 for count in counts.values()) / COUNTED
    freedom = len(counts) - 1
    return statistic < freedom + 6 * math.sqrt(2 * freedom)
