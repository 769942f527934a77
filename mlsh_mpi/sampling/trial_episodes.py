"""A few short episodes before a long run: does the environment get its task, is it reproducible, is float32 precise enough?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from mlsh_mpi.errors import UserError
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.episodes import LARGEST
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.sampling.vector_env import SequentialVectorEnv, VectorEnv

Array = np.ndarray[Any, np.dtype[Any]]
STEPS = 32
"""Largest number of steps of an episode."""
SEEDS = 8
"""Number of seeds to try until two tasks differ; more than one only for a vector form, whose lanes must differ as well."""
SECONDS = 10.0
"""Time after which trials of a slow environment stop."""
SMALLEST = 1e-4
"""Steps of float32 that are too small to matter: the observation filter treats deviations below 0.01 as none."""
FEW_STEPS = 1000
"""Smallest sufficient number of float32's steps between the smallest and the largest value of a column."""


class NotedOptions(dict[str, Any]):
    """Options of a reset that record whether the task was read."""

    def __init__(self, task: Any) -> None:
        super().__init__(task=task)
        self.read = False

    def __getitem__(self, key: str) -> Any:
        self.read |= key == "task"
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key; reading "task" is recorded."""
        self.read |= key == "task"
        return super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        """Removes a key; reading "task" is recorded."""
        self.read |= key == "task"
        return super().pop(key, *default)

    def __iter__(self) -> Iterator[str]:  # also called by dict(options) and {**options}
        self.read = True
        return super().__iter__()

    def keys(self) -> Any:
        """All keys; counts as reading the task."""
        self.read = True
        return super().keys()

    def values(self) -> Any:
        """All values."""
        self.read = True
        return super().values()

    def items(self) -> Any:
        """All keys with their values."""
        self.read = True
        return super().items()

    def copy(self) -> dict[str, Any]:
        """A plain copy."""
        return dict(self)


@dataclass(frozen=True)
class Episode:
    """The beginning of an episode, S steps or fewer."""

    observation: Array
    """(S + 1, observation) in the environment's own precision."""
    reward: Array
    """(S,)."""

    def differs_from(self, other: Episode) -> str:
        """What differs: "observations", "rewards" or "lengths"; empty if nothing does."""
        if len(self.reward) != len(other.reward):
            return "lengths"
        if not np.array_equal(self.observation, other.observation):
            return "observations"
        return "" if np.array_equal(self.reward, other.reward) else "rewards"

    def is_close_to(self, other: Episode) -> bool:
        """Whether both are the same but for rounding."""
        steps = min(len(self.reward), len(other.reward))
        return np.allclose(self.observation[: steps + 1], other.observation[: steps + 1], rtol=1e-3, atol=1e-3) and np.allclose(
            self.reward[:steps], other.reward[:steps], rtol=1e-3, atol=1e-3
        )


@dataclass(frozen=True)
class Findings:
    """The results of trial episodes."""

    notes: list[str]
    """A sentence on each thing that is allowed but seldom intended."""
    offset: Array | None
    """(observation,) to subtract from observations before the conversion to float32; None if they are precise enough without."""


def try_episodes(family: TaskFamily, tasks: Sequence[Any], vector: VectorEnv | None) -> Findings:
    """Compares episodes of one or two tasks with the same seeds and actions.

    Args:
        family: the environment's task family.
        tasks: one task, or two different ones.
        vector: two lanes of the environment's vector form; None if it has none.

    Raises:
        UserError: the task does not reach the environment.
    """
    first, last = tasks[0], tasks[-1]
    trial = _Trial(family)
    notes: list[str] = []

    for seed in range(SEEDS if vector is not None and len(tasks) > 1 else 1):
        before, other, again = (trial.single(task, seed) for task in (first, last, first))
        changed = before.differs_from(again)
        if changed and not notes:
            notes.append(_not_repeated(family, changed))
        differ = bool(before.differs_from(other))

        if len(tasks) > 1 and not trial.read and (changed or not differ):
            notes += _check_readable(family, tasks, certain=not changed)
        if vector is not None and not changed:
            notes += _compare(family, tasks, trial.run(vector, (first, last), seed), (before, other))

        if differ or notes or trial.is_over:
            break

    offset = _offset(trial.seen)
    if offset is not None:
        notes.append(_subtracted(family, offset))
    return Findings(notes, offset)


class _Trial:
    """Runs the episodes, and keeps their observations."""

    def __init__(self, family: TaskFamily) -> None:
        rng, space = seeding.stream(7, "action"), family.action_space
        self._steps = min(STEPS, family.episode_length)
        shape = (self._steps, *(space.shape or ()))
        is_box = isinstance(space, gym.spaces.Box)
        self._actions = rng.standard_normal(shape, np.float32) if is_box else rng.integers(space.n, size=shape)  # type: ignore[attr-defined]
        self._family, self._began = family, time.monotonic()
        self.read, self.seen = False, list[Array]()

    @property
    def is_over(self) -> bool:
        """Whether the environment is too slow for more."""
        return time.monotonic() - self._began > SECONDS

    def single(self, task: Any, seed: int) -> Episode:
        """An episode of the single form."""
        options = NotedOptions(task)
        env = SequentialVectorEnv([self._family.env], lambda _: options)
        (episode,) = self.run(VectorEnv(env, self._family.actions), (task,), seed)
        self.read |= options.read
        self.seen.append(episode.observation)
        return episode

    def run(self, lanes: VectorEnv, tasks: Sequence[Any], seed: int) -> list[Episode]:
        """An episode in each lane, all with the same seed and actions, until the first of them is over."""
        count, lanes.kind = lanes.count, np.float64
        observations = [lanes.reset(np.ones(count, np.bool_), [seed] * count, list(tasks))]
        rewards = []
        for action in self._actions:
            observation, reward, end = lanes.step(np.repeat(action[None], count, axis=0))
            check_usable(self._family, "observation", observation)
            check_usable(self._family, "reward", reward)
            observations.append(observation)
            rewards.append(reward)
            if end.any() or self.is_over:
                break
        return [Episode(np.stack(observations)[:, lane], np.stack(rewards)[:, lane]) for lane in range(count)]


def check_usable(family: TaskFamily, what: str, values: Array) -> None:
    """Refuses numbers that are not finite or too large to learn from.

    Raises:
        UserError: there are some; the message shows one lane's.
    """
    if not np.isfinite(values).all():
        raise UserError(f"{family.name} must return finite numbers, but its first {what} is {values[0].tolist()}")
    if np.abs(values).max() > LARGEST:
        raise UserError(
            f"{family.name} must return numbers within +-{LARGEST:g}, or learning overflows, but its {what} is "
            f"{values[np.abs(values).reshape(len(values), -1).max(1).argmax()].tolist()}: scale it"
        )


def _not_repeated(family: TaskFamily, what: str) -> str:
    """A note on an environment whose episodes depend on more than seed, task and actions."""
    problem = (
        f"{family.name} does not repeat itself: the same seed, task and actions gave other {what} after another episode, so no "
        "run can be repeated or resumed exactly"
    )
    wrappers, env = [], family.env
    while isinstance(env, gym.Wrapper):
        wrappers += [type(env).__name__] if type(env).__name__.startswith("Normalize") else []
        env = env.env
    if wrappers:
        return (
            f"{problem}; {' and '.join(wrappers)} keeps statistics that no checkpoint holds and that tests start without: leave "
            "it out, and use --filter-observations for observations, and for rewards --master.standardise-values and "
            "--primitive.reward-scale"
        )
    return f"{problem}; draw from self.np_random after super().reset(seed=seed), and keep nothing from one episode to the next"


def _check_readable(family: TaskFamily, tasks: Sequence[Any], *, certain: bool) -> list[str]:
    """Refuses an environment that never reads its task; or returns a note, if an effect of the task could not be ruled out."""
    one, other = map(family.label, tasks)
    sentence = (
        f"the task does not reach {family.name}: it was reset with options={{'task': ...}} for {one} and for {other}, but "
        "nothing read that"
    )
    cure = "a wrapper must pass options on: self.env.reset(seed=seed, options=options)"
    if certain:
        raise UserError(f"{sentence}, and both episodes were the same; {cure}")
    return [f"{sentence}; {cure}"]


def _compare(family: TaskFamily, tasks: Sequence[Any], lanes: Sequence[Episode], singles: Sequence[Episode]) -> list[str]:
    """Compares the lanes of the vector form with single environments that had the same seeds, tasks and actions.

    Raises:
        UserError: two tasks differ in the single form but not in the vector form.
    """
    if singles[0].differs_from(singles[1]) and not lanes[0].differs_from(lanes[1]):
        one, other = map(family.label, tasks)
        raise UserError(
            f"the task of a lane does not reach the vector form of {family.name}: its lanes were reset with {one} and {other} "
            'and did the same, but the single form does not; options["task"] holds a task for each lane'
        )
    if all(lane.is_close_to(single) for lane, single in zip(lanes, singles, strict=True)):
        return []
    return [
        f"the vector form of {family.name} differs from its single form with the same seed, task and actions, so films, which "
        "use the single form, do not show what was trained"
    ]


def _offset(seen: Sequence[Array]) -> Array | None:
    """The first value of each column whose values are so large and so close together that float32 could not tell them apart."""
    rows = np.concatenate(seen)
    low, high = rows.min(0), rows.max(0)
    step = np.spacing(np.abs(rows).max(0).astype(np.float32)).astype(np.float64)
    coarse = (step > SMALLEST) & (high > low) & (high - low < FEW_STEPS * step)
    return np.where(coarse, rows[0], 0.0) if coarse.any() else None


def _subtracted(family: TaskFamily, offset: Array) -> str:
    """A note on observations that are too large."""
    columns = np.flatnonzero(offset)
    some = ", ".join(f"{offset[column]:,.10g} in number {column}" for column in columns[:4]) + ", ..." * (len(columns) > 4)
    return (
        f"{family.name} observes numbers that are too large for float32 to resolve their changes: so the first observed ones "
        f"({some}) are subtracted, here and wherever these primitives act; better observe changes from the start of an episode"
    )
