"""Evaluation during training: how good the primitives are so far, and the best of them.

The result of training is primitives, so these are evaluated, as after training: fresh masters learn single tasks over them for W
updates, and are then evaluated without exploration. The masters of training would cost less, but each has learned while its
primitives changed, and the groups in their joint phase have other tasks each time.

Masters and episodes have random streams of their own, the same in every evaluation: only the primitives differ. There are as many
masters as workers, so that an evaluation takes as many steps as W + 2 iterations, and its numbers depend as little on the number
of ranks as those of training. The best primitives are the best of several evaluations with the same episodes, so they look a
little better than they are; the final test and `adapt` have other episodes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlsh_mpi.adaptation.loop import AdaptationMethod, AdaptationSet, adapt
from mlsh_mpi.adaptation.task_selection import final_tasks
from mlsh_mpi.mpi.ranks import Ranks
from mlsh_mpi.networks.actor_critic import Array
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.policies.phi_file import as_saved
from mlsh_mpi.sampling.experiment import Experiment
from mlsh_mpi.tracking.checkpoint import Checkpoint

EVALUATION_SEED = 2**21
"""Added to the run's seed, so that neither training nor the final test has these episodes."""


@dataclass(frozen=True)
class Best:
    """The best primitives so far, in the form of their file."""

    iteration: int
    """Number of iterations after which they were evaluated."""
    value: float
    """``evaluation/return``."""
    phi: Mapping[str, Any]
    """See :func:`mlsh_mpi.policies.phi_file.phi_as_dict`."""

    @classmethod
    def in_checkpoint(cls, saved: Checkpoint | None) -> Best | None:
        """The best primitives in a checkpoint; None if nothing was evaluated before it."""
        return cls(**saved.state["best"]) if saved and "best" in saved.state else None


@dataclass
class EvaluatedState:
    """The state of training, and the best primitives so far; all other attributes are those of the state."""

    state: Any
    best: Best | None

    @property
    def shared(self) -> Array:
        """Those of the state."""
        return self.state.shared

    def gather_state_dict(self, world: Ranks) -> dict[str, Any] | None:
        """That of the state, with the best primitives. Every rank must call it."""
        state = self.state.gather_state_dict(world)
        return state if state is None else self._with_best(state)

    def common_part(self) -> dict[str, Any]:
        """What every rank knows of the state of training, with the best primitives."""
        return self._with_best(self.state.common_part())

    def _with_best(self, state: dict[str, Any]) -> dict[str, Any]:
        return state if self.best is None else state | {"best": vars(self.best)}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.state, name)


class Evaluator:
    """Called after each iteration, on every rank, before its metrics are logged.

    Args:
        experiment: configuration, job and environment of the run.
        groups: number of groups.
        updates: number of updates of each master.
        learners: makes the learners of an evaluation, over the current primitives.
        keep: called with the primitives whenever they are the best so far, on rank 0.
        saved: the checkpoint to resume from.
    """

    def __init__(
        self,
        experiment: Experiment,
        groups: int,
        updates: int,
        learners: Callable[[AdaptationSet, PrimitivePolicies], AdaptationMethod],
        keep: Callable[[Best], None],
        saved: Checkpoint | None,
    ) -> None:
        config, job, family = experiment.config, experiment.job, experiment.family
        self._interval, self._updates, self._learners, self._keep = config.run.evaluation_interval, updates, learners, keep
        self._rank = job.world.rank
        count = max(groups * config.sampling.workers, len(family.tasks))
        tasks = final_tasks(family, config.run.seed + EVALUATION_SEED, count)
        self._set = AdaptationSet(config, job, family, tasks, EVALUATION_SEED)
        self.best = Best.in_checkpoint(saved)
        if self.best is not None and self._rank == 0:  # best.pt may be a later one, from iterations that were lost
            keep(self.best)

    def __call__(self, metrics: dict[str, float], state: Any) -> EvaluatedState:
        """Evaluates if an evaluation is due, and adds the results to the metrics."""
        iteration = int(metrics["iteration"])
        if self._interval and iteration % self._interval == 0:
            metrics |= self._evaluated(state.policies)
            value = metrics["evaluation/return"]
            if self.best is None or value > self.best.value:
                self.best = Best(iteration, value, as_saved(state.policies, self._set.config, self._set.family))
                if self._rank == 0:
                    self._keep(self.best)
        return EvaluatedState(state, self.best)

    def _evaluated(self, policies: PrimitivePolicies) -> dict[str, float]:
        started = time.perf_counter()
        deterministic = self._set.config.hierarchy.deterministic_primitives
        learners = self._learners(self._set, replace(policies, deterministic=deterministic))
        adaptation = adapt(learners, self._updates, lambda *_: None, evaluate=lambda update: update == self._updates)

        reached, labels = adaptation.returns_without_exploration[-1], np.array(self._set.family.labels(self._set.tasks))
        metrics = {"evaluation/return": float(np.mean(reached))}
        metrics |= {
            f"evaluation/return/{label}": float(np.mean(reached[labels == label])) for label in sorted(set(labels.tolist()))
        }
        collections = self._updates + 1 + learners.explores
        metrics["evaluation/environment_steps"] = float(collections * learners.collected * len(self._set.tasks))
        return metrics | {"evaluation/seconds": time.perf_counter() - started}
