"""Ant mazes: find the way to a goal between walls, none of which is observed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mujoco
import numpy as np

from mlsh_envs.ant import PARTS, AntWorld, ant
from mlsh_envs.docstrings import page
from mlsh_envs.maze_maps import layout
from mlsh_envs.mujoco_models import HEIGHT, THICKNESS, Stepping, add_box, add_mark
from mlsh_envs.physics import PlacedFamily
from mlsh_envs.tasks import FiniteTasks
from mlsh_envs.world_env import Array, WorldEnv, WorldVectorEnv

TRAIN = ("nn", "ss", "enn", "ess", "eee", "eenn", "eess", "nee", "see")
HELD_OUT = ("neen", "sees", "enee", "esee")
BLOCK = 7.6
"""Half the side of a block; there is a gap of 0.8 m between two blocks."""


@dataclass(frozen=True)
class AntMazeTask:
    """A path in the paper's grid or a map: see :func:`mlsh_envs.maze_maps.layout`."""

    maze: str


@lru_cache(maxsize=64)
def _model(maze: str, stepping: Stepping) -> mujoco.MjModel:
    plan = layout(maze)
    west, east, south, north = plan.bounds
    x, y, width, depth = (west + east) / 2, (south + north) / 2, (east - west) / 2, (north - south) / 2
    spec = ant(stepping, overview=(x, y, 2.6 * max(width, depth)))
    for name, centre, half in (
        ("west", (west, y), (THICKNESS, depth + THICKNESS)),
        ("east", (east, y), (THICKNESS, depth + THICKNESS)),
        ("south", (x, south), (width + THICKNESS, THICKNESS)),
        ("north", (x, north), (width + THICKNESS, THICKNESS)),
    ):
        add_box(spec, f"wall_{name}", (*centre, 0), (*half, HEIGHT))
    for row, column in plan.blocks:
        add_box(spec, f"block_{row}_{column}", (*plan.centre((row, column)), 0), (BLOCK, BLOCK, HEIGHT))
    add_mark(spec, "goal", (*plan.goal, 0), (1.0, 1.0, HEIGHT + 0.1))
    return spec.compile()


class AntMazeWorld(AntWorld):
    """The rules: see :class:`AntMaze`."""

    first_position = (2.0, 0.0)
    first_height = 0.6

    def __init__(self, lanes: int, *, upright_interval: int | None = 200, **settings: Any) -> None:
        super().__init__(lanes, upright_interval=upright_interval, **settings)
        self._goals = np.zeros((lanes, 2))

    def model_of(self, task: AntMazeTask | None) -> mujoco.MjModel:
        return _model(task.maze if task else TRAIN[0], self.stepping)

    def begin(self, lane: int, task: AntMazeTask) -> None:
        self._goals[lane] = layout(task.maze).goal

    def reward(self, before: Array, actions: Array) -> Array:
        velocity = (self.state[:, :2] - before) / self.dt
        towards = np.sign(self._goals - before)
        return np.einsum("li,li->l", velocity, towards) - 0.1 * np.square(actions).sum(1)


class _Family(PlacedFamily, FiniteTasks[AntMazeTask]):
    """What the single and the vector environment share."""

    world_type = AntMazeWorld
    train_tasks = tuple(AntMazeTask(maze) for maze in TRAIN)
    held_out_tasks = tuple(AntMazeTask(maze) for maze in HELD_OUT)

    def checked(self, task: Any) -> AntMazeTask:
        if not isinstance(task, AntMazeTask) or not isinstance(task.maze, str):
            raise ValueError(f"{type(self).__name__} has no task {task!r}; it has AntMazeTask(maze), a path or a map")
        layout(task.maze)
        return task

    def task_from_json(self, value: Any) -> AntMazeTask:
        return self.checked(AntMazeTask(**value) if isinstance(value, dict) and value.keys() == {"maze"} else value)


@page(**PARTS)
class AntMaze(_Family, WorldEnv):
    """
    ## Description
    An ant in a maze of cells of 16 m is rewarded for speed towards a goal. It observes neither the goal nor the walls; the maze
    is the task. Good primitives: walk east, walk north, walk south.

    {BODY}

    ## Action space
    {ACTIONS}

    ## Observation space
    {OBSERVATIONS}

    ## Reward
    At each step the torso's mean velocity towards the goal along x plus the same along y (m/s), where "towards" is the direction
    of the goal before the step, - 0.1 |action|². There is no reward for being there.

    ## Start
    The ant at (2, 0), its torso at a height of 0.6 m, facing +x, all joints at 0; to every position U(-0.1, 0.1) is added, to
    every velocity N(0, 0.1²). In the same way, every 200 steps, it is set upright where it is, so a fallen ant gets up again.

    ## End
    {END}
    Truncated after 1000 steps, 50 s, when made by `gymnasium.make`.

    ## Task
    `AntMazeTask(maze)`: a path through the paper's grid of 3x3 cells, or a map of your own. A path such as "enn" goes from
    the middle cell of the western column one cell east and one north, with the goal on the north face of that cell; cells off
    the path are walls. A map has any size and shape (`#` wall, `.` open, `S` start, `G` goal on the face of this wall, `g` goal
    in this cell):

        AntMazeTask(\"\"\"
        #######
        #..#.G#
        #S...##
        #######
        \"\"\")

    Train (the paper's nine): nn, ss, enn, ess, eee, eenn, eess, nee, see. Held out: neen, sees, enee, esee.
    Set by `reset(options={"task": task})`; it stays until another is set. Until then it is "nn".

    ## Arguments
    {SETTINGS}
    - `upright_interval` (200): number of steps after which the ant is set upright where it is; None for never.

    ## Version history
    - v0: as in the code released with Frans et al., Meta Learning Shared Hierarchies (ICLR 2018), section 6.4, with the one
      ant of this package. There the maze is always the same, and blocks can drift.
    """


class AntMazeVector(_Family, WorldVectorEnv):
    """Many :class:`AntMaze` in one process: see :class:`mlsh_envs.world_env.WorldVectorEnv`."""
