"""phi: the primitives that all tasks share, and the file that keeps them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mlsh_mpi.acting import Act, actor
from mlsh_mpi.actions import Actions
from mlsh_mpi.config import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.filters import Moments, ObservationFilter
from mlsh_mpi.heads import Head, head_for
from mlsh_mpi.options import from_dict
from mlsh_mpi.policies import Array, Network, Stack
from mlsh_mpi.task_family import Spec

PHI = "phi.pt"
PHI_FORMAT = 2
"""In format 1 actions within bounds were drawn in the environment's own units (see :class:`mlsh_mpi.actions.Actions`)."""


@dataclass(frozen=True)
class Skills:
    """What all tasks share: the primitives, and how everyone observes."""

    primitives: Stack
    columns: Array
    """Indices of the observation that primitives see; masters see all of it."""
    observation_filter: ObservationFilter | None

    @property
    def head(self) -> Head:
        """What the primitives' outputs mean."""
        return self.primitives.network.head

    def acting(self, primitive: Array) -> Act:
        """How lanes act while these primitives (L,) run in them."""
        return actor(self.primitives, primitive)

    def observe(self, raw: Array) -> Array:
        """(L, observation) as policies see it."""
        return raw if self.observation_filter is None else self.observation_filter(raw)

    def shown(self, observation: Array) -> Array:
        """(..., observation) -> (..., what primitives see of it); a view where that is one stretch of it."""
        return observation[..., self._selection]

    @cached_property
    def _selection(self) -> slice | Array:
        first, last = int(self.columns[0]), int(self.columns[-1])
        is_stretch = np.array_equal(self.columns, np.arange(first, last + 1))
        return slice(first, last + 1) if is_stretch else self.columns


@dataclass(frozen=True)
class Phi:
    """What training leaves: read from a file, and not yet told in which environment it is to act."""

    config: Config
    environment: str
    parameters: Mapping[str, Tensor]
    """By name; of K primitives, each (K, ...)."""
    filter_moments: Mapping[str, Tensor] | None
    format: int = PHI_FORMAT

    def skills(self, spec: Spec) -> Skills:
        """The primitives in an environment, perhaps another than the one they were trained in, frozen filter included.

        Raises:
            UserError: its observations or actions are not those that the primitives know.
        """
        head, weights = head_for(spec.action_space), self.parameters
        seen, outputs = weights["policy.0.weight"].shape[1], weights[f"policy.{len(self.config.network.hidden)}.weight"].shape[2]
        filtered = len(self.filter_moments["total"]) if self.filter_moments else 0
        known = (seen, filtered, outputs, "policy.free" in weights)
        offered = (len(spec.primitive_columns), filtered and spec.observation_size, head.outputs, head.free > 0)
        if known != offered:
            raise UserError(
                f"these primitives do not fit {spec.name}: trained in {self.environment} they {_layout(*known)}, but there they "
                f"would {_layout(*offered)}; take an environment of the same body, or train there"
            )
        stack = Stack(weights["policy.0.bias"].shape[0], Network(seen, head, self.config.network.hidden))
        self.fill(stack, spec.actions)
        return Skills(stack, spec.primitive_columns, self.observation_filter())

    def fill(self, stack: Stack, actions: Actions) -> None:
        """Gives a stack of the same shape the parameters, for an environment that takes such actions."""
        parameters = dict(zip(stack.network.shapes, stack.parameters, strict=True))
        for name, parameter in parameters.items():
            parameter.copy_(self.parameters[name])
        if self.format < 2 and actions.middle is not None and actions.half_width is not None:
            middle, half_width = (torch.from_numpy(values).float() for values in (actions.middle, actions.half_width))
            last = f"policy.{len(stack.network.hidden)}"
            parameters[f"{last}.weight"] /= half_width
            parameters[f"{last}.bias"].sub_(middle).div_(half_width)
            parameters["policy.free"] -= half_width.log()

    def observation_filter(self) -> ObservationFilter | None:
        """As training left it, if it had one."""
        if self.filter_moments is None:
            return None
        found = ObservationFilter(len(self.filter_moments["total"]))
        found.merge(Moments.from_tensors(self.filter_moments))
        return found


def save_phi(path: Path, skills: Skills, config: Config, spec: Spec) -> None:
    """Keeps phi in a form that ``torch.load(path, weights_only=True)`` reads: tensors by layer, plain values."""
    observation_filter = skills.observation_filter
    torch.save(
        {
            "format": PHI_FORMAT,
            "environment": spec.name,
            "primitive_columns": skills.columns.tolist(),
            "config": dataclasses.asdict(config),
            "primitives": skills.primitives.named_parameters(),
            "observation_filter": observation_filter and observation_filter.moments.tensors(),
        },
        path,
    )


def load_phi(path: Path) -> Phi:
    """phi from its file, or from the run folder that holds it.

    Raises:
        UserError: there is none, or the file is something else.
    """
    if path.is_dir():
        path = path / PHI
        if not path.exists():
            raise UserError(f"{path.parent} holds no {PHI}, which is written when training is over: start that again to go on")
    try:
        saved = torch.load(path, weights_only=True)
        if saved["format"] > PHI_FORMAT:
            raise UserError(f"{path} has format {saved['format']}, and this version reads up to {PHI_FORMAT}: update it")
        config = from_dict(saved["config"], str(path))
        return Phi(config, saved["environment"], saved["primitives"], saved["observation_filter"], saved["format"])
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): name a run folder or its {PHI}") from None
    except UserError:
        raise
    except Exception:  # bytes that are no phi can raise anything
        raise UserError(f"{path} is no {PHI} of mlsh_mpi: name a run folder or its {PHI}") from None


def _layout(seen: int, filtered: int, outputs: int, continuous: bool) -> str:
    of_all = f" of the {filtered} that are filtered" if filtered else ""
    return f"see {seen} numbers{of_all} and {f'give {outputs} continuous' if continuous else f'choose one of {outputs}'} actions"
