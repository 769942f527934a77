"""Random numbers for many episodes at once, each from its own seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def keys(seeds: Sequence[int]) -> NDArray[np.uint64]:
    """Keys of episodes' random numbers: (L,) from non-negative integers of any size, of which the lowest 64 bits are used."""
    return np.array([seed & 0xFFFFFFFFFFFFFFFF for seed in seeds], np.uint64)


def uniforms(key: NDArray[np.uint64], count: int, first: NDArray[np.integer[Any]] | int = 0) -> NDArray[np.floating[Any]]:
    """Uniform numbers in [0, 1) by SplitMix64 (Steele, Lea and Flood 2014): (L,) keys -> (L, count).

    A NumPy generator for each lane of a vector environment would take longer to set up than the lane takes to run.

    Args:
        key: (L,) key of each lane, from :func:`keys`.
        count: how many numbers to draw for each lane.
        first: how many numbers of each lane's sequence to skip; one for all, or (L,).
    """
    with np.errstate(over="ignore"):
        # Without mixing the key first, neighbouring seeds would give the numbers of neighbouring counters.
        counter = np.arange(1, count + 1, dtype=np.uint64) + np.asarray(first, np.uint64)[..., None]
        return (_mix(_mix(key + _GOLDEN)[:, None] + _GOLDEN * counter) >> np.uint64(11)) * 2.0**-53


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
