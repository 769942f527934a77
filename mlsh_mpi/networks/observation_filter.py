"""The observation filter standardises all policies' observations with running moments, which are pooled over all ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of squares of each entry of the observation; additive over ranks and iterations. float64."""

    count: float
    total: Array
    squares: Array

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.squares + other.squares)

    def state_dict(self) -> dict[str, Tensor]:
        """Float64 tensors by name, for a file."""
        return {name: torch.as_tensor(np.asarray(value)).clone() for name, value in vars(self).items()}

    @classmethod
    def from_state_dict(cls, saved: Mapping[str, Tensor]) -> Moments:
        """The inverse of :meth:`state_dict`."""
        return cls(float(saved["count"]), saved["total"].numpy(), saved["squares"].numpy())

    @classmethod
    def from_batch(cls, observations: Array) -> Moments:
        """Moments of (..., observation)."""
        rows = observations.reshape(-1, observations.shape[-1])
        squares = np.einsum("ti,ti->i", rows, rows, dtype=np.float64, casting="same_kind")  # without a copy of all rows
        return cls(float(len(rows)), rows.sum(0, dtype=np.float64), squares)


class ObservationFilter:
    """Standardises observations with the moments of all previous iterations and clips them to +-`CLIP` (paper's code)."""

    CLIP = 5.0

    def __init__(self, size: int) -> None:
        self.moments = Moments(0.0, np.zeros(size), np.zeros(size))
        self._set_scale()

    def merge(self, seen: Moments) -> None:
        """Adds the moments of an iteration's observations, pooled over all ranks."""
        self.moments = self.moments + seen
        self._set_scale()

    def __call__(self, observation: Array) -> Array:
        """(..., size) -> (..., size) float32."""
        standardised: Array = np.subtract(observation, self.mean, dtype=np.float32)
        standardised *= self.scale
        np.minimum(standardised, self.CLIP, out=standardised)  # np.clip is slower than both together
        return np.maximum(standardised, -self.CLIP, out=standardised)

    def _set_scale(self) -> None:
        mean, scale = np.zeros_like(self.moments.total), np.ones_like(self.moments.total)
        if self.moments.count >= 2:
            mean = self.moments.total / self.moments.count
            scale = 1 / np.sqrt(np.maximum(self.moments.squares / self.moments.count - mean**2, 1e-4))
        self.mean, self.scale = mean.astype(np.float32), scale.astype(np.float32)
