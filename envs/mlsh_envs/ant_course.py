"""Two obstacle courses for the ant: walls, an enemy that guards its territory, and a rewarded corner."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import mujoco
import numpy as np

from mlsh_envs.ant import PARTS, AntWorld, ant
from mlsh_envs.docstrings import page
from mlsh_envs.mujoco_models import HEIGHT, THICKNESS, Colour, Stepping, add_box, add_mark
from mlsh_envs.physics import PlacedFamily
from mlsh_envs.tasks import FiniteTasks
from mlsh_envs.world_env import Array, WorldEnv, WorldVectorEnv

TERRITORY = 15.0
"""Distance in metres from the enemy's first place within which it chases the ant."""
ENEMY_RADIUS = 3.0
ENEMY_HEIGHT = 1.0
SOFT, SOFTNESS = (-10.0, -10.0), (0.5, 0.5)
"""Contact with the enemy: acceleration per metre of overlap and per m/s (1/s², 1/s, negative by MuJoCo's convention), and the
share of it that is applied. An enemy that moves a metre per step with the usual hard contact threw 15 of 60 ants over the walls,
at up to 67 m/s; this one threw none, and none was faster than 5 m/s."""
GOAL_HALF = 1.0
"""Half the side of the rewarded square in the smaller course."""
GOAL_SQUARED = 30.0
"""Squared distance from the goal within which the bigger course gives a reward."""
ENEMY: Colour = (0.55, 0.16, 0.45, 1)
DANGER: Colour = (0.55, 0.16, 0.45, 0.25)


@dataclass(frozen=True)
class Course:
    """The layout of a course, in metres."""

    walls: tuple[tuple[str, float, float, float, float], ...]
    """Name of each wall, and x, y of its two ends; walls are parallel to an axis."""
    start: tuple[float, float]
    enemy: tuple[float, float]
    goal: tuple[float, float]
    goal_mark: tuple[float, ...]
    """Size of the mark of the goal: half its sides and height, or its radius and half its height."""
    overview: tuple[float, float, float]


OBSTACLES = Course(
    walls=(
        ("west", -3, -3, -3, 40),
        ("east", 40, -3, 40, 40),
        ("south", -3, -3, 40, -3),
        ("north", -3, 40, 40, 40),
        ("bar_north", 30, 25, 40, 25),
        ("bar_south", 30, 5, 40, 5),
        ("bar_west", 30, 5, 30, 25),
    ),
    start=(0.0, 0.0),
    enemy=(0.0, 20.0),
    goal=(38.0, 38.0),
    goal_mark=(GOAL_HALF, GOAL_HALF, 0.02),
    overview=(18.5, 18.5, 58.0),
)
BIG = Course(
    walls=(
        ("west", -40, -40, -40, 40),
        ("east", 40, -40, 40, 40),
        ("south", -40, -40, 40, -40),
        ("north", -40, 40, 40, 40),
        ("room_east", -15, 3, -15, 37),
        ("room_north", -40, 20, -30, 20),
        ("upper_bar", -30, -20, 10, -20),
        ("lower_bar", -30, -30, 10, -30),
        ("bar_east", 10, -40, 10, 0),
    ),
    start=(-35.0, 15.0),
    enemy=(25.0, 30.0),
    goal=(35.0, -35.0),
    goal_mark=(GOAL_SQUARED**0.5, 0.02),
    overview=(0.0, 0.0, 105.0),
)


@dataclass(frozen=True)
class AntObstacleCourseTask:
    """There is one task: the course."""


@dataclass(frozen=True)
class AntBigCourseTask:
    """There is one task: the course."""


@cache
def _model(course: Course, stepping: Stepping) -> mujoco.MjModel:
    spec = ant(stepping, course.overview)
    for name, x0, y0, x1, y1 in course.walls:
        half = ((x1 - x0) / 2 + THICKNESS, (y1 - y0) / 2 + THICKNESS, HEIGHT)
        add_box(spec, f"wall_{name}", ((x0 + x1) / 2, (y0 + y1) / 2, 0), half)
    add_mark(spec, "territory", (*course.enemy, 0.01), (TERRITORY, 0.01), DANGER)
    add_mark(spec, "goal", (*course.goal, 0.02), course.goal_mark)
    enemy = spec.worldbody.add_body(name="enemy", mocap=True, pos=(*course.enemy, ENEMY_HEIGHT))
    ball = enemy.add_geom(
        name="enemy", type=mujoco.mjtGeom.mjGEOM_SPHERE, size=(ENEMY_RADIUS, 0, 0), mass=0, contype=1, conaffinity=1
    )
    ball.priority, ball.solref, ball.solimp[:2], ball.rgba = 1, SOFT, SOFTNESS, ENEMY
    return spec.compile()


class CourseWorld(AntWorld):
    """The rules of both courses: see :class:`AntObstacleCourse` and :class:`AntBigCourse`."""

    first_height = 0.6
    course: ClassVar[Course]

    def __init__(self, lanes: int, *, upright_interval: int | None, **settings: Any) -> None:
        super().__init__(lanes, upright_interval=upright_interval, **settings)
        self._home = np.array(self.course.enemy)
        self.enemy = np.tile(self._home, (lanes, 1))
        """(L, 2) position of the enemy."""

    def model_of(self, task: object) -> mujoco.MjModel:
        return _model(self.course, self.stepping)

    def begin(self, lane: int, task: object) -> None:
        self.enemy[lane] = self._home

    def step(self, actions: Array) -> tuple[Array, Array]:
        torso = self.state[:, :2]
        away = torso - self._home
        chases = np.einsum("li,li->l", away, away) < TERRITORY**2
        if chases.any():
            self.enemy += np.sign(torso - self.enemy) * chases[:, None]
            for lane in np.flatnonzero(chases).tolist():
                self.mocap[lane][0, :2] = self.enemy[lane]
        return super().step(actions)


class AntObstacleCourseWorld(CourseWorld):
    """The smaller course."""

    course = OBSTACLES
    first_position = OBSTACLES.start

    def __init__(self, lanes: int, *, upright_interval: int | None = 200, **settings: Any) -> None:
        super().__init__(lanes, upright_interval=upright_interval, **settings)

    def reward(self, before: Array, actions: Array) -> Array:
        return (np.abs(self.state[:, :2] - OBSTACLES.goal).max(1) <= GOAL_HALF).astype(np.float64)


class AntBigCourseWorld(CourseWorld):
    """The bigger course."""

    course = BIG
    first_position = BIG.start

    def __init__(self, lanes: int, *, upright_interval: int | None = 300, **settings: Any) -> None:
        super().__init__(lanes, upright_interval=upright_interval, **settings)

    def reward(self, before: Array, actions: Array) -> Array:
        return (np.square(self.state[:, :2] - BIG.goal).sum(1) < GOAL_SQUARED).astype(np.float64)


class _Obstacles(PlacedFamily, FiniteTasks[AntObstacleCourseTask]):
    """What the single and the vector environment of the smaller course share."""

    world_type = AntObstacleCourseWorld
    train_tasks = (AntObstacleCourseTask(),)


class _Big(PlacedFamily, FiniteTasks[AntBigCourseTask]):
    """What the single and the vector environment of the bigger course share."""

    world_type = AntBigCourseWorld
    train_tasks = (AntBigCourseTask(),)


@page(**PARTS)
class AntObstacleCourse(_Obstacles, WorldEnv):
    """
    ## Description
    From one corner of a walled square the ant must find the opposite one, past an enemy that chases it in its territory and
    past a box of walls. There is no reward on the way: random actions never get there, and the paper's single policy stayed at
    0.

    {BODY}

    ## Action space
    {ACTIONS}

    ## Observation space
    {OBSERVATIONS}

    ## Reward
    1 for each step that ends with the torso over the green square of side 2 m around (38, 38), else 0.

    ## World
    Walls along x = -3, x = 40, y = -3 and y = 40; a closed box between x = 30 and 40, y = 5 and 25. The enemy, a ball of
    radius 3 m, starts at (0, 20). In each step that the ant begins less than 15 m from there, the enemy moves 1 m towards the
    ant along each axis; otherwise it stays where it is. Its contact is soft, so that it pushes ants out of its territory but
    throws none over the walls.

    ## Start
    The ant at (0, 0), its torso at a height of 0.6 m, facing +x, all joints at 0; to every position U(-0.1, 0.1) is added, to
    every velocity N(0, 0.1²). In the same way, every 200 steps, it is set upright where it is. The enemy starts at its first
    place.

    ## End
    {END}
    Truncated after 2000 steps, 100 s, when made by `gymnasium.make`.

    ## Task
    `AntObstacleCourseTask()`, the only one.

    ## Levels
    The paper's Table 2: 193 with primitives from Twowalk, 0 for a single policy.

    ## Arguments
    {SETTINGS}
    - `upright_interval` (200): number of steps after which the ant is set upright where it is; None for never.

    ## Version history
    - v0: Frans et al., Meta Learning Shared Hierarchies (ICLR 2018), section 6.4, with the box of its Figure 8 and the one ant of
      this package. The released code has 1000 steps, hard contact with the enemy, and another reward; the sparse one, 77.6 < x +
      y < 122.4, is in a comment there. An ant whose torso is 1.2 m from both walls does not reach that, so here the reward is
      for the goal's square.
    """


class AntObstacleCourseVector(_Obstacles, WorldVectorEnv):
    """Many :class:`AntObstacleCourse` in one process: see :class:`mlsh_envs.world_env.WorldVectorEnv`."""


@page(**PARTS)
class AntBigCourse(_Big, WorldEnv):
    """
    ## Description
    The obstacle course on four times the area: out of a room, past an enemy's territory or through a corridor, to a goal 86 m
    away in the opposite corner. There is no reward on the way.

    {BODY}

    ## Action space
    {ACTIONS}

    ## Observation space
    {OBSERVATIONS}

    ## Reward
    1 for each step that ends with the torso at a squared distance of less than 30 m² from (35, -35), else 0.

    ## World
    Walls along x and y = -40 and 40; between (-15, 3) and (-15, 37), (-40, 20) and (-30, 20), (-30, -20) and (10, -20), (-30,
    -30) and (10, -30), (10, -40) and (10, 0). The enemy, a ball of radius 3 m, starts at (25, 30). In each step that the ant
    begins less than 15 m from there, the enemy moves 1 m towards the ant along each axis; otherwise it stays where it is. Its
    contact is soft.

    ## Start
    The ant at (-35, 15), its torso at a height of 0.6 m, facing +x, all joints at 0; to every position U(-0.1, 0.1) is added,
    to every velocity N(0, 0.1²). In the same way, every 300 steps, it is set upright where it is. The enemy starts at its
    first place.

    ## End
    {END}
    Truncated after 3000 steps, 150 s, when made by `gymnasium.make`.

    ## Task
    `AntBigCourseTask()`, the only one.

    ## Arguments
    {SETTINGS}
    - `upright_interval` (300): number of steps after which the ant is set upright where it is; None for never.

    ## Version history
    - v0: "AntObstaclesBig" of the code released with Frans et al., Meta Learning Shared Hierarchies (ICLR 2018), with the one
      ant of this package.
    """


class AntBigCourseVector(_Big, WorldVectorEnv):
    """Many :class:`AntBigCourse` in one process: see :class:`mlsh_envs.world_env.WorldVectorEnv`."""
