"""What every part of a run needs: its configuration, its MPI job and its environment."""

from __future__ import annotations

from dataclasses import dataclass

from mlsh_mpi.config.settings import Config
from mlsh_mpi.mpi.job import Job
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.sampling.vector_env import VectorEnv


@dataclass(frozen=True)
class Experiment:
    """The same on every rank, except for the job's rank number."""

    config: Config
    """The run's configuration, checked against the environment."""
    job: Job
    family: TaskFamily

    def close(self, lanes: VectorEnv) -> None:
        """Closes lanes that are no longer needed. Every rank must call it. A fault on any rank is mentioned once, but ends
        nothing."""
        self.job.watch.enter(lambda: f"{self.family.name} to close")
        fault = lanes.close()
        self.job.watch.leave()
        faults = [each for each in self.job.world.allgather(fault) if each]
        if faults and self.job.world.rank == 0:
            self.family.maker.mention(faults[0])
