"""Key Door: Moving Bandits behind a door that a key opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlsh_envs.docstrings import page
from mlsh_envs.point_world import ACTIONS, BLUE, GOLD, RED, SIZE, Place, PointWorld, in_reach, scaled
from mlsh_envs.seeds import keys, uniforms
from mlsh_envs.tasks import FiniteTasks
from mlsh_envs.world_env import Array, WorldBase, WorldEnv, WorldVectorEnv


@dataclass(frozen=True)
class KeyDoorTask:
    """Which of the two observed goals is rewarded, once the agent has the key."""

    goal: int


class KeyDoorWorld(PointWorld):
    """The rules: see :class:`KeyDoor`."""

    def __init__(self, lanes: int) -> None:
        super().__init__(lanes, entries=9)
        self.points = np.zeros((lanes, 3, 2))
        """(L, 3, 2): goal 0, goal 1, key."""
        self.has_key = np.zeros(lanes, np.bool_)
        self._paying = np.zeros(lanes, np.intp)

    def place(self, lanes: Sequence[int], seeds: Sequence[int], tasks: Sequence[KeyDoorTask]) -> None:
        self.points[lanes] = SIZE * uniforms(keys(seeds), 6).reshape(-1, 3, 2)
        self.has_key[lanes] = False
        self._paying[lanes] = [task.goal for task in tasks]

    def reward(self) -> Array:
        self.has_key |= in_reach(self.agent, self.points[:, 2])
        return (self.has_key & in_reach(self.agent, self.points[self._every, self._paying])).astype(np.float64)

    def observe(self) -> Array:
        return np.concatenate((scaled(self.agent, self.points), self.has_key[:, None]), axis=-1, dtype=np.float32)

    def places(self, lane: int) -> list[Place]:
        paying, open_ = self._paying[lane], bool(self.has_key[lane])
        goals = [Place(self.points[lane, goal], (RED, BLUE)[goal], open_ and paying == goal) for goal in range(2)]
        return goals if open_ else [*goals, Place(self.points[lane, 2], GOLD, True)]


class _Family(WorldBase, FiniteTasks[KeyDoorTask]):
    """What the single and the vector environment share."""

    world_type = KeyDoorWorld
    train_tasks = (KeyDoorTask(0), KeyDoorTask(1))


@page(ACTIONS=ACTIONS)
class KeyDoor(_Family, WorldEnv):
    """
    ## Description
    A point in a square observes two goals and a key, whose places change every episode. One of the goals is rewarded, but only
    once the agent has been at the key. The task decides which goal, and is not observed.

    ## Action space
    {ACTIONS}

    ## Observation space
    `Box(-inf, inf, (9,), float32)`, positions in units of the square's side (position / 400); the agent may leave the square:

    | index | observation |
    |---|---|
    | 0, 1 | x, y of the agent |
    | 2, 3 | x, y of goal 0 |
    | 4, 5 | x, y of goal 1 |
    | 6, 7 | x, y of the key |
    | 8 | 1 if the agent has the key, else 0 |

    ## Reward
    1 for each step that ends less than 50 from the rewarded goal, if this step or an earlier one of the episode ended less than
    50 from the key; else 0.

    ## Start
    The agent at (200, 200) without the key; goals and key uniform in [0, 400]², drawn anew at each reset.

    ## End
    Never terminates; truncated after 100 steps when made by `gymnasium.make`.

    ## Task
    `KeyDoorTask(goal)`, 0 or 1, set by `reset(options={"task": task})`; it stays until another is set. Until then it is goal 0.

    ## Version history
    - v0: as in the code released with Frans et al., Meta Learning Shared Hierarchies (ICLR 2018); there positions are observed
      as 0 to 400.
    """


class KeyDoorVector(_Family, WorldVectorEnv):
    """Many :class:`KeyDoor` stepped as arrays: see :class:`mlsh_envs.world_env.WorldVectorEnv`."""
