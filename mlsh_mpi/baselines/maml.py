"""MAML (Finn et al. 2017): one policy that a few gradient steps on a task turn into a good one.

The paper contrasts its method with meta-learning of an initialisation (section 2); there is no hierarchy here. A worker collects
half of its D steps with the shared policy, takes a policy gradient step on its task, and collects the other half; the shared
policy is then trained, through that step, on the samples collected after it. The baseline at a time step is the worker's mean
return from that step on over its episodes (with a single episode, its mean over time), so no value network is learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlsh_mpi.adaptation.loop import AdaptationMethod, AdaptationSet
from mlsh_mpi.algorithm.advantage import gae
from mlsh_mpi.algorithm.batches import lanes_first
from mlsh_mpi.algorithm.stack_trainer import StackTrainer
from mlsh_mpi.baselines import training_loop
from mlsh_mpi.baselines.training_loop import SharedPolicy, run
from mlsh_mpi.config.methods import lanes_before_and_after
from mlsh_mpi.config.settings import Config
from mlsh_mpi.networks.actor_critic import Array, Network, StackedActorCritic
from mlsh_mpi.networks.distributions import head_for
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.sampling.episodes import Streams
from mlsh_mpi.sampling.experiment import Experiment
from mlsh_mpi.sampling.rollout import Rollout, collect, one_per_block
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.tracking.checkpoint import Checkpoint, OnIteration


class Data:
    """The samples for one gradient step of n policies: (n, S, ...), each policy on its own task.

    Args:
        rollout: the collected steps; its lanes are n equal blocks, one for each policy.
        n: number of policies.
        policies: the policies, which select their part of an observation.
        gamma: discount factor per step.
    """

    def __init__(self, rollout: Rollout, n: int, policies: PrimitivePolicies, gamma: float) -> None:
        steps, zeros = rollout.steps, np.zeros_like(rollout.steps.reward)
        to_go = gae(steps.reward, zeros, zeros, ~steps.end, gamma, 1.0)
        by_policy = to_go.reshape(len(to_go), n, -1)
        many = by_policy.shape[-1] > 1
        advantage = by_policy - by_policy.mean(-1 if many else 0, keepdims=True)
        deviation = advantage.std((0, 2), keepdims=True)
        self.observation = self._blocks(policies.primitive_view(steps.observation), n)
        self.action = self._blocks(steps.action, n)
        self.advantage = self._blocks((advantage / (deviation + 1e-8)).reshape(to_go.shape), n)

    @staticmethod
    def _blocks(values: Array, n: int) -> Tensor:
        first = lanes_first(values)
        return torch.from_numpy(first.reshape(n, -1, *first.shape[2:]))


def stepped(network: Network, parameters: Sequence[Tensor], data: Data, rate: float, *, differentiable: bool) -> list[Tensor]:
    """Parameters of n policies after one policy gradient step each, as a function of their parameters before it."""
    with torch.enable_grad():
        leaves = list(parameters) if differentiable else [values.detach().requires_grad_() for values in parameters]
        log_prob = network.log_prob(leaves, data.observation, data.action)
        loss = -(log_prob * data.advantage).mean(-1).sum()
        gradients = torch.autograd.grad(loss, leaves, create_graph=differentiable, allow_unused=True, materialize_grads=True)
    return [values - rate * gradient for values, gradient in zip(leaves, gradients, strict=True)]


def network_for(config: Config, family: TaskFamily) -> Network:
    """The policy's network for an environment."""
    head = head_for(family.action_space, config.network.initial_std)
    return Network(len(family.primitive_columns), head, config.network.hidden)


def check_resumable(saved: Checkpoint, experiment: Experiment) -> None:
    """The same as :func:`mlsh_mpi.algorithm.training_state.check_resumable`, for this policy."""
    training_loop.check_resumable(saved, experiment, network_for(experiment.config, experiment.family))


def train(experiment: Experiment, saved: Checkpoint | None, on_iteration: OnIteration) -> PrimitivePolicies:
    """Trains the policy; arguments and result as for :func:`mlsh_mpi.algorithm.mlsh.train`."""
    config, job, family = experiment.config, experiment.job, experiment.family
    lanes_each = lanes_before_and_after(config, family.episode_length)
    network = network_for(config, family)
    state = SharedPolicy.initial(config, job.world, network, saved)
    workers, stack = state.placement.workers, state.learner.stack
    lanes = family.maker.lanes(len(workers) * lanes_each)
    each = StackedActorCritic(len(workers), network)
    own = one_per_block(len(workers), lanes_each)

    def collected(iteration: int, tasks: Sequence[Any], half: int) -> tuple[Rollout, Data]:
        policies = PrimitivePolicies(each, family.primitive_columns, None)
        streams = Streams(config.run.seed, 2 * iteration + half, workers)
        length = family.episode_length
        rollout = collect(lanes, own, policies, tasks, streams, steps=length, macro_length=length, watch=job.watch)
        rollout.steps.primitive[:] = 0
        return rollout, Data(rollout, len(workers), policies, config.primitive.gamma)

    def iterate(iteration: int, tasks: Sequence[Any]) -> Sequence[Rollout]:
        rate = config.algorithm.inner_rate
        each.flat.copy_(stack.flat.expand_as(each.flat))
        before, first = collected(iteration, tasks, 0)
        put(each, stepped(network, each.parameters, first, rate, differentiable=False))
        after, second = collected(iteration, tasks, 1)
        learn(state.learner, each, first, second, config)
        return [before, after]

    run(experiment, saved, on_iteration, state, iterate)
    experiment.close(lanes)
    return PrimitivePolicies(stack, family.primitive_columns, None)


def learn(learner: StackTrainer, each: StackedActorCritic, first: Data, second: Data, config: Config) -> None:
    """PPO on the samples collected after the gradient step, differentiating through that step.

    Args:
        learner: trains the shared policy.
        each: the n policies after their gradient step.
        first: the samples for the gradient step.
        second: the samples collected after it.
        config: the run's configuration.
    """
    stack, network, settings = learner.stack, each.network, config.primitive

    with torch.no_grad():
        log_prob = network.log_prob(each.parameters, second.observation, second.action)

    for _ in range(settings.epochs):
        stack.buffer.zero_()
        leaves = [values.detach().requires_grad_() for values in stack.parameters]
        rows = [values.expand(each.n, *values.shape[1:]) for values in leaves]

        stepped_parameters = stepped(network, rows, first, config.algorithm.inner_rate, differentiable=True)
        ratio = torch.exp(network.log_prob(stepped_parameters, second.observation, second.action) - log_prob)
        clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
        loss = -torch.minimum(ratio * second.advantage, clipped * second.advantage).mean(-1).sum()

        gradients = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
        for gradient, new in zip(stack.gradients, gradients, strict=True):
            gradient.add_(new)
        stack.counts += each.n

        learner.allreduce(stack.buffer)
        stack.gradient /= stack.counts
        learner.update.optimiser.step([True], [settings.learning_rate])


class MAMLAdaptation(AdaptationMethod):
    """A copy of the trained policy for each learner; an update is one gradient step."""

    explores = False

    def __init__(self, adaptation_set: AdaptationSet, policies: PrimitivePolicies) -> None:
        super().__init__(adaptation_set)
        learners = len(adaptation_set.placement.groups)
        self._stack = StackedActorCritic(learners, policies.primitives.network)
        self._stack.flat.copy_(policies.primitives.flat.expand(learners, -1))
        self._policies = PrimitivePolicies(self._stack, policies.columns, None)
        self._own = one_per_block(learners, adaptation_set.lanes_each)

    def state_dict(self) -> dict[str, Tensor]:
        return {"parameters": self._stack.flat}

    def collect(self, update: int, *, explore: bool) -> Rollout:
        rollout = self.rollout(self._own, self._policies, update, self.adaptation_set.family.episode_length)
        rollout.steps.primitive[:] = 0
        return rollout

    def learn(self, rollout: Rollout, update: int) -> None:
        config, stack = self.adaptation_set.config, self._stack
        data = Data(rollout, stack.n, self._policies, config.primitive.gamma)
        put(stack, stepped(stack.network, stack.parameters, data, config.algorithm.inner_rate, differentiable=False))


def put(stack: StackedActorCritic, parameters: Sequence[Tensor]) -> None:
    """Copies parameters into a stack."""
    for values, new in zip(stack.parameters, parameters, strict=True):
        values.copy_(new.detach())
