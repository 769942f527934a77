"""The state that changes from iteration to iteration: all that a resume needs, as everything else follows from the seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from mlsh_mpi.algorithm.masters import master_stack, private_masters
from mlsh_mpi.algorithm.primitives import primitive_stack, shared_primitives
from mlsh_mpi.algorithm.saved_state import check_no_nan, check_tensors
from mlsh_mpi.algorithm.schedule import Phase
from mlsh_mpi.algorithm.stack_trainer import StackTrainer
from mlsh_mpi.algorithm.workers import Workers
from mlsh_mpi.config.settings import Config
from mlsh_mpi.mpi.placement import Placement, grown, place
from mlsh_mpi.mpi.ranks import Ranks
from mlsh_mpi.networks.actor_critic import Array, StackedActorCritic
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.networks.observation_filter import Moments, ObservationFilter
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.experiment import Experiment
from mlsh_mpi.tracking.checkpoint import Checkpoint

Part = tuple[Sequence[int], dict[str, torch.Tensor], dict[int, Any]]
"""Numbers of groups, their masters' tensors, and the states of workers by their numbers."""


@dataclass(frozen=True)
class TrainingState:
    """The trainers and workers of this rank, and the primitives with their observation filter."""

    groups: int
    placement: Placement
    primitives: StackTrainer
    masters: StackTrainer
    policies: PrimitivePolicies
    workers: Workers
    info_names: list[str] = field(default_factory=list)
    """Names of the numbers in `info` so far, the same on every rank; not in checkpoints, because they soon appear again."""

    @classmethod
    def initial(cls, experiment: Experiment, saved: Checkpoint | None) -> TrainingState:
        """The state at the start of training or from a checkpoint. Masters are initialised when their first task starts."""
        config, world, family = experiment.config, experiment.job.world, experiment.family
        groups = groups_of(config, world, saved)
        placement = place(groups, config.sampling.workers, world.size, world.rank)
        primitives = shared_primitives(config, world, family)
        observation_filter = ObservationFilter(family.observation_size) if config.network.filter_observations else None
        policies = PrimitivePolicies(primitives.stack, family.primitive_columns, observation_filter)
        masters, workers = private_masters(config, world, family, placement), Workers.initial(config, family, placement)
        state = cls(groups, placement, primitives, masters, policies, workers)
        if saved is not None:
            state.load_state_dict(saved.state)
        return state

    def begin_tasks(self, phases: Sequence[Phase], seed: int) -> None:
        """Gives every group on this rank that starts a new task a fresh master, without knowledge of the last task."""
        for row, group in enumerate(self.placement.groups):
            if phases[group].new_task:
                self.masters.restart(row, seeding.stream(seed, "theta", phases[group].cycle + 1, group))
        self.workers.begin_tasks(self.placement.for_workers([phase.new_task for phase in phases]))

    @property
    def shared(self) -> Array:
        """The parameters phi."""
        return self.primitives.stack.flat.numpy()

    def gather_state_dict(self, world: Ranks) -> dict[str, Any] | None:
        """The state of all ranks as tensors and plain values, on rank 0; None on the others.

        Every rank must call it. Parameters and moments are (K, P) for the primitives and (G, P) for the masters.
        """
        parts = world.gather(self.own_part())
        return None if parts is None else joined(self.common_part(), parts)

    def own_part(self) -> Part:
        """What only this rank knows: its groups' masters and its workers."""
        return self.placement.groups, self.masters.state_dict(), self.workers.state_dict()

    def common_part(self) -> dict[str, Any]:
        """What every rank knows."""
        observation_filter = self.policies.observation_filter
        return {
            "groups": self.groups,
            "primitives": {name: values.clone() for name, values in self.primitives.state_dict().items()},
            "observation_filter": observation_filter and observation_filter.moments.state_dict(),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Restores what :meth:`gather_state_dict` returned, possibly on another number of ranks."""
        self.primitives.load_state_dict(saved["primitives"])
        self.masters.load_state_dict(saved["masters"], list(self.placement.groups))
        self.workers.load_state_dict(saved.get("workers", {}))
        if self.policies.observation_filter is not None:
            self.policies.observation_filter.merge(Moments.from_state_dict(saved["observation_filter"]))

    def merge(self, observations: Array, world: Ranks) -> None:
        """Adds the observations of an iteration, pooled over all ranks, to the observation filter, if there is one."""
        if self.policies.observation_filter is None:
            return
        own = Moments.from_batch(observations)
        sums = np.concatenate(([own.count], own.total, own.squares))
        world.allreduce(sums)
        total, squares = np.split(sums[1:], 2)
        self.policies.observation_filter.merge(Moments(float(sums[0]), total, squares))

    def check(self, iteration: int) -> None:
        """Raises ArithmeticError if a parameter on this rank is NaN or infinite."""
        check_finite(iteration, "primitive", range(self.primitives.stack.n), self.primitives.stack)
        check_finite(iteration, "master of group", self.placement.groups, self.masters.stack)


def joined(common: Mapping[str, Any], parts: Sequence[Part | None]) -> dict[str, Any]:
    """The state of all ranks.

    Args:
        common: what every rank knows.
        parts: what each rank knows alone; None where nothing is a rank's own.
    """
    masters: dict[str, torch.Tensor] = {}
    workers: dict[int, Any] = {}
    for part in parts:
        if part is None:
            return dict(common)
        groups, of_masters, of_workers = part
        workers |= of_workers
        for name, values in of_masters.items():  # ranks that share a group hold the same bits
            masters.setdefault(name, values.new_zeros(common["groups"], *values.shape[1:]))[list(groups)] = values
    return {**common, "masters": masters, "workers": workers}


def check_resumable(saved: Checkpoint, experiment: Experiment) -> None:
    """Raises an exception if training cannot continue from a checkpoint of the same settings and environment. One rank may call
    it.

    Raises:
        UserError: something is missing, has another shape, or is NaN. Contents of another kind may raise anything else.
    """
    config, world, family, state = experiment.config, experiment.job.world, experiment.family, saved.state
    groups = state["groups"]
    phi = StackTrainer.create(primitive_stack(config, family), config.primitive, world)
    theta = StackTrainer.create(master_stack(config, family, groups), config.master, world)
    check_tensors(state["primitives"], phi.state_dict(), "primitives")
    check_tensors(state["masters"], theta.state_dict(), "masters")
    if config.network.filter_observations:
        moments = ObservationFilter(family.observation_size).moments
        check_tensors(state["observation_filter"], moments.state_dict(), "observation_filter")

    workers = state.get("workers", {})
    check_no_nan(workers, "workers")
    Workers.initial(config, family, place(groups, config.sampling.workers, 1, 0)).load_state_dict(workers)


def groups_of(config: Config, world: Ranks, saved: Checkpoint | None) -> int:
    """The number of groups. A resumed run keeps its number, on any number of ranks."""
    return saved.state["groups"] if saved else grown(config.sampling.groups, config.sampling.workers, world.size)


def check_finite(iteration: int, owner: str, numbers: Sequence[int], stack: StackedActorCritic) -> None:
    """Raises ArithmeticError if a parameter of a stack is NaN or infinite.

    Args:
        iteration: number of the last iteration, from 0.
        owner: what the rows of the stack are, for the message.
        numbers: number of each row's owner.
        stack: the parameters to check.
    """
    if torch.isfinite(stack.flat.sum()):  # a sum is NaN or infinite if any of its terms is
        return
    for name, values in stack.named_parameters().items():
        for row in range(stack.n):
            if not torch.isfinite(values[row]).all():
                parameter = f"{name} of {owner} {numbers[row]}"
                raise ArithmeticError(f"after the update of iteration {iteration + 1}, {parameter} is NaN or infinite")
