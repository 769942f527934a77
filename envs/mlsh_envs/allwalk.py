"""Allwalk: walk to a place that is never shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlsh_envs.docstrings import page
from mlsh_envs.point_world import ACTIONS, RED, SIZE, Place, PointWorld, scaled
from mlsh_envs.tasks import PlaceTask, PlaceTasks
from mlsh_envs.world_env import Array, WorldBase, WorldEnv, WorldVectorEnv


@dataclass(frozen=True)
class AllwalkTask(PlaceTask):
    """Where the hidden goal is, in the units of the square (side 400)."""


class AllwalkWorld(PointWorld):
    """The rules: see :class:`Allwalk`."""

    def __init__(self, lanes: int) -> None:
        super().__init__(lanes, entries=2)
        self.goal = np.zeros((lanes, 2))
        """(L, 2) position of the goal."""

    def place(self, lanes: Sequence[int], seeds: Sequence[int], tasks: Sequence[AllwalkTask]) -> None:
        self.goal[lanes] = np.reshape([(task.x, task.y) for task in tasks], (-1, 2))

    def reward(self) -> Array:
        return -np.abs(self.agent - self.goal).sum(-1) / 5000

    def observe(self) -> Array:
        return scaled(self.agent)

    def places(self, lane: int) -> list[Place]:
        return [Place(self.goal[lane], RED, False)]


class _Family(WorldBase, PlaceTasks):
    """What the single and the vector environment share: a task for every place in the square."""

    world_type = AllwalkWorld
    task_type = AllwalkTask
    side = SIZE
    first_task = AllwalkTask(300.0, 100.0)


@page(ACTIONS=ACTIONS)
class Allwalk(_Family, WorldEnv):
    """
    ## Description
    A point in a square observes only its own position. It is charged for its distance from a hidden goal, which is the task:
    primitives that walk in different directions are all a master needs.

    ## Action space
    {ACTIONS}

    ## Observation space
    `Box(-inf, inf, (2,), float32)`: x, y of the agent in sides of the square (position / 400); it may leave the square.

    ## Reward
    -(|x - goal x| + |y - goal y|) / 5000 at the end of each step.

    ## Start
    The agent at (200, 200).

    ## End
    Never terminates; truncated after 50 steps when made by `gymnasium.make`.

    ## Task
    `AllwalkTask(x, y)`, drawn uniformly from the square, set by `reset(options={"task": task})`; it stays until another is set.
    Until then it is (300, 100).

    ## Version history
    - v0: as in the code released with Frans et al., Meta Learning Shared Hierarchies (ICLR 2018); there the position is observed
      as 0 to 400.
    """


class AllwalkVector(_Family, WorldVectorEnv):
    """Many :class:`Allwalk` stepped as arrays: see :class:`mlsh_envs.world_env.WorldVectorEnv`."""
