"""The gradient of the PPO loss for a stack of actor-critics, with the backward pass written out.

Minibatches are small: autograd would spend more time on building and traversing its graph than on the arithmetic. So the backward
pass through the two tanh networks is written out here, one operation per line, and that of a distribution next to its
log-probability (networks/distributions.py). The first minibatches of every stack are also differentiated by autograd; if the two
gradients disagree, autograd is used from then on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mlsh_mpi.config.ppo_settings import PPO
from mlsh_mpi.networks.actor_critic import Network, StackedActorCritic, tanh_layer

AGREEMENT = 1e-6
"""Largest difference from autograd's gradient of a parameter, relative to its largest entry: the order of sums differs."""
COMPARISONS = 10
"""Largest number of minibatches to compare; the comparison ends with the first in which every parameter has a gradient."""


class Minibatch(NamedTuple):
    """n rows of B samples; fields as in :class:`mlsh_mpi.algorithm.ppo.Batch`, with (n, B) instead of (S,)."""

    observation: Tensor
    action: Tensor
    log_prob: Tensor
    advantage: Tensor
    target: Tensor
    weight: Tensor
    """(n, B) 1 for a sample, 0 for padding."""


def loss(network: Network, parameters: Sequence[Tensor], minibatch: Minibatch, config: PPO) -> Tensor:
    """The loss, summed over samples: the negative clipped surrogate objective plus the squared error of the value, minus the
    entropy of the policy.

    The surrogate min(r A, clip(r, 1 - c, 1 + c) A) (Schulman et al. 2017, equation 7) is constant where the ratio r has left the
    clip range in the direction in which the advantage A pushes it, and r A elsewhere. Only the latter samples are summed: the
    gradient is the same, with half the operations.

    Args:
        network: architecture of the actor-critics.
        parameters: their parameters, n rows each.
        minibatch: the samples of each row.
        config: PPO settings, of which the clip range and the coefficients of value and entropy are used.
    """
    observation, action, log_prob, advantage, target, weight = minibatch
    now, value, entropy = network.evaluate(parameters, observation, action)
    ratio = torch.exp(now - log_prob)
    moves = (ratio.detach() - 1) * torch.sign(advantage) < config.clip
    error = torch.nn.functional.mse_loss(value, target, reduction="none")
    surrogate = (ratio * -(advantage * weight * moves)).sum() + (error * (weight * config.value_coefficient)).sum()
    return surrogate - config.entropy_coefficient * (entropy * weight).sum() if config.entropy_coefficient else surrogate


class Gradients:
    """Adds the gradient of the loss to a stack's buffer."""

    def __init__(self, stack: StackedActorCritic, config: PPO) -> None:
        self._stack, self._config = stack, config
        self.measures = False
        """Whether the samples' diagnostics are also added to `stack.measured`."""
        self._written_out = stack.network.written_out
        self._to_compare = COMPARISONS if self._written_out else 0
        self._rows: dict[tuple[int, int], _Rows] = {}

    def add(self, minibatch: Minibatch, first: int = 0) -> None:
        """Adds the summed gradients to `stack.gradients` and the sample counts to `stack.counts`.

        Args:
            minibatch: samples of adjacent rows.
            first: number of the first of these rows.
        """
        if self._to_compare:
            self._compare(minibatch, first)
        if self._written_out:
            self.add_written_out(minibatch, first)
        else:
            self.add_by_autograd(minibatch, first)

    def add_by_autograd(self, minibatch: Minibatch, first: int = 0) -> None:
        """The same as :meth:`add`, by autograd."""
        stack, end = self._stack, first + len(minibatch.weight)
        leaves = [parameter[first:end].detach().requires_grad_() for parameter in stack.parameters]
        gradients = torch.autograd.grad(loss(stack.network, leaves, minibatch, self._config), leaves)
        for gradient, new in zip(stack.gradients, gradients, strict=True):
            gradient[first:end].add_(new)
        stack.counts[first:end].add_(minibatch.weight.sum(-1))
        if self.measures:
            self._measure_apart(minibatch, first, end)

    @torch.no_grad()
    def _measure_apart(self, minibatch: Minibatch, first: int, end: int) -> None:
        """Adds the diagnostics, which the written-out pass computes along the way."""
        observation, action, log_prob, advantage, target, weight = minibatch
        parameters = [parameter[first:end] for parameter in self._stack.parameters]
        now, value, _ = self._stack.network.evaluate(parameters, observation, action)
        log_ratio = now - log_prob
        self._stack.measured[first:end] += self._measured(log_ratio, torch.exp(log_ratio), advantage, value - target, weight)

    @torch.no_grad()
    def add_written_out(self, minibatch: Minibatch, first: int = 0) -> None:
        """The same as :meth:`add`, by the written-out derivative of :func:`loss`."""
        observation, action, log_prob, advantage, target, weight = minibatch
        rows, config = self._of_rows(first, first + len(weight)), self._config

        outputs, policy_inputs = _forward(rows.policy, self._stack.network.policy_part(observation))
        value, value_inputs = _forward(rows.value, observation)

        # Clipped samples have no policy gradient.
        now, backward = self._stack.network.head.log_prob_and_backward(outputs, rows.log_std, action)
        log_ratio = now - log_prob
        ratio = torch.exp(log_ratio)
        moves = (ratio - 1).mul_(torch.sign(advantage)) < config.clip

        grad_log_prob = (advantage * weight).mul_(moves).neg_().mul_(ratio)
        grad_outputs, grad_log_std = backward(grad_log_prob)

        if config.entropy_coefficient:
            grad_entropy = weight * -config.entropy_coefficient
            more_outputs, more_log_std = self._stack.network.head.entropy_backward(outputs, rows.log_std, grad_entropy)
            grad_outputs = grad_outputs + more_outputs
            if grad_log_std is not None and more_log_std is not None:
                grad_log_std = grad_log_std + more_log_std

        grad_value = (value - target.unsqueeze(-1)).mul_((weight * (2 * config.value_coefficient)).unsqueeze(-1))

        _backward(rows.policy, policy_inputs, grad_outputs)
        _backward(rows.value, value_inputs, grad_value)
        if grad_log_std is not None:
            rows.log_std_gradient.add_(grad_log_std)

        rows.counts.add_(weight.sum(-1))

        if self.measures:
            error = (value - target.unsqueeze(-1)).squeeze(-1)
            rows.measured.add_(self._measured(log_ratio, ratio, advantage, error, weight))

    def _measured(self, log_ratio: Tensor, ratio: Tensor, advantage: Tensor, error: Tensor, weight: Tensor) -> Tensor:
        """(n, B) each -> (n, MEASURED) sums. KL is estimated by Schulman's r - 1 - log r, which is never negative."""
        clip = self._config.clip
        clipped = ratio.clamp(1 - clip, 1 + clip)
        surrogate = torch.minimum(ratio * advantage, clipped * advantage)
        each = torch.stack((-surrogate, error * error, ratio - 1 - log_ratio, (clipped != ratio).float()), dim=-1)
        return torch.bmm(weight.unsqueeze(1), each).squeeze(1)

    def _compare(self, minibatch: Minibatch, first: int) -> None:
        """Falls back to autograd if the two gradients of any parameter differ. The comparison is in double precision: in single
        precision, rounding in sums that nearly cancel may be larger than the effect of a mistake."""
        rows = len(minibatch.weight)
        twin = StackedActorCritic(rows, self._stack.network, torch.float64)
        twin.flat.copy_(self._stack.flat[first : first + rows])
        of_twin = Gradients(twin, self._config)
        double = Minibatch(*(values.double() if values.is_floating_point() else values for values in minibatch))

        def computed(add: Callable[[Minibatch], None]) -> list[Tensor]:
            twin.buffer.zero_()
            add(double)
            return [values.clone() for values in (*twin.gradients, twin.counts)]

        known, new = computed(of_twin.add_by_autograd), computed(of_twin.add_written_out)
        self._to_compare -= 1
        if all(values.any() and values.isfinite().all() for values in known):
            self._to_compare = 0
        difference = [float((n - k).abs().max() / k.abs().max().clamp(min=1e-12)) for n, k in zip(new, known, strict=True)]
        if max(difference) <= AGREEMENT or not all(values.isfinite().all() for values in known):  # NaN ends the run anyway
            return
        self._written_out, self._to_compare = False, 0
        warnings.warn(
            f"the written-out gradient differs from autograd's by {max(difference):.1%} with torch {torch.__version__}: training "
            "continues with autograd, more slowly; please report this",
            RuntimeWarning,
            stacklevel=3,
        )

    def _of_rows(self, first: int, end: int) -> _Rows:
        """Views of some rows, cached because making views takes longer than using them."""
        if (first, end) not in self._rows:
            self._rows[first, end] = _Rows(self._stack, first, end)
        return self._rows[first, end]


class _Layer(NamedTuple):
    """Views of one layer of n networks and of its gradients."""

    weight: Tensor
    """(n, in, out)."""
    transposed: Tensor
    """(n, out, in)."""
    bias: Tensor
    """(n, 1, out)."""
    weight_gradient: Tensor
    bias_gradient: Tensor
    """(n, out)."""


class _Rows:
    """Views of adjacent rows of a stack, layer by layer."""

    def __init__(self, stack: StackedActorCritic, first: int, end: int) -> None:
        parameters, gradients = ([values[first:end] for values in of] for of in (stack.parameters, stack.gradients))
        layers = [
            _Layer(weight, weight.transpose(1, 2), bias.unsqueeze(1), *into)
            for weight, bias, *into in zip(parameters[0::2], parameters[1::2], gradients[0::2], gradients[1::2], strict=False)
        ]
        each = stack.network.layer_parameters // 2
        self.policy, self.value = layers[:each], layers[each : 2 * each]
        self.log_std, self.log_std_gradient = stack.network.log_std(parameters), gradients[-1]
        self.counts, self.measured = stack.counts[first:end], stack.measured[first:end]


def _forward(layers: Sequence[_Layer], x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """(n, B, in) -> (n, B, out), and the input of each layer."""
    inputs = [x]
    for layer in layers[:-1]:
        inputs.append(tanh_layer(layer.bias, inputs[-1], layer.weight))
    return torch.baddbmm(layers[-1].bias, inputs[-1], layers[-1].weight), inputs


def _backward(layers: Sequence[_Layer], inputs: Sequence[Tensor], grad_output: Tensor) -> None:
    """Adds the gradients of all layers, given the gradient with respect to the last layer's output, (n, B, out)."""
    for number in reversed(range(len(layers))):
        layer, x = layers[number], inputs[number]
        layer.weight_gradient.baddbmm_(x.transpose(1, 2), grad_output)
        layer.bias_gradient.add_(grad_output.sum(1))
        if number:
            grad_output = torch.ops.aten.tanh_backward.default(torch.bmm(grad_output, layer.transposed), x)
