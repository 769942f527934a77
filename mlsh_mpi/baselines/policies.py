"""One policy for one task, by PPO: from scratch, or on from one that was trained for all tasks (paper, Figures 4b and 7b)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mlsh_mpi import seeding
from mlsh_mpi.adaptation import Learners, Trial
from mlsh_mpi.filters import Moments, ObservationFilter
from mlsh_mpi.heads import head_for
from mlsh_mpi.learner import Learner, learn_primitives
from mlsh_mpi.policies import Array, Network, Stack
from mlsh_mpi.rollout import Rollout, each_its_own
from mlsh_mpi.skills import Skills


class OwnPolicies(Learners):
    """A policy each, all of which learns, by the rules by which primitives learn.

    The policies are rows of one stack, as primitives are, and every learner's lanes always run its own.

    Args:
        trial: who is here, and on which tasks.
        skills: one trained policy, of which each learner gets a copy; its filter stays as it is. None begins from scratch, with
            a filter for each learner if the configuration asks for one.
    """

    explores = False

    def __init__(self, trial: Trial, skills: Skills | None) -> None:
        super().__init__(trial)
        config, spec, here = trial.config, trial.spec, trial.hosting.groups
        head = head_for(spec.action_space, config.network.initial_std)
        network = Network(len(spec.primitive_columns), head, config.network.hidden)
        self._learner = Learner.of(Stack(len(here), network), config.primitive, trial.alone)
        self._filters = None
        if skills is None:
            if config.network.filter_observations:
                self._filters = Filters(len(here), spec.observation_size)
            for row, learner in enumerate(here):
                self._learner.restart(row, seeding.stream(trial.seed, "phi", learner))
        else:
            self._learner.stack.flat.copy_(skills.primitives.flat.expand(len(here), -1))
        kept = skills.observation_filter if skills else self._filters
        self._skills = Skills(self._learner.stack, spec.primitive_columns, kept)
        self._own = each_its_own(len(here), trial.lanes_each)
        self._rows = np.repeat(np.arange(len(here)), trial.lanes_each)
        self._config = replace(config, run=replace(config.run, seed=trial.seed))

    @property
    def tensors(self) -> dict[str, Tensor]:
        return self._learner.tensors | (self._filters.tensors if self._filters else {})

    def collect(self, update: int, *, explore: bool) -> Rollout:
        rollout = self.rollout(self._own, self._skills, update, self.trial.spec.episode_length)
        return replace(rollout, steps=rollout.steps._replace(primitive=np.zeros_like(rollout.steps.primitive)))

    def learn(self, rollout: Rollout, update: int) -> None:
        here = self.trial.hosting.groups
        rows = np.broadcast_to(self._rows, rollout.steps.primitive.shape)
        by_row = replace(rollout, steps=rollout.steps._replace(primitive=rows))
        learn_primitives(self._learner, by_row, self._skills, [True] * len(here), here, update, self._config)
        if self._filters is not None:
            self._filters.take(rollout.steps.raw_observation)


class Filters(ObservationFilter):
    """An observation filter for each of n learners, whose lanes are equal blocks."""

    def __init__(self, n: int, size: int) -> None:
        self._count = torch.zeros(n, dtype=torch.float64)
        self._sums = torch.zeros(n, 2, size, dtype=torch.float64)
        self._each = [ObservationFilter(size) for _ in range(n)]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Counts (n,) and sums (n, 2, size) of everything seen, as views."""
        return {"filter_count": self._count, "filter_sums": self._sums}

    def take(self, observations: Array) -> None:
        """Takes in what was seen: (T, L, size)."""
        for row, seen in enumerate(np.split(observations, len(self._each), axis=1)):
            new = Moments.of(seen)
            self._count[row] += new.count
            self._sums[row] += torch.from_numpy(np.stack((new.total, new.squares)))

    def __call__(self, observation: Array) -> Array:
        blocks = np.split(observation, len(self._each), axis=-2)
        return np.concatenate([of(block) for of, block in zip(self._current(), blocks, strict=True)], axis=-2)

    def _current(self) -> list[ObservationFilter]:
        """Filters that know what the tensors say, which a resume may have changed."""
        for row, each in enumerate(self._each):
            if each.moments.count != self._count[row]:
                each.moments = Moments(0.0, np.zeros_like(each.moments.total), np.zeros_like(each.moments.total))
                each.merge(Moments(float(self._count[row]), *self._sums[row].numpy().copy()))
        return self._each
