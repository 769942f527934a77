"""An oracle for gradients: proximal policy optimisation as the textbooks write it, one actor-critic at a time, in float64.

It shares nothing with the trainer but the names and shapes of saved tensors: weights (in, out), biases, tanh in between.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, Normal

Policy = Callable[[Tensor, Tensor | None], Distribution]
"""Network outputs and free parameters -> distribution of actions."""


def categorical(outputs: Tensor, _: Tensor | None) -> Distribution:
    """One of as many choices as there are outputs."""
    return Categorical(logits=outputs)


def gaussian(outputs: Tensor, log_std: Tensor | None) -> Distribution:
    """Independent normal entries; their deviations do not depend on the observation."""
    return Independent(Normal(outputs, log_std.exp().expand_as(outputs)), 1)


def mixture(exploration: float) -> Policy:
    """The network's own choice, or with some probability a uniform one."""

    def distribution(outputs: Tensor, _: Tensor | None) -> Distribution:
        return Categorical(probs=(1 - exploration) * torch.softmax(outputs, -1) + exploration / outputs.shape[-1])

    return distribution


def network(parameters: Mapping[str, Tensor], net: str, x: Tensor) -> Tensor:
    """The multilayer perceptron whose parameters are named NET.0.weight, NET.0.bias, NET.1.weight..."""
    for layer in itertools.count():
        x = x @ parameters[f"{net}.{layer}.weight"] + parameters[f"{net}.{layer}.bias"]
        if f"{net}.{layer + 1}.weight" not in parameters:
            return x
        x = torch.tanh(x)
    raise AssertionError


def log_prob(parameters: Mapping[str, Tensor], policy: Policy, observation: Tensor, action: Tensor) -> Tensor:
    """(B, observation), (B, ...) -> (B,)."""
    return acting(parameters, policy, observation).log_prob(action)


def acting(parameters: Mapping[str, Tensor], policy: Policy, observation: Tensor) -> Distribution:
    """The policy's distribution, one for each of B observations, behind which what only values see may stand."""
    seen = observation[:, : len(parameters["policy.0.weight"])]
    return policy(network(parameters, "policy", seen), parameters.get("policy.log_std"))


def value(parameters: Mapping[str, Tensor], observation: Tensor) -> Tensor:
    """(B, observation) -> (B,)."""
    return network(parameters, "value", observation).squeeze(-1)


def loss(
    parameters: Mapping[str, Tensor],
    policy: Policy,
    *,
    observation: Tensor,
    action: Tensor,
    log_prob_then: Tensor,
    advantage: Tensor,
    target: Tensor,
    clip: float,
    value_coefficient: float,
    entropy_coefficient: float = 0.0,
) -> Tensor:
    """Mean over the samples of -min(r A, clip(r) A) + c (v - target)^2 - c' H (Schulman et al. 2017, equations 7 and 9)."""
    ratio = torch.exp(log_prob(parameters, policy, observation, action) - log_prob_then)
    surrogate = torch.minimum(ratio * advantage, torch.clamp(ratio, 1 - clip, 1 + clip) * advantage)
    error = (value(parameters, observation) - target) ** 2
    entropy = acting(parameters, policy, observation).entropy()
    return (-surrogate + value_coefficient * error - entropy_coefficient * entropy).mean()


def gradient(parameters: Mapping[str, Tensor], policy: Policy, **samples: Tensor | float) -> Tensor:
    """Of :func:`loss`, all parameters' one after the other, in float64; zero if there is no sample."""
    leaves = {name: tensor.detach().double().clone().requires_grad_() for name, tensor in parameters.items()}
    doubled = {name: _double(given) for name, given in samples.items()}
    if len(doubled["action"]):
        loss(leaves, policy, **doubled).backward()
    return torch.cat([torch.zeros(leaf.numel()) if leaf.grad is None else leaf.grad.reshape(-1) for leaf in leaves.values()])


def row_of(tensors: Mapping[str, Tensor], row: int) -> dict[str, Tensor]:
    """One actor-critic of a stack's named tensors."""
    return {name: tensor[row] for name, tensor in tensors.items()}


def _double(given: Tensor | float) -> Tensor | float:
    return given.double() if isinstance(given, Tensor) and given.is_floating_point() else given
