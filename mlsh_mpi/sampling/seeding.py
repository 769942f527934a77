"""Pure: a random stream for every purpose, named by what it is for and never by which rank draws from it.

No generator outlives an iteration, so tasks, resets and noise depend neither on hosting nor on where a run was cut.
"""

from __future__ import annotations

import zlib
from typing import Literal

import numpy as np

Purpose = Literal["task", "theta", "phi", "reset", "action", "decision", "master", "primitive", "survey", "test"]


def stream(seed: int, purpose: Purpose, *place: int) -> np.random.Generator:
    """The generator for one purpose at one place, for example ``stream(seed, "action", iteration, worker)``.

    Args:
        seed: the run's seed.
        purpose: what is drawn.
        place: non-negative integers that tell this draw from others of its purpose.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(_code(purpose), *place))))


def episode_seeds(seed: int, iteration: int, worker: int, lanes: int) -> np.ndarray:
    """Seeds of the first episodes of a worker's lanes: (lanes,) of non-negative int64."""
    return stream(seed, "reset", iteration, worker).integers(2**31, size=lanes)


def next_episode_seed(first: int, episode: int) -> int:
    """Seed of a lane's episode number `episode` (from 1), given that of its first; like it, below 2**31: simulators written in C
    take no more."""
    return int(np.random.SeedSequence((first, episode)).generate_state(1)[0]) % 2**31


def _code(purpose: str) -> int:
    return zlib.crc32(purpose.encode())
