"""Ant Twowalk: walk to one of two places, neither of which is observed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import mujoco
import numpy as np

from mlsh_envs.ant import PARTS, AntWorld, ant
from mlsh_envs.docstrings import page
from mlsh_envs.mujoco_models import Stepping, add_target
from mlsh_envs.physics import PlacedFamily
from mlsh_envs.tasks import FiniteTasks
from mlsh_envs.world_env import Array, WorldEnv, WorldVectorEnv

TARGETS = ((5.09, -0.09, 1.01), (0.09, 4.91, 1.01))


@dataclass(frozen=True)
class AntTwowalkTask:
    """Which target: 0 is ahead of the ant at its start, 1 to its left."""

    target: int


@cache
def _model(stepping: Stepping) -> mujoco.MjModel:
    spec = ant(stepping, overview=(2.5, 2.5, 14.0))
    add_target(spec, 0.4)
    return spec.compile()


class AntTwowalkWorld(AntWorld):
    """The rules: see :class:`AntTwowalk`."""

    derives = True

    def __init__(self, lanes: int, **settings: Any) -> None:
        super().__init__(lanes, **settings)
        self._targets = [TARGETS[0]] * lanes

    def model_of(self, task: object) -> mujoco.MjModel:
        return _model(self.stepping)

    def qvel_noise(self, rng: np.random.Generator) -> Array:
        return rng.uniform(-0.005, 0.005, (self.qvel.shape[1],))

    def begin(self, lane: int, task: AntTwowalkTask) -> None:
        self._targets[lane] = TARGETS[task.target]
        self.mocap[lane][0, :2] = TARGETS[task.target][:2]

    def reward(self, before: Array, actions: Array) -> Array:
        distances = map(math.dist, self.centres_of_mass().tolist(), self._targets)
        return np.array([math.sqrt(distance) / -3000 for distance in distances])


class _Family(PlacedFamily, FiniteTasks[AntTwowalkTask]):
    """What the single and the vector environment share."""

    world_type = AntTwowalkWorld
    train_tasks = (AntTwowalkTask(0), AntTwowalkTask(1))

    def ground(self, task: AntTwowalkTask) -> tuple[Array, Array]:
        return np.zeros((0, 4)), np.array([TARGETS[task.target][:2]])


@page(**PARTS)
class AntTwowalk(_Family, WorldEnv):
    """
    ## Description
    An ant is charged for its distance from a target five metres away, which it does not observe: ahead or to its left. The task
    decides which of the two. Good primitives: walk ahead, walk to the left.

    {BODY}

    ## Action space
    {ACTIONS}

    ## Observation space
    {OBSERVATIONS}

    ## Reward
    At each step -sqrt(d) / 3000, where d is the distance in metres of the ant's centre of mass from the target (5.09, -0.09,
    1.01) or (0.09, 4.91, 1.01) at the step's end.

    ## Start
    The ant at (0, 0), its torso at a height of 0.75 m, facing +x, all joints at 0; to every position U(-0.1, 0.1) is added, to
    every velocity U(-0.005, 0.005).

    ## End
    {END}
    A fallen ant is not set upright.
    Truncated after 1000 steps, 50 s, when made by `gymnasium.make`.

    ## Task
    `AntTwowalkTask(target)`, 0 or 1, set by `reset(options={"task": task})`; it stays until another is set. Until then it
    is 0.

    ## Levels
    Return of an episode: -0.745 for standing still; -0.386, the paper's best, means a time average of sqrt(d) of 1.16.

    ## Arguments
    {SETTINGS}
    - `upright_interval` (None): number of steps after which the ant is set upright where it is.

    ## Version history
    - v0: "AntBandits" of the code released with Frans et al., Meta Learning Shared Hierarchies (ICLR 2018), section 6.4. There, a
      constant 0 is observed as well.
    """


class AntTwowalkVector(_Family, WorldVectorEnv):
    """Many :class:`AntTwowalk` in one process: see :class:`mlsh_envs.world_env.WorldVectorEnv`."""
