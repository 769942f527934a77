"""2D Moving Bandits, single and vectorised: a point, two places, and no word on which of them pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from mlsh_envs.seeds import uniforms
from mlsh_envs.tasks import FiniteTasks

Floats = NDArray[np.floating[Any]]

SIZE = 400.0
"""Side of the square in which goals appear, and the unit of observations."""
START = (200.0, 200.0)
REACH = 50.0
"""A step that ends nearer than this to the right goal pays 1."""
MOVES = 20.0 * np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)])
"""Displacement of each action: stay, +x, -x, +y, -y."""


@dataclass(frozen=True)
class MovingBanditsTask:
    """Which of the two observed goals pays."""

    goal: int


def observe(agent: Floats, goals: Floats) -> NDArray[np.float32]:
    """Positions as the agent sees them: (..., 2) and (..., 2, 2) -> (..., 6)."""
    flat = goals.reshape(*goals.shape[:-2], 4)
    return (np.concatenate((agent, flat), axis=-1) / SIZE).astype(np.float32)


def in_reach(agent: Floats, goal: Floats) -> NDArray[np.bool_]:
    """Whether the agent stands on a goal: (..., 2) and (..., 2) -> (...)."""
    away = agent - goal
    return np.einsum("...i,...i->...", away, away) < REACH**2


class _Family(FiniteTasks[MovingBanditsTask]):
    """What the single and the vector form share."""

    train_tasks = (MovingBanditsTask(0), MovingBanditsTask(1))

    @staticmethod
    def survey(size: int, rng: np.random.Generator) -> dict[str, Floats]:
        """A grid of places for one pair of goals far apart, to draw where a policy would go from each (paper, Figure 3).

        Returns:
            ``observations`` (size², 6), ``positions`` (size², 2), ``goals`` (2, 2) and ``moves`` (5, 2), the displacement
            that each action makes.
        """
        pairs = rng.uniform(0.1 * SIZE, 0.9 * SIZE, size=(16, 2, 2))
        goals = pairs[np.linalg.norm(pairs[:, 0] - pairs[:, 1], axis=-1).argmax()]
        ticks = np.linspace(0, SIZE, size)
        positions = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
        observations = observe(positions, np.broadcast_to(goals, (len(positions), 2, 2)))
        return {"observations": observations, "positions": positions, "goals": goals, "moves": MOVES}


def _draw(agent: Floats, goals: Floats, goal: int, pixels: int = 300) -> NDArray[np.uint8]:
    """The scene from above, y up, with a margin around the square because the agent may leave it: (pixels, pixels, 3)."""
    low, high = -0.25 * SIZE, 1.25 * SIZE
    ticks = low + (np.arange(pixels) + 0.5) * (high - low) / pixels
    place = np.stack(np.meshgrid(ticks, ticks[::-1]), axis=-1)
    image = np.full((pixels, pixels, 3), 255, np.uint8)
    image[((place < 0) | (place > SIZE)).any(-1)] = (235, 235, 235)
    for index, colour in enumerate([(214, 96, 77), (67, 147, 195)]):
        distance = np.linalg.norm(place - goals[index], axis=-1)
        image[distance < (REACH if index == goal else 0.16 * REACH)] = colour
        image[np.abs(distance - REACH) < 3] = colour
    image[np.linalg.norm(place - np.clip(agent, low, high), axis=-1) < 10] = (20, 20, 20)
    return image


class MovingBandits(_Family, gym.Env[NDArray[np.float32], np.int64]):
    """
    ## Description
    A point starts in the middle of a square and sees two goals whose places change every episode. One of them pays; which one
    is the task, and is not observed. Good primitives: go to the one goal, go to the other. Good masters: find out which.

    ## Action space
    `Discrete(5)`, a displacement in the units of the square (side 400):

    | action | displacement |
    |---|---|
    | 0 | (0, 0) |
    | 1 | (+20, 0) |
    | 2 | (-20, 0) |
    | 3 | (0, +20) |
    | 4 | (0, -20) |

    ## Observation space
    `Box(-inf, inf, (6,), float32)`, in sides of the square (position / 400); the agent may leave the square:

    | index | observation |
    |---|---|
    | 0, 1 | x, y of the agent |
    | 2, 3 | x, y of goal 0 |
    | 4, 5 | x, y of goal 1 |

    ## Reward
    1 for each step that ends less than 50 from the goal that pays, else 0.

    ## Start
    The agent at (200, 200); both goals uniform in [0, 400]², drawn anew at each reset.

    ## End
    Never by itself; truncated after 50 steps when made by `gymnasium.make`.

    ## Task
    `MovingBanditsTask(goal)`, 0 or 1, as `reset(options={"task": task})`; it stays until another is given. Before the first
    is given it is goal 0.

    ## Levels
    Per episode: best possible 43.8, random actions 2.4, always to the same goal on random tasks 23.1.

    ## Version history
    - v0: as in Frans et al., Meta Learning Shared Hierarchies (ICLR 2018), section 6.1, and its released code.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 (as in gymnasium.Env)

    def __init__(self, render_mode: str | None = None) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode must be None or 'rgb_array', not {render_mode!r}")
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (6,), np.float32)
        self.action_space = gym.spaces.Discrete(len(MOVES))
        self.task = self.train_tasks[0]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        if options and "task" in options:
            self.task = self.checked(options["task"])
        self._agent = np.array(START)
        episode = int(self.np_random.integers(2**63)) if seed is None else seed
        self._goals = SIZE * uniforms([episode], 4).reshape(2, 2)
        return observe(self._agent, self._goals), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        if not self.action_space.contains(action):
            raise ValueError(f"the action must be an integer from 0 to {len(MOVES) - 1}, not {action!r}")
        self._agent = self._agent + MOVES[action]
        reward = float(in_reach(self._agent, self._goals[self.task.goal]))
        return observe(self._agent, self._goals), reward, False, False, {}

    def render(self) -> NDArray[np.uint8] | None:
        if self.render_mode is None:
            gym.logger.warn('render() draws nothing: make the environment with render_mode="rgb_array"')
            return None
        return _draw(self._agent, self._goals, self.task.goal)


class MovingBanditsVector(_Family, VectorEnv[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]):
    """Many :class:`MovingBandits` stepped as arrays; lane by lane the same as the single form with the same seeds.

    Lanes do not reset by themselves (`AutoresetMode.DISABLED`). `reset` takes one seed for all lanes (lane i gets seed + i) or a
    list with one for each, `options["task"]` as one task for all lanes or a sequence with one for each, and
    `options["reset_mask"]`, the lanes to reset; the others go on.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012

    def __init__(self, num_envs: int = 1, max_episode_steps: int = 50) -> None:
        self.num_envs = num_envs
        self.max_episode_steps = max_episode_steps
        self.single_observation_space = gym.spaces.Box(-np.inf, np.inf, (6,), np.float32)
        self.single_action_space = gym.spaces.Discrete(len(MOVES))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.task = [self.train_tasks[0]] * num_envs
        self._seeds: list[int | None] = [None] * num_envs
        self._generators: list[np.random.Generator | None] = [None] * num_envs
        self._agent = np.tile(START, (num_envs, 1))
        self._goals = np.zeros((num_envs, 2, 2))
        self._paying = np.zeros(num_envs, np.intp)
        self._steps = np.zeros(num_envs, np.int64)
        self._lanes = np.arange(num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        options = options or {}
        lanes = np.flatnonzero(options.get("reset_mask", np.ones(self.num_envs, np.bool_))).tolist()
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        if "task" in options:
            given = options["task"]
            tasks = list(given) if isinstance(given, (list, tuple)) else [given] * self.num_envs
            if len(tasks) != self.num_envs:
                raise ValueError(f"there must be one task, or one for each of {self.num_envs} lanes, not {len(tasks)}")
            checked = {lane: self.checked(tasks[lane]) for lane in lanes}
            for lane, task in checked.items():
                self.task[lane], self._paying[lane] = task, task.goal
        episodes = [self._episode(lane, None if seeds is None else seeds[lane]) for lane in lanes]
        self._goals[lanes] = SIZE * uniforms(episodes, 4).reshape(-1, 2, 2)
        self._agent[lanes] = START
        self._steps[lanes] = 0
        return observe(self._agent, self._goals), {}

    def _episode(self, lane: int, seed: int | None) -> int:
        """What the next episode of a lane is drawn from: its seed, or else the generator of the last one it was given."""
        if seed is not None:
            if seed < 0:
                seeding.np_random(seed)  # raises Gymnasium's own error
            self._seeds[lane], self._generators[lane] = int(seed), None
            return int(seed)
        generator = self._generators[lane]
        if generator is None:
            generator = self._generators[lane] = seeding.np_random(self._seeds[lane])[0]
        return int(generator.integers(2**63))

    def step(  # type: ignore[override]
        self, actions: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        actions = np.asarray(actions)
        integers = np.issubdtype(actions.dtype, np.integer)
        if not integers or actions.shape != (self.num_envs,) or actions.min() < 0 or actions.max() >= len(MOVES):
            raise ValueError(
                f"actions must be {self.num_envs} integers from 0 to {len(MOVES) - 1}; "
                f"got {actions.dtype} of shape {actions.shape}, values {actions.min()} to {actions.max()}"
            )
        self._agent += MOVES[actions]
        self._steps += 1
        reward = in_reach(self._agent, self._goals[self._lanes, self._paying]).astype(np.float64)
        truncated = self._steps >= self.max_episode_steps
        return observe(self._agent, self._goals), reward, np.zeros(self.num_envs, np.bool_), truncated, {}
