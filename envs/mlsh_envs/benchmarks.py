"""Task families of the meta-learning literature, on Gymnasium's v5 bodies: directions, velocities, goals, random parameters.

Each is made by :func:`mlsh_envs.with_tasks` and registered under ``mlsh/``, with episodes of 200 steps as in the papers.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

from mlsh_envs.families import TaskWrapper, with_tasks

HORIZON = 200
"""Steps of an episode (Finn et al. 2017, Rakelly et al. 2019, Zintgraf et al. 2020)."""
SEEDS = 1_000_000
"""Random parameters with a seed below this are drawn in training, others are held out."""
SCALES = {"body_mass": 1.5, "body_inertia": 1.5, "dof_damping": 1.3, "geom_friction": 1.5}
"""Parameters of the model, and the base of the factors by which they are multiplied: base ** U(-3, 3), each entry on its own."""


def half_cheetah_dir(**settings: Any) -> gym.Env[Any, Any]:
    """Run forwards (1) or backwards (-1): the velocity in that direction, less 0.05 |action|² (Finn et al. 2017, MAML)."""

    def reward(direction: int, _: Any, action: Any, info: dict[str, Any]) -> float:
        return float(direction * info["x_velocity"] - 0.05 * np.square(action).sum())

    return with_tasks("HalfCheetah-v5", [1, -1], reward=reward)(**settings)


def half_cheetah_vel(**settings: Any) -> gym.Env[Any, Any]:
    """Run at a velocity, U(0, 3) m/s: less its distance and 0.05 |action|² (Rakelly et al. 2019, PEARL; MAML: U(0, 2))."""

    def draw(rng: np.random.Generator) -> float:
        return round(float(rng.uniform(0, 3)), 6)

    def reward(velocity: float, _: Any, action: Any, info: dict[str, Any]) -> float:
        return float(-abs(info["x_velocity"] - velocity) - 0.05 * np.square(action).sum())

    return with_tasks("HalfCheetah-v5", draw, reward=reward, held_out=draw)(**settings)


def ant_dir(**settings: Any) -> gym.Env[Any, Any]:
    """Run forwards (0) or backwards (180 degrees), and stay healthy (Zintgraf et al. 2020, VariBAD, after MAML)."""
    settings = {"include_cfrc_ext_in_observation": False} | settings
    return with_tasks("Ant-v5", [0, 180], reward=_ahead)(**settings)


def _ahead(angle: float, _: Any, __: Any, info: dict[str, Any]) -> float:
    """Velocity in a direction, in degrees, with Ant-v5's rewards and costs otherwise."""
    ahead = math.cos(math.radians(angle)) * info["x_velocity"] + math.sin(math.radians(angle)) * info["y_velocity"]
    return float(ahead + info["reward_survive"] + info["reward_ctrl"] + info["reward_contact"])


def ant_open_field(**settings: Any) -> gym.Env[Any, Any]:
    """The same in four directions, 0, 90, 180 and 270 degrees. Masters also see where the ant is, as in AntMazeUMaze-v0."""
    sees = {"include_cfrc_ext_in_observation": False, "exclude_current_positions_from_observation": False}
    return OpenField(with_tasks("Ant-v5", [0, 90, 180, 270], reward=_ahead), sees | settings)


class OpenField(TaskWrapper):
    """An ant that sees where it is, and primitives that do not."""

    primitive_observation = slice(2, None)


def ant_goal(**settings: Any) -> gym.Env[Any, Any]:
    """Go to a place within 3 m: less |x| + |y| to it and 0.1 |action|² (Rakelly et al. 2019, PEARL). The ant sees where it is."""

    def draw(rng: np.random.Generator) -> list[float]:
        angle, radius = rng.uniform(0, 2 * math.pi), 3 * math.sqrt(rng.uniform())
        return [round(radius * math.cos(angle), 6), round(radius * math.sin(angle), 6)]

    def reward(goal: list[float], _: Any, action: Any, info: dict[str, Any]) -> float:
        distance = abs(info["x_position"] - goal[0]) + abs(info["y_position"] - goal[1])
        return float(-distance - 0.1 * np.square(action).sum())

    sees = {"include_cfrc_ext_in_observation": False, "exclude_current_positions_from_observation": False}
    settings = sees | {"terminate_when_unhealthy": False} | settings
    return with_tasks("Ant-v5", draw, reward=reward, held_out=draw)(**settings)


def walker2d_rand_params(**settings: Any) -> gym.Env[Any, Any]:
    """Walker2d with random masses, inertias, damping and friction; the task is their seed (Rothfuss et al. 2019, ProMP)."""
    return _random_parameters("Walker2d-v5", settings)


def hopper_rand_params(**settings: Any) -> gym.Env[Any, Any]:
    """Hopper with random masses, inertias, damping and friction; the task is their seed (Rothfuss et al. 2019, ProMP)."""
    return _random_parameters("Hopper-v5", settings)


def _random_parameters(env: str, settings: dict[str, Any]) -> gym.Env[Any, Any]:
    nominal: dict[str, np.ndarray[Any, np.dtype[np.float64]]] = {}

    def apply(unwrapped: Any, seed: int) -> None:
        rng = np.random.default_rng(seed)
        for name, base in SCALES.items():
            values = getattr(unwrapped.model, name)
            nominal.setdefault(name, values.copy())
            values[:] = nominal[name] * base ** rng.uniform(-3, 3, values.shape)
        mujoco.mj_setConst(unwrapped.model, unwrapped.data)  # what MuJoCo derives from masses and inertias

    def draw(rng: np.random.Generator) -> int:
        return int(rng.integers(SEEDS))

    def held_out(rng: np.random.Generator) -> int:
        return int(rng.integers(SEEDS, 2 * SEEDS))

    return with_tasks(env, draw, apply=apply, held_out=held_out)(**settings)
