"""The humanoid of both humanoid families: the same body, observation, and rewards for walking and crawling."""

from __future__ import annotations

from functools import cache
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

from mlsh_envs.mujoco_models import Colour, Stepping, add_cameras, asset, settings
from mlsh_envs.physics import PhysicsWorld, at_least_one
from mlsh_envs.world_env import Array

BODIES = slice(1, 14)
"""The humanoid's bodies, after the world's."""
OBSERVATION = 350
ACTION = 17
STRENGTH = 0.4
"""Bound of the controls."""
STANDING = 1.0
"""Height of the torso below which the humanoid does not walk."""
SLAB_HALF = (11.5, 11.5, 0.5)
SLAB_HEIGHT = 1.5
"""Height of the slab's middle: it leaves a metre of air to crawl through."""
ASIDE = 30.0
"""y of the slab while it is not needed."""
SENSED = slice(47, OBSERVATION)
"""Entries of the observation that are not positions and velocities."""
SLAB: Colour = (0.80, 0.72, 0.58, 0.45)

PARTS = {
    "ACTIONS": """
        `Box(-0.4, 0.4, (17,), float32)`, controls of the motors of abdomen y, z, x; right hip x, z, y and knee; left hip x, z, y
        and knee; right shoulder 1, 2 and elbow; left shoulder 1, 2 and elbow. The torque in Nm is 25 (arms), 100, 200 or 300
        times the control. Controls beyond the bounds are clipped.
        """,
    "OBSERVATIONS": """
        `Box(-inf, inf, (350,), float32)`, the same in both humanoid environments. Primitives see it from index 2 on
        (`primitive_observation`): everything but the humanoid's place in the world. It is the observation of Gymnasium's
        Humanoid-v5, except that inertias and velocities of the bodies are those at the end of the step. The released code's
        376 entries are those and 28 that are always 0. Joints: abdomen z, y, x (not y, z, x as for the motors), then in the
        order of the motors. Bodies: torso, lower waist, pelvis, right thigh, shin and foot, left thigh, shin and foot, right
        arm and forearm, left arm and forearm.

        | index | observation | unit |
        |---|---|---|
        | 0, 1 | x, y of the torso | m |
        | 2 | height of the torso | m |
        | 3-6 | orientation of the torso, a quaternion w, x, y, z | |
        | 7-23 | angles of the 17 joints | rad |
        | 24-26 | velocity of the torso along x, y, z | m/s |
        | 27-29 | angular velocity of the torso | rad/s |
        | 30-46 | angular velocities of the joints | rad/s |
        | 47-176 | inertia and mass of the 13 bodies about the centre of mass (10 each) | kg m², kg m, kg |
        | 177-254 | angular and linear velocity of the 13 bodies about the centre of mass (6 each) | rad/s, m/s |
        | 255-271 | torque of the motors on each joint | Nm |
        | 272-349 | external torque and force on the 13 bodies (6 each) | Nm, N |
        """,
    "START": """ The humanoid upright at (0, 0), its torso at a height of 1.4 m, facing +x; to every position and velocity
        U(-0.01, 0.01) is added.
        """,
    "COSTS": """ The costs are 0.1 |clipped action|² and 5e-7 times the sum of squares of the external torques and forces, at
        most 10. dx is the displacement of the humanoid's centre of mass along x in this step. (It is divided by the 0.003 s of
        one physics step, as in the released code, though an environment step has five of them: the "velocity" is five times the
        true one.)
        """,
    "SETTINGS": settings(skip=5, timestep=0.003),
    "FALLS": """
        - `end_interval` (None): a fall ends the episode only at a multiple of this many steps, if the humanoid is still down, as
          in the released rollout (there it is N); until then the episode continues. None ends it at once.
        """,
}
"""Parts of the environments' pages."""


@cache
def _model(stepping: Stepping) -> mujoco.MjModel:
    spec = asset("humanoid.xml", stepping)
    add_cameras(spec, "torso", distance=3.2, overview=(0, 0, 60))
    slab = spec.worldbody.add_body(name="slab", mocap=True, pos=(0, ASIDE, SLAB_HEIGHT))
    slab.add_geom(name="slab", type=mujoco.mjtGeom.mjGEOM_BOX, size=SLAB_HALF, mass=0, contype=1, conaffinity=1, rgba=SLAB)
    return spec.compile()


class HumanoidWorld(PhysicsWorld):
    """A humanoid that should walk or crawl; a subclass says when.

    Args:
        lanes: L, number of lanes.
        end_interval: a fall ends the episode only at a multiple of this many steps, if the humanoid is still down; None for at
            once. In the released rollout an episode can end only with a macro-action, so there it is N.
        settings: settings of :class:`PhysicsWorld`.

    Raises:
        ValueError: a setting is out of range.
    """

    observation_space = gym.spaces.Box(-np.inf, np.inf, (OBSERVATION,), np.float32)
    action_space = gym.spaces.Box(-STRENGTH, STRENGTH, (ACTION,), np.float32)
    qpos_noise = 0.01
    frame_skip = 5
    derives = True

    def __init__(self, lanes: int, *, end_interval: int | None = None, **settings: Any) -> None:
        super().__init__(lanes, **settings)
        self.end_interval = 1 if end_interval is None else at_least_one("end_interval", end_interval)
        self.crawls = np.zeros(lanes, np.bool_)
        """(L,) bool: crawling is rewarded, not walking."""
        self._centre = np.zeros(lanes)
        """(L,) x of the centre of mass."""
        self._sensed = np.zeros((lanes, SENSED.stop - SENSED.start), np.float32)

    def model_of(self, task: object) -> mujoco.MjModel:
        return _model(self.stepping)

    def begin(self, lane: int, task: Any) -> None:
        self._centre[lane] = self.datas[lane].subtree_com[self._agent, 0]

    def place(self, lane: int, qpos: Array, qvel: Array) -> None:
        super().place(lane, qpos, qvel)
        mujoco.mj_rnePostConstraint(self.models[lane], self.datas[lane])
        self._sense(lane)

    def sensors_of(self, data: mujoco.MjData) -> tuple[Array, ...]:
        parts = (data.cinert[BODIES], data.cvel[BODIES], data.qfrc_actuator[6:], data.cfrc_ext[BODIES])
        return tuple(part.reshape(-1) for part in parts)  # contiguous in memory, so still views

    def derive(self, lane: int) -> None:
        mujoco.mj_rnePostConstraint(self.models[lane], self.datas[lane])  # before the contacts of the next step are found
        super().derive(lane)
        self._sense(lane)

    def _sense(self, lane: int) -> None:
        """Reads inertias, velocities and forces."""
        row = self._sensed[lane]
        row[:130], row[130:208], row[208:225], row[225:] = self._sensors[lane]

    def put_slab(self, lane: int, x: float | None) -> None:
        """Puts the slab in the humanoid's way, with its middle at x; None puts it aside."""
        self.mocap[lane][0] = (0, ASIDE, SLAB_HEIGHT) if x is None else (x, 0, SLAB_HEIGHT)
        self.halfway[lane] = False  # contacts were found with the slab where it was

    def step(self, actions: Array) -> tuple[Array, Array]:
        diverged = self.advance(actions)
        centre = self.centres_of_mass()[:, 0]
        speed = (centre - self._centre) / self.models[0].opt.timestep
        self._centre = centre
        self.arrive()
        standing = self.state[:, 2] >= STANDING
        clipped, forces = np.minimum(np.maximum(actions, -STRENGTH), STRENGTH), self._sensed[:, 225:]
        effort = 0.1 * np.einsum("li,li->l", clipped, clipped)
        impact = 5e-7 * np.einsum("li,li->l", forces, forces)
        pay = np.where(self.crawls, -1.5 * speed, np.where(standing, 5 + 0.25 * speed, 0))
        fallen = ~(self.crawls | standing)
        ends = diverged | (fallen & (self.steps % self.end_interval == 0))

        return (pay - effort - np.minimum(impact, 10)) * ~diverged, ends

    def arrive(self) -> None:
        """Changes the world according to where the humanoids are now."""

    def observe(self) -> Array:
        return np.concatenate((self.state, self._sensed), axis=1, dtype=np.float32)
