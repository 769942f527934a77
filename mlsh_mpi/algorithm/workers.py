"""What the workers of this rank keep from one iteration to the next: their masters' memory, and unfinished episodes."""

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
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.sampling.vector_env import VectorEnv


@dataclass(frozen=True)
class Workers:
    """The workers of this rank. If episodes continue across iterations a worker has one lane, with the same number."""

    numbers: tuple[int, ...]
    """Their numbers among all workers."""
    memory: Memory
    running: RunningEpisodes | None
    """The unfinished episodes; None if an iteration consists of whole episodes."""

    @classmethod
    def initial(cls, config: Config, family: TaskFamily, placement: Placement) -> Workers:
        """Workers without memories and unfinished episodes."""
        continues = config.sampling.steps < family.episode_length
        memory = Memory(config.master.memory, len(placement.workers), continues=continues)
        running = RunningEpisodes.empty(len(placement.workers), family.observation_size) if continues else None
        return cls(placement.workers, memory, running)

    def begin_tasks(self, new: Sequence[bool]) -> None:
        """Forgets the decisions of the workers that have a new task, and abandons their episodes."""
        self.memory.forget(new)
        if self.running is not None:
            self.running.started &= ~np.array(new)

    def state_dict(self) -> dict[int, dict[str, Any]]:
        """The state of each worker for a resume, by its number, as tensors and plain values."""
        running = [{}] * len(self.numbers) if self.running is None else self.running.lane_states()
        of_workers = zip(self.numbers, self.memory.worker_states(), running, strict=True)
        return {number: {"memory": memory, "running": episode} for number, memory, episode in of_workers if memory or episode}

    def load_state_dict(self, saved: Mapping[int, Mapping[str, Any]]) -> None:
        """Restores what :meth:`state_dict` returned, possibly on other ranks. Then :meth:`replay_actions` must restore the
        episodes."""
        if set(self.numbers) <= set(saved):
            self.memory.load_state_dict([saved[number]["memory"] for number in self.numbers])
            if self.running is not None:
                self.running.load_state_dict([saved[number]["running"] for number in self.numbers])

    def replay_actions(self, lanes: VectorEnv, tasks: Sequence[Any], job: Job) -> None:
        """Restores the episodes of new lanes, and warns of environments that do not repeat themselves."""
        if self.running is None:
            return
        diverged = np.array([float(self.running.replay_actions(lanes, tasks, job.watch))])
        job.world.allreduce(diverged)  # every rank takes part
        if diverged[0] and job.world.rank == 0:
            warn(
                f"mlsh_mpi: {diverged[0]:.0f} of the unfinished episodes diverged when their actions were replayed, so these "
                "start anew: this environment depends on more than seed, task and actions (wrappers such as NormalizeReward "
                "remember earlier episodes, which no checkpoint holds)"
            )
