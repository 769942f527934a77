"""Humanoid Walk/Crawl, and the course that asks for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mlsh_envs.docstrings import page
from mlsh_envs.humanoid import PARTS, HumanoidWorld
from mlsh_envs.physics import PlacedFamily
from mlsh_envs.tasks import FiniteTasks
from mlsh_envs.world_env import WorldEnv, WorldVectorEnv

SLAB_X = -12.0
"""Middle of the slab under which Walk/Crawl crawls; it ends half a metre behind the humanoid."""
TURN_X = 25.0
"""Where the combination turns from walking to crawling."""
RETURN_SLAB_X = 12.0
"""Middle of the slab that lies on the way back."""


@dataclass(frozen=True)
class HumanoidWalkCrawlTask:
    """Which gait pays."""

    gait: Literal["walk", "crawl"]


@dataclass(frozen=True)
class HumanoidCombinationTask:
    """There is one task: there and back."""


class HumanoidWalkCrawlWorld(HumanoidWorld):
    """The rules: see :class:`HumanoidWalkCrawl`."""

    def begin(self, lane: int, task: HumanoidWalkCrawlTask) -> None:
        super().begin(lane, task)
        self.crawls[lane] = task.gait == "crawl"
        self.put_slab(lane, SLAB_X if self.crawls[lane] else None)


class HumanoidCombinationWorld(HumanoidWorld):
    """The rules: see :class:`HumanoidCombination`."""

    def begin(self, lane: int, task: HumanoidCombinationTask) -> None:
        super().begin(lane, task)
        self.crawls[lane] = False
        self.put_slab(lane, None)

    def arrive(self) -> None:
        turns = (self.state[:, 0] > TURN_X) & ~self.crawls
        for lane in np.flatnonzero(turns).tolist():
            self.put_slab(lane, RETURN_SLAB_X)
        self.crawls |= turns


class _WalkCrawl(PlacedFamily, FiniteTasks[HumanoidWalkCrawlTask]):
    """What the single and the vector environment of Walk/Crawl share."""

    world_type = HumanoidWalkCrawlWorld
    train_tasks = (HumanoidWalkCrawlTask("walk"), HumanoidWalkCrawlTask("crawl"))


class _Combination(PlacedFamily, FiniteTasks[HumanoidCombinationTask]):
    """What the single and the vector environment of the combination share."""

    world_type = HumanoidCombinationWorld
    train_tasks = (HumanoidCombinationTask(),)


@page(**PARTS)
class HumanoidWalkCrawl(_WalkCrawl, WorldEnv):
    """
    ## Description
    A humanoid is paid for walking ahead, or for crawling back under a slab. Which of the two is the task. Good primitives: walk,
    crawl.

    ## Action space
    {ACTIONS}

    ## Observation space
    {OBSERVATIONS}

    ## Reward
    - walk: 5 + 0.25 dx / 0.003 for each step that ends with the torso at a height of 1 m or more, minus costs.
    - crawl: -1.5 dx / 0.003, minus costs.

    {COSTS}

    ## World
    For crawling there is a slab at a height of 1 to 2 m over x = -23.5 to -0.5, 11.5 m to both sides; for walking it lies 30
    m aside.

    ## Start
    {START}

    ## End
    walk: when the torso is lower than 1 m. crawl: never. And if the physics blows up (that step pays 0).
    Truncated after 1000 steps, 15 s, when made by `gymnasium.make`.

    ## Task
    `HumanoidWalkCrawlTask(gait)`, "walk" or "crawl", as `reset(options={"task": task})`; it stays until another is given. Before
    the first is given it is "walk".

    ## Arguments
    {SETTINGS}
    {FALLS}

    ## Version history
    - v0: Frans et al., Meta Learning Shared Hierarchies (ICLR 2018), section 6.4, with the dynamics of its released code.
    """


class HumanoidWalkCrawlVector(_WalkCrawl, WorldVectorEnv):
    """Many :class:`HumanoidWalkCrawl` in one process: see :class:`mlsh_envs.world_env.WorldVectorEnv`."""


@page(**PARTS)
class HumanoidCombination(_Combination, WorldEnv):
    """
    ## Description
    A humanoid walks until it is past x = 25 m, and from then on crawls back, under a slab that has come down on its way: both
    skills of Walk/Crawl in one episode.

    ## Action space
    {ACTIONS}

    ## Observation space
    {OBSERVATIONS}

    ## Reward
    - until the torso has been past x = 25: 5 + 0.25 dx / 0.003 for each step that ends with the torso at a height of 1 m or more,
      minus costs.
    - from the step on that ends past it: -1.5 dx / 0.003, minus costs.

    {COSTS}

    ## World
    From the turn on there is a slab at a height of 1 to 2 m over x = 0.5 to 23.5, 11.5 m to both sides.

    ## Start
    {START}

    ## End
    Before the turn when the torso is lower than 1 m, after it never. And if the physics blows up (that step pays 0).
    Truncated after 3000 steps, 45 s, when made by `gymnasium.make`.

    ## Task
    `HumanoidCombinationTask()`, the only one.

    ## Levels
    The paper's Table 1: 14333 with MLSH's primitives from Walk/Crawl, 6055 with a shared policy's, -643 for a single policy.

    ## Arguments
    {SETTINGS}
    {FALLS}

    ## Version history
    - v0: Frans et al., Meta Learning Shared Hierarchies (ICLR 2018), section 6.4, with the dynamics of its released code.
      There the primitives are shown global x where Walk/Crawl shows the torso's height.
    """


class HumanoidCombinationVector(_Combination, WorldVectorEnv):
    """Many :class:`HumanoidCombination` in one process: see :class:`mlsh_envs.world_env.WorldVectorEnv`."""
