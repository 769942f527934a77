"""The test of the method: primitives are frozen, and only a fresh master learns (paper, section 4)."""

from __future__ import annotations

from torch import Tensor

from mlsh_mpi.adaptation import diagnostics
from mlsh_mpi.adaptation.loop import AdaptationMethod, AdaptationSet
from mlsh_mpi.algorithm.decision_memory import Memory
from mlsh_mpi.algorithm.masters import choice_entropy, private_masters, update_masters
from mlsh_mpi.networks.actor_critic import Array
from mlsh_mpi.networks.inference import Skills
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.rollout import Rollout, master_policy


class FreshMasters(AdaptationMethod):
    """A fresh master for each learner, over frozen primitives (paper, section 4)."""

    memory: Memory

    def __init__(self, adaptation_set: AdaptationSet, skills: Skills) -> None:
        super().__init__(adaptation_set)
        self._skills, self.behaviours = skills, skills.primitives.n
        self.masters = private_masters(
            adaptation_set.config, adaptation_set.alone, adaptation_set.family, adaptation_set.placement
        )
        self.memory = Memory(adaptation_set.config.master.memory, len(adaptation_set.placement.workers), goes_on=False)
        for row, learner in enumerate(adaptation_set.placement.groups):
            self.masters.restart(row, seeding.stream(adaptation_set.seed, "theta", 0, learner))

    @property
    def tensors(self) -> dict[str, Tensor]:
        return self.masters.tensors

    def collect(self, update: int, *, explore: bool) -> Rollout:
        hierarchy = self.adaptation_set.config.hierarchy
        decide = master_policy(self.masters.stack, hierarchy.exploration if explore else 0.0)
        return self.rollout(decide, self._skills, update, hierarchy.macro_length)

    def learn(self, rollout: Rollout, update: int) -> None:
        update_masters(self.masters, rollout, self.memory, self.adaptation_set.config.master)

    def entropy(self, rollout: Rollout) -> Array:
        return choice_entropy(self.masters.stack, rollout.steps.observation)

    def divergence(self, rollout: Rollout) -> Array:
        here, all_learners = len(self.adaptation_set.placement.groups), len(self.adaptation_set.tasks)
        return diagnostics.divergence(self._skills, rollout.steps.observation, here, max(1, diagnostics.PLACES // all_learners))
