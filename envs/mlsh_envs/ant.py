"""The ant of all ant families: one body, one observation, one set of settings."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import gymnasium as gym
import mujoco
import numpy as np

from mlsh_envs.mujoco_models import Stepping, add_cameras, asset, settings
from mlsh_envs.physics import PhysicsWorld, at_least_one
from mlsh_envs.world_env import Array

OBSERVATION = 29
ACTION = 8
MASS = 40.0
"""Kilograms. The released ants weigh 38 to 41, except Twowalk's, which weighs 0.9 like Gymnasium's. Motors of 150 Nm throw that
one on its back, where it stays: it lies there in 87 % of a fresh policy's observations (measured by tests/bench/physics.py). An
ant of 40 kg does not fall over under random actions, and walks at 1.6 m/s with a hand-made gait (the light one at 2 m/s)."""

PARTS = {
    "BODY": """
        The ant is Gymnasium's, without a head, as heavy as most of the released ones: 40 kg. (The released Twowalk's weighs 0.9
        kg: motors of 150 Nm throw it on its back.) A step is five physics steps of 0.01 s, as in the released Twowalk; the other
        released ants have 0.005 s.
        """,
    "END": """
        Only if the physics blows up (MuJoCo then writes MUJOCO_LOG.TXT); the reward of that step is 0.
        """,
    "ACTIONS": """
        `Box(-1, 1, (8,), float32)`, torques in units of 150 Nm. The motors clip larger ones, but where actions have a cost it
        counts them in full.

        | index | motor |
        |---|---|
        | 0, 1 | hip and ankle of the front right leg (hip_4, ankle_4 of the model) |
        | 2, 3 | hip and ankle of the front left leg (hip_1, ankle_1) |
        | 4, 5 | hip and ankle of the rear left leg (hip_2, ankle_2) |
        | 6, 7 | hip and ankle of the rear right leg (hip_3, ankle_3) |
        """,
    "OBSERVATIONS": """
        `Box(-inf, inf, (29,), float32)`, the same in every ant environment. Primitives see it from index 2 on
        (`primitive_observation`): everything but the ant's place in the world.

        | index | observation | unit |
        |---|---|---|
        | 0-2 | x, y, z of the torso | m |
        | 3-6 | orientation of the torso, a quaternion w, x, y, z | |
        | 7-14 | angles of hip and ankle of legs 1 to 4: front left, rear left, rear right, front right | rad |
        | 15-17 | velocity of the torso along x, y, z | m/s |
        | 18-20 | angular velocity of the torso, about its own axes | rad/s |
        | 21-28 | angular velocities of hips and ankles, in the order of the angles | rad/s |
        """,
    "SETTINGS": settings(skip=5, timestep=0.01),
}
"""Parts of the environments' pages."""


class AntWorld(PhysicsWorld):
    """An ant; a subclass defines its reward.

    The body is that of Gymnasium's Ant, of 40 kg: see :data:`MASS`.

    Args:
        lanes: L, number of lanes.
        upright_interval: number of steps after which the ant is set upright where it is; None for never.
        settings: settings of :class:`PhysicsWorld`.

    Raises:
        ValueError: a setting is out of range.
    """

    observation_space = gym.spaces.Box(-np.inf, np.inf, (OBSERVATION,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (ACTION,), np.float32)
    qpos_noise = 0.1
    frame_skip = 5
    first_position: ClassVar[tuple[float, float]] = (0.0, 0.0)
    first_height: ClassVar[float] = 0.75

    def __init__(self, lanes: int, *, upright_interval: int | None = None, **settings: Any) -> None:
        super().__init__(lanes, **settings)
        self.upright_interval = None if upright_interval is None else at_least_one("upright_interval", upright_interval)
        self.start_qpos[:3] = *self.first_position, self.first_height

    def qvel_noise(self, rng: np.random.Generator) -> Array:
        return 0.1 * rng.standard_normal((self.qvel.shape[1],))

    def step(self, actions: Array) -> tuple[Array, Array]:
        if self.upright_interval is not None:
            for lane in np.flatnonzero((self.steps + 1) % self.upright_interval == 0).tolist():
                self._set_upright(lane)
        before = self.state[:, :2].copy()
        diverged = self.advance(actions)
        reward = self.reward(before, actions)
        reward[diverged] = 0
        return reward, diverged

    def _set_upright(self, lane: int) -> None:
        """Resets everything but x and y to the pose of the start, with its noise."""
        rng = self._generators[lane]
        qpos = self.start_pose(rng)
        qpos[:2] = self.qpos[lane, :2]
        self.place(lane, qpos, self.qvel_noise(rng))

    @abstractmethod
    def reward(self, before: Array, actions: Array) -> Array:
        """(L,) reward for the step that has just been taken.

        Args:
            before: (L, 2) x and y of the torso at the beginning of the step.
            actions: (L, 8) unclipped.
        """


def ant(stepping: Stepping, overview: tuple[float, float, float]) -> mujoco.MjSpec:
    """The model of the ant on an endless floor, for a family to extend.

    Args:
        stepping: how the physics is stepped.
        overview: x, y and height of the camera that sees all of the family's world.
    """
    spec = asset("ant.xml", stepping)
    heavier = MASS / mujoco.mj_getTotalmass(spec.compile())
    for geom in spec.geoms:
        geom.density *= heavier
    add_cameras(spec, "torso", distance=3.5, overview=overview)
    return spec
