"""What the value networks of primitives see beside what their policies see.

Which task it is and how much of the episode is left are hidden from primitives, which must serve every task at any time. A value
that does not know them is wrong for every task, and the advantages with it. Value networks are needed for training alone, so
they may know (asymmetric actor-critic, Pinto et al. 2017; time, Pardo et al. 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlsh_mpi.config.ppo_settings import PrimitivePPO
from mlsh_mpi.sampling.rollout import Rollout, TimeLimit
from mlsh_mpi.sampling.task_family import TaskFamily

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class CriticInputs:
    """Which inputs value networks have, and how they are made from a rollout."""

    family: TaskFamily
    sees_time: bool
    """Whether they see the part of the episode that is left, from 1 to -1."""
    tasks: Mapping[str, int]
    """Places of the listed tasks, by their labels, in a one-hot vector; that of any other task is zero."""
    columns: Array
    """Indices of the entries of an observation that they see and policies do not."""

    @classmethod
    def from_config(cls, config: PrimitivePPO, family: TaskFamily) -> CriticInputs:
        """Those that a configuration asks for, as far as an environment has them."""
        wanted = config.critic_inputs
        labels = [family.label(task) for task in family.tasks] if "task" in wanted else []
        every = family.observation_size if "whole-observation" in wanted else 0
        columns = np.setdiff1d(np.arange(every), family.primitive_columns)
        return cls(family, "time-left" in wanted, {label: place for place, label in enumerate(labels)}, columns)

    @property
    def size(self) -> int:
        """Number of inputs beside what policies see."""
        return self.sees_time + len(self.tasks) + len(self.columns)

    def of_steps(self, rollout: Rollout, lanes: Array) -> Array:
        """(T, n, observation as primitives see it, and `size` more) before each step in n lanes."""
        return self._join(rollout, rollout.steps.observation[:, lanes], lanes, slice(-1))

    def at_the_end(self, rollout: Rollout, lanes: Array) -> Array:
        """(n, observation as primitives see it, and `size` more) after the last step in n lanes."""
        return self._join(rollout, rollout.final_observation[lanes], lanes, -1)

    def at_a_limit(self, rollout: Rollout, limit: TimeLimit) -> Array:
        """(n, observation as primitives see it, and `size` more) after the last step of episodes that a time limit ended."""
        return self._join(rollout, limit.observation, limit.lanes, limit.t, after=1)

    def _join(self, rollout: Rollout, observation: Array, lanes: Array, t: int | slice, after: int = 0) -> Array:
        """(..., n, observation), (n,) lanes -> (..., n, seen and `size` more), `after` so many steps beyond step t."""
        seen = rollout.primitive_view(observation)
        if not self.size:
            return seen
        parts = [seen, observation[..., self.columns]]
        if self.sees_time:
            taken = rollout.steps_taken[t, lanes] + after
            parts.append((1 - 2 * taken / self.family.episode_length)[..., None])
        if self.tasks:
            one_hot = self._one_hot(rollout)[lanes]
            parts.append(np.broadcast_to(one_hot, (*observation.shape[:-1], len(self.tasks))))
        return np.concatenate(parts, axis=-1, dtype=np.float32, casting="same_kind")

    def _one_hot(self, rollout: Rollout) -> Array:
        """(L, tasks) float32: the task of each lane."""
        found = np.zeros((len(rollout.tasks), len(self.tasks)), np.float32)
        for worker, task in enumerate(rollout.tasks):
            place = self.tasks.get(self.family.label(task))
            if place is not None:
                found[worker, place] = 1
        return found.repeat(rollout.steps.reward.shape[1] // len(rollout.tasks), axis=0)
