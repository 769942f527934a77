"""Gymnasium environments with task distributions: those of the MLSH paper and its released code.

Importing this package registers every environment in the ``mlsh/`` namespace. Nothing here needs torch or MPI, and only the
environments that need MuJoCo load it.
"""

from __future__ import annotations

import importlib
from typing import Any

from gymnasium.envs.registration import register, registry

FAMILIES = {
    "MovingBandits": ("moving_bandits", 50),
    "KeyDoor": ("key_door", 100),
    "Allwalk": ("allwalk", 50),
    "FourRooms": ("four_rooms", 100),
    "AntTwowalk": ("ant_twowalk", 1000),
    "AntMovement": ("ant_movement", 600),
    "AntMaze": ("ant_maze", 1000),
    "AntObstacleCourse": ("ant_course", 2000),
    "AntBigCourse": ("ant_course", 3000),
    "HumanoidWalkCrawl": ("humanoid_walk_crawl", 1000),
    "HumanoidCombination": ("humanoid_walk_crawl", 3000),
    "WalkerObstacles": ("walker_obstacles", 1000),
    "SwimmerBandits": ("swimmer_bandits", 1000),
}
"""Module and episode length in steps of each family. The vector form and the task are called NameVector and NameTask."""
BENCHMARKS = {
    "HalfCheetahDir": "half_cheetah_dir",
    "HalfCheetahVel": "half_cheetah_vel",
    "AntDir": "ant_dir",
    "AntGoal": "ant_goal",
    "AntOpenField": "ant_open_field",
    "Walker2dRandParams": "walker2d_rand_params",
    "HopperRandParams": "hopper_rand_params",
}
"""Function of :mod:`mlsh_envs.benchmarks` for each family of the meta-learning literature."""
PACKAGES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "AntMazeUMaze": ("ant_maze", 700, {"maze": "U_MAZE"}),
    "AntMazeMedium": ("ant_maze", 1000, {"maze": "MEDIUM_MAZE"}),
    "AntMazeLarge": ("ant_maze", 1000, {"maze": "LARGE_MAZE"}),
    "PointMazeUMaze": ("point_maze", 300, {"maze": "U_MAZE"}),
    "PointMazeMedium": ("point_maze", 600, {"maze": "MEDIUM_MAZE"}),
    "PointMazeLarge": ("point_maze", 800, {"maze": "LARGE_MAZE"}),
    "GridFourRooms": ("grid_four_rooms", 100, {}),
    "GridDoorKey": ("grid_layouts", 250, {"name": "DoorKeyEnv", "arguments": {"size": 5}}),
    "GridMultiRoom": (
        "grid_layouts",
        40,
        {"name": "MultiRoomEnv", "arguments": {"minNumRooms": 2, "maxNumRooms": 2, "maxRoomSize": 4}},
    ),
}
"""Function of :mod:`mlsh_envs.packages`, steps of an episode, and settings, for each family of another package's environment."""

_HOME = {name + kind: module for name, (module, _) in FAMILIES.items() for kind in ("", "Vector", "Task")}
_HOME["with_tasks"] = "families"
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _register(id_: str, name: str, **settings: Any) -> None:
    module, steps = FAMILIES[name]
    if id_ not in registry:
        register(
            id=id_,
            entry_point=f"{__name__}.{module}:{name}",
            vector_entry_point=f"{__name__}.{module}:{name}Vector",
            max_episode_steps=steps,
            kwargs=settings,
        )


for _name in FAMILIES:
    _register(f"mlsh/{_name}-v0", _name)
for _name, _function in BENCHMARKS.items():
    if f"mlsh/{_name}-v0" not in registry:
        register(id=f"mlsh/{_name}-v0", entry_point=f"{__name__}.benchmarks:{_function}", max_episode_steps=200)
for _name, (_function, _steps, _settings) in PACKAGES.items():
    if f"mlsh/{_name}-v0" not in registry:
        entry = f"{__name__}.packages:{_function}"
        register(id=f"mlsh/{_name}-v0", entry_point=entry, max_episode_steps=_steps, kwargs=_settings)
# Not FourRooms-v1: Gymnasium would warn everyone who makes v0 that it is out of date.
_register("mlsh/FourRoomsPublished-v0", "FourRooms", noise="published")
