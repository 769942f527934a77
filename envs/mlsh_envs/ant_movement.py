"""Ant Movement: run along x, or along y."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import mujoco
import numpy as np

from mlsh_envs.ant import PARTS, AntWorld, ant
from mlsh_envs.docstrings import page
from mlsh_envs.mujoco_models import Stepping
from mlsh_envs.physics import PlacedFamily
from mlsh_envs.tasks import FiniteTasks
from mlsh_envs.world_env import Array, WorldEnv, WorldVectorEnv


@dataclass(frozen=True)
class AntMovementTask:
    """The axis along which running is rewarded."""

    axis: Literal["x", "y"]


@cache
def _model(stepping: Stepping) -> mujoco.MjModel:
    return ant(stepping, overview=(0, 0, 30)).compile()


class AntMovementWorld(AntWorld):
    """The rules: see :class:`AntMovement`."""

    def __init__(self, lanes: int, **settings: Any) -> None:
        super().__init__(lanes, **settings)
        self._axis = np.zeros(lanes, np.intp)
        self._every = np.arange(lanes)

    def model_of(self, task: AntMovementTask | None) -> mujoco.MjModel:
        return _model(self.stepping)

    def begin(self, lane: int, task: AntMovementTask) -> None:
        self._axis[lane] = "xy".index(task.axis)

    def reward(self, before: Array, actions: Array) -> Array:
        now = self.state[:, :2]
        along = (now - before)[self._every, self._axis] / self.dt
        aside = np.abs(now[self._every, 1 - self._axis])
        return along - 0.1 * np.square(actions).sum(1) - 0.5 * aside


class _Family(PlacedFamily, FiniteTasks[AntMovementTask]):
    """What the single and the vector environment share."""

    world_type = AntMovementWorld
    train_tasks = (AntMovementTask("x"), AntMovementTask("y"))


@page(**PARTS)
class AntMovement(_Family, WorldEnv):
    """
    ## Description
    An ant is rewarded for running along one axis and charged for its distance from it. The axis is the task.

    {BODY}

    ## Action space
    {ACTIONS}

    ## Observation space
    {OBSERVATIONS}

    ## Reward
    At each step the torso's mean velocity along the axis (m/s) - 0.1 |action|² - 0.5 |the torso's other coordinate| (m).

    ## Start
    The ant at (0, 0), its torso at a height of 0.75 m, facing +x, all joints at 0; to every position U(-0.1, 0.1) is added, to
    every velocity N(0, 0.1²).

    ## End
    {END}
    A fallen ant is not set upright.
    Truncated after 600 steps, 30 s, when made by `gymnasium.make`.

    ## Task
    `AntMovementTask(axis)`, "x" or "y", set by `reset(options={"task": task})`; it stays until another is set. Until then it
    is "x".

    ## Arguments
    {SETTINGS}
    - `upright_interval` (None): number of steps after which the ant is set upright where it is.

    ## Version history
    - v0: as in the code released with Frans et al., Meta Learning Shared Hierarchies (ICLR 2018), with the one ant of this
    package.
    """


class AntMovementVector(_Family, WorldVectorEnv):
    """Many :class:`AntMovement` in one process: see :class:`mlsh_envs.world_env.WorldVectorEnv`."""
