"""RL² (Duan et al. 2016; Wang et al. 2016): one recurrent policy that learns through its hidden state.

It also observes its last action, its last reward and whether an episode has just ended, and keeps its hidden state over all
episodes of a task, a *trial*. It is trained by PPO on whole trials; on a new task no parameter is updated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlsh_mpi.adaptation.loop import AdaptationMethod, AdaptationSet
from mlsh_mpi.algorithm import ppo
from mlsh_mpi.algorithm.advantage import gae
from mlsh_mpi.algorithm.batches import normalise, samples
from mlsh_mpi.algorithm.stack_trainer import StackTrainer
from mlsh_mpi.baselines import training_loop
from mlsh_mpi.baselines.training_loop import SharedPolicy, run
from mlsh_mpi.config.methods import episodes_of_a_trial
from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.networks.actor_critic import Array, Network, StackedActorCritic
from mlsh_mpi.networks.distributions import Head, head_for
from mlsh_mpi.networks.inference import Act, PrimitivePolicies
from mlsh_mpi.policies.phi_file import PhiCheckpoint
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.episodes import Streams
from mlsh_mpi.sampling.experiment import Experiment
from mlsh_mpi.sampling.rollout import Rollout, collect, constant_primitive
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.sampling.vector_env import VectorEnv
from mlsh_mpi.tracking.checkpoint import Checkpoint, OnIteration


@dataclass(frozen=True)
class RecurrentNetwork(Network):
    """A gated recurrent unit (Cho et al. 2014) with a policy and a value layer on top; `hidden` is just its width.

    Its functions take whole trials, concatenated along the batch, and start each with a hidden state of zeros.
    """

    trial_steps: int = 1
    written_out = False

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        width = self.hidden[0]
        shapes: dict[str, tuple[int, ...]] = {
            "memory.input.weight": (self.observation_size, 3 * width),
            "memory.state.weight": (width, 3 * width),
            "memory.input.bias": (3 * width,),
            "memory.state.bias": (3 * width,),
            "policy.1.weight": (width, self.head.outputs),
            "policy.1.bias": (self.head.outputs,),
            "value.1.weight": (width, 1),
            "value.1.bias": (1,),
        }
        return shapes | ({"policy.log_std": (self.head.log_std_size,)} if self.head.log_std_size else {})

    def policy(self, parameters: Sequence[Tensor], observation: Tensor) -> Tensor:
        return self._policy(parameters, self._remembered(parameters, observation))

    def value(self, parameters: Sequence[Tensor], observation: Tensor) -> Tensor:
        return self._value(parameters, self._remembered(parameters, observation))

    def evaluate(self, parameters: Sequence[Tensor], observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        remembered = self._remembered(parameters, observation)
        outputs, log_std = self._policy(parameters, remembered), self.log_std(parameters)
        log_prob, entropy = self.head.log_prob(outputs, log_std, action), self.head.entropy(outputs, log_std)
        return log_prob, self._value(parameters, remembered), entropy

    @staticmethod
    def _policy(parameters: Sequence[Tensor], remembered: Tensor) -> Tensor:
        return torch.baddbmm(parameters[5].unsqueeze(1), remembered, parameters[4])

    @staticmethod
    def _value(parameters: Sequence[Tensor], remembered: Tensor) -> Tensor:
        return torch.baddbmm(parameters[7].unsqueeze(1), remembered, parameters[6]).squeeze(-1)

    def _remembered(self, parameters: Sequence[Tensor], observation: Tensor) -> Tensor:
        """Hidden states after each step of B trials: (1, B * trial_steps, observation) -> (1, B * trial_steps, width)."""
        trials = observation.view(-1, self.trial_steps, self.observation_size)
        weights = [parameters[0][0].T, parameters[1][0].T, parameters[2][0], parameters[3][0]]
        empty = trials.new_zeros(1, len(trials), self.hidden[0])
        return torch.gru(trials, empty, weights, True, 1, 0.0, False, False, True)[0].reshape(1, -1, self.hidden[0])


class RL2Lanes(VectorEnv):
    """Lanes that append to observations the last action (one-hot if discrete), the last reward and whether an episode ended."""

    def __init__(self, lanes: VectorEnv, head: Head) -> None:
        self._lanes, self._head, self.count = lanes, head, lanes.count
        self.trace = np.zeros((lanes.count, head.outputs + 2), np.float32)
        """(L, actions + 2) appended entries; zero before the first step of a trial."""

    def reset(self, mask: Array, seeds: Sequence[int], tasks: Sequence[Any]) -> Array:
        return np.concatenate((self._lanes.reset(mask, seeds, tasks), self.trace), axis=1)

    def step(self, action: Array) -> tuple[Array, Array, Array]:
        observation, reward, end = self._lanes.step(action)
        self.trace[:, :-2] = action if self._head.log_std_size else np.equal.outer(action, np.arange(self._head.outputs))
        self.trace[:, -2], self.trace[:, -1] = reward, end
        self.truncated = self._lanes.truncated
        return np.concatenate((observation, self.trace), axis=1), reward, end

    def numbers(self, lanes: Array) -> list[dict[str, float]]:
        return self._lanes.numbers(lanes)

    @property
    def active_index(self) -> int | None:
        return self._lanes.active_index

    def close(self) -> str:
        return self._lanes.close()


@dataclass(frozen=True)
class RecurrentPolicies(PrimitivePolicies):
    """The recurrent policy with a hidden state for each lane."""

    state: Array
    """(L, width) hidden states, changed in place at every step."""

    @classmethod
    def empty(cls, stack: StackedActorCritic, lanes: int) -> RecurrentPolicies:
        """The policy with hidden states of zeros; it sees all observations of its lanes."""
        network = stack.network
        return cls(stack, np.arange(network.observation_size), None, np.zeros((lanes, network.hidden[0]), np.float32))

    def acting(self, primitive: Array, *, deterministic: bool = False) -> Act:
        into, back, into_bias, back_bias, weight, bias = (values.numpy()[0] for values in self.primitives.parameters[:6])
        log_std = np.repeat(self.primitives.network.log_std(self.primitives.parameters).numpy(), len(primitive), axis=0)

        def act(seen: Array, noise: Array) -> Array:
            forget, update, new = np.split(seen @ into + into_bias, 3, axis=1)
            forget_back, update_back, new_back = np.split(self.state @ back + back_bias, 3, axis=1)
            keep = _sigmoid(update + update_back)
            candidate = np.tanh(new + _sigmoid(forget + forget_back) * new_back)
            self.state[:] = keep * self.state + (1 - keep) * candidate
            return self.head.sample(self.state @ weight + bias, log_std, noise)

        return act


def network_for(config: Config, family: TaskFamily) -> RecurrentNetwork:
    """The network for an environment; it sees whole observations, because it is master and primitive in one."""
    head = head_for(family.action_space, config.network.initial_std)
    steps = episodes_of_a_trial(config, family.episode_length) * family.episode_length
    return RecurrentNetwork(family.observation_size + head.outputs + 2, head, config.network.hidden[:1], steps)


def policies_of(phi: PhiCheckpoint, family: TaskFamily) -> RecurrentPolicies:
    """The trained policy, for an environment.

    Raises:
        UserError: it does not fit the environment.
    """
    network = network_for(phi.config, family)
    known, offered = phi.parameters["memory.input.weight"].shape[1], network.observation_size
    outputs = phi.parameters["policy.1.weight"].shape[2]
    if (known, outputs, "policy.log_std" in phi.parameters) != (offered, network.head.outputs, network.head.log_std_size > 0):
        raise UserError(
            f"this recurrent policy does not fit {family.name}: trained in {phi.environment} it sees {known} numbers (its last "
            f"action, reward and end among them), but there it would see {offered}; use the environment in which it was trained"
        )
    phi.check_shapes(1, network)
    stack = StackedActorCritic(1, network)
    phi.fill(stack, family.actions)
    return RecurrentPolicies.empty(stack, 0)


def check_resumable(saved: Checkpoint, experiment: Experiment) -> None:
    """The same as :func:`mlsh_mpi.algorithm.training_state.check_resumable`, for this policy."""
    training_loop.check_resumable(saved, experiment, network_for(experiment.config, experiment.family))


def train(experiment: Experiment, saved: Checkpoint | None, on_iteration: OnIteration) -> RecurrentPolicies:
    """Trains the policy; arguments and result as for :func:`mlsh_mpi.algorithm.mlsh.train`."""
    config, job, family = experiment.config, experiment.job, experiment.family
    network = network_for(config, family)
    lanes_each = config.sampling.steps // network.trial_steps
    state = SharedPolicy.initial(config, job.world, network, saved)
    workers = state.placement.workers
    lanes = RL2Lanes(family.maker.lanes(len(workers) * lanes_each), network.head)

    def iterate(iteration: int, tasks: Sequence[Any]) -> Sequence[Rollout]:
        lanes.trace[:] = 0
        rollout = collect(
            lanes,
            constant_primitive(0),
            RecurrentPolicies.empty(state.learner.stack, lanes.count),
            tasks,
            Streams(config.run.seed, iteration, workers),
            steps=network.trial_steps,
            macro_length=network.trial_steps,
            watch=job.watch,
        )
        learn(state.learner, rollout, config)
        return [rollout]

    run(experiment, saved, on_iteration, state, iterate)
    experiment.close(lanes)
    return RecurrentPolicies.empty(state.learner.stack, 0)


def learn(learner: StackTrainer, rollout: Rollout, config: Config) -> None:
    """PPO on whole trials. V = 0 after the end of a trial, but returns continue across the ends of episodes within it."""
    settings, steps, stack = config.primitive, rollout.steps, learner.stack
    length, lanes = steps.reward.shape

    observation, action = samples(steps.observation), samples(steps.action)
    with torch.no_grad():
        value = stack.value(observation[None]).view(lanes, length).T.numpy()
        log_prob = stack.log_prob(observation[None], action[None])[0]

    # For the policy a trial is one long episode, because it remembers earlier rewards.
    following = np.concatenate((value[1:], np.zeros_like(value[:1])))
    continues = np.ones_like(steps.end)
    continues[-1] = False
    advantages = gae(settings.learned(steps.reward), value, following, continues, settings.gamma, settings.lam)

    by_step, row = log_prob.view(lanes, length).T.numpy(), np.zeros(advantages.shape, np.int64)
    normalised, _ = normalise(advantages, advantages + value, by_step, row, 1, learner.ranks)
    batch = ppo.Batch(observation, action, log_prob, samples(normalised), samples(advantages + value))

    # Minibatches consist of whole trials, in a random order for each worker.
    streams = rollout.streams
    workers = streams.workers
    lanes_each = lanes // len(workers)
    count = max(m for m in range(1, settings.minibatches + 1) if lanes_each % m == 0)
    orders = [
        seeding.stream(streams.seed, "primitive", streams.iteration, worker).random((settings.epochs, lanes_each)).argsort(-1)
        for worker in workers
    ]
    trial = np.stack([order + w * lanes_each for w, order in enumerate(orders)], axis=1)  # (E, W, lanes of a worker)
    parts = trial.reshape(settings.epochs, len(workers), count, -1).swapaxes(1, 2).reshape(settings.epochs, count, -1)
    index = torch.from_numpy((parts[..., None] * length + np.arange(length)).reshape(settings.epochs, count, 1, -1))
    block = ppo.Block(slice(0, 1), index.shape[-1])
    plan = ppo.Plan(index, torch.ones(index.shape), (block,))
    learner.update(batch, plan, [True], settings.learning_rate, learner.allreduce)


class RL2Adaptation(AdaptationMethod):
    """The same policy on each task, in as many parallel trials as D fits episodes; an "update" is one more episode of each."""

    explores, remembers = False, True

    def __init__(self, adaptation_set: AdaptationSet, policies: PrimitivePolicies) -> None:
        super().__init__(adaptation_set)
        self.lanes = self._remembering = RL2Lanes(self.lanes, policies.head)
        self._policies = RecurrentPolicies.empty(policies.primitives, self.lanes.count)

    @property
    def steps(self) -> int:
        return self.adaptation_set.family.episode_length

    def state_dict(self) -> dict[str, Tensor]:
        rows = len(self.adaptation_set.placement.groups)
        return {
            name: torch.from_numpy(values).view(rows, -1)
            for name, values in (("state", self._policies.state), ("trace", self._remembering.trace))
        }

    def collect(self, update: int, *, explore: bool) -> Rollout:
        return self.rollout(constant_primitive(0), self._policies, update, self.adaptation_set.family.episode_length)

    def learn(self, rollout: Rollout, update: int) -> None:
        """Nothing to do: no parameter is updated, only the hidden state changes."""


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))
