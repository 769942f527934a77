"""2D Moving Bandits: a point and two goals, one of which is rewarded; which one is not observed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlsh_envs.docstrings import page
from mlsh_envs.point_world import ACTIONS, BLUE, MOVES, RED, SIZE, Place, PointWorld, in_reach, scaled
from mlsh_envs.seeds import keys, uniforms
from mlsh_envs.tasks import FiniteTasks
from mlsh_envs.world_env import Array, WorldBase, WorldEnv, WorldVectorEnv


@dataclass(frozen=True)
class MovingBanditsTask:
    """Which of the two observed goals is rewarded."""

    goal: int


class MovingBanditsWorld(PointWorld):
    """The rules: see :class:`MovingBandits`."""

    def __init__(self, lanes: int) -> None:
        super().__init__(lanes, entries=6)
        self.goals = np.zeros((lanes, 2, 2))
        """(L, 2, 2) positions of goal 0 and goal 1."""
        self._paying = np.zeros(lanes, np.intp)

    def place(self, lanes: Sequence[int], seeds: Sequence[int], tasks: Sequence[MovingBanditsTask]) -> None:
        self.goals[lanes] = SIZE * uniforms(keys(seeds), 4).reshape(-1, 2, 2)
        self._paying[lanes] = [task.goal for task in tasks]

    def reward(self) -> Array:
        return in_reach(self.agent, self.goals[self._every, self._paying]).astype(np.float64)

    def observe(self) -> Array:
        return scaled(self.agent, self.goals)

    def places(self, lane: int) -> list[Place]:
        paying = self._paying[lane]
        return [Place(self.goals[lane, goal], (RED, BLUE)[goal], paying == goal) for goal in range(2)]


class _Family(WorldBase, FiniteTasks[MovingBanditsTask]):
    """What the single and the vector environment share."""

    world_type = MovingBanditsWorld
    train_tasks = (MovingBanditsTask(0), MovingBanditsTask(1))

    @staticmethod
    def survey(size: int, rng: np.random.Generator) -> dict[str, Array]:
        """A grid of positions and a pair of distant goals, to draw where a policy would go from each position (paper, Figure 3).

        Returns:
            ``observations`` (size², 6), ``positions`` (size², 2), ``goals`` (2, 2) and ``moves`` (5, 2), the displacement of
            each action.
        """
        pairs = rng.uniform(0.1 * SIZE, 0.9 * SIZE, size=(16, 2, 2))
        goals = pairs[np.linalg.norm(pairs[:, 0] - pairs[:, 1], axis=-1).argmax()]
        ticks = np.linspace(0, SIZE, size)
        positions = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
        observations = scaled(positions, np.broadcast_to(goals, (len(positions), 2, 2)))
        return {"observations": observations, "positions": positions, "goals": goals, "moves": MOVES}


@page(ACTIONS=ACTIONS)
class MovingBandits(_Family, WorldEnv):
    """
    ## Description
    A point starts in the middle of a square and observes two goals whose places change every episode. One of them is rewarded;
    the task decides which, and is not observed. Good primitives: one goes to each goal. Good masters: find out which goal it is.

    ## Action space
    {ACTIONS}

    ## Observation space
    `Box(-inf, inf, (6,), float32)`, in units of the square's side (position / 400); the agent may leave the square:

    | index | observation |
    |---|---|
    | 0, 1 | x, y of the agent |
    | 2, 3 | x, y of goal 0 |
    | 4, 5 | x, y of goal 1 |

    ## Reward
    1 for each step that ends less than 50 from the rewarded goal, else 0.

    ## Start
    The agent at (200, 200); both goals uniform in [0, 400]², drawn anew at each reset.

    ## End
    Never terminates; truncated after 50 steps when made by `gymnasium.make`.

    ## Task
    `MovingBanditsTask(goal)`, 0 or 1, set by `reset(options={"task": task})`; it stays until another is set. Until then it is
    goal 0.

    ## Levels
    Return of an episode: best possible 43.8, random actions 2.4, always going to the same goal on random tasks 23.1.

    ## Version history
    - v0: as in Frans et al., Meta Learning Shared Hierarchies (ICLR 2018), section 6.1, and its released code.
    """


class MovingBanditsVector(_Family, WorldVectorEnv):
    """Many :class:`MovingBandits` stepped as arrays: see :class:`mlsh_envs.world_env.WorldVectorEnv`."""
