"""The test of the method: primitives stay as they are, and only a fresh master learns (paper, section 4)."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from mlsh_mpi import health, seeding
from mlsh_mpi.adaptation import Learners, Trial
from mlsh_mpi.learner import choice_entropy, learn_masters, private_masters
from mlsh_mpi.memory import Memory
from mlsh_mpi.policies import Array
from mlsh_mpi.rollout import Rollout, masters_decide
from mlsh_mpi.skills import Skills
from mlsh_mpi.workers import Workers


class FreshMasters(Learners):
    """A fresh master each, over primitives that stay as they are (paper, section 4)."""

    def __init__(self, trial: Trial, skills: Skills) -> None:
        super().__init__(trial)
        self._skills, self.behaviours = skills, skills.primitives.n
        self.masters = private_masters(trial.config, trial.alone, trial.spec, trial.hosting)
        self.memory = Memory(trial.config.master.memory, len(trial.hosting.workers), goes_on=False)
        self._workers = Workers(trial.hosting.workers, self.memory, None)
        self._config = replace(trial.config, run=replace(trial.config.run, seed=trial.seed))
        for row, learner in enumerate(trial.hosting.groups):
            self.masters.restart(row, seeding.stream(trial.seed, "theta", 0, learner))

    @property
    def tensors(self) -> dict[str, Tensor]:
        return self.masters.tensors

    def collect(self, update: int, *, explore: bool) -> Rollout:
        hierarchy = self.trial.config.hierarchy
        decide = masters_decide(self.masters.stack, hierarchy.exploration if explore else 0.0)
        return self.rollout(decide, self._skills, update, hierarchy.macro_length)

    def learn(self, rollout: Rollout, update: int) -> None:
        learn_masters(self.masters, rollout, self._workers, update, self._config.hierarchy.macro_length, self._config)

    def entropy(self, rollout: Rollout) -> Array:
        return choice_entropy(self.masters.stack, rollout.steps.observation)

    def divergence(self, rollout: Rollout) -> Array:
        here, all_learners = len(self.trial.hosting.groups), len(self.trial.tasks)
        return health.divergence(self._skills, rollout.steps.observation, here, max(1, health.PLACES // all_learners))
