"""Pure functions: statistics over several seeds (Agarwal et al. 2021, Deep RL at the Edge of the Statistical Precipice)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlsh_mpi.sampling import seeding

Array = np.ndarray[Any, np.dtype[Any]]
DRAWS = 2000
BANDED = 3
"""Smallest number of seeds for a band: with fewer, each is shown by itself."""


def interquartile_mean(values: Array) -> Array:
    """Mean of the middle half along the last axis: of n values, floor(n / 4) are left out at either end."""
    cut = values.shape[-1] // 4
    middle = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut]
    return np.asarray(middle.mean(-1))


def interquartile_band(values: Array, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Interquartile mean over runs and tasks with its 95 % band, by the percentiles of a stratified bootstrap: runs are drawn
    with replacement, separately for each task.

    Args:
        values: (tasks, runs, X) values at X points.
        rng: draws the runs.

    Returns:
        The mean and both ends of the band, (X,) each.
    """
    tasks, runs, points = values.shape

    def together(some: Array) -> Array:
        return interquartile_mean(some.reshape(tasks * runs, points).T)

    task = np.arange(tasks)[:, None]
    drawn = np.stack([together(values[task, rng.integers(runs, size=(tasks, runs))]) for _ in range(DRAWS)])
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    return together(values), low, high


def nested_band(runs: Sequence[Array]) -> tuple[float, float]:
    """95 % band of the mean of the runs' means, by the percentiles of a bootstrap of both levels: runs are drawn with
    replacement, and then, with replacement too, the values of each run that was drawn. With one run it is that of its values.

    Args:
        runs: the values of each run, such as the returns of a test's learners; runs may have different numbers of them.
    """
    rng, means = seeding.stream(0, "test"), np.zeros(DRAWS)
    for drawn in (rng.integers(len(runs), size=DRAWS) for _ in runs):
        of_all = np.stack([values[rng.integers(len(values), size=(DRAWS, len(values)))].mean(1) for values in runs])
        means += of_all[drawn, np.arange(DRAWS)] / len(runs)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def band(values: Array) -> tuple[float, float]:
    """95 % band of the mean of independent values (M,), by the bootstrap's percentiles; for M = 1 both ends are the value."""
    draws = seeding.stream(0, "test").integers(len(values), size=(2000, len(values)))
    low, high = np.percentile(values[draws].mean(1), (2.5, 97.5))
    return float(low), float(high)
