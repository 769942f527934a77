"""What every part of a run is given: its configuration, its ranks and its environment."""

from __future__ import annotations

from dataclasses import dataclass

from mlsh_mpi.config.settings import Config
from mlsh_mpi.mpi.job import Job
from mlsh_mpi.sampling.task_family import TaskFamily


@dataclass(frozen=True)
class Experiment:
    """The same on every rank, but for the job's own rank number."""

    config: Config
    """Checked against the environment."""
    job: Job
    family: TaskFamily
