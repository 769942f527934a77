"""Inference while stepping lanes: the cheapest forward passes for masters and primitives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from mlsh_mpi.networks.actor_critic import Array, StackedActorCritic, by_row
from mlsh_mpi.networks.distributions import Head
from mlsh_mpi.networks.observation_filter import ObservationFilter

Act = Callable[[Array, Array], Array]
"""(L, part of the observation that primitives see), (L, ...) noise -> (L, ...) actions."""
FEW_LANES = 24
"""Up to this many lanes NumPy is faster, because the overhead of a torch call is larger than its arithmetic. For an ant's
primitives the limit is 48 lanes (18 lanes take 11 us, or 23 with torch), for a humanoid's, with 348 inputs, 20 to 24."""


def outputs_of(stack: StackedActorCritic, seen: Array) -> Array:
    """Outputs of the policies of a stack: (n, B, observation) -> (n, B, outputs)."""
    if seen.shape[0] * seen.shape[1] <= FEW_LANES:
        return _forward(layers_of(stack), seen)
    with torch.inference_mode():
        return stack.policy(torch.from_numpy(seen)).numpy()


def actor(primitives: StackedActorCritic, primitive: Array, *, deterministic: bool = False) -> Act:
    """A function for the actions of the lanes' active primitives, valid as long as these stay the same and do not learn.

    Args:
        primitives: the stack of primitives.
        primitive: (L,) the active primitive of each lane.
        deterministic: whether to take the most likely actions instead of sampling.
    """
    head = primitives.network.head
    log_std = primitives.network.log_std(primitives.parameters).numpy()[primitive]
    outputs = _lane_by_lane(primitives, primitive) if len(primitive) <= FEW_LANES else _row_by_row(primitives, primitive)
    if deterministic:
        return lambda seen, _: head.mode(outputs(seen))
    return lambda seen, noise: head.sample(outputs(seen), log_std, noise)


def _row_by_row(primitives: StackedActorCritic, primitive: Array) -> Callable[[Array], Array]:
    """Policy outputs with torch, for each primitive in all its lanes at once."""
    index, place = by_row(primitive, primitives.n)
    return lambda seen: outputs_of(primitives, seen[index]).reshape(index.size, -1)[place]


def _lane_by_lane(primitives: StackedActorCritic, primitive: Array) -> Callable[[Array], Array]:
    """Policy outputs with NumPy, with a copy of its primitive's weights for each lane."""
    layers = [(weight[primitive], bias[primitive]) for weight, bias in layers_of(primitives)]
    return lambda seen: _forward(layers, seen[:, None])[:, 0]


def layers_of(stack: StackedActorCritic) -> list[tuple[Array, Array]]:
    """Weights (n, in, out) and biases (n, 1, out) of the policies, as views."""
    parameters = [parameter.numpy() for parameter in stack.parameters[: stack.network.layer_parameters]]
    return [(weight, bias[:, None]) for weight, bias in zip(parameters[::2], parameters[1::2], strict=True)]


def _forward(layers: Sequence[tuple[Array, Array]], x: Array) -> Array:
    """(n, B, in) -> (n, B, out)."""
    for number, (weight, bias) in enumerate(layers):
        if number:
            np.tanh(x, out=x)
        x = np.matmul(x, weight)
        x += bias
    return x


@dataclass(frozen=True)
class PrimitivePolicies:
    """The policies that all tasks share: the primitives, with the observation filter."""

    primitives: StackedActorCritic
    columns: Array
    """Indices of the part of an observation that primitives see; masters see all of it."""
    observation_filter: ObservationFilter | None
    deterministic: bool = field(default=False, kw_only=True)
    """Whether the primitives always take their most likely action."""

    @property
    def head(self) -> Head:
        """The primitives' action distribution."""
        return self.primitives.network.head

    def acting(self, primitive: Array, *, deterministic: bool = False) -> Act:
        """A function for the lanes' actions while these primitives, (L,), are active in them."""
        return actor(self.primitives, primitive, deterministic=deterministic or self.deterministic)

    def observe(self, raw: Array) -> Array:
        """Raw observations (L, observation) -> those that policies see: filtered, if there is a filter."""
        return raw if self.observation_filter is None else self.observation_filter(raw)

    def primitive_view(self, observation: Array) -> Array:
        """(..., observation) -> (..., the part that primitives see); a view if that part is contiguous."""
        return observation[..., self._selection]

    @cached_property
    def _selection(self) -> slice | Array:
        first, last = int(self.columns[0]), int(self.columns[-1])
        contiguous = np.array_equal(self.columns, np.arange(first, last + 1))
        return slice(first, last + 1) if contiguous else self.columns
