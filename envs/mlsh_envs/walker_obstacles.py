"""Walker Obstacles: a planar walker and up to four bars to jump over."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import gymnasium as gym
import mujoco
import numpy as np

from mlsh_envs.docstrings import page
from mlsh_envs.mujoco_models import Stepping, add_box, add_cameras, asset, settings
from mlsh_envs.physics import PhysicsFamily, PhysicsWorld
from mlsh_envs.tasks import FiniteTasks
from mlsh_envs.world_env import Array, WorldEnv, WorldVectorEnv

BAR_X = (6.0, 12.0, 18.0, 24.0)
BAR_HALF = (0.1, 1.0, 0.5)
BAR_HEIGHT = 0.225
"""Height of a bar's middle: its top is 0.725 m above the ground."""


@dataclass(frozen=True)
class WalkerObstaclesTask:
    """Which of the four bars are present: a 1 or a 0 for each, from the nearest."""

    bars: str


@cache
def _model(bars: str, stepping: Stepping) -> mujoco.MjModel:
    spec = asset("walker2d.xml", stepping)
    add_cameras(spec, "torso", distance=4.0, overview=(12, 0, 30))
    for number, (x, present) in enumerate(zip(BAR_X, bars, strict=True)):
        if present == "1":
            add_box(spec, f"bar_{number}", (x, 0, BAR_HEIGHT), BAR_HALF)
    return spec.compile()


class WalkerObstaclesWorld(PhysicsWorld):
    """The rules: see :class:`WalkerObstacles`."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (17,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (6,), np.float32)
    qpos_noise = 0.005
    frame_skip = 4

    def model_of(self, task: WalkerObstaclesTask | None) -> mujoco.MjModel:
        return _model(task.bars if task else "0000", self.stepping)

    def step(self, actions: Array) -> tuple[Array, Array]:
        before = self.state[:, :2].copy()
        diverged = self.advance(actions)
        reward = (self.state[:, :2] - before).sum(1) / self.dt - 1e-3 * np.square(actions).sum(1)
        return reward * ~diverged, diverged

    def observe(self) -> Array:
        return np.concatenate((self.qpos[:, 1:], self.qvel.clip(-10, 10)), axis=1, dtype=np.float32)


class _Family(PhysicsFamily, FiniteTasks[WalkerObstaclesTask]):
    """What the single and the vector environment share."""

    world_type = WalkerObstaclesWorld
    train_tasks = tuple(WalkerObstaclesTask(bars) for bars in ("0000", "1000", "0100", "1100"))
    held_out_tasks = tuple(WalkerObstaclesTask(f"{bars:04b}") for bars in range(16) if bars & 0b0011)


@page(SETTINGS=settings(skip=4, timestep=0.002))
class WalkerObstacles(_Family, WorldEnv):
    """
    ## Description
    A planar walker is rewarded for its speed ahead and upwards. On its way there are places for four bars; the task decides which
    of them are present, and is not observed. Good primitives: run, jump.

    ## Action space
    `Box(-1, 1, (6,), float32)`, torques in units of 100 Nm. The motors clip larger ones, but the reward counts them in full.

    | index | motor |
    |---|---|
    | 0-2 | thigh, leg and foot, right |
    | 3-5 | thigh, leg and foot, left |

    ## Observation space
    `Box(-inf, inf, (17,), float32)`:

    | index | observation | unit |
    |---|---|---|
    | 0 | height of the torso | m |
    | 1 | angle of the torso | rad |
    | 2-7 | angles of thigh, leg and foot, right then left | rad |
    | 8, 9 | velocity of the torso along x and z, clipped to +-10 | m/s |
    | 10 | angular velocity of the torso, clipped to +-10 | rad/s |
    | 11-16 | angular velocities of the joints, clipped to +-10 | rad/s |

    ## Reward
    At each step the torso's mean velocity along x plus that along z (m/s) - 0.001 |action|².

    ## World
    Bars across the way at x = 6, 12, 18 and 24 m, 0.2 m thick and 0.725 m high.

    ## Start
    The walker upright at x = 0, its torso at a height of 1.25 m; to every position and velocity U(-0.005, 0.005) is added.

    ## End
    Only if the physics blows up (the reward of that step is 0); truncated after 1000 steps, 8 s, when made by `gymnasium.make`.

    ## Task
    `WalkerObstaclesTask(bars)`, four characters, 1 where there is a bar. Train: 0000, 1000, 0100, 1100. Held out:
    the twelve others. Set by `reset(options={"task": task})`; it stays until another is set. Until then it is 0000.

    ## Arguments
    {SETTINGS}

    ## Version history
    - v0: "Obstacles" of the code released with Frans et al., Meta Learning Shared Hierarchies (ICLR 2018), which draws these
      four train tasks. There, a bar is a heavy body that is put back after each step; here it is fixed. The length of an
      episode is not specified there.
    """


class WalkerObstaclesVector(_Family, WorldVectorEnv):
    """Many :class:`WalkerObstacles` in one process: see :class:`mlsh_envs.world_env.WorldVectorEnv`."""
