"""Swimmer Bandits: swim to a place that is not observed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

from mlsh_envs.docstrings import page
from mlsh_envs.mujoco_models import Stepping, add_cameras, add_mark, add_target, asset, settings
from mlsh_envs.physics import PhysicsWorld, PlacedFamily
from mlsh_envs.tasks import PlaceTask, PlaceTasks
from mlsh_envs.world_env import Array, WorldEnv, WorldVectorEnv

FIELD = 5.0
"""Side in metres of the square of targets, which begins at 0."""


@dataclass(frozen=True)
class SwimmerBanditsTask(PlaceTask):
    """Where the hidden target is, in metres."""


@cache
def _model(stepping: Stepping) -> mujoco.MjModel:
    spec = asset("swimmer.xml", stepping)
    add_cameras(spec, "torso", distance=6.0, overview=(2.5, 2.5, 14.0))
    add_mark(spec, "field", (FIELD / 2, FIELD / 2, -0.09), (FIELD / 2, FIELD / 2, 0.005), (0.3, 0.5, 0.8, 0.3))
    add_target(spec, 0.3)
    return spec.compile()


class SwimmerBanditsWorld(PhysicsWorld):
    """The rules: see :class:`SwimmerBandits`."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (10,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    qpos_noise = 0.1
    frame_skip = 4

    def __init__(self, lanes: int, **settings: Any) -> None:
        super().__init__(lanes, **settings)
        self._targets = np.zeros((lanes, 2))

    def model_of(self, task: object) -> mujoco.MjModel:
        return _model(self.stepping)

    def qvel_noise(self, rng: np.random.Generator) -> Array:
        return rng.uniform(-0.005, 0.005, (self.qvel.shape[1],))

    def begin(self, lane: int, task: SwimmerBanditsTask) -> None:
        self._targets[lane] = task.x, task.y
        self.mocap[lane][0, :2] = task.x, task.y

    def middle(self) -> Array:
        """(L, 2) position of the middle of the middle link, from the joints alone."""
        x, y, front, bend = self.state[:, :4].T
        back = front + bend
        return np.stack((x + 0.5 * np.cos(front) - 0.5 * np.cos(back), y + 0.5 * np.sin(front) - 0.5 * np.sin(back)), axis=1)

    def step(self, actions: Array) -> tuple[Array, Array]:
        diverged = self.advance(actions)
        distance = np.linalg.norm(self.middle() - self._targets, axis=1)
        return -(distance + 1e-4 * np.square(actions).sum(1)) / 1000 * ~diverged, diverged


class _Family(PlacedFamily, PlaceTasks):
    """What the single and the vector environment share: a task for every place in the field."""

    world_type = SwimmerBanditsWorld
    task_type = SwimmerBanditsTask
    side = FIELD
    first_task = SwimmerBanditsTask(FIELD, 0.0)


@page(SETTINGS=settings(skip=4, timestep=0.01))
class SwimmerBandits(_Family, WorldEnv):
    """
    ## Description
    A swimmer of three links is charged for its distance from a target, which is the task and is not observed.

    ## Action space
    `Box(-1, 1, (2,), float32)`, torques at the front and the rear joint in units of 150 Nm. The motors clip larger ones,
    but the reward counts them in full.

    ## Observation space
    `Box(-inf, inf, (10,), float32)`. Primitives see it from index 2 on (`primitive_observation`).

    | index | observation | unit |
    |---|---|---|
    | 0, 1 | x, y of the point half a metre behind the front link's rear end, moving with that link | m |
    | 2 | angle of the front link | rad |
    | 3, 4 | angles of the front and the rear joint | rad |
    | 5, 6 | velocity of that point along x, y | m/s |
    | 7 | angular velocity of the front link | rad/s |
    | 8, 9 | angular velocities of the front and the rear joint | rad/s |

    ## Reward
    At each step -(d + 0.0001 |action|²) / 1000, where d is the distance in metres of the middle link's middle from the target
    at the step's end.

    ## Start
    The swimmer stretched along x, the middle link's middle at (0, 0); to every position U(-0.1, 0.1) is added, to every velocity
    U(-0.005, 0.005).

    ## End
    Only if the physics blows up (the reward of that step is 0); truncated after 1000 steps, 40 s, when made by `gymnasium.make`.

    ## Task
    `SwimmerBanditsTask(x, y)`, drawn uniformly from the square from 0 to 5 m, set by `reset(options={"task": task})`; it stays
    until another is set. Until then it is (5, 0).

    ## Arguments
    {SETTINGS}

    ## Version history
    - v0: as in the code released with Frans et al., Meta Learning Shared Hierarchies (ICLR 2018). There, the distance is
      that at the beginning of the step, and the length of an episode is not specified.
    """


class SwimmerBanditsVector(_Family, WorldVectorEnv):
    """Many :class:`SwimmerBandits` in one process: see :class:`mlsh_envs.world_env.WorldVectorEnv`."""
