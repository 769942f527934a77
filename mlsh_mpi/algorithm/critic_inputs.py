"""Inputs of the primitives' value networks in addition to those of their policies.

Task and remaining time are hidden from primitives, which must serve every task at any time. A value estimate without them is
wrong for every task, and so are the advantages. Value networks are only needed in training, so they may see both (asymmetric
actor-critic, Pinto et al. 2017; time, Pardo et al. 2018).
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
    """Which inputs value networks have, and how they are computed from a rollout."""

    family: TaskFamily
    sees_time: bool
    """Whether they see the remaining part of the episode, from 1 to -1."""
    tasks: Mapping[str, int]
    """Positions of the listed tasks, by label, in a one-hot vector; the vector of any other task is zero."""
    columns: Array
    """Indices of the entries of an observation that they see and policies do not."""

    @classmethod
    def from_config(cls, config: PrimitivePPO, family: TaskFamily) -> CriticInputs:
        """The configured inputs, as far as an environment has them."""
        wanted = config.critic_inputs
        labels = [family.label(task) for task in family.tasks] if "task" in wanted else []
        every = family.observation_size if "whole-observation" in wanted else 0
        columns = np.setdiff1d(np.arange(every), family.primitive_columns)
        return cls(family, "time-left" in wanted, {label: place for place, label in enumerate(labels)}, columns)

    @property
    def size(self) -> int:
        """Number of inputs in addition to those of policies."""
        return self.sees_time + len(self.tasks) + len(self.columns)

    def of_steps(self, rollout: Rollout, lanes: Array) -> Array:
        """(T, n, inputs of policies and `size` more) before each step in n lanes."""
        return self._join(rollout, rollout.steps.observation[:, lanes], lanes, slice(-1))

    def at_the_end(self, rollout: Rollout, lanes: Array) -> Array:
        """(n, inputs of policies and `size` more) after the last step in n lanes."""
        return self._join(rollout, rollout.final_observation[lanes], lanes, -1)

    def at_a_limit(self, rollout: Rollout, limit: TimeLimit) -> Array:
        """(n, inputs of policies and `size` more) after the last step of episodes that a time limit ended."""
        return self._join(rollout, limit.observation, limit.lanes, limit.t, after=1)

    def _join(self, rollout: Rollout, observation: Array, lanes: Array, t: int | slice, after: int = 0) -> Array:
        """(..., n, observation), (n,) lanes -> (..., n, inputs of policies and `size` more), `after` steps after step t."""
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
        vectors = np.zeros((len(rollout.tasks), len(self.tasks)), np.float32)
        for worker, task in enumerate(rollout.tasks):
            place = self.tasks.get(self.family.label(task))
            if place is not None:
                vectors[worker, place] = 1
        return vectors.repeat(rollout.steps.reward.shape[1] // len(rollout.tasks), axis=0)
