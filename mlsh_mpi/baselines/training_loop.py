"""The training loop for one policy for all tasks; each worker gets a new task in every iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlsh_mpi.algorithm.metrics import Clock, Tally, finished, iteration_metrics
from mlsh_mpi.algorithm.saved_state import check_tensors
from mlsh_mpi.algorithm.schedule import Phase
from mlsh_mpi.algorithm.stack_trainer import StackTrainer
from mlsh_mpi.algorithm.training_state import check_finite, groups_of
from mlsh_mpi.config.settings import Config
from mlsh_mpi.mpi.placement import Placement, place
from mlsh_mpi.mpi.ranks import Ranks
from mlsh_mpi.networks.actor_critic import Array, Network, StackedActorCritic
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.experiment import Experiment
from mlsh_mpi.sampling.rollout import Rollout
from mlsh_mpi.tracking.checkpoint import Checkpoint, OnIteration

Iterate = Callable[[int, Sequence[Any]], Sequence[Rollout]]
"""(iteration, a task for each worker on this rank) -> the collected rollouts, after learning from them."""


@dataclass(frozen=True)
class SharedPolicy:
    """One policy, the same on every rank, and the placement of the workers that collect for it."""

    groups: int
    placement: Placement
    learner: StackTrainer

    @classmethod
    def initial(cls, config: Config, world: Ranks, network: Network, saved: Checkpoint | None) -> SharedPolicy:
        """The state at the start of training, or from a checkpoint."""
        groups = groups_of(config, world, saved)
        placement = place(groups, config.sampling.workers, world.size, world.rank)
        learner = StackTrainer.create(StackedActorCritic(1, network), config.primitive, world)
        learner.restart(0, seeding.stream(config.run.seed, "phi", 0))
        if saved is not None:
            learner.load_state_dict(saved.state["primitives"])
        return cls(groups, placement, learner)

    @property
    def shared(self) -> Array:
        """The policy's parameters."""
        return self.learner.stack.flat.numpy()

    def gather_state_dict(self, world: Ranks) -> dict[str, Any] | None:
        """The state of the policy and its optimiser, on rank 0; None on the others."""
        return self.common_part() if world.rank == 0 else None

    def own_part(self) -> None:
        """No rank knows anything alone."""

    def common_part(self) -> dict[str, Any]:
        """The state of the policy and its optimiser, which every rank knows."""
        tensors = {name: values.clone() for name, values in self.learner.state_dict().items()}
        return {"groups": self.groups, "primitives": tensors}


def check_resumable(saved: Checkpoint, experiment: Experiment, network: Network) -> None:
    """The same as :func:`mlsh_mpi.algorithm.training_state.check_resumable`, for one policy with this network."""
    fresh = StackTrainer.create(StackedActorCritic(1, network), experiment.config.primitive, experiment.job.world)
    check_tensors(saved.state["primitives"], fresh.state_dict(), "primitives")
    place(saved.state["groups"], experiment.config.sampling.workers, 1, 0)


def run(
    experiment: Experiment,
    saved: Checkpoint | None,
    on_iteration: OnIteration,
    state: SharedPolicy,
    iterate: Iterate,
) -> None:
    """Runs the iterations, and counts and logs them as :func:`mlsh_mpi.algorithm.mlsh.train` does."""
    config, world, family, placement = experiment.config, experiment.job.world, experiment.family, state.placement
    seed, info_names = config.run.seed, list[str]()

    for iteration in range(saved.iteration if saved else 0, config.run.iterations):
        clock, tally = Clock(world.meter), Tally.empty(state.groups, 1, world.size, info_names)

        tasks = [family.sample_task(seeding.stream(seed, "task", iteration, worker)) for worker in placement.workers]
        rollouts = iterate(iteration, tasks)
        check_finite(iteration, "policy", (0,), state.learner.stack)

        for rollout in rollouts:
            tally.add_rollout(rollout, placement)
        tally.samples[:] = tally.groups[:, 4:].sum()
        environment = sum(rollout.environment_seconds for rollout in rollouts)
        tally.costs[world.rank] = clock.costs(environment, sum(rollout.policy_seconds for rollout in rollouts))

        before_and_after = np.array([finished(rollout.steps.reward, rollout.steps.end)[:2] for rollout in rollouts], float)
        tally.sum_over(world)
        world.allreduce(before_and_after)

        # Every worker has a new task in every iteration, so nothing is measured after a warm-up.
        phases = [Phase(cycle=iteration, new_task=True, joint=True, updates=0)] * state.groups
        metrics = {"iteration": iteration + 1.0} | iteration_metrics(tally, phases, [], 0)
        for name in ("return/fresh_master", "return/adapted"):
            del metrics[name]
        if len(rollouts) == 2:
            metrics["return/before"], metrics["return/adapted"] = (before_and_after[:, 1] / before_and_after[:, 0]).tolist()

        if on_iteration(metrics, state):
            break
