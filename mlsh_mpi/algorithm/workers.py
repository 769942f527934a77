"""What the workers of this rank keep from one iteration to the next: their masters' memory, and the episodes under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlsh_mpi.algorithm.decision_memory import Memory
from mlsh_mpi.config.settings import Config
from mlsh_mpi.mpi.job import Job
from mlsh_mpi.mpi.placement import Placement
from mlsh_mpi.output import warn
from mlsh_mpi.sampling.episodes import RunningEpisodes
from mlsh_mpi.sampling.lanes import Lanes
from mlsh_mpi.sampling.task_family import TaskFamily


@dataclass(frozen=True)
class Workers:
    """The workers of this rank. Where episodes continue across iterations a worker has one lane, so they share a number."""

    numbers: tuple[int, ...]
    """Their numbers among all workers."""
    memory: Memory
    running: RunningEpisodes | None
    """The episodes under way; None where an iteration consists of whole episodes."""

    @classmethod
    def begin(cls, config: Config, family: TaskFamily, placement: Placement) -> Workers:
        """Workers that remember nothing and have no episode under way."""
        goes_on = config.sampling.steps < family.episode_length
        memory = Memory(config.master.memory, len(placement.workers), goes_on=goes_on)
        running = RunningEpisodes.none(len(placement.workers), family.observation_size) if goes_on else None
        return cls(placement.workers, memory, running)

    def begin_tasks(self, new: Sequence[bool]) -> None:
        """Forgets the decisions of the workers that have a new task, and abandons their episodes."""
        self.memory.forget(new)
        if self.running is not None:
            self.running.started &= ~np.array(new)

    @property
    def kept(self) -> dict[int, dict[str, Any]]:
        """What a resume needs of each worker, by its number, as tensors and plain values."""
        running = [{}] * len(self.numbers) if self.running is None else self.running.of_lanes
        found = zip(self.numbers, self.memory.of_workers, running, strict=True)
        return {number: {"memory": memory, "running": episode} for number, memory, episode in found if memory or episode}

    def restore(self, kept: Mapping[int, Mapping[str, Any]]) -> None:
        """Restores what `kept` returned, possibly on other ranks. The episodes must then be run again: see :meth:`run_again`."""
        if set(self.numbers) <= set(kept):
            self.memory.restore([kept[number]["memory"] for number in self.numbers])
            if self.running is not None:
                self.running.restore([kept[number]["running"] for number in self.numbers])

    def run_again(self, lanes: Lanes, tasks: Sequence[Any], job: Job) -> None:
        """Brings fresh lanes to where their episodes were, and warns of environments that do not repeat themselves."""
        if self.running is None:
            return
        odd = np.array([float(self.running.run_again(lanes, tasks, job.watch))])  # every rank takes part in the allreduce
        job.world.allreduce(odd)
        if odd[0] and job.world.rank == 0:
            warn(
                f"mlsh_mpi: {odd[0]:.0f} of the episodes under way went otherwise when their actions were taken again, so these "
                "begin anew: what happens in this environment depends on more than seed, task and actions (wrappers such as "
                "NormalizeReward remember earlier episodes, which no checkpoint holds)"
            )
