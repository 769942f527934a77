"""What every part of a run needs: its configuration, its MPI job and its environment."""

from __future__ import annotations

from dataclasses import dataclass

from mlsh_mpi.config.settings import Config
from mlsh_mpi.mpi.job import Job
from mlsh_mpi.sampling.task_family import TaskFamily


@dataclass(frozen=True)
class Experiment:
    """The same on every rank, except for the job's rank number."""

    config: Config
    """The run's configuration, checked against the environment."""
    job: Job
    family: TaskFamily
