"""The task protocol: what an environment offers for meta-learning in addition to ``gymnasium.Env``.

A task is one MDP of the family: a small frozen dataclass that prints, compares and round-trips through JSON. It is set by
``reset(options={"task": task})`` and stays until another is set; a reset without a task keeps it.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

Task = TypeVar("Task")


class Tasks(ABC, Generic[Task]):
    """The protocol for any family, mixed into both the single and the vector form."""

    first_task: Task
    """The task of an environment until one is set."""

    @abstractmethod
    def sample_task(self, rng: np.random.Generator, split: str = "train") -> Task:
        """Draws a task from the distribution; the environment itself is not changed.

        Args:
            rng: the generator to draw with.
            split: ``"train"``, or ``"held-out"`` for tasks that training never draws.

        Raises:
            ValueError: there is no such split, or it is empty.
        """

    @abstractmethod
    def checked(self, task: Any) -> Task:
        """Returns the task if it belongs to this family.

        Raises:
            ValueError: it does not.
        """

    @abstractmethod
    def task_from_json(self, value: Any) -> Task:
        """The inverse of :meth:`task_to_json`.

        Raises:
            ValueError: no task of this family looks like that.
        """

    def task_to_json(self, task: Task) -> dict[str, Any]:
        """The task as a JSON object."""
        return dataclasses.asdict(self.checked(task))  # type: ignore[call-overload]


class FiniteTasks(Tasks[Task]):
    """The protocol for a family that can list its tasks."""

    train_tasks: tuple[Task, ...]
    held_out_tasks: tuple[Task, ...] = ()

    @property
    def first_task(self) -> Task:  # type: ignore[override]
        """The first of the listed tasks."""
        return self.train_tasks[0]

    def tasks(self, split: str = "train") -> tuple[Task, ...]:
        """Every task of a split.

        Raises:
            ValueError: there is no such split, or it is empty.
        """
        splits = {"train": self.train_tasks, "held-out": self.held_out_tasks}
        if not splits.get(split):
            raise no_split(self, split, [name for name, tasks in splits.items() if tasks])
        return splits[split]

    def sample_task(self, rng: np.random.Generator, split: str = "train") -> Task:
        """Draws a task uniformly from a split; the environment itself is not changed."""
        tasks = self.tasks(split)
        return tasks[int(rng.integers(len(tasks)))]

    def task_from_json(self, value: Any) -> Task:
        return self._known(value, {task: dataclasses.asdict(task) for task in self._all})  # type: ignore[call-overload]

    def checked(self, task: Any) -> Task:
        return self._known(task, {known: known for known in self._all})

    @property
    def _all(self) -> tuple[Task, ...]:
        return (*self.train_tasks, *self.held_out_tasks)

    def _known(self, value: Any, forms: Mapping[Task, Any]) -> Task:
        for task, form in forms.items():
            if form == value:
                return task
        raise ValueError(f"{type(self).__name__} has no task {value!r}; it has: {', '.join(map(str, forms))}")


@dataclass(frozen=True)
class PlaceTask:
    """A task that is a hidden place."""

    x: float
    y: float


class PlaceTasks(Tasks[PlaceTask]):
    """The protocol for a family with a task for every place in the square from 0 to `side`."""

    task_type: ClassVar[type[PlaceTask]]
    side: ClassVar[float]

    def sample_task(self, rng: np.random.Generator, split: str = "train") -> PlaceTask:
        if split != "train":
            raise no_split(self, split, ["train"])
        return self.task_type(*(self.side * rng.random(2)).tolist())

    def checked(self, task: Any) -> PlaceTask:
        if type(task) is self.task_type and all(self._inside(value) for value in (task.x, task.y)):
            return self.task_type(float(task.x), float(task.y))
        known = f"{self.task_type.__name__}(x, y) with x and y from 0 to {self.side:g}"
        raise ValueError(f"{type(self).__name__} has no task {task!r}; it has {known}")

    def task_from_json(self, value: Any) -> PlaceTask:
        fits = isinstance(value, dict) and value.keys() == {"x", "y"}
        return self.checked(self.task_type(**value) if fits else value)

    def _inside(self, value: Any) -> bool:
        return isinstance(value, (int, float, np.number)) and bool(0 <= value <= self.side)


def no_split(family: object, split: str, splits: list[str]) -> ValueError:
    """The error for a split that a family does not have."""
    return ValueError(f"{type(family).__name__} has no tasks in split {split!r}; it has: {', '.join(splits)}")
