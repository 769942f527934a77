"""The observations and actions of an environment, without the environment itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from mlsh_mpi.sampling.actions import Actions

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Interface:
    """Observations and actions of one environment."""

    name: str
    """The environment's id or class."""
    observation_size: int
    action_space: gym.Space[Any]
    primitive_columns: Array
    """Indices of the part of an observation that primitives see."""
    actions: Actions
    """The conversion from policies' actions to the environment's."""

    def as_dict(self) -> dict[str, Any]:
        """The interface as plain values, for a file."""
        space = self.action_space
        plain: dict[str, Any] = {"dtype": str(space.dtype)}
        if isinstance(space, gym.spaces.Box):
            plain |= {"low": space.low.tolist(), "high": space.high.tolist()}
        else:
            plain |= {"n": int(space.n), "start": int(space.start)}  # type: ignore[attr-defined]
        return {
            "name": self.name,
            "observation_size": self.observation_size,
            "action_space": plain,
            "primitive_columns": self.primitive_columns.tolist(),
            "unclipped_actions": self.actions.unclipped,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Interface:
        """The inverse of :meth:`as_dict`."""
        plain = values["action_space"]
        if "low" in plain:
            low, high = (np.array(plain[name], plain["dtype"]) for name in ("low", "high"))
            space: gym.Space[Any] = gym.spaces.Box(low, high, dtype=np.dtype(plain["dtype"]).type)
        else:
            space = gym.spaces.Discrete(plain["n"], start=plain["start"])
        columns = np.array(values["primitive_columns"], np.int64)
        return cls(values["name"], values["observation_size"], space, columns, Actions.of(space, values["unclipped_actions"]))
