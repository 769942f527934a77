"""One set of rules, two Gymnasium forms: a single environment, and many lanes stepped together.

A :class:`World` holds the state of L episodes and the rules; :class:`WorldEnv` shows one lane of it as ``gymnasium.Env``,
:class:`WorldVectorEnv` all of them as ``gymnasium.vector.VectorEnv``. Both behave alike, because neither has rules of its own.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from mlsh_envs.tasks import Tasks
from mlsh_envs.window import Window

Array = NDArray[Any]
HUGE = 1e6
"""Bound on the size of actions; there is no reason for larger ones."""


class World(ABC):
    """The state of L lanes and the rules by which it changes, without Gymnasium's bookkeeping.

    Args:
        lanes: L, number of lanes.
    """

    observation_space: gym.Space[Any]
    """Observation space of one lane."""
    action_space: gym.Space[Any]
    """Action space of one lane."""
    render_fps: int = 10
    """Frames per second in a window."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.steps = np.zeros(lanes, np.int64)
        """(L,) steps taken since each lane's start."""

    @abstractmethod
    def start(self, lanes: Sequence[int], seeds: Sequence[int], tasks: Sequence[Any]) -> None:
        """Starts new episodes.

        Args:
            lanes: numbers of the lanes.
            seeds: seed of each of these lanes' episodes: a non-negative integer of any size.
            tasks: task of each of these lanes, already checked.
        """

    @abstractmethod
    def step(self, actions: Array) -> tuple[Array, Array]:
        """Steps every lane: (L, ...) checked actions -> (L,) float64 rewards, (L,) bool whether the episode terminated."""

    @abstractmethod
    def observe(self) -> Array:
        """(L, observation) float32, in an array that later steps do not change."""

    @abstractmethod
    def render_frame(self, lane: int, primitive: int | None) -> NDArray[np.uint8]:
        """Renders a lane as (height, width, 3).

        Args:
            lane: number of the lane.
            primitive: the primitive whose colour the agent gets; None for the agent's own.
        """

    def show(self, lane: int, primitive: int | None) -> None:
        """Shows a lane in a window, at `render_fps`."""
        if self._window is None:
            self._window = Window(type(self).__name__, self.render_fps)
        self._window.show(self.render_frame(lane, primitive))

    def close(self) -> None:
        """Frees renderer and window."""
        if self._window is not None:
            self._window.close()
            self._window = None

    _window: Window | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_window"}


class WorldBase:
    """What the single and the vector form of a family share."""

    world_type: ClassVar[type[World]]


class WorldEnv(WorldBase, Tasks[Any], gym.Env[Array, Any]):
    """A world with one lane, as an environment.

    Args:
        render_mode: None, ``"rgb_array"`` or ``"human"``.
        settings: settings of the world.

    Raises:
        ValueError: there is no such render mode.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 10}  # noqa: RUF012 (as in gymnasium.Env)
    active_primitive: int | None = None
    """The active primitive, if the agent is to be shown in its colour."""

    def __init__(self, render_mode: str | None = None, **settings: Any) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode must be None, 'human' or 'rgb_array', not {render_mode!r}")
        self.render_mode = render_mode
        self.world = self.world_type(1, **settings)
        self.metadata = self.metadata | {"render_fps": self.world.render_fps}
        self.observation_space = copy.deepcopy(self.world.observation_space)  # each environment with its own generator
        self.action_space = copy.deepcopy(self.world.action_space)
        self.task = self.first_task
        self._started = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        if options and "task" in options:
            self.task = self.checked(options["task"])
        episode = int(self.np_random.integers(2**63)) if seed is None else seed
        self.world.start([0], [episode], [self.task])
        self._started = True
        if self.render_mode == "human":
            self.render()
        return self.world.observe()[0], {}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        _check_started(self._started)
        reward, terminated = self.world.step(_checked_actions(self.action_space, action, None)[None])
        if self.render_mode == "human":
            self.render()
        return self.world.observe()[0], float(reward[0]), bool(terminated[0]), False, {}

    def render(self) -> NDArray[np.uint8] | None:
        if self.render_mode is None:
            gym.logger.warn('render() draws nothing: make the environment with render_mode="rgb_array" or "human"')
        elif self.render_mode == "human":
            self.world.show(0, self.active_primitive)
        else:
            return self.world.render_frame(0, self.active_primitive)
        return None

    def close(self) -> None:
        self.world.close()


class WorldVectorEnv(WorldBase, Tasks[Any], VectorEnv[Array, Array, Array]):
    """A world with many lanes, as a vector environment; each lane behaves as the single form with the same seed.

    Lanes do not reset by themselves (`AutoresetMode.DISABLED`). `reset` takes one seed for all lanes (lane i gets seed + i) or a
    list with one for each, `options["task"]` as one task for all lanes or a sequence with one for each, and
    `options["reset_mask"]`, a bool for each lane, which of them to reset; the others continue.

    Args:
        num_envs: number of lanes.
        max_episode_steps: steps after which a lane is truncated; None for never.
        render_mode: None, or ``"rgb_array"`` for a picture of each lane.
        settings: settings of the world.

    Raises:
        ValueError: there is no such render mode.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012
    active_primitives: Sequence[int | None] | None = None
    """The active primitive in each lane, if the agent is to be shown in its colour."""

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode of many lanes must be None or 'rgb_array', not {render_mode!r}")
        self.num_envs, self.max_episode_steps, self.render_mode = num_envs, max_episode_steps, render_mode
        self.world = self.world_type(num_envs, **settings)
        self.single_observation_space = copy.deepcopy(self.world.observation_space)
        self.single_action_space = copy.deepcopy(self.world.action_space)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.task = [self.first_task] * num_envs
        self._seeds: list[int | None] = [None] * num_envs
        self._generators: list[np.random.Generator | None] = [None] * num_envs
        self._waiting = set(range(num_envs))

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        options = options or {}
        lanes, seeds = self._chosen(options.get("reset_mask")), self._one_for_each(seed)
        if isinstance(seed, (int, np.integer)):
            self._np_random, self._np_random_seed = seeding.np_random(int(seed))
        if "task" in options:
            given = options["task"]
            tasks = list(given) if isinstance(given, (list, tuple)) else [given] * self.num_envs
            if len(tasks) != self.num_envs:
                raise ValueError(f"there must be one task, or one for each of {self.num_envs} lanes, not {len(tasks)}")
            checked = {lane: self.checked(tasks[lane]) for lane in lanes}
            for lane, task in checked.items():
                self.task[lane] = task
        episodes = [self._episode(lane, seeds[lane]) for lane in lanes]
        self.world.start(lanes, episodes, [self.task[lane] for lane in lanes])
        self._waiting.difference_update(lanes)
        return self.world.observe(), {}

    def _chosen(self, mask: Any) -> list[int]:
        """The lanes of a reset mask; all of them without one."""
        if mask is None:
            return list(range(self.num_envs))
        chosen = np.asarray(mask)
        if chosen.dtype != np.bool_ or chosen.shape != (self.num_envs,):
            raise ValueError(f"reset_mask must be {self.num_envs} bools, one for each lane, not {mask!r}")
        return np.flatnonzero(chosen).tolist()

    def _one_for_each(self, seed: Any) -> list[Any]:
        """A seed, or None, for each lane."""
        if seed is None:
            return [None] * self.num_envs
        given = [seed + lane for lane in range(self.num_envs)] if isinstance(seed, (int, np.integer)) else list(seed)
        if len(given) != self.num_envs or not all(each is None or isinstance(each, (int, np.integer)) for each in given):
            raise ValueError(f"seed must be an integer, or {self.num_envs} of them, one for each lane, not {seed!r}")
        for each in given:
            if each is not None and each < 0:
                seeding.np_random(int(each))  # raises Gymnasium's own error
        return given

    def _episode(self, lane: int, seed: int | None) -> int:
        """The seed of a lane's next episode: the one given, or else one from a generator seeded with the last that was given."""
        if seed is not None:
            self._seeds[lane], self._generators[lane] = int(seed), None
            return int(seed)
        generator = self._generators[lane]
        if generator is None:
            generator = self._generators[lane] = seeding.np_random(self._seeds[lane])[0]
        return int(generator.integers(2**63))

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        _check_started(not self._waiting)
        reward, terminated = self.world.step(_checked_actions(self.single_action_space, actions, self.num_envs))
        limit = self.max_episode_steps
        truncated = np.zeros(self.num_envs, np.bool_) if limit is None else self.world.steps >= limit
        return self.world.observe(), reward, terminated, truncated, {}

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        if self.render_mode is None:
            gym.logger.warn('render() draws nothing: make the environment with render_mode="rgb_array"')
            return None
        primitives = self.active_primitives or [None] * self.num_envs
        return tuple(self.world.render_frame(lane, primitives[lane]) for lane in range(self.num_envs))

    def close_extras(self, **_: Any) -> None:
        if hasattr(self, "world"):  # Gymnasium 1.2 also closes environments whose constructor failed
            self.world.close()


def all_within(values: Array, bound: float) -> bool:
    """Whether the absolute value of every number is below the bound; NaN counts as not."""
    if values.dtype.kind == "f" and np.vdot(values, values) < bound * bound:  # half the time, and nearly always enough
        return True
    return bool(np.abs(values).max() < bound)


def _check_started(started: bool) -> None:
    if not started:
        raise gym.error.ResetNeeded("call reset() before step()")


def _checked_actions(space: gym.Space[Any], actions: Any, lanes: int | None) -> Array:
    """One action (lanes None) or one for each lane, as an array.

    Raises:
        ValueError: it does not fit the space. Numbers beyond the bounds of a Box are passed on for the world to handle.
    """
    values, one = np.asarray(actions), lanes is None
    shape = (*(() if lanes is None else (lanes,)), *(space.shape or ()))
    if isinstance(space, gym.spaces.Discrete):
        fits = values.shape == shape and np.issubdtype(values.dtype, np.integer)
        fits = fits and bool(values.min() >= 0 and values.max() < space.n)
    else:
        fits = values.shape == shape and values.dtype.kind in "fiu" and all_within(values, HUGE)
    if fits:
        return values
    if isinstance(space, gym.spaces.Discrete):
        kind = f"from 0 to {space.n - 1}"
        rule = f"the action must be an integer {kind}" if one else f"actions must be {lanes} integers {kind}"
    else:
        rule = f"{'the action' if one else 'actions'} must be numbers of size below {HUGE:g} and of shape {shape}"
    raise ValueError(f"{rule}, not {np.array2string(values, threshold=12)} of shape {values.shape}")
