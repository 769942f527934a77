"""The test of the method: primitives are frozen, and only a fresh master learns (paper, section 4)."""

from __future__ import annotations

from torch import Tensor

from mlsh_mpi.adaptation import diagnostics
from mlsh_mpi.adaptation.loop import Adaptation, AdaptationMethod, AdaptationSet
from mlsh_mpi.algorithm.decision_memory import Memory
from mlsh_mpi.algorithm.masters import choice_entropy, private_masters, update_masters
from mlsh_mpi.networks.actor_critic import Array
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.policies.hierarchy import Hierarchy
from mlsh_mpi.policies.phi_file import PhiCheckpoint
from mlsh_mpi.policies.primitives import Primitives
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.rollout import Rollout, master_policy


class FreshMasters(AdaptationMethod):
    """A fresh master for each learner, over frozen primitives (paper, section 4)."""

    memory: Memory

    def __init__(self, adaptation_set: AdaptationSet, policies: PrimitivePolicies) -> None:
        super().__init__(adaptation_set)
        self._policies, self.behaviours = policies, policies.primitives.n
        self.masters = private_masters(
            adaptation_set.config, adaptation_set.alone, adaptation_set.family, adaptation_set.placement
        )
        self.memory = Memory(adaptation_set.config.master.memory, len(adaptation_set.placement.workers), continues=False)
        for row, learner in enumerate(adaptation_set.placement.groups):
            self.masters.restart(row, seeding.stream(adaptation_set.seed, "theta", 0, learner))

    def state_dict(self) -> dict[str, Tensor]:
        return self.masters.state_dict()

    def collect(self, update: int, *, explore: bool) -> Rollout:
        hierarchy = self.adaptation_set.config.hierarchy
        decide = master_policy(self.masters.stack, hierarchy.exploration if explore else 0.0)
        return self.rollout(decide, self._policies, update, hierarchy.macro_length)

    def learn(self, rollout: Rollout, update: int) -> None:
        update_masters(self.masters, rollout, self.memory, self.adaptation_set.config.master)

    def entropy(self, rollout: Rollout) -> Array:
        return choice_entropy(self.masters.stack, rollout.steps.observation)

    def divergence(self, rollout: Rollout) -> Array:
        own_learners, all_learners = len(self.adaptation_set.placement.groups), len(self.adaptation_set.tasks)
        return diagnostics.divergence(
            self._policies, rollout.steps.observation, own_learners, max(1, diagnostics.PLACES // all_learners)
        )


def learned_hierarchies(
    learners: AdaptationMethod, adaptation: Adaptation, phi: PhiCheckpoint, *, one_a_task: bool = True
) -> list[Hierarchy]:
    """The masters as they were last evaluated, with their primitives; the same on every rank. Every rank must call it.

    Args:
        learners: the method of fresh masters, with those of this rank.
        adaptation: results of the masters.
        phi: the trained primitives.
        one_a_task: whether to keep only the best master of each task, by its last return without exploration.
    """
    adaptation_set = learners.adaptation_set
    tensors = learners.kept or learners.state_dict()
    parameters = [row for part in adaptation_set.job.world.allgather(tensors["parameters"]) for row in part]
    labels = [adaptation_set.family.label(task) for task in adaptation.tasks]
    chosen = list(range(len(labels)))
    if one_a_task:
        last = adaptation.returns_without_exploration[-1]
        chosen = [max((m for m in chosen if labels[m] == label), key=lambda m: last[m]) for label in dict.fromkeys(labels)]
    primitives = Primitives(phi.tested_by(adaptation_set.config), adaptation_set.family)
    return [Hierarchy(primitives, parameters[m], adaptation_set.config.hierarchy.macro_length, labels[m]) for m in chosen]
