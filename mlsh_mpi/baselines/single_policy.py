"""One policy for one task, trained by PPO: from scratch, or fine-tuned from one for all tasks (paper, Figures 4b and 7b)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mlsh_mpi.adaptation.loop import AdaptationMethod, AdaptationSet
from mlsh_mpi.algorithm.critic_inputs import CriticInputs
from mlsh_mpi.algorithm.primitives import primitive_network, update_primitives
from mlsh_mpi.algorithm.stack_trainer import StackTrainer
from mlsh_mpi.networks.actor_critic import Array, StackedActorCritic
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.networks.observation_filter import Moments, ObservationFilter
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.rollout import Rollout, one_per_block


class SinglePolicyAdaptation(AdaptationMethod):
    """A policy for each learner, which learns like a primitive.

    The policies are rows of one stack, like primitives, and every learner's lanes always run its own row.

    Args:
        adaptation_set: the tasks and the placement of their learners.
        policies: one trained policy, of which each learner gets a copy; its observation filter is frozen. None starts from
            scratch, with a filter for each learner if the configuration asks for one.
    """

    def __init__(self, adaptation_set: AdaptationSet, policies: PrimitivePolicies | None) -> None:
        super().__init__(adaptation_set)
        self.explores = adaptation_set.config.hierarchy.deterministic_primitives
        config, family, learners = adaptation_set.config, adaptation_set.family, adaptation_set.placement.groups

        stack = StackedActorCritic(len(learners), primitive_network(config, family))
        self._learner = StackTrainer.create(stack, config.primitive, adaptation_set.alone)
        self._critic = CriticInputs.from_config(config.primitive, family)
        self._filters = None

        for row, learner in enumerate(learners):
            self._learner.restart(row, seeding.stream(adaptation_set.seed, "phi", learner))

        # Every learner begins with a copy of the trained policy, if there is one.
        if policies is not None:
            trained = policies.primitives.named_parameters()
            for name, parameter in zip(stack.network.shapes, stack.parameters, strict=True):
                if trained[name].shape[1:] == parameter.shape[1:]:  # a value network may have other inputs than in training
                    parameter.copy_(trained[name].expand_as(parameter))
        elif config.network.filter_observations:
            self._filters = Filters(len(learners), family.observation_size)

        observation_filter = policies.observation_filter if policies else self._filters
        self._policies = PrimitivePolicies(self._learner.stack, family.primitive_columns, observation_filter)
        self._own = one_per_block(len(learners), adaptation_set.lanes_each)
        self._rows = np.repeat(np.arange(len(learners)), adaptation_set.lanes_each)

    def state_dict(self) -> dict[str, Tensor]:
        return self._learner.state_dict() | (self._filters.state_dict() if self._filters else {})

    def collect(self, update: int, *, explore: bool) -> Rollout:
        policies = replace(self._policies, deterministic=self.explores and not explore)
        rollout = self.rollout(self._own, policies, update, self.adaptation_set.family.episode_length)
        return replace(rollout, steps=rollout.steps._replace(primitive=np.zeros_like(rollout.steps.primitive)))

    def learn(self, rollout: Rollout, update: int) -> None:
        learners = self.adaptation_set.placement.groups
        rows = np.broadcast_to(self._rows, rollout.steps.primitive.shape)
        by_row = replace(rollout, steps=rollout.steps._replace(primitive=rows))
        update_primitives(self._learner, by_row, [True] * len(learners), self.adaptation_set.config, self._critic)
        if self._filters is not None:
            self._filters.update(rollout.steps.raw_observation)


class Filters(ObservationFilter):
    """An observation filter for each of n learners; their lanes are n equal blocks."""

    def __init__(self, n: int, size: int) -> None:
        self._count = torch.zeros(n, dtype=torch.float64)
        self._sums = torch.zeros(n, 2, size, dtype=torch.float64)
        self._each = [ObservationFilter(size) for _ in range(n)]

    def state_dict(self) -> dict[str, Tensor]:
        """Counts (n,) and sums (n, 2, size) of all observations, as views."""
        return {"filter_count": self._count, "filter_sums": self._sums}

    def update(self, observations: Array) -> None:
        """Adds observations, (T, L, size), to each learner's moments."""
        for row, seen in enumerate(np.split(observations, len(self._each), axis=1)):
            new = Moments.from_batch(seen)
            self._count[row] += new.count
            self._sums[row] += torch.from_numpy(np.stack((new.total, new.squares)))

    def __call__(self, observation: Array) -> Array:
        blocks = np.split(observation, len(self._each), axis=-2)
        return np.concatenate([of(block) for of, block in zip(self._current(), blocks, strict=True)], axis=-2)

    def _current(self) -> list[ObservationFilter]:
        """The filters, updated from the tensors, which a resume may have changed."""
        for row, each in enumerate(self._each):
            if each.moments.count != self._count[row]:
                each.moments = Moments(0.0, np.zeros_like(each.moments.total), np.zeros_like(each.moments.total))
                each.merge(Moments(float(self._count[row]), *self._sums[row].numpy().copy()))
        return self._each
