"""What the worlds of a point in a square share: moves, observations and pictures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mlsh_envs.window import primitive_colour
from mlsh_envs.world_env import Array, World

SIZE = 400.0
"""Side of the square in which goals appear, and the unit of observations."""
START = (200.0, 200.0)
REACH = 50.0
"""A step reaches a place if it ends closer to it than this."""
MOVES = 20.0 * np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)])
"""Displacement of each action: stay, +x, -x, +y, -y."""
RED, BLUE, GOLD, BLACK = (214, 96, 77), (67, 147, 195), (218, 165, 32), (20, 20, 20)
PIXELS = 300
ACTIONS = """
    `Discrete(5)`, a displacement in the units of the square (side 400):

    | action | displacement |
    |---|---|
    | 0 | (0, 0) |
    | 1 | (+20, 0) |
    | 2 | (-20, 0) |
    | 3 | (0, +20) |
    | 4 | (0, -20) |
    """
"""A part of the environments' pages."""


class Place(NamedTuple):
    """Something to draw in a picture."""

    at: Array
    """(2,) position."""
    colour: tuple[int, int, int]
    pays: bool
    """Whether to draw a full disc of radius REACH, or else a ring with a small disc."""


class PointWorld(World):
    """Points that move by fixed steps; a subclass defines places and rewards.

    Args:
        lanes: L, number of lanes.
        entries: length of an observation.
    """

    action_space = gym.spaces.Discrete(len(MOVES))

    def __init__(self, lanes: int, entries: int) -> None:
        super().__init__(lanes)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (entries,), np.float32)
        self.agent = np.tile(START, (lanes, 1))
        """(L, 2) position of the agent."""
        self._every = np.arange(lanes)

    def start(self, lanes: Sequence[int], seeds: Sequence[int], tasks: Sequence[Any]) -> None:
        self.agent[lanes] = START
        self.steps[lanes] = 0
        self.place(lanes, seeds, tasks)

    @abstractmethod
    def place(self, lanes: Sequence[int], seeds: Sequence[int], tasks: Sequence[Any]) -> None:
        """Places everything but the agent at the start of an episode."""

    def step(self, actions: Array) -> tuple[Array, Array]:
        self.agent += MOVES[actions]
        self.steps += 1
        return self.reward(), np.zeros(self.lanes, np.bool_)

    @abstractmethod
    def reward(self) -> Array:
        """(L,) reward for the current position of the agent."""

    @abstractmethod
    def places(self, lane: int) -> list[Place]:
        """What to draw in a lane besides the agent."""

    def render_frame(self, lane: int, primitive: int | None) -> NDArray[np.uint8]:
        """The scene from above, y up, with a margin around the square because the agent may leave it."""
        low, high = -0.25 * SIZE, 1.25 * SIZE
        ticks = low + (np.arange(PIXELS) + 0.5) * (high - low) / PIXELS
        pixel = np.stack(np.meshgrid(ticks, ticks[::-1]), axis=-1)
        image = np.full((PIXELS, PIXELS, 3), 255, np.uint8)
        image[((pixel < 0) | (pixel > SIZE)).any(-1)] = (235, 235, 235)
        for place in self.places(lane):
            distance = np.linalg.norm(pixel - place.at, axis=-1)
            image[distance < (REACH if place.pays else 0.16 * REACH)] = place.colour
            image[np.abs(distance - REACH) < 3] = place.colour
        colour = BLACK if primitive is None else primitive_colour(primitive)
        distance = np.linalg.norm(pixel - np.clip(self.agent[lane], low, high), axis=-1)
        image[distance < 12] = BLACK
        image[distance < 9] = colour
        return image


def scaled(*parts: Array) -> NDArray[np.float32]:
    """Positions as the agent observes them, concatenated: (L, ...) each -> (L, observation)."""
    return (np.concatenate([part.reshape(len(part), -1) for part in parts], axis=-1) / SIZE).astype(np.float32)


def in_reach(agent: Array, place: Array) -> NDArray[np.bool_]:
    """Whether the agent is at a place: (..., 2) and (..., 2) -> (...)."""
    away = agent - place
    return np.einsum("...i,...i->...", away, away) < REACH**2
