"""What a trained policy computes, as numbers by name: the same for all files that act elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from mlsh_mpi.networks.actor_critic import Array, StackedActorCritic
from mlsh_mpi.networks.inference import PrimitivePolicies, layers_of
from mlsh_mpi.networks.observation_filter import ObservationFilter
from mlsh_mpi.sampling.interface import Interface

FORMAT = "mlsh_mpi policy"
PRIMITIVES, MASTER, HIERARCHY = "primitives", "master", "hierarchy"
"""Kinds of policies."""


@dataclass(frozen=True)
class Computation:
    """A policy that always takes its most likely action.

    An observation minus `offset`, as float32, is standardised to (x - mean) * scale and clipped to +-clip. Primitives see its
    `columns`. Networks are affine layers with tanh between them. The outputs of a master are logits of primitives. Those of a
    primitive are logits of discrete actions, or for continuous ones u of the action middle + half_width * u, which is rounded if
    actions are integers, and clipped to low and high.
    """

    arrays: dict[str, Array]
    """`offset`, `mean`, `scale`, `clip`, `columns`; for each layer I `primitives.I.weight` (K, in, out), `primitives.I.bias`
    (K, out), `master.I.weight` (in, out) and `master.I.bias` (out,); `middle`, `half_width`, `low`, `high`. Those of primitives,
    masters and continuous actions only where there are any."""
    description: dict[str, Any]
    """Kind, environment, and names, shapes, types and units of inputs and outputs."""

    @property
    def kind(self) -> str:
        """:data:`PRIMITIVES`, :data:`MASTER` or :data:`HIERARCHY`."""
        return str(self.description["kind"])

    @property
    def as_json(self) -> str:
        """The description as text."""
        return json.dumps(self.description, indent=1, allow_nan=False)


def computation(
    policies: PrimitivePolicies,
    interface: Interface,
    kind: str = PRIMITIVES,
    chosen: Sequence[int] | None = None,
    master: StackedActorCritic | None = None,
    about: dict[str, Any] | None = None,
) -> Computation:
    """What primitives, a master or a hierarchy compute.

    Args:
        policies: the primitives.
        interface: observations and actions of the environment.
        kind: :data:`PRIMITIVES`, :data:`MASTER` or :data:`HIERARCHY`.
        chosen: numbers of the primitives; None for all.
        master: a stack of one, for a kind that has one.
        about: more to describe, such as the task.
    """
    size, found = interface.observation_size, policies.observation_filter
    arrays: dict[str, Array] = {
        "offset": np.zeros(size) if interface.offset is None else interface.offset,
        "mean": np.zeros(size, np.float32) if found is None else found.mean,
        "scale": np.ones(size, np.float32) if found is None else found.scale,
        "clip": np.array(np.inf if found is None else ObservationFilter.CLIP, np.float32),
    }
    if kind != PRIMITIVES and master is not None:
        arrays |= _layers("master", [(weight[0], bias[0, 0]) for weight, bias in layers_of(master)])
    if kind != MASTER:
        rows = list(range(policies.primitives.n) if chosen is None else chosen)
        arrays["columns"] = np.asarray(policies.columns, np.int64)
        arrays |= _layers("primitives", [(weight[rows], bias[rows, 0]) for weight, bias in layers_of(policies.primitives)])
        arrays |= _of_actions(interface)

    description = {"format": FORMAT, "kind": kind, "environment": interface.name, **(about or {})}
    return Computation(arrays, description | _inputs_and_outputs(interface, kind, policies.primitives.n, chosen))


def _layers(name: str, layers: Sequence[tuple[Array, Array]]) -> dict[str, Array]:
    named: dict[str, Array] = {}
    for number, (weight, bias) in enumerate(layers):
        named |= {f"{name}.{number}.weight": weight.copy(), f"{name}.{number}.bias": bias.copy()}
    return named


def _of_actions(interface: Interface) -> dict[str, Array]:
    """The conversion of continuous actions; nothing if they are discrete."""
    space, actions = interface.action_space, interface.actions
    if not isinstance(space, gym.spaces.Box):
        return {}
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    if actions.unclipped:
        whole = np.issubdtype(space.dtype, np.integer)  # integers have bounds of their own
        least, most = (np.iinfo(space.dtype).min, np.iinfo(space.dtype).max) if whole else (-np.inf, np.inf)
        low, high = np.full_like(low, least), np.full_like(high, most)
    middle = np.zeros(space.shape) if actions.middle is None else actions.middle
    half_width = np.ones(space.shape) if actions.half_width is None else actions.half_width
    return {"middle": middle, "half_width": half_width, "low": low, "high": high}


def _inputs_and_outputs(interface: Interface, kind: str, count: int, chosen: Sequence[int] | None) -> dict[str, Any]:
    """What goes in and comes out, in the words of a data sheet."""
    space, size = interface.action_space, interface.observation_size
    observation = {
        "shape": ["batch", size],
        "type": "float32" if interface.offset is None else "float64",
        "meaning": "observation as the environment returns it, in its units",
    }
    number = {"shape": ["batch"], "type": "int64"}
    of_primitives = number | {"meaning": f"number of the primitive, 0 to {count - 1}"}
    steps = number | {"meaning": "steps since the start of the episode"}

    if isinstance(space, gym.spaces.Box):
        action = {
            "shape": ["batch", *space.shape],
            "type": str(space.dtype),
            "low": _bounds(space.low),
            "high": _bounds(space.high),
            "meaning": "action in the environment's units",
        }
    else:
        action = number | {"n": int(space.n), "meaning": "number of the action"}  # type: ignore[attr-defined]

    if kind == MASTER:
        return {"inputs": {"observation": observation}, "outputs": {"primitive": of_primitives}}
    if kind == HIERARCHY:
        state = {"steps": steps, "primitive": of_primitives}
        after = {f"next_{name}": described for name, described in state.items()}
        return {"inputs": {"observation": observation, **state}, "outputs": {"action": action, **after}}

    only = chosen is not None and len(chosen) == 1
    return {
        "inputs": {"observation": observation} | ({} if only else {"primitive": of_primitives}),
        "outputs": {"action": action},
    }


def _bounds(of: Array) -> Any:
    """Bounds of the action space as nested lists; None where there is none, because JSON has no infinity."""
    return np.where(np.isfinite(of), of.astype(object), np.array(None)).tolist()
