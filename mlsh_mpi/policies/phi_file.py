"""Files of phi, the primitives that all tasks share: saving, loading, and use in an environment."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mlsh_mpi import files
from mlsh_mpi.config.overrides import from_dict
from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.networks.actor_critic import Array, Network, StackedActorCritic
from mlsh_mpi.networks.distributions import head_for
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.networks.observation_filter import Moments, ObservationFilter
from mlsh_mpi.sampling.actions import Actions
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.interface import Interface
from mlsh_mpi.sampling.task_family import TaskFamily

PHI, BEST = "phi.pt", "best.pt"
PHI_FORMAT = 3
"""Formats 1 and 2 call log_std "free"; in format 1 bounded actions are in the environment's own units (see
:class:`~mlsh_mpi.sampling.actions.Actions`)."""


@dataclass(frozen=True)
class PhiCheckpoint:
    """The result of a training run, as read from a file and not yet fitted to an environment."""

    config: Config
    environment: str
    parameters: Mapping[str, Tensor]
    """Parameters of the K primitives by name, each (K, ...)."""
    filter_moments: Mapping[str, Tensor] | None
    saved_interface: Mapping[str, Any] | None = None
    """Observations and actions of the training environment; None in formats 1 and 2."""
    format: int = PHI_FORMAT

    def interface(self) -> Interface:
        """Observations and actions of the training environment.

        Raises:
            UserError: the file of an earlier version does not hold them, and its environment is not registered.
        """
        if self.saved_interface is not None:
            return Interface.from_dict(self.saved_interface)
        return TaskFamily.from_maker(EnvironmentMaker.from_config(self.config.environment))

    @property
    def offset(self) -> Array | None:
        """The offset subtracted from observations in training: see :attr:`Interface.offset`."""
        return None if self.saved_interface is None else Interface.from_dict(self.saved_interface).offset

    def policies(self, interface: Interface) -> PrimitivePolicies:
        """The primitives with their frozen filter, for an environment that may differ from the training environment.

        Raises:
            UserError: the environment's observations or actions do not match those of the primitives.
        """
        head, weights = head_for(interface.action_space), self.parameters

        try:
            first, last = (weights[f"policy.{layer}.weight"] for layer in (0, len(self.config.network.hidden)))
            seen, outputs = first.shape[1], last.shape[2]
            filtered = len(self.filter_moments["total"]) if self.filter_moments else 0
        except Exception as error:  # contents of another kind can raise anything
            raise UserError(f"these primitives are damaged ({error!r}): take another copy of the file") from None

        known = (seen, filtered, outputs, "policy.log_std" in weights)
        offered = (len(interface.primitive_columns), filtered and interface.observation_size, head.outputs, head.log_std_size > 0)
        if known != offered:
            raise UserError(
                f"these primitives do not fit {interface.name}: trained in {self.environment} they {_layout(*known)}, but there "
                f"they would {_layout(*offered)}; use an environment with the same body, or train there"
            )

        # Value networks are not needed to act: they may be missing, or see more than policies do.
        critic = weights.get("value.0.weight")
        critic_size = 0 if critic is None or critic.dim() < 3 else max(0, critic.shape[1] - seen)
        network = Network(seen, head, self.config.network.hidden, critic_size=critic_size)
        self.check_shapes(len(first), network)

        stack = StackedActorCritic(len(first), network)
        self.fill(stack, interface.actions)
        deterministic = self.config.hierarchy.deterministic_primitives
        return PrimitivePolicies(stack, interface.primitive_columns, self.observation_filter(), deterministic=deterministic)

    def check_shapes(self, count: int, network: Network) -> None:
        """Refuses parameters whose shapes differ from the networks', before any memory is allocated. Value networks may be
        missing: only training needs them.

        Raises:
            UserError: the message names the first of them.
        """
        for name, shape in network.shapes.items():
            expected, values = (count, *shape), self.parameters.get(name)
            if values is None and name.startswith("value."):
                continue
            if values is None or values.shape != expected:
                instead = "missing" if values is None else f"of shape {tuple(values.shape)}"
                raise UserError(
                    f"these primitives are damaged: {name} must be of shape {expected}, but is {instead}; take another copy of "
                    "the file"
                )

    def tested_by(self, config: Config) -> PhiCheckpoint:
        """The same primitives, which sample their actions or not according to the configuration of a test."""
        hierarchy = replace(self.config.hierarchy, deterministic_primitives=config.hierarchy.deterministic_primitives)
        return replace(self, config=replace(self.config, hierarchy=hierarchy))

    def fill(self, stack: StackedActorCritic, actions: Actions) -> None:
        """Copies the parameters into a stack of the same shape, for an environment with these actions. What is missing stays."""
        parameters = dict(zip(stack.network.shapes, stack.parameters, strict=True))
        for name, parameter in parameters.items():
            if name in self.parameters:
                parameter.copy_(self.parameters[name])
        if self.format < 2 and actions.middle is not None and actions.half_width is not None:
            middle, half_width = (torch.from_numpy(values).float() for values in (actions.middle, actions.half_width))
            last = f"policy.{len(stack.network.hidden)}"
            parameters[f"{last}.weight"] /= half_width
            parameters[f"{last}.bias"].sub_(middle).div_(half_width)
            parameters["policy.log_std"] -= half_width.log()

    def observation_filter(self) -> ObservationFilter | None:
        """The filter as training left it; None if it had none."""
        if self.filter_moments is None:
            return None
        try:
            observation_filter = ObservationFilter(len(self.filter_moments["total"]))
            observation_filter.merge(Moments.from_state_dict(self.filter_moments))
        except Exception as error:  # contents of another kind can raise anything
            raise UserError(f"these primitives are damaged: their observation filter cannot be used ({error!r})") from None
        return observation_filter


def save_phi(path: Path, policies: PrimitivePolicies, config: Config, interface: Interface) -> None:
    """Saves phi in a form that ``torch.load(path, weights_only=True)`` reads: tensors by name, and plain values.

    Raises:
        OSError: the file cannot be written; an earlier one stays as it was.
    """
    files.save_tensors(path, as_saved(policies, config, interface))


def as_saved(policies: PrimitivePolicies, config: Config, interface: Interface) -> dict[str, Any]:
    """The contents of a file of the current primitives: copies of their tensors, and plain values."""
    moments = policies.observation_filter.moments.state_dict() if policies.observation_filter else None
    parameters = {name: values.clone() for name, values in policies.primitives.named_parameters().items()}
    return phi_as_dict(PhiCheckpoint(config, interface.name, parameters, moments, interface.as_dict()))


def load_phi(path: Path) -> PhiCheckpoint:
    """Loads phi from its file, or from the run folder that holds it.

    Raises:
        UserError: there is no such file, or it is something else.
    """
    if path.is_dir():
        path = path / PHI
        if not path.exists():
            raise UserError(
                f"{path.parent} holds no {PHI}, which is written when training is over: start it again to continue it"
            )
    try:
        saved = files.load_tensors(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): name a run folder or its {PHI}") from None
    except Exception:  # a file of another kind can raise anything
        raise _is_no_phi(str(path)) from None
    return phi_from_dict(saved, str(path))


def phi_as_dict(phi: PhiCheckpoint) -> dict[str, Any]:
    """The checkpoint as tensors and plain values, for a file."""
    return {
        "format": phi.format,
        "environment": phi.environment,
        "interface": phi.saved_interface,
        "config": dataclasses.asdict(phi.config),
        "primitives": dict(phi.parameters),
        "observation_filter": phi.filter_moments,
    }


def phi_from_dict(saved: Mapping[str, Any], source: str) -> PhiCheckpoint:
    """The inverse of :func:`phi_as_dict`; `source` is named in errors.

    Raises:
        UserError: it was written by a newer version, or is something else.
    """
    try:
        if saved["format"] > PHI_FORMAT:
            raise UserError(f"{source} has format {saved['format']}, and this version reads up to {PHI_FORMAT}: update it")
        parameters = {name.replace("policy.free", "policy.log_std"): values for name, values in saved["primitives"].items()}
        config = from_dict(saved["config"], source)
        config = replace(config, run=replace(config.run, folder=None))  # which may be somebody else's
        interface = saved.get("interface")
        of_all = {len(values) for values in parameters.values()}  # K
        if of_all != {config.hierarchy.primitives} or not all(torch.isfinite(values).all() for values in parameters.values()):
            raise _is_no_phi(source)
        return PhiCheckpoint(
            config, str(saved["environment"]), parameters, saved["observation_filter"], interface, saved["format"]
        )
    except UserError:
        raise
    except Exception:  # contents of another kind can raise anything
        raise _is_no_phi(source) from None


def _is_no_phi(source: str) -> UserError:
    return UserError(f"{source} is not a {PHI} of mlsh_mpi: name a run folder or its {PHI}")


def _layout(seen: int, filtered: int, outputs: int, continuous: bool) -> str:
    of_all = f" of the {filtered} filtered ones" if filtered else ""
    return f"see {seen} numbers{of_all} and {f'give {outputs} continuous' if continuous else f'choose one of {outputs}'} actions"
