"""Option-Critic (Bacon, Harb and Precup 2017) as in its Four Rooms experiment; with one option it becomes Actor-Critic.

Tables over the cells of a one-hot observation, updated at every step: intra-option Q-learning, policy gradients for each option's
softmax policy, and termination gradients. A learner runs one episode after another, in one lane. As everywhere here, an episode
also ends at its time limit with V = 0; rewards are summed over a hundred steps, so temperature and step sizes are not those of
Bacon et al., whose episodes end at the goal.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from mlsh_mpi.adaptation.loop import AdaptationMethod, AdaptationSet
from mlsh_mpi.errors import UserError
from mlsh_mpi.networks.actor_critic import Array
from mlsh_mpi.networks.distributions import Categorical, head_for
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.episodes import Episodes, Step, Streams
from mlsh_mpi.sampling.rollout import Rollout

GAMMA = 0.99
CRITIC, ACTOR, TERMINATION = 0.2, 0.05, 0.01
"""Step sizes of the action and option values, of the options' policies, and of the terminations."""
EPSILON = 0.05
"""Probability that a uniformly random option is chosen instead of the best."""


class OptionCritics(AdaptationMethod):
    """Tabular options for each learner.

    Args:
        adaptation_set: the tasks and the placement of their learners.
        options: K, number of options; a single one never terminates, which is Actor-Critic.

    Raises:
        UserError: actions are not discrete.
    """

    def __init__(self, adaptation_set: AdaptationSet, options: int) -> None:
        super().__init__(adaptation_set, lanes_each=1)
        head, cells, learners = (
            head_for(adaptation_set.family.action_space),
            adaptation_set.family.observation_size,
            len(adaptation_set.placement.groups),
        )
        if not isinstance(head, Categorical):
            raise UserError(f"Option-Critic needs discrete actions, but {adaptation_set.family.name} has continuous ones")
        self.behaviours = options
        self._tables = {
            "option_value": np.zeros((learners, options, cells)),
            "action_value": np.zeros((learners, options, cells, head.outputs)),
            "preference": np.zeros((learners, options, cells, head.outputs)),
            "termination": np.zeros((learners, options, cells)),  # logits
        }

    def state_dict(self) -> dict[str, Tensor]:
        return {name: torch.from_numpy(values) for name, values in self._tables.items()}

    def collect(self, update: int, *, explore: bool) -> Rollout:
        """Collects D steps; with exploration, it learns from each step at once."""
        adaptation_set, started = self.adaptation_set, time.perf_counter()
        learners, length = len(adaptation_set.placement.groups), adaptation_set.lanes_each * adaptation_set.family.episode_length

        # Four random numbers for each step: for the action, for the termination, and two for the choice of an option.
        streams = Streams(adaptation_set.seed, update, adaptation_set.placement.groups)
        first = np.concatenate([seeding.episode_seeds(adaptation_set.seed, update, worker, 1) for worker in streams.workers])
        noise = np.stack(
            [seeding.stream(adaptation_set.seed, "action", update, w).random((length, 4)) for w in streams.workers], axis=1
        )

        episodes = Episodes(self.lanes, adaptation_set.tasks_here, first, streams, adaptation_set.job.watch)
        cell = self._cells(episodes.start(np.ones(learners, np.bool_)))
        option = self._chosen(cell, noise[0, :, 2:], explore)
        reward, end = np.zeros((length, learners), np.float32), np.zeros((length, learners), np.bool_)
        primitive, actions = (np.zeros((length, learners), np.int64) for _ in range(2))

        for t in range(length):
            primitive[t] = option
            actions[t] = action = _drawn(self._policy(option, cell), noise[t, :, 0])
            observation, reward[t], end[t] = episodes.step(action)
            if end[t].any() and t + 1 < length:
                observation = episodes.start(end[t])

            following = self._cells(observation)
            if explore:
                self._learn(option, cell, action, reward[t], end[t], following)

            stops = end[t] | (noise[t, :, 1] < self._ends(option, following))
            next_option = self._chosen(following, noise[min(t + 1, length - 1), :, 2:], explore)
            option, cell = np.where(stops, next_option, option), following

        episodes.check_finite(reward=reward)
        none = np.zeros((length, learners, 0), np.float32)
        steps = Step(none, none, actions, reward, end, primitive, decides=end, explored=end)
        policy_seconds = time.perf_counter() - started - episodes.seconds
        return Rollout(
            steps=steps,
            final_observation=none[0],
            streams=streams,
            policies=None,
            macro_length=length,
            limits=(),
            carried_over=(np.zeros(learners), np.zeros(learners)),
            environment_seconds=episodes.seconds,
            policy_seconds=policy_seconds,
        )

    def learn(self, rollout: Rollout, update: int) -> None:
        """Nothing to do: tables are updated while collecting."""

    def _learn(self, option: Array, cell: Array, action: Array, reward: Array, end: Array, following: Array) -> None:
        """Updates the tables after one step of every learner (Bacon et al., Algorithm 1)."""
        q, u, preference, logit = self._tables.values()
        every = np.arange(len(cell))
        left, arrived, taken = (every, option, cell), (every, option, following), (every, option, cell, action)
        best, own, ends = q[every, :, following].max(-1), q[arrived], self._ends(option, following)
        target = reward + GAMMA * np.where(end, 0, (1 - ends) * own + ends * best)
        advantage = u[taken] - q[left]
        u[taken] += CRITIC * (target - u[taken])
        q[left] += CRITIC * (target - q[left])
        gradient = -self._policy(option, cell)
        gradient[every, action] += 1
        preference[left] += ACTOR * advantage[:, None] * gradient
        if self.behaviours > 1:
            logit[arrived] -= np.where(end, 0, TERMINATION * ends * (1 - ends) * (own - best))

    def _policy(self, option: Array, cell: Array) -> Array:
        """(M, actions) probabilities under the policies of the options."""
        values = self._tables["preference"][np.arange(len(cell)), option, cell]
        weights = np.exp(values - values.max(-1, keepdims=True))
        return weights / weights.sum(-1, keepdims=True)

    def _ends(self, option: Array, cell: Array) -> Array:
        """(M,) probabilities that an option terminates on arrival in a cell."""
        if self.behaviours == 1:
            return np.zeros(len(cell))
        return 1 / (1 + np.exp(-self._tables["termination"][np.arange(len(cell)), option, cell]))

    def _chosen(self, cell: Array, noise: Array, explore: bool) -> Array:
        """(M,) the best option in a cell or, if exploring, with probability EPSILON a uniformly random one."""
        best = self._tables["option_value"][np.arange(len(cell)), :, cell].argmax(-1)
        random = (noise[:, 1] * self.behaviours).astype(np.int64)
        return np.where(explore & (noise[:, 0] < EPSILON), random, best)

    def _cells(self, observation: Array) -> Array:
        """Numbers of the cells: (M, cells) one-hot -> (M,).

        Raises:
            UserError: the observations are not one-hot.
        """
        cell = observation.argmax(-1)
        if not (observation.sum(-1) == 1).all() or not (observation[np.arange(len(cell)), cell] == 1).all():
            raise UserError(
                f"Option-Critic has tables and needs one-hot observations, but those of {self.adaptation_set.family.name} are not"
            )
        return cell


def _drawn(probability: Array, noise: Array) -> Array:
    """Samples from (M, n) probabilities, given (M,) noise in [0, 1) -> (M,)."""
    return np.minimum((probability.cumsum(-1) <= noise[:, None]).sum(-1), probability.shape[-1] - 1)


def option_critics(adaptation_set: AdaptationSet, _: object) -> OptionCritics:
    """Option-Critics with as many options as the paper's K in Four Rooms."""
    return OptionCritics(adaptation_set, options=4)


def actor_critics(adaptation_set: AdaptationSet, _: object) -> OptionCritics:
    """Actor-Critics: Option-Critics with one option."""
    return OptionCritics(adaptation_set, options=1)
