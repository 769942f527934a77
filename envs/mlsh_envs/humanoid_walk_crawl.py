"""Humanoid Walk/Crawl, and the course that needs both."""

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
"""Middle of the slab on the way back."""


@dataclass(frozen=True)
class HumanoidWalkCrawlTask:
    """Which gait is rewarded."""

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
    A humanoid is rewarded for walking ahead, or for crawling back under a slab. The task decides which. Good primitives:
    walk, crawl.

    ## Action space
    {ACTIONS}

    ## Observation space
    {OBSERVATIONS}

    ## Reward
    - walk: 5 + 0.25 dx / 0.003 for each step that ends with the torso at a height of 1 m or more, minus costs.
    - crawl: -1.5 dx / 0.003, minus costs.

    {COSTS}

    ## World
    For crawling there is a slab at a height of 1 to 2 m over x = -23.5 to -0.5, 11.5 m to both sides; for walking it is 30 m
    away to the side.

    ## Start
    {START}

    ## End
    walk: when the torso is lower than 1 m. crawl: never. Both: if the physics blows up (the reward of that step is 0).
    Truncated after 1000 steps, 15 s, when made by `gymnasium.make`.

    ## Task
    `HumanoidWalkCrawlTask(gait)`, "walk" or "crawl", set by `reset(options={"task": task})`; it stays until another is set. Until
    then it is "walk".

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
    A humanoid has to walk past x = 25 m, and then to crawl back, under a slab that has appeared on its way: both skills of
    Walk/Crawl in one episode.

    ## Action space
    {ACTIONS}

    ## Observation space
    {OBSERVATIONS}

    ## Reward
    - until a step ends with the torso past x = 25: 5 + 0.25 dx / 0.003 for each step that ends with the torso at a height of 1 m
      or more, minus costs.
    - from that step on: -1.5 dx / 0.003, minus costs.

    {COSTS}

    ## World
    After the turn there is a slab at a height of 1 to 2 m over x = 0.5 to 23.5, 11.5 m to both sides.

    ## Start
    {START}

    ## End
    When the torso is lower than 1 m before the turn, or if the physics blows up (the reward of that step is 0).
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
      There, primitives observe global x in the place of Walk/Crawl's height of the torso.
    """


class HumanoidCombinationVector(_Combination, WorldVectorEnv):
    """Many :class:`HumanoidCombination` in one process: see :class:`mlsh_envs.world_env.WorldVectorEnv`."""
