"""Trained primitives that act. They need neither MPI nor the environment in which they were trained."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from mlsh_mpi.config.methods import ALGORITHMS
from mlsh_mpi.errors import UserError
from mlsh_mpi.networks.actor_critic import Array
from mlsh_mpi.policies.computation import computation
from mlsh_mpi.policies.export import export
from mlsh_mpi.policies.phi_file import PhiCheckpoint, load_phi
from mlsh_mpi.policies.pretrained import named_source
from mlsh_mpi.sampling.interface import Interface


class Primitives:
    """K primitives with their observation filter.

    Args:
        phi: the result of a training run.
        interface: observations and actions of the environment in which they act; by default those of training.

    Raises:
        UserError: they do not fit the environment, or phi is a recurrent policy.
    """

    def __init__(self, phi: PhiCheckpoint, interface: Interface | None = None) -> None:
        if ALGORITHMS[phi.config.algorithm.algorithm].recurrent:
            raise UserError("this policy needs a memory of its last steps, which load() cannot give it: use adapt or replay")
        self.phi, self.interface = phi, interface or phi.interface()
        self.policies = phi.policies(self.interface)
        self.rng = np.random.default_rng()
        """The generator with which :meth:`act` samples by default."""

    def __len__(self) -> int:
        """K, the number of primitives."""
        return self.policies.primitives.n

    @property
    def action_space(self) -> gym.Space[Any]:
        """The space of the actions that :meth:`act` returns."""
        return self.interface.action_space

    @property
    def observation_size(self) -> int:
        """Length of the observations that :meth:`act` takes."""
        return self.interface.observation_size

    @property
    def columns(self) -> Array:
        """Indices of the part of an observation that primitives see."""
        return self.policies.columns

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
            observation: (observation,) of one environment, or (B, observation) of several, as the environment returns it; from a
                Dict and the like as ``gymnasium.spaces.flatten`` makes it.
            primitive: the primitive that acts, from 0 to K - 1: one for all environments, or (B,).
            deterministic: whether to take the most likely action instead of sampling; primitives of a configuration with
                `deterministic_primitives` always do.
            rng: the generator to sample with; by default :attr:`rng`.

        Returns:
            An action of :attr:`action_space`, or (B, ...) actions.

        Raises:
            UserError: there is no such primitive, or the observation has another size.
        """
        raw = np.asarray(observation)
        if raw.ndim not in (1, 2) or raw.shape[-1] != self.observation_size:
            raise UserError(
                f"an observation has {self.observation_size} numbers, one row for each environment, but its shape is {raw.shape}"
            )
        batch = np.atleast_2d(self.interface.as_float32(raw))
        rows = np.broadcast_to(np.asarray(primitive, np.int64), (len(batch),))
        if ((rows < 0) | (rows >= len(self))).any():
            raise UserError(f"primitives are numbered 0 to {len(self) - 1}, but primitive is {primitive}")
        seen = self.policies.primitive_view(self.policies.observe(batch))
        noise = self.policies.head.noise(rng or self.rng, (len(batch),))
        action = self.interface.actions(self.policies.acting(rows, deterministic=deterministic)(seen, noise))
        return action if raw.ndim == 2 else action[0]

    def export(self, path: str | PathLike[str], primitive: int | None = None) -> None:
        """Writes the primitives for use without this package: ONNX, TorchScript or NumPy by the suffix .onnx, .ts or .npz.

        The exported policy takes the most likely action, in the environment's units, for observations as the environment returns
        them. See :func:`mlsh_mpi.policies.export.export`.

        Args:
            path: the file to write.
            primitive: only this one, without its number as an input; None for all.

        Raises:
            UserError: there is no such primitive, the suffix is another, or the file cannot be written; an earlier one stays as
                it was.
        """
        if primitive is not None and not 0 <= primitive < len(self):
            raise UserError(f"primitives are numbered 0 to {len(self) - 1}, but primitive is {primitive}")
        chosen = None if primitive is None else [primitive]
        export(computation(self.policies, self.interface, chosen=chosen), Path(path))


def load(source: str | PathLike[str]) -> Primitives:
    """Loads trained primitives from a run folder or a phi.pt, or those that come with this project by their name.

    Args:
        source: for example ``runs/ant-twowalk-seed0``, which may be named without ``runs/``, ``.../phi.pt``, or ``ant-twowalk``.

    Raises:
        UserError: there is no such source, or the file is something else.
    """
    return Primitives(load_phi(source_path(source)))


def source_path(source: str | PathLike[str]) -> Path:
    """The run folder or file that :func:`load` takes for a source.

    Raises:
        UserError: it is the name of neither a run nor primitives that come with this project.
    """
    path = Path(source)
    return named_source(str(source)) if not path.exists() and path.name == str(source) and not path.suffix else path
