"""The tasks of a test: listed, named, held-out or random ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mlsh_mpi.config.adaptation import AdaptConfig
from mlsh_mpi.errors import UserError, nearest
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.task_family import TaskFamily

TEST_SEED = 2**20
"""Added to the run's seed, so that a test has other episodes than training."""


def final_tasks(family: TaskFamily, seed: int, count: int) -> tuple[Any, ...]:
    """Tasks of a training run's final test: the listed tasks in turn, or else tasks drawn from the distribution."""
    if family.tasks:
        return tuple(family.tasks[number % len(family.tasks)] for number in range(count))
    return _drawn(family, seed, count, "train")


def _drawn(family: TaskFamily, seed: int, count: int, split: str) -> tuple[Any, ...]:
    """Draws `count` tasks from the distribution.

    Raises:
        UserError: the environment has no such split.
    """
    try:
        return tuple(family.sample_task(seeding.stream(seed, "task", number), split) for number in range(count))
    except ValueError as error:
        raise UserError(str(error)) from None


def chosen_tasks(config: AdaptConfig, family: TaskFamily, ranks: int) -> tuple[Any, ...]:
    """The task of each learner: those named in the configuration, or else those listed, equally often; or else random ones.

    Raises:
        UserError: a task is unknown, or the environment has none of this split.
    """
    split = "held-out" if config.test.held_out else "train"
    count = max(config.run.test_masters, ranks)
    different = tuple(named_task(family, text) for text in config.test.task) or family.listed(split)
    if not different:
        return _drawn(family, config.run.seed + TEST_SEED, count, split)
    return different * -(-count // len(different))


def named_task(family: TaskFamily, text: str) -> Any:
    """A task, given its label or its JSON form.

    Raises:
        UserError: there is no such task.
    """
    known = {family.label(task): task for task in family.known_tasks}
    if text in known:
        return known[text]
    from_json = family.attribute("task_from_json")
    try:
        value = json.loads(text)
        return value if from_json is None else from_json(value)
    except ValueError as error:
        some = f": it has {', '.join(list(known)[:20])}" if known else f" ({error})"
        raise UserError(f"{family.name} has no --task {text!r}{nearest(text, list(known))}{some}") from None


def different_tasks(tasks: Sequence[Any], family: TaskFamily) -> tuple[Any, ...]:
    """Each different task once, in order of first appearance."""
    by_label: dict[str, Any] = {}  # tasks themselves need not be hashable
    for task in tasks:
        by_label.setdefault(family.label(task), task)
    return tuple(by_label.values())
