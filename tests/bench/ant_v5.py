"""Gymnasium's Ant-v5, its body, observation, reward and end, as a world of this project: to compare trainers on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

from mlsh_envs.mujoco_models import Stepping, asset
from mlsh_envs.physics import PhysicsFamily, PhysicsWorld
from mlsh_envs.tasks import FiniteTasks
from mlsh_envs.world_env import WorldEnv, WorldVectorEnv

ID = "bench/AntV5-v0"
BODIES = slice(1, None)
"""All but the world's."""


@cache
def _model(stepping: Stepping) -> mujoco.MjModel:
    return asset("ant.xml", stepping).compile()


class AntV5World(PhysicsWorld):
    """The rules of gymnasium.envs.mujoco.ant_v5.AntEnv at its defaults."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (105,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (8,), np.float32)
    qpos_noise = 0.1
    frame_skip = 5

    def __init__(self, lanes: int, **settings: Any) -> None:
        super().__init__(lanes, **settings)
        self._forces = np.zeros((lanes, 78))
        self._x = np.zeros(lanes)

    def model_of(self, task: object) -> mujoco.MjModel:
        return _model(self.stepping)

    def sensors_of(self, data: mujoco.MjData) -> tuple[np.ndarray, ...]:
        return data.xpos[self._agent], data.cfrc_ext[BODIES].reshape(-1)

    def qvel_noise(self, rng: np.random.Generator) -> np.ndarray:
        return 0.1 * rng.standard_normal((self.qvel.shape[1],))

    def begin(self, lane: int, task: object) -> None:
        self._x[lane], self._forces[lane] = self._sensors[lane][0][0], self._sensors[lane][1]

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        diverged = self.advance(actions)
        x = np.empty(self.lanes)
        for lane, (place, forces) in enumerate(self._sensors):
            mujoco.mj_rnePostConstraint(self.models[lane], self.datas[lane])
            x[lane], self._forces[lane] = place[0], forces  # places are those of the last part of a step, as in Gymnasium
        np.minimum(np.maximum(self._forces, -1, out=self._forces), 1, out=self._forces)
        speed, self._x = (x - self._x) / self.dt, x
        height = self.state[:, 2]
        healthy = (height >= 0.2) & (height <= 1.0)
        effort, impact = np.einsum("li,li->l", actions, actions), np.einsum("li,li->l", self._forces, self._forces)
        return speed + healthy - 0.5 * effort - 5e-4 * impact, diverged | ~healthy

    def observe(self) -> np.ndarray:
        return np.concatenate((self.state[:, 2:], self._forces), axis=1, dtype=np.float32)


@dataclass(frozen=True)
class AntV5Task:
    """There is one."""


class _Family(PhysicsFamily, FiniteTasks[AntV5Task]):
    world_type = AntV5World
    train_tasks = (AntV5Task(),)


class AntV5(_Family, WorldEnv):
    """One."""


class AntV5Vector(_Family, WorldVectorEnv):
    """Many."""


gym.register(ID, entry_point=AntV5, vector_entry_point=AntV5Vector, max_episode_steps=1000)


def check(steps: int = 300) -> None:
    """Steps both forms of the ant through the same actions from the same state, and compares all they give."""
    theirs, ours = gym.make("Ant-v5").unwrapped, AntV5()
    theirs.reset(seed=0)
    ours.reset(seed=0)
    world, rng = ours.world, np.random.default_rng(0)
    theirs.set_state(world.qpos[0], world.qvel[0])
    for t in range(steps):
        action = rng.uniform(-1, 1, 8).astype(np.float32)
        expected, found = theirs.step(action), ours.step(action)
        np.testing.assert_allclose(found[0], expected[0], atol=1e-4, err_msg=f"observation after {t + 1} steps")
        np.testing.assert_allclose(found[1], expected[1], atol=1e-4, err_msg=f"reward of step {t + 1}")
        assert found[2] == expected[2], f"end after {t + 1} steps"
        if found[2]:
            return


if __name__ == "__main__":
    check()
