"""A master that has learned one task, with its primitives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mlsh_mpi import files
from mlsh_mpi.errors import UserError
from mlsh_mpi.networks.actor_critic import Array, Network, StackedActorCritic
from mlsh_mpi.networks.distributions import Exploring
from mlsh_mpi.networks.inference import outputs_of
from mlsh_mpi.policies.computation import HIERARCHY, MASTER, computation
from mlsh_mpi.policies.export import export
from mlsh_mpi.policies.phi_file import PhiCheckpoint, load_phi, phi_as_dict, phi_from_dict
from mlsh_mpi.policies.primitives import Primitives
from mlsh_mpi.sampling.interface import Interface

FORMAT = "mlsh_mpi hierarchy"
CONTENTS = {"macro_length": int, "task": str, "interface": dict, "phi": dict, "master": torch.Tensor}
"""The contents of a hierarchy's file, with their types."""


class Hierarchy:
    """A master that chooses a primitive every N steps, and the primitives; acts in one environment.

    Args:
        primitives: the frozen primitives.
        master: (P,) parameters of the master.
        macro_length: N, steps between decisions.
        task: label of the task that the master has learned.

    Raises:
        UserError: the master does not fit the primitives.
    """

    def __init__(self, primitives: Primitives, master: torch.Tensor, macro_length: int, task: str) -> None:
        self.primitives, self.macro_length, self.task = primitives, macro_length, task
        head = Exploring(len(primitives), 0.0)
        network = Network(primitives.observation_size, head, primitives.phi.config.network.hidden)
        needed = sum(math.prod(shape) for shape in network.shapes.values())
        if master.shape != (needed,) or not torch.isfinite(master).all():
            raise UserError(
                f"this master does not fit its primitives: it must be {needed} finite numbers, but is {tuple(master.shape)}"
            )
        self.master = StackedActorCritic(1, network)
        self.master.flat.copy_(master)
        self.primitive = 0
        """The active primitive."""
        self._steps = 0

    def reset(self) -> None:
        """Starts an episode: the master decides at its first step."""
        self._steps = 0

    def act(self, observation: Array, *, deterministic: bool = False, rng: np.random.Generator | None = None) -> Array:
        """The action for one environment. Call :meth:`reset` before each episode.

        Args:
            observation: (observation,) as the environment returns it.
            deterministic: whether master and primitive take their most likely choices instead of sampling.
            rng: the generator to sample with; by default that of the primitives.
        """
        if self._steps % self.macro_length == 0:
            self.primitive = self.choose(observation, deterministic=deterministic, rng=rng)
        self._steps += 1
        return self.primitives.act(observation, self.primitive, deterministic=deterministic, rng=rng)

    def choose(self, observation: Array, *, deterministic: bool = False, rng: np.random.Generator | None = None) -> int:
        """The primitive that the master chooses for the next macro-action."""
        seen = self.primitives.policies.observe(self.primitives.interface.as_float32(observation)[None])
        logits = outputs_of(self.master, seen[None])[0, 0]
        if deterministic:
            return int(logits.argmax())
        weights = np.exp(logits - logits.max(), dtype=np.float64)
        return int((rng or self.primitives.rng).choice(len(weights), p=weights / weights.sum()))

    def save(self, path: str | PathLike[str]) -> None:
        """Writes a file for :meth:`load`, which ``torch.load(path, weights_only=True)`` can also read.

        Raises:
            OSError: it cannot be written; an earlier file of that name stays as it was.
        """
        phi, interface = self.primitives.phi, self.primitives.interface
        about = {"format": FORMAT, "macro_length": self.macro_length, "task": self.task, "interface": interface.as_dict()}
        files.save_tensors(Path(path), about | {"phi": phi_as_dict(phi), "master": self.master.flat[0].clone()})

    def export(self, path: str | PathLike[str], *, master_only: bool = False) -> None:
        """Writes the hierarchy for use without this package: see :meth:`Primitives.export`.

        Its clock is explicit: further inputs are `steps` since the start of the episode and the active `primitive`, both 0 at
        first, and outputs are what to give at the next step, `next_steps` and `next_primitive`. In an .npz the policy keeps both.

        Args:
            path: the file to write, whose suffix .onnx, .ts or .npz says in which format.
            master_only: write the master alone, which maps observations to numbers of primitives.

        Raises:
            UserError: the suffix is another, or the file cannot be written; an earlier one stays as it was.
        """
        kind, about = MASTER if master_only else HIERARCHY, {"task": self.task, "macro_length": self.macro_length}
        of = self.primitives
        export(computation(of.policies, of.interface, kind, master=self.master, about=about), Path(path))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Hierarchy:
        """Loads a hierarchy from its file.

        Raises:
            UserError: there is no such file, or it is something else.
        """
        saved = read_hierarchy(Path(path))
        if saved is None:
            raise UserError(f"{path} is not a hierarchy: name a file that Hierarchy.save or adapt has written")
        return cls.from_contents(saved, str(path))

    @classmethod
    def from_contents(cls, saved: Mapping[str, Any], source: str) -> Hierarchy:
        """The hierarchy of a file that :func:`read_hierarchy` has read.

        Args:
            saved: the contents.
            source: names the file in messages.

        Raises:
            UserError: its primitives are damaged.
        """
        primitives = Primitives(phi_from_dict(saved["phi"], source), Interface.from_dict(saved["interface"]))
        return cls(primitives, saved["master"], saved["macro_length"], saved["task"])


def phi_in(path: Path) -> PhiCheckpoint:
    """The primitives in a run folder, a phi.pt or a hierarchy's file.

    Raises:
        UserError: there are none.
    """
    saved = read_hierarchy(path) if path.is_file() else None
    return load_phi(path) if saved is None else phi_from_dict(saved["phi"], str(path))


def read_hierarchy(path: Path) -> dict[str, Any] | None:
    """The contents of a hierarchy's file; None if the file is something else.

    Raises:
        UserError: it cannot be read, or something is missing in it.
    """
    try:
        saved = files.load_tensors(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except Exception:  # a file of another kind can raise anything
        return None
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        return None
    wrong = [name for name, kind in CONTENTS.items() if not isinstance(saved.get(name), kind)]
    if wrong or saved["macro_length"] < 1:
        raise UserError(
            f"{path} is damaged: its {', '.join(wrong) or 'macro_length'} cannot be used; take another copy of the file"
        )
    return saved
