"""Trained primitives, ready to act. Neither MPI nor the environment that they were trained in is needed."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from mlsh_mpi.agents.shipped import shipped_primitives
from mlsh_mpi.algorithm.saved_primitives import Phi, load_phi
from mlsh_mpi.errors import UserError
from mlsh_mpi.networks.actor_critic import Array
from mlsh_mpi.sampling.interface import Interface


class Primitives:
    """K primitives with their observation filter.

    Args:
        phi: what training left.
        interface: the environment in which they act; by default the one they were trained in.

    Raises:
        UserError: they do not fit there, or phi is a policy that needs a memory.
    """

    def __init__(self, phi: Phi, interface: Interface | None = None) -> None:
        if phi.config.algorithm.algorithm == "rl2":
            raise UserError("an RL² policy acts by a memory of its last steps, which load() cannot give it: use adapt or replay")
        self.phi, self.interface = phi, interface or phi.interface()
        self.skills = phi.skills(self.interface)
        self.rng = np.random.default_rng()
        """Draws where :meth:`act` is given no generator."""

    def __len__(self) -> int:
        """K, their number."""
        return self.skills.primitives.n

    @property
    def action_space(self) -> gym.Space[Any]:
        """The space that :meth:`act` chooses from."""
        return self.interface.action_space

    @property
    def observation_size(self) -> int:
        """How many numbers :meth:`act` expects."""
        return self.interface.observation_size

    @property
    def columns(self) -> Array:
        """Indices of the observation that primitives see."""
        return self.skills.columns

    def act(
        self,
        observation: Array,
        primitive: int | Array = 0,
        *,
        deterministic: bool = False,
        rng: np.random.Generator | None = None,
    ) -> Array:
        """Actions for the environment.

        Args:
            observation: (observation,) of one environment, or (B, observation) of several, as the environment gives it.
            primitive: which primitive acts, from 0 to K - 1: one for all, or (B,).
            deterministic: the most likely action in place of a sampled one.
            rng: samples; by default :attr:`rng`.

        Returns:
            An action of :attr:`action_space`, or (B, ...).

        Raises:
            UserError: there is no such primitive, or the observation has another size.
        """
        raw = np.asarray(observation, np.float32)
        if raw.ndim not in (1, 2) or raw.shape[-1] != self.observation_size:
            raise UserError(
                f"an observation has {self.observation_size} numbers, one row for each environment, but its shape is {raw.shape}"
            )
        batch = np.atleast_2d(raw)
        rows = np.broadcast_to(np.asarray(primitive, np.int64), (len(batch),))
        if ((rows < 0) | (rows >= len(self))).any():
            raise UserError(f"primitives are numbered 0 to {len(self) - 1}, but primitive is {primitive}")
        seen = self.skills.primitive_view(self.skills.observe(batch))
        noise = self.skills.head.noise(rng or self.rng, (len(batch),))
        action = self.interface.actions(self.skills.acting(rows, deterministic=deterministic)(seen, noise))
        return action if raw.ndim == 2 else action[0]


def load(source: str | PathLike[str]) -> Primitives:
    """Trained primitives from a run folder, a phi.pt, or by the name of those that come with this project.

    Args:
        source: ``runs/ant-twowalk-seed0``, ``.../phi.pt``, or ``ant-twowalk``.

    Raises:
        UserError: there are none, or the file is something else.
    """
    path = Path(source)
    if not path.exists() and path.name == str(source) and not path.suffix:
        path = shipped_primitives(str(source))
    return Primitives(load_phi(path))
