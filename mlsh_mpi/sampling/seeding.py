"""Pure functions: a random stream for every purpose, identified by its purpose and never by the rank that draws from it.

No generator outlives an iteration, so tasks, resets and noise depend neither on the placement of workers nor on where a run was
interrupted.
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
        purpose: what the numbers are for.
        place: non-negative integers that distinguish this stream from others with the same purpose.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(_code(purpose), *place))))


def episode_seeds(seed: int, iteration: int, worker: int, lanes: int) -> np.ndarray:
    """Seeds of the first episodes of a worker's lanes: (lanes,) non-negative int64."""
    return stream(seed, "reset", iteration, worker).integers(2**31, size=lanes)


def next_episode_seed(first: int, episode: int) -> int:
    """Seed of a lane's episode number `episode`, given that of its first, whose number is 0. Seeds are below 2**31 for simulators
    written in C."""
    return int(np.random.SeedSequence((first, episode)).generate_state(1)[0]) % 2**31


def _code(purpose: str) -> int:
    return zlib.crc32(purpose.encode())
