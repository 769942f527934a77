"""The task protocol: what an environment offers beside ``gymnasium.Env`` so that one can learn to learn in it.

A task is one MDP of the family: a small frozen dataclass that prints, compares and round-trips through JSON. It is given at
``reset(options={"task": task})`` and stays until another is given; a bare reset keeps it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import numpy as np

Task = TypeVar("Task")


class FiniteTasks(Generic[Task]):
    """The protocol for a family that can list its tasks. Mixed into the single and the vector form alike."""

    train_tasks: tuple[Task, ...]
    held_out_tasks: tuple[Task, ...] = ()

    def tasks(self, split: str = "train") -> tuple[Task, ...]:
        """Every task of a split.

        Args:
            split: ``"train"``, or ``"held-out"`` for tasks that training never draws.

        Raises:
            ValueError: there is no such split, or it is empty.
        """
        splits = {"train": self.train_tasks, "held-out": self.held_out_tasks}
        if not splits.get(split):
            choices = ", ".join(name for name, tasks in splits.items() if tasks)
            raise ValueError(f"{type(self).__name__} has no tasks in split {split!r}; it has: {choices}")
        return splits[split]

    def sample_task(self, rng: np.random.Generator, split: str = "train") -> Task:
        """A task drawn uniformly from a split; the environment itself stays as it is."""
        tasks = self.tasks(split)
        return tasks[int(rng.integers(len(tasks)))]

    def task_to_json(self, task: Task) -> dict[str, Any]:
        """The task as a JSON object."""
        return dataclasses.asdict(self.checked(task))  # type: ignore[call-overload]

    def task_from_json(self, value: Mapping[str, Any]) -> Task:
        """The task that a JSON object of :meth:`task_to_json` stands for.

        Raises:
            ValueError: no task of this family looks like that.
        """
        for task in (*self.train_tasks, *self.held_out_tasks):
            if dataclasses.asdict(task) == value:  # type: ignore[call-overload]
                return task
        raise ValueError(f"{type(self).__name__} has no task {value!r}; it has: {self._choices()}")

    def checked(self, task: Any) -> Task:
        """The task itself.

        Raises:
            ValueError: it is not one of this family.
        """
        for known in (*self.train_tasks, *self.held_out_tasks):
            if known == task:
                return known
        raise ValueError(f"{type(self).__name__} has no task {task!r}; it has: {self._choices()}")

    def _choices(self) -> str:
        return ", ".join(map(str, (*self.train_tasks, *self.held_out_tasks)))
