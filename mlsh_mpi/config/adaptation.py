"""Settings for what follows training: how single tasks are learned, and what is filmed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from mlsh_mpi.config.bounds import NOT_NEGATIVE, OptionalPositiveInt
from mlsh_mpi.config.methods import MethodName, default_updates
from mlsh_mpi.config.settings import Config, flat
from mlsh_mpi.errors import UserError


@dataclass(frozen=True)
class AdaptationSettings:
    """How single tasks are learned once training is over (paper, section 6.2)."""

    method: MethodName | None = None
    """How a task is learned: by a fresh master over frozen primitives, by fine-tuning a trained policy, by a fresh policy, by the
    memory of a recurrent policy, by gradient steps from a trained policy, or by fresh tables of options or actions; by default as
    the training algorithm intends."""
    updates: OptionalPositiveInt = None
    """Number of updates on each task; by default W of the training run, for RL² one less than the episodes of a trial."""
    task: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Learn only this task, named as in the tables (goal=1) or by its JSON; may be given several times. By default the tasks that
    the environment lists, or else random ones."""
    held_out: bool = False
    """Learn tasks that training never draws."""


@dataclass(frozen=True)
class AdaptConfig(Config):
    """Everything that defines a test: the configuration of the training run, and how tasks are learned after it."""

    source: tyro.conf.Suppress[str] = ""
    test: Annotated[AdaptationSettings, flat] = field(default_factory=AdaptationSettings)


def resolved(config: AdaptConfig) -> AdaptConfig:
    """The configuration with one iteration more than updates, to measure the effect of the last update.

    Raises:
        UserError: the number of updates is less than 1.
    """
    updates = config.test.updates if config.test.updates is not None else default_updates(config)
    if updates < 1:
        raise UserError(f"--updates must be greater than 0, but is {updates}")
    return replace(config, run=replace(config.run, iterations=updates + 1))


@dataclass(frozen=True)
class Film:
    """What a replay shows, and the file that it writes."""

    video: Path | None = None
    """File to write, which must not exist: .mp4 or .gif, or .png for a strip of stills; by default the first free name of
    replay.mp4, replay-2.mp4 and so on in the run's folder."""
    force_primitive: Annotated[int | None, NOT_NEGATIVE] = None
    """Show this primitive alone, whatever the masters would choose."""
    fps: OptionalPositiveInt = None
    """Frames per second; by default those of the environment."""
    paths: Path | None = None
    """Instead of a film, draw the ants' paths from above into this file, which must not exist: each primitive alone, and each
    task once it is learned."""


TRAINING_ONLY: dict[str, tuple[str, ...]] = {
    "algorithm": ("algorithm", "trial"),
    "hierarchy": (
        "primitives",
        "warmup",
        "joint",
        "learn_from_explored",
        "whole_episode_iterations",
        "random_master_iterations",
        "early_joint_iterations",
    ),
    "sampling": ("groups", "workers", "stratify_tasks"),
    "network": ("hidden", "filter_observations"),
    "run": ("iterations", "stop_when", "tensorboard_films", "recover"),
    "environment": ("primitive_columns",),
}
"""Options that only affect training, by section."""
UNUSED_BY_FILMS: dict[str, tuple[str, ...]] = TRAINING_ONLY | {
    "run": (
        *TRAINING_ONLY["run"],
        "folder",
        "test_episodes",
        "sync_interval",
        "checkpoint_minutes",
        "checkpoint_interval",
        "time_limit",
    )
}
"""Options that do not affect a film, by section."""
REPLACED_BY = {
    "groups": ", and use --test-masters",
    "workers": ", and use --steps",
    "iterations": ", and use --updates",
    "folder": ", and use --video",
}
"""What to use in their place."""
