"""Random numbers of many episodes at once, each from its own seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def uniforms(seeds: Sequence[int], count: int) -> NDArray[np.floating[Any]]:
    """Uniform numbers in [0, 1) by SplitMix64 (Steele, Lea and Flood 2014): (L,) seeds -> (L, count).

    A NumPy generator for each lane of a vector environment would take longer to set up than the lane takes to run.

    Args:
        seeds: non-negative integers of any size; only their last 64 bits count.
        count: numbers for each seed.
    """
    golden = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        # Mixing the seed first keeps the numbers of neighbouring seeds from being those of neighbouring counters.
        words = np.array([seed & 0xFFFFFFFFFFFFFFFF for seed in seeds], np.uint64)
        state = _mix(words + golden)[:, None] + golden * np.arange(1, count + 1, dtype=np.uint64)
        return (_mix(state) >> np.uint64(11)) * 2.0**-53


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
