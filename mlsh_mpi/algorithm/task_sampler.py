"""Which task each group has: drawn from the distribution, or stratified over the listed tasks. Every rank knows all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlsh_mpi.algorithm import schedule
from mlsh_mpi.algorithm.schedule import Phase
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.task_family import TaskFamily


class TaskSampler:
    """The tasks of a run's groups.

    Args:
        family: the environment and its task distribution.
        seed: the run's seed.
        groups: number of groups.
        cycle: W + U, iterations on a task.
        stratify: take the listed tasks in random permutations, without replacement, so that at any time the groups' tasks differ
            as much as possible. Tasks that are not listed are always drawn independently.
    """

    def __init__(self, family: TaskFamily, seed: int, groups: int, cycle: int, *, stratify: bool) -> None:
        self._family, self._seed, self._groups, self._cycle = family, seed, groups, cycle
        self._tasks = family.tasks if stratify else ()
        self.stratified = len(self._tasks) > 1
        """Whether tasks are stratified, not drawn independently."""
        self._permutations = [seeding.stream(seed, "task").permutation(len(self._tasks))] if self.stratified else []

    def tasks(self, phases: Sequence[Phase]) -> list[Any]:
        """The tasks of all groups, given their phases."""
        return [self.task(group, phase) for group, phase in enumerate(phases)]

    def task(self, group: int, phase: Phase) -> Any:
        """The task of a group, given its phase."""
        if not self.stratified:
            return self._family.sample_task(seeding.stream(self._seed, "task", phase.cycle + 1, group))

        turn = schedule.turn(phase.cycle, group, self._groups, self._cycle)
        permutation, position = divmod(turn, len(self._tasks))
        return self._tasks[int(self._permutation(permutation)[position])]

    def _permutation(self, number: int) -> np.ndarray[Any, np.dtype[np.intp]]:
        """An order of all tasks. From one permutation to the next only adjacent tasks may change places, so a task comes again
        after about as many others as there are, and not while another group still has it."""
        while len(self._permutations) <= number:
            following = self._permutations[-1].copy()
            first = len(self._permutations) % 2 if len(following) > 2 else 0
            pairs = np.arange(first, len(following) - 1, 2)
            swapped = pairs[seeding.stream(self._seed, "task", len(self._permutations)).random(len(pairs)) < 0.5]
            following[swapped], following[swapped + 1] = following[swapped + 1], following[swapped]
            self._permutations.append(following)
        return self._permutations[number]
