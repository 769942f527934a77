"""The observations and actions of an environment, without the environment itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from mlsh_mpi.errors import UserError
from mlsh_mpi.sampling.actions import Actions

Array = np.ndarray[Any, np.dtype[Any]]
NUMBERS = ("float16", "float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
"""Types of a Box's numbers."""
LARGEST = 10_000_000
"""Largest size of an observation that a file may specify."""


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
    offset: Array | None = field(default=None, kw_only=True)
    """(observation,) subtracted from observations before the conversion to float32, in which large values could not be told
    apart; None if they are small enough."""

    def as_float32(self, observation: Any) -> Array:
        """(..., observation) from the environment -> float32 for policies and filters, with the offset subtracted."""
        array = np.asarray(observation)
        return (array if self.offset is None else array - self.offset).astype(np.float32, copy=False)

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
            **({} if self.offset is None else {"offset": self.offset.tolist()}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Interface:
        """The inverse of :meth:`as_dict`.

        Raises:
            UserError: the values, from a file, do not describe observations and actions.
        """
        try:
            space = _action_space(values["action_space"])
            size, columns = int(values["observation_size"]), np.array(values["primitive_columns"], np.int64)
            if not (0 < size <= LARGEST and columns.ndim == 1 and len(columns) and 0 <= columns.min() <= columns.max() < size):
                raise ValueError(f"{size} numbers, of which primitives see {columns.tolist()}")
            actions, offset = Actions.from_space(space, bool(values["unclipped_actions"])), values.get("offset")
            if offset is not None:
                offset = np.array(offset, np.float64).reshape(size)
                if not np.isfinite(offset).all():
                    raise ValueError("an offset that is not finite")
            return cls(str(values["name"]), size, space, columns, actions, offset=offset)
        except Exception as error:  # contents of another kind can raise anything
            raise UserError(f"the file is damaged: its observations and actions cannot be used ({error!r})") from None


def _action_space(plain: Mapping[str, Any]) -> gym.Space[Any]:
    """An action space from its plain values."""
    if "low" not in plain:
        return gym.spaces.Discrete(plain["n"], start=plain["start"])
    if plain["dtype"] not in NUMBERS:
        raise ValueError("actions of an unknown type")
    kind = np.dtype(plain["dtype"])
    low, high = (np.array(plain[name], kind) for name in ("low", "high"))
    return gym.spaces.Box(low, high, dtype=kind.type)
