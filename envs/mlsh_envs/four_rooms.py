"""Four Rooms (Sutton, Precup and Singh 1999): find the rewarded cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mlsh_envs.seeds import keys, uniforms
from mlsh_envs.tasks import FiniteTasks
from mlsh_envs.window import primitive_colour
from mlsh_envs.world_env import Array, World, WorldBase, WorldEnv, WorldVectorEnv

PLAN = (
    "#############",
    "#     #     #",
    "#     #     #",
    "#           #",
    "#     #     #",
    "#     #     #",
    "## ####     #",
    "#     ### ###",
    "#     #     #",
    "#     #     #",
    "#           #",
    "#     #     #",
    "#############",
)
"""Walls and free cells; free cells are numbered row by row from 0."""
FREE = np.array([[square == " " for square in row] for row in PLAN])
PLACES = np.argwhere(FREE)
"""(104, 2) row and column of each free cell."""
START = 62
"""The doorway at row 7, column 9."""
FAILURE = 1 / 3
"""Probability that a move fails."""
Noise = Literal["released", "published"]
GOALS = (*range(68, 73), *range(78, 83), *range(88, 94), *range(99, 104))
"""Cells that may be the goal: the room to the lower right, and its doorway to the left."""
HELD_OUT = (68, 80, 90, 103)
"""Goals that training never draws."""


def _neighbours() -> Array:
    """(104, 4) the cell that each action leads to: up, down, left, right; the same cell where a wall is in the way."""
    number = np.full(FREE.shape, -1)
    number[FREE] = np.arange(len(PLACES))
    beyond = PLACES[:, None] + np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])
    neighbours = number[beyond[..., 0], beyond[..., 1]]
    return np.where(neighbours < 0, np.arange(len(PLACES))[:, None], neighbours)


NEIGHBOURS = _neighbours()


@dataclass(frozen=True)
class FourRoomsTask:
    """The number of the rewarded cell."""

    goal: int


class FourRoomsWorld(World):
    """The rules: see :class:`FourRooms`.

    Args:
        lanes: L, number of lanes.
        noise: what happens when a move fails.

    Raises:
        ValueError: there is no such noise.
    """

    observation_space = gym.spaces.Box(0, 1, (len(PLACES),), np.float32)
    action_space = gym.spaces.Discrete(4)

    def __init__(self, lanes: int, noise: Noise = "released") -> None:
        super().__init__(lanes)
        if noise not in ("released", "published"):
            raise ValueError(f"noise must be 'released' or 'published', not {noise!r}")
        self._jumps = noise == "released"
        self.cell = np.full(lanes, START)
        """(L,) number of the agent's cell."""
        self._goal = np.full(lanes, START)
        self._keys = np.zeros(lanes, np.uint64)
        self._every = np.arange(lanes)

    def start(self, lanes: Sequence[int], seeds: Sequence[int], tasks: Sequence[FourRoomsTask]) -> None:
        self.cell[lanes] = START
        self.steps[lanes] = 0
        self._keys[lanes] = keys(seeds)
        self._goal[lanes] = [task.goal for task in tasks]

    def step(self, actions: Array) -> tuple[Array, Array]:
        fails, which = uniforms(self._keys, 2, first=2 * self.steps).T
        go = self._jumped if self._jumps else self._turned
        self.cell = go(actions, fails < FAILURE, which)
        self.steps += 1
        return (self.cell == self._goal).astype(np.float64), np.zeros(self.lanes, np.bool_)

    def _jumped(self, actions: Array, fails: Array, which: Array) -> Array:
        """A move into a free cell succeeds; if it fails, the agent then jumps to a neighbour of the new cell."""
        ahead = NEIGHBOURS[self.cell, actions]
        around = NEIGHBOURS[ahead]
        open_ = around != ahead[:, None]
        chosen = (which * open_.sum(-1)).astype(np.int64)
        turn = (open_.cumsum(-1) <= chosen[:, None]).sum(-1)
        return np.where(fails & (ahead != self.cell), around[self._every, turn], ahead)

    def _turned(self, actions: Array, fails: Array, which: Array) -> Array:
        """A move that fails goes in one of the other three directions."""
        other = (actions + 1 + (which * 3).astype(np.int64)) % 4
        return NEIGHBOURS[self.cell, np.where(fails, other, actions)]

    def observe(self) -> Array:
        return np.equal.outer(self.cell, np.arange(len(PLACES))).astype(np.float32)

    def render_frame(self, lane: int, primitive: int | None) -> NDArray[np.uint8]:
        """The rooms from above, with a red goal; the agent is a square in the primitive's colour, or black."""
        side = 24
        image = np.where(FREE[..., None], np.uint8(255), np.uint8(110)).repeat(3, axis=-1)
        image[tuple(PLACES[self._goal[lane]])] = (214, 96, 77)
        image = image.repeat(side, axis=0).repeat(side, axis=1)
        row, column = PLACES[self.cell[lane]] * side
        colour = (20, 20, 20) if primitive is None else primitive_colour(primitive)
        image[row + 4 : row + side - 4, column + 4 : column + side - 4] = (20, 20, 20)
        image[row + 6 : row + side - 6, column + 6 : column + side - 6] = colour
        return image


class _Family(WorldBase, FiniteTasks[FourRoomsTask]):
    """What the single and the vector environment share."""

    world_type = FourRoomsWorld

    def __init__(self, *arguments: Any, held_out: Sequence[int] = HELD_OUT, **settings: Any) -> None:
        if unknown := set(held_out) - set(GOALS):
            raise ValueError(f"held_out may have {', '.join(map(str, GOALS))}, not {', '.join(map(str, unknown))}")
        self.held_out_tasks = tuple(FourRoomsTask(goal) for goal in GOALS if goal in held_out)
        self.train_tasks = tuple(FourRoomsTask(goal) for goal in GOALS if goal not in held_out)
        if not self.train_tasks:
            raise ValueError("held_out must leave at least one goal for training")
        super().__init__(*arguments, **settings)


class FourRooms(_Family, WorldEnv):
    """
    ## Description
    Four rooms with a doorway between each two neighbours. One cell, in the lower right room, gives a reward for every step that
    ends in it; the task decides which cell, and is not observed.

    ## Action space
    `Discrete(4)`: 0 up, 1 down, 2 left, 3 right. The setting `noise` says what happens when a move fails:

    | noise | what happens |
    |---|---|
    | `"released"` | a move into a wall has no effect; one into a free cell succeeds, and then with probability 1/3 the agent jumps to one of the free neighbours of the new cell, all equally likely |
    | `"published"` | with probability 1/3 the agent moves in one of the other three directions instead, all equally likely; a move into a wall has no effect |

    ## Observation space
    `Box(0, 1, (104,), float32)`: one-hot number of the agent's cell. Free cells are numbered row by row, from the upper left.

    ## Reward
    1 for each step that ends in the goal cell, else 0.

    ## Start
    Cell 62, the doorway at row 7, column 9.

    ## End
    Never terminates; truncated after 100 steps when made by `gymnasium.make`.

    ## Task
    `FourRoomsTask(goal)`, the number of a cell: train 69-72, 78, 79, 81, 82, 88, 89, 91-93, 99-102; held out 68, 80, 90, 103.
    Set by `reset(options={"task": task})`; it stays until another is set. Until then it is 69.

    ## Levels
    Best return of an episode with the released noise, by dynamic programming: 94.5 for goal 103, 97.2 for goal 68; only 37.3 and
    37.9 for goals 80 and 90, because the noise drives the agent out of a cell without walls. Random actions: 1.8 for these four.

    ## Arguments
    - `noise`: see above. `mlsh/FourRooms-v0` has the released one, `mlsh/FourRoomsPublished-v0` that of Sutton, Precup and Singh,
      Between MDPs and semi-MDPs (1999).
    - `held_out` (68, 80, 90, 103): the goals that training never draws.

    ## Version history
    - v0: as in the code released with Frans et al., Meta Learning Shared Hierarchies (ICLR 2018); there the number of the cell is
      observed, which the released trainer does not support, and the goal is always 103.
    """  # noqa: E501 (a table row cannot be broken)


class FourRoomsVector(_Family, WorldVectorEnv):
    """Many :class:`FourRooms` stepped as arrays: see :class:`mlsh_envs.world_env.WorldVectorEnv`."""
