"""How single tasks are learned after training: the loop that all methods share.

fresh_masters.py is the paper's own method; baselines/ has those to compare it with.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlsh_mpi.adaptation.task_selection import TEST_SEED
from mlsh_mpi.adaptation.update_metrics import update_metrics
from mlsh_mpi.algorithm.decision_memory import Memory
from mlsh_mpi.algorithm.metrics import Clock, Tally
from mlsh_mpi.config.earlier_names import result
from mlsh_mpi.mpi.placement import Placement, place
from mlsh_mpi.mpi.ranks import Ranks
from mlsh_mpi.networks.actor_critic import Array
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.sampling.episodes import Streams
from mlsh_mpi.sampling.experiment import Experiment
from mlsh_mpi.sampling.rollout import Master, Rollout, collect
from mlsh_mpi.tracking.checkpoint import Checkpoint


@dataclass(frozen=True)
class AdaptationSet(Experiment):
    """M tasks, each for a learner of its own, and the placement of the learners on ranks.

    A learner has one worker, with D steps and random streams of its own, so it is independent of the other learners.
    """

    tasks: tuple[Any, ...]
    """(M,) task of each learner, over all ranks."""
    seed_offset: int = TEST_SEED
    """Added to the run's seed."""

    @property
    def seed(self) -> int:
        """Seed of every random stream of the test."""
        return self.config.run.seed + self.seed_offset

    @cached_property
    def placement(self) -> Placement:
        """The learners on this rank, as groups of one worker."""
        return place(len(self.tasks), 1, self.job.world.size, self.job.world.rank)

    @property
    def lanes_each(self) -> int:
        """Number of lanes of a learner, each for one whole episode."""
        return self.config.sampling.shape(self.family.episode_length)[0]

    @cached_property
    def alone(self) -> Ranks:
        """This rank by itself, for learners that share nothing with other ranks."""
        return self.job.world.split(self.job.world.rank)

    @property
    def tasks_here(self) -> list[Any]:
        """The tasks of the learners on this rank."""
        return [self.tasks[learner] for learner in self.placement.groups]


class AdaptationMethod(ABC):
    """A method of learning single tasks, for all learners of this rank.

    Args:
        adaptation_set: the tasks and the placement of their learners.
        lanes_each: number of lanes of a learner; by default the number of episodes that fit into D.
    """

    behaviours = 1
    """Number of behaviours that a learner chooses from: K primitives or options, or 1 for a single policy."""
    explores = True
    """Whether it acts differently while learning than in evaluations."""
    remembers = False
    """Whether it has a memory, so that its actions also depend on earlier steps."""
    memory: Memory | None = None
    """Earlier decisions of the learners on this rank, for methods that learn from more than the last collection."""

    kept: dict[str, Tensor] | None = None
    """Copies of :meth:`state_dict` after U updates, as the learners are last evaluated."""

    def __init__(self, adaptation_set: AdaptationSet, lanes_each: int | None = None) -> None:
        self.adaptation_set = adaptation_set
        self.lanes = adaptation_set.family.maker.lanes(
            len(adaptation_set.placement.groups) * (lanes_each or adaptation_set.lanes_each)
        )

    def rollout(self, master: Master, policies: PrimitivePolicies, update: int, macro_length: int) -> Rollout:
        """Collects T steps in every lane, with each learner on its own task."""
        adaptation_set = self.adaptation_set
        return collect(
            self.lanes,
            master,
            policies,
            adaptation_set.tasks_here,
            Streams(adaptation_set.seed, update, adaptation_set.placement.groups),
            steps=adaptation_set.family.episode_length,
            macro_length=macro_length,
            watch=adaptation_set.job.watch,
        )

    @property
    def steps(self) -> int:
        """Environment steps of a learner for each update."""
        return self.collected

    @property
    def collected(self) -> int:
        """Environment steps of a learner in one collection, over all its lanes."""
        return self.adaptation_set.lanes_each * self.adaptation_set.family.episode_length

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """All that learning changes, as views: (learners on this rank, ...)."""

    @abstractmethod
    def collect(self, update: int, *, explore: bool) -> Rollout:
        """Collects D steps of every learner.

        Args:
            update: number that identifies the random streams.
            explore: whether to explore, for learning; else learners act as well as they can, and do not learn from it.
        """

    @abstractmethod
    def learn(self, rollout: Rollout, update: int) -> None:
        """One update from collected data."""

    def entropy(self, rollout: Rollout) -> Array:
        """(learners on this rank,) entropy in nats of the choice between behaviours; 0 where there is no choice."""
        return np.zeros(len(self.adaptation_set.placement.groups))

    def divergence(self, rollout: Rollout) -> Array:
        """(K, K) in nats, between behaviours in visited states: see :func:`mlsh_mpi.adaptation.diagnostics.divergence`."""
        return np.zeros((self.behaviours, self.behaviours))


@dataclass(frozen=True)
class Adaptation:
    """Results of M learners after 0 to U updates. NaN after updates without an evaluation."""

    tasks: tuple[Any, ...]
    """(M,) task of each learner."""
    steps: int
    """Environment steps of a learner for each update."""
    returns: Array
    """(U + 1, M) mean return of an episode, with exploration."""
    returns_without_exploration: Array
    """(U + 1, M) mean return of an episode with epsilon = 0: masters still sample, and so do primitives unless they are set to be
    deterministic. The same as `returns` for methods that have no exploration to switch off."""
    entropy: Array
    """(U + 1, M) entropy in nats of the choice between behaviours, without exploration."""
    usage: Array
    """(U + 1, M, K) share of the steps in which each behaviour was active, without exploration."""
    divergence: Array
    """(U + 1, K, K) in nats: see :func:`mlsh_mpi.adaptation.diagnostics.divergence`."""

    @classmethod
    def empty(cls, tasks: tuple[Any, ...], steps: int, behaviours: int) -> Adaptation:
        """No results yet, before the first collection."""
        learners = len(tasks)
        shapes = ((learners,), (learners,), (learners,), (learners, behaviours), (behaviours, behaviours))
        return cls(tasks, steps, *(np.zeros((0, *shape)) for shape in shapes))

    @property
    def curves(self) -> dict[str, Array]:
        """The arrays that get a new row with each update, by name."""
        return {name: value for name, value in vars(self).items() if name not in ("tasks", "steps")}

    def grown(self, **row: Array) -> Adaptation:
        """These results and those after one more update."""
        longer = {name: np.concatenate((values, row[name][None])) for name, values in self.curves.items()}
        return Adaptation(self.tasks, self.steps, **longer)


@dataclass
class Progress:
    """The state of :func:`adapt`, for a resume."""

    learners: AdaptationMethod
    adaptation: Adaptation

    @property
    def shared(self) -> Array:
        """Empty, because ranks share no parameters here."""
        return np.zeros(0)

    def gather_state_dict(self, world: Ranks) -> dict[str, Any] | None:
        """The state of all learners, on rank 0; None on the others. Every rank must call it."""
        memory = self.learners.memory
        parts = world.gather((self.learners.state_dict(), self.learners.kept or {}, memory.worker_states() if memory else []))
        if parts is None:
            return None
        learners = {name: torch.cat([part[0][name] for part in parts]) for name in parts[0][0]}  # placed in rank order
        last = {name: torch.cat([part[1][name] for part in parts]) for name in parts[0][1]}
        memories = list(itertools.chain(*(part[2] for part in parts)))
        curves = {name: torch.from_numpy(values) for name, values in self.adaptation.curves.items()}
        return {"learners": learners, "kept": last, "memories": memories, "curves": curves}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Restores what :meth:`gather_state_dict` returned, possibly on another number of ranks."""
        own = list(self.learners.adaptation_set.placement.groups)
        for name, values in self.learners.state_dict().items():
            if name in saved["learners"]:
                values.copy_(saved["learners"][name][own])
        self.learners.kept = {name: values[own] for name, values in saved.get("kept", {}).items()} or None
        if self.learners.memory is not None and "memories" in saved:
            self.learners.memory.load_state_dict([saved["memories"][learner] for learner in own])
        curves = {name: result(saved["curves"], name).numpy() for name in self.adaptation.curves}
        self.adaptation = Adaptation(self.adaptation.tasks, self.adaptation.steps, **curves)


OnUpdate = Callable[[dict[str, float], Progress], object]


def adapt(
    learners: AdaptationMethod,
    updates: int,
    on_update: OnUpdate,
    *,
    evaluate: Callable[[int], bool],
    saved: Checkpoint | None = None,
) -> Adaptation:
    """Lets every learner collect and learn, and records its results after 0 to U updates. Every rank must call it.

    Args:
        learners: the method, with the learners of this rank.
        updates: U, number of updates.
        on_update: receives, on every rank, the metrics after 0, 1, ... U updates, and the state for a checkpoint.
        evaluate: given a number of updates, whether to evaluate without exploration after them; those steps are not counted.
        saved: the checkpoint to resume from; None starts from the beginning.
    """
    adaptation_set, k = learners.adaptation_set, learners.behaviours
    world, placement = adaptation_set.job.world, adaptation_set.placement
    progress = Progress(learners, Adaptation.empty(adaptation_set.tasks, learners.steps, k))
    labels, info_names = [adaptation_set.family.label(task) for task in adaptation_set.tasks], list[str]()
    if saved is not None:
        progress.load_state_dict(saved.state)

    for update in range(len(progress.adaptation.returns), updates + 1):
        clock, evaluates = Clock(world.meter), evaluate(update)
        exploring, evaluated = (Tally.empty(len(adaptation_set.tasks), k, world.size, info_names) for _ in range(2))
        divergence = np.zeros((k, k))

        rollout = learners.collect(update, explore=True)
        exploring.add_rollout(rollout, placement)
        environment, policy = rollout.environment_seconds, rollout.policy_seconds

        if evaluates:
            best = learners.collect(update + 1, explore=False) if learners.explores else rollout
            evaluated.add_rollout(best, placement)
            evaluated.add_entropy(learners.entropy(best), placement, 1)
            divergence += learners.divergence(best) * len(placement.groups) / len(adaptation_set.tasks)
            if best is not rollout:
                environment, policy = environment + best.environment_seconds, policy + best.policy_seconds

        # Keep the learners as they were evaluated, before they learn once more.
        if update == updates:
            learners.kept = {name: values.clone() for name, values in learners.state_dict().items()}
        learners.learn(rollout, update)
        _check_finite(learners, update)

        exploring.costs[world.rank] = clock.costs(environment, policy)
        exploring.sum_over(world)
        evaluated.sum_over(world)
        world.allreduce(divergence)

        known = 0.0 if evaluates else np.nan
        progress.adaptation = progress.adaptation.grown(
            returns=exploring.returns(),
            returns_without_exploration=evaluated.returns(),
            entropy=evaluated.groups[:, 3] + known,
            usage=evaluated.groups[:, 4:] / np.maximum(evaluated.groups[:, 4:].sum(1, keepdims=True), 1) + known,
            divergence=divergence + known,
        )
        on_update(
            update_metrics(update, labels, progress.adaptation.curves, exploring, evaluated if evaluates else exploring), progress
        )

    adaptation_set.close(learners.lanes)
    return progress.adaptation


def _check_finite(learners: AdaptationMethod, update: int) -> None:
    """Raises ArithmeticError if anything learned is NaN or infinite."""
    for name, values in learners.state_dict().items():
        finite = torch.isfinite(values.reshape(len(values), -1)).all(1)
        if not finite.all():
            learner = learners.adaptation_set.placement.groups[int((~finite).nonzero()[0])]
            raise ArithmeticError(f"after update {update + 1}, {name} of learner {learner} is NaN or infinite")
