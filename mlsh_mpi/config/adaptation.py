"""Settings of what comes after training: how single tasks are learned, and what is filmed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mlsh_mpi.config.bounds import NOT_NEGATIVE, OptionalPositiveInt
from mlsh_mpi.config.settings import Config, flat

Method = Literal["master", "fine-tune", "scratch", "rl2", "maml", "option-critic", "actor-critic"]


@dataclass(frozen=True)
class Test:
    """How single tasks are learned once training is over (paper, section 6.2)."""

    method: Method | None = None
    """What learns a task: a fresh master over frozen primitives, a trained policy that learns on, a fresh policy, a recurrent
    policy that remembers, gradient steps from a trained policy, or a fresh table of options or actions; by default what the
    training was for."""
    updates: OptionalPositiveInt = None
    """Updates on each task; by default W of the training, for RL² the episodes it remembers less one."""
    task: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Only this task, as the tables name it (goal=1) or as JSON; may be given several times. By default those that the
    environment lists, or draws."""
    held_out: bool = False
    """Tasks that training never draws."""


@dataclass(frozen=True)
class AdaptConfig(Config):
    """Everything that defines a test: the configuration of the training, and how tasks are learned after it."""

    source: tyro.conf.Suppress[str] = ""
    test: Annotated[Test, flat] = field(default_factory=Test)


@dataclass(frozen=True)
class Film:
    """What is to be seen."""

    video: Path = Path("replay.mp4")
    """Where to: .mp4 or .gif, or .png for a strip of stills."""
    force_primitive: Annotated[int | None, NOT_NEGATIVE] = None
    """Show this primitive alone instead of what masters make of them."""
    fps: OptionalPositiveInt = None
    """Pictures a second; by default what the environment says."""
    paths: Path | None = None
    """Instead of a film, draw here where ants go, seen from above: each primitive alone, and each task when it is learned."""
