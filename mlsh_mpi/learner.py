"""What both timescales learn from a Rollout: batches for PPO, normalised over all who share a policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlsh_mpi import advantage, ppo, schedule, seeding
from mlsh_mpi.batches import keys_of, lanes_first, normalise, samples
from mlsh_mpi.comm import Ranks
from mlsh_mpi.config import PPO, Config, PrimitivePPO
from mlsh_mpi.episodes import Step
from mlsh_mpi.heads import Exploring, head_for
from mlsh_mpi.hosting import Hosting
from mlsh_mpi.policies import Network, Stack, by_row
from mlsh_mpi.returns import Pooled, ReturnScale, diagnostics
from mlsh_mpi.rollout import Rollout
from mlsh_mpi.skills import Skills
from mlsh_mpi.task_family import Spec
from mlsh_mpi.workers import Workers

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Learner:
    """A stack, its update, and the ranks that share it."""

    stack: Stack
    update: ppo.PPOUpdate
    ranks: Ranks
    return_scale: ReturnScale | None
    """If values are standardised."""

    @classmethod
    def of(cls, stack: Stack, config: PPO, ranks: Ranks) -> Learner:
        """A learner whose gradients are summed over `ranks`."""
        return cls(stack, ppo.PPOUpdate(stack, config), ranks, ReturnScale(stack) if config.standardise_values else None)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Everything that learning changes, as views."""
        optimiser, scale = self.update.optimiser, self.return_scale
        adam = {"mean": optimiser.mean, "square": optimiser.square, "steps": optimiser.steps, "adapted": optimiser.adapted}
        return {"parameters": self.stack.flat, **adam, **({} if scale is None else {"returns": scale.sums})}

    def restore(self, saved: Mapping[str, Tensor], rows: Sequence[int] | slice = slice(None)) -> None:
        """Takes over what `tensors` held, or some rows of it; what a checkpoint of an older version lacks stays as it is."""
        for name, values in self.tensors.items():
            if name in saved:
                values.copy_(saved[name][rows])

    @contextmanager
    def shared_by(self, busy: Sequence[int]) -> Iterator[Learner | None]:
        """The learner among those ranks that have data for it, None on the others; afterwards these take over the result.

        All know from the schedule who is busy, so nothing has to be asked, and nobody waits in a sum to which it adds nothing.
        """
        ranks = self.ranks.among(busy) if busy else None
        yield None if ranks is None else replace(self, ranks=ranks)
        if busy and len(busy) < self.ranks.size:
            for values in self.tensors.values():
                self.ranks.spread(values.numpy(), busy[0])

    def restart(self, row: int, rng: np.random.Generator) -> None:
        """Fresh parameters and a fresh optimiser for one row."""
        self.stack.initialise(row, rng)
        self.update.optimiser.reset(row)
        if self.return_scale is not None:
            self.return_scale.reset(row)

    def returns_from(self, value: Array, row: Array) -> Array:
        """What the networks' values mean: values and the row of each, both of one shape, -> expected returns."""
        if self.return_scale is None:
            return value
        mean, deviation = self.return_scale.moments
        return value * deviation[row] + mean[row]

    def targets(self, returns: Array, row: Array, pooled: Pooled) -> Array:
        """What the networks' values are to learn: the inverse of :meth:`returns_from`, once these returns are known."""
        if self.return_scale is None:
            return returns
        self.return_scale.take(pooled)
        mean, deviation = self.return_scale.moments
        return (returns - mean[row]) / np.maximum(deviation[row], 1e-8)


def shared_primitives(config: Config, world: Ranks, spec: Spec) -> Learner:
    """phi, the same on every rank."""
    head = head_for(spec.action_space, config.network.initial_std)
    network = Network(len(spec.primitive_columns), head, config.network.hidden)
    learner = Learner.of(Stack(config.hierarchy.primitives, network), config.primitive, world)
    for k in range(learner.stack.n):
        learner.restart(k, seeding.stream(config.run.seed, "phi", k))
    return learner


def private_masters(config: Config, world: Ranks, spec: Spec, hosting: Hosting) -> Learner:
    """A theta for each group hosted here, still to be initialised; shared with the ranks that host the rest of the group."""
    head = Exploring(config.hierarchy.primitives, config.hierarchy.exploration)
    stack = Stack(len(hosting.groups), Network(spec.observation_size, head, config.network.hidden))
    return Learner.of(stack, config.master, world.split(hosting.groups[0]))


def learn_masters(
    learner: Learner,
    rollout: Rollout,
    here: Workers,
    iteration: int,
    macro_length: int,
    run: Config,
) -> tuple[Array, Array]:
    """theta by PPO on the 1/N timescale.

    Args:
        learner: masters of the groups hosted here, one a row.
        rollout: of their workers.
        here: these workers, as many for each master; their memory takes in what they decide now.
        iteration: names the order of minibatches.
        macro_length: N of the rollout.
        run: configuration of the run.

    Returns:
        (groups here,) entropy in nats of each master's own choices before the update: mean of its workers here; and
        (groups here, 9) as :data:`mlsh_mpi.ppo.DIAGNOSTICS`.
    """
    masters, workers, memory, config = learner.stack, here.numbers, here.memory, run.master
    steps = rollout.steps
    lanes = steps.reward.shape[1]
    lanes_each = lanes // len(workers)
    goes_on = ~steps.decides[0]
    new = advantage.master_view(
        *(steps.observation, config.learned(steps.reward), steps.end, steps.primitive, steps.decides),
        *(rollout.final_observation, macro_length, memory.pending),
    )
    log_prob, entropy = _choices(masters, new)
    view, log_prob = memory.add(new, log_prob, goes_on)
    decisions = len(view.choice)
    row = np.broadcast_to(np.repeat(np.arange(masters.n), lanes // masters.n), (decisions + 1, lanes))
    with torch.no_grad():
        blocks = torch.from_numpy(lanes_first(view.observation)).view(masters.n, -1, view.observation.shape[-1])
        value = learner.returns_from(masters.value(blocks).view(lanes, decisions + 1).T.numpy(), row)
    advantages = view.advantages(value, config.gamma, config.lam)
    rows = np.where(view.valid, row[:-1], -1)
    normalised, pooled = normalise(advantages, advantages + value[:-1], log_prob, rows, masters.n, learner.ranks)
    batch = ppo.Batch(
        observation=samples(view.observation[:-1]),
        action=samples(view.choice),
        log_prob=samples(log_prob),
        advantage=samples(normalised),
        target=samples(learner.targets(advantages + value[:-1], row[:-1], pooled)),
    )
    expected = max(1, lanes_each * len(steps.reward) * config.memory // macro_length)
    count = max(1, round(expected / config.minibatch_size))
    regular = -(-expected // count) * (len(workers) // masters.n)
    streams = [seeding.stream(run.run.seed, "master", iteration, worker) for worker in workers]
    keys = keys_of(streams, config.epochs, lanes_first(view.valid).reshape(len(workers), lanes_each, decisions))
    by_worker = lanes_first(rows).reshape(len(workers), -1)
    minibatches = ppo.plan(by_worker, masters.n, keys, count, regular, masters.flat.shape[1])
    active = [count > 0 for count in pooled.count]
    found = learner.update(batch, minibatches, active, config.learning_rate, summed(learner.ranks))
    weight = lanes_first(new.length > 0)
    of_worker = [(values * weight).reshape(len(workers), -1).sum(1) for values in (lanes_first(entropy), np.ones(weight.shape))]
    means = of_worker[0] / np.maximum(of_worker[1], 1)
    return means.reshape(masters.n, -1).mean(1), diagnostics(found, masters, pooled)


def _choices(masters: Stack, view: advantage.MasterView) -> tuple[Array, Array]:
    """(M, L) log-probabilities of the choices of a view, and entropies in nats of what the masters themselves would choose."""
    decisions, lanes = view.choice.shape
    choice = advantage.one_longer(view.choice)
    with torch.no_grad():
        outputs = masters.policy(torch.from_numpy(lanes_first(view.observation)).view(masters.n, -1, view.observation.shape[-1]))
        log_prob = masters.network.head.log_prob(
            outputs, masters.network.free(masters.parameters), torch.from_numpy(lanes_first(choice)).view(masters.n, -1)
        )
        by_lane = (lanes, decisions + 1)
        return log_prob.view(by_lane).T[:-1].numpy(), _entropy(outputs).view(by_lane).T[:-1].numpy()


def learn_primitives(
    learner: Learner,
    rollout: Rollout,
    skills: Skills,
    joint: Sequence[bool],
    workers: Sequence[int],
    iteration: int,
    config: Config,
) -> tuple[Array, Array]:
    """phi by PPO on the full timescale, for each sample only the primitive that was active.

    Args:
        learner: the primitives, and the ranks that have data for them.
        rollout: of this rank's workers.
        skills: tell what primitives see of an observation.
        joint: (W,) which of the workers' groups are in their joint phase; the others' data are left out.
        workers: global numbers of the W workers.
        iteration: names the order of minibatches.
        config: the run's.

    Returns:
        (K,) samples of each primitive, over these ranks; and (K, 9) as :data:`mlsh_mpi.ppo.DIAGNOSTICS`.
    """
    primitives, settings = learner.stack, config.primitive
    lanes_each = rollout.steps.reward.shape[1] // len(workers)
    mine = np.repeat(joint, lanes_each)
    steps = Step(*(values[:, mine] for values in rollout.steps))
    active, observation = steps.primitive, skills.shown(steps.observation)
    value = _active_value(learner, observation, active)
    final_value = _active_value(learner, skills.shown(rollout.final_observation[mine][None]), active[-1:])[0]
    advantages = advantage.primitive_advantages(
        *(settings.learned(steps.reward), steps.end, steps.decides, value, final_value),
        _after_limits(learner, rollout, skills, settings)[:, mine],
        through_macro_actions=config.hierarchy.credit == "episode",
        gamma=settings.gamma,
        lam=settings.lam,
    )
    learns = config.hierarchy.learn_from_explored | ~steps.explored
    rows = np.where(learns, active, -1)
    seen, action = samples(observation), samples(steps.action)
    log_prob = _active_log_prob(primitives, seen, action, lanes_first(active).reshape(-1))
    by_step = log_prob.view(active.shape[::-1]).T.numpy()
    normalised, pooled = normalise(advantages, advantages + value, by_step, rows, primitives.n, learner.ranks)
    batch = ppo.Batch(
        observation=seen,
        action=action,
        log_prob=log_prob,
        advantage=samples(normalised),
        target=samples(learner.targets(advantages + value, active, pooled)),
    )
    joint_workers = [worker for worker, on in zip(workers, joint, strict=True) if on]
    streams = [seeding.stream(config.run.seed, "primitive", iteration, worker) for worker in joint_workers]
    keys = keys_of(streams, settings.epochs, np.ones((len(streams), lanes_each, len(active)), np.bool_))
    by_worker = lanes_first(rows).reshape(len(joint_workers), lanes_each * len(active))
    minibatches = ppo.plan(by_worker, primitives.n, keys, settings.minibatches, parameters=primitives.flat.shape[1])
    rate = schedule.decayed(iteration, config.hierarchy.forming_iterations, settings.learning_rate, settings.decay)
    enough = [count >= settings.min_samples for count in pooled.count]
    found = learner.update(batch, minibatches, enough, rate, summed(learner.ranks))
    return pooled.count, diagnostics(found, primitives, pooled)


def _after_limits(learner: Learner, rollout: Rollout, skills: Skills, config: PrimitivePPO) -> Array:
    """(T, L) values of what followed the ends that were the time limit's alone (Pardo et al. 2018); else 0."""
    found = np.zeros(rollout.steps.reward.shape, np.float32)
    for t, lanes, observation in rollout.limits if config.bootstrap_time_limits else ():
        active = rollout.steps.primitive[t, lanes]
        found[t, lanes] = _active_value(learner, skills.shown(observation)[None], active[None])[0]
    return found


def choice_entropy(masters: Stack, observation: Array) -> Array:
    """Mean entropy in nats of each master's own choices: (T, L, observation), L in equal blocks a master -> (n,)."""
    with torch.no_grad():
        blocks = torch.from_numpy(lanes_first(observation)).view(masters.n, -1, observation.shape[-1])
        return _entropy(masters.policy(blocks)).mean(-1).numpy()


def _entropy(outputs: Tensor) -> Tensor:
    """(n, B, K) -> (n, B)."""
    log_pi = torch.log_softmax(outputs, -1)
    return -(log_pi.exp() * log_pi).sum(-1)


def summed(ranks: Ranks) -> ppo.Reduce:
    """Sums over ranks, for a learner's update."""
    return lambda buffer: ranks.sum(buffer.numpy())


def _active_value(learner: Learner, observation: Array, active: Array) -> Array:
    """(T, L, observation), (T, L) -> (T, L) values of the active primitive."""
    if not active.size:
        return np.zeros(active.shape, np.float32)
    index, place = by_row(active.reshape(-1), learner.stack.n)
    with torch.no_grad():
        flat = torch.from_numpy(observation.reshape(-1, observation.shape[-1])[index])
        value: Array = learner.stack.value(flat).view(-1).numpy()[place].reshape(active.shape)
    return learner.returns_from(value, active)


def _active_log_prob(primitives: Stack, observation: Tensor, action: Tensor, active: Array) -> Tensor:
    """(S, observation), (S, ...), (S,) -> (S,) log-probabilities by the active primitive."""
    if not active.size:
        return torch.zeros(0)
    index, place = by_row(active, primitives.n)
    with torch.no_grad():
        return primitives.log_prob(observation[index], action[index]).view(-1)[place]
