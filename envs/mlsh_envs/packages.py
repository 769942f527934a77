"""Task families made of other packages' environments: ants and points in mazes with sparse rewards, and grids.

They need the extras of this project: ``pip install 'mlsh_mpi[robotics]'`` and ``'mlsh_mpi[minigrid]'``.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from mlsh_envs.families import TaskWrapper, with_tasks

START = (1, 1)
"""The cell (row, column) where every episode of a maze begins."""
LAYOUTS, HELD_OUT_LAYOUTS = range(8), range(100, 104)
"""Seeds of a grid's layout."""
ROOMS = ([4, 4], [14, 4], [4, 14], [14, 14])
"""The middles of MiniGrid's four rooms, (column, row)."""


class HiddenGoal(gym.ObservationWrapper[Any, Any, Any]):
    """A maze without the goal in its observation: where the agent is (2), then its body (a point's begins with where it is)."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        parts = {name: space for name, space in env.observation_space.items() if name != "desired_goal"}  # type: ignore[attr-defined]
        self.observation_space = gym.spaces.flatten_space(gym.spaces.Dict(parts))
        self._parts = gym.spaces.Dict(parts)

    def observation(self, observation: Mapping[str, Any]) -> Any:
        return gym.spaces.flatten(self._parts, {name: observation[name] for name in self._parts})


class MazeTasks(TaskWrapper):
    """A maze whose tasks are goals. Primitives see the body alone: an ant's, or a point's velocity."""

    primitive_observation = slice(2, None)


class PointMazeTasks(MazeTasks):
    """The same for a point, whose body's observation, (x, y, vx, vy), has its place once more."""

    primitive_observation = slice(4, None)


class Layout(gym.Wrapper[Any, Any, Any, Any]):
    """A grid whose layout is drawn from the seed in ``options={"layout": seed}``."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode."""
        return self.env.reset(seed=(options or {}).get("layout", seed))


def ant_maze(maze: str, **settings: Any) -> gym.Env[Any, Any]:
    """An ant in a maze of gymnasium-robotics (AntMaze-v5): 1 for every step within 0.45 m of the goal, else 0.

    The tasks are the free cells, alternately for training and held out; each episode begins in the upper left cell. The ant does
    not see the goal.
    """
    return _maze("ant_maze_v5", "AntMazeEnv", MazeTasks, maze, {"include_cfrc_ext_in_observation": False} | settings)


def point_maze(maze: str, **settings: Any) -> gym.Env[Any, Any]:
    """A point mass in the same mazes (PointMaze-v3)."""
    return _maze("point_maze", "PointMazeEnv", PointMazeTasks, maze, settings)


def _maze(module: str, name: str, tasks: type[MazeTasks], maze: str, settings: dict[str, Any]) -> gym.Env[Any, Any]:
    mazes = _package("gymnasium_robotics.envs.maze.maps", "robotics")
    made = getattr(_package(f"gymnasium_robotics.envs.maze.{module}", "robotics"), name)
    cells = getattr(mazes, maze)
    free = [(i, j) for i, row in enumerate(cells) for j, cell in enumerate(row) if cell != 1 and (i, j) != START]
    goals: list[list[dict[str, list[int]]]] = [[], []]
    for row, column in free:
        goals[(row + column) % 2].append({"goal_cell": [row, column], "reset_cell": list(START)})

    def make(**more: Any) -> gym.Env[Any, Any]:
        return HiddenGoal(made(maze_map=cells, reset_target=False, **more))

    return tasks(with_tasks(make, goals[0], apply="options", held_out=goals[1]), settings)


def grid_four_rooms(**settings: Any) -> gym.Env[Any, Any]:
    """MiniGrid's four rooms: the task is the place of the goal, a room's middle or beside it; walls' gaps and the start vary."""
    minigrid = _package("minigrid.envs", "minigrid")

    def apply(unwrapped: Any, goal: list[int]) -> None:
        unwrapped._goal_default_pos = tuple(goal)

    def make(**more: Any) -> gym.Env[Any, Any]:
        return _without_text(minigrid.FourRoomsEnv(**more))

    beside = [[column + 2, row + 2] for column, row in ROOMS]
    return with_tasks(make, [*map(list, ROOMS)], apply=apply, held_out=beside)(**settings)


def grid_layouts(name: str, arguments: Mapping[str, Any], **settings: Any) -> gym.Env[Any, Any]:
    """A grid of MiniGrid, of which each task is one layout."""
    made = getattr(_package("minigrid.envs", "minigrid"), name)

    def make(**more: Any) -> gym.Env[Any, Any]:
        return Layout(_without_text(made(**arguments, **more)))

    train, held_out = ([{"layout": seed} for seed in seeds] for seeds in (LAYOUTS, HELD_OUT_LAYOUTS))
    return with_tasks(make, train, apply="options", held_out=held_out)(**settings)


def _without_text(grid: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """A grid without its mission, which is the same in all episodes."""
    parts = {name: grid.observation_space[name] for name in ("direction", "image")}  # type: ignore[index]
    return gym.wrappers.TransformObservation(grid, lambda seen: {name: seen[name] for name in parts}, gym.spaces.Dict(parts))


def _package(name: str, extra: str) -> Any:
    """A module of another package.

    Raises:
        ModuleNotFoundError: it is not installed; the message names the extra.
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # what packages announce when they are imported, on every rank
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"it needs another package: pip install 'mlsh_mpi[{extra}]'", name=error.name) from error
