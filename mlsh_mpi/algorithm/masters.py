"""theta: a private master for each group, updated on the 1/N timescale (paper, section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mlsh_mpi.algorithm import advantage, ppo
from mlsh_mpi.algorithm.batches import keys_of, lanes_first, normalise, samples
from mlsh_mpi.algorithm.decision_memory import Memory
from mlsh_mpi.algorithm.return_scale import diagnostics
from mlsh_mpi.algorithm.stack_trainer import StackTrainer
from mlsh_mpi.config.ppo_settings import MasterPPO
from mlsh_mpi.config.settings import Config
from mlsh_mpi.mpi.placement import Placement
from mlsh_mpi.mpi.ranks import Ranks
from mlsh_mpi.networks.actor_critic import Array, Network, StackedActorCritic
from mlsh_mpi.networks.distributions import Exploring
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.rollout import Rollout
from mlsh_mpi.sampling.task_family import TaskFamily


def master_stack(config: Config, family: TaskFamily, count: int) -> StackedActorCritic:
    """`count` masters, not yet initialised."""
    head = Exploring(config.hierarchy.primitives, config.hierarchy.exploration)
    return StackedActorCritic(count, Network(family.observation_size, head, config.network.hidden))


def private_masters(config: Config, world: Ranks, family: TaskFamily, placement: Placement) -> StackTrainer:
    """theta for each group on this rank, not yet initialised; shared with the ranks that have other workers of the group."""
    stack = master_stack(config, family, len(placement.groups))
    return StackTrainer.create(stack, config.master, world.split(placement.groups[0]))


@dataclass(frozen=True)
class MasterUpdate:
    """Diagnostics of an update of the G masters on this rank."""

    entropy: Array
    """(G,) entropy in nats of each master's own policy before the update, without exploration: the mean over its workers here."""
    diagnostics: Array
    """(G, 9) columns as in :data:`mlsh_mpi.algorithm.ppo.DIAGNOSTICS`."""


def update_masters(trainer: StackTrainer, rollout: Rollout, memory: Memory, config: MasterPPO) -> MasterUpdate:
    """PPO on theta on the 1/N timescale: a decision is an action, its macro-action one transition (paper, section 4.1).

    A master without any reward is not updated: after normalisation the errors of its value network would look like advantages,
    and the master would converge before it has found a reward.

    Args:
        trainer: trains the masters of the groups on this rank, one in each row.
        rollout: the steps of their workers, the same number for each master.
        memory: their earlier decisions on the same task; those of this rollout are added.
        config: PPO settings of the masters.
    """
    masters, streams, steps = trainer.stack, rollout.streams, rollout.steps
    workers, lanes = len(streams.workers), steps.reward.shape[1]

    # Decisions of this rollout, together with the remembered ones.
    new = advantage.master_view(
        steps.observation,
        config.learned(steps.reward),
        steps.end,
        steps.primitive,
        steps.decides,
        rollout.final_observation,
        rollout.macro_length,
        memory.pending,
    )
    log_prob, entropy = _choices(masters, new)
    view, log_prob = memory.add(new, log_prob, continues=~steps.decides[0])
    decisions = len(view.choice)

    # (M + 1, L) the master of each lane.
    row = np.broadcast_to(np.repeat(np.arange(masters.n), lanes // masters.n), (decisions + 1, lanes))

    with torch.no_grad():
        blocks = torch.from_numpy(lanes_first(view.observation)).view(masters.n, -1, view.observation.shape[-1])
        value = trainer.returns_from(masters.value(blocks).view(lanes, decisions + 1).T.numpy(), row)
    advantages = view.advantages(value, config.gamma, config.lam)

    # An unfinished macro-action is not learned from.
    rows = np.where(view.valid, row[:-1], -1)
    returns = advantages + value[:-1]
    normalised, pooled = normalise(advantages, returns, log_prob, rows, masters.n, trainer.ranks)
    batch = ppo.Batch(
        observation=samples(view.observation[:-1]),
        action=samples(view.choice),
        log_prob=samples(log_prob),
        advantage=samples(normalised),
        target=samples(trainer.targets(returns, row[:-1], pooled)),
    )
    minibatches = _minibatches(rows, rollout, masters, config)

    # Number of each master's decisions with a reward, over all its workers.
    rewarded = np.bincount(row[:-1][view.valid & (view.reward != 0)], minlength=masters.n).astype(np.float64)
    trainer.ranks.allreduce(rewarded)
    active = [count > 0 for count in rewarded]
    update_diagnostics = trainer.update(batch, minibatches, active, config.learning_rate, trainer.allreduce)

    # Entropy before the update, averaged over each worker's own decisions.
    decided = lanes_first(new.length > 0)
    sums, counts = ((values * decided).reshape(workers, -1).sum(1) for values in (lanes_first(entropy), np.ones(decided.shape)))
    by_worker = sums / np.maximum(counts, 1)
    return MasterUpdate(by_worker.reshape(masters.n, -1).mean(1), diagnostics(update_diagnostics, masters, pooled))


def _minibatches(rows: Array, rollout: Rollout, masters: StackedActorCritic, config: MasterPPO) -> ppo.Plan:
    """Divides every worker's decisions into minibatches; `rows` (M, L) is the master that made each, -1 where not valid."""
    streams, (steps, lanes) = rollout.streams, rollout.steps.reward.shape
    workers, decisions = len(streams.workers), len(rows)
    lanes_each = lanes // workers

    # As many minibatches as a worker without unfinished macro-actions fills, the same on every rank.
    expected = max(1, lanes_each * steps * config.memory // rollout.macro_length)
    count = max(1, round(expected / config.minibatch_size))
    regular = -(-expected // count) * (workers // masters.n)

    generators = [seeding.stream(streams.seed, "master", streams.iteration, worker) for worker in streams.workers]
    valid = lanes_first(rows >= 0).reshape(workers, lanes_each, decisions)
    keys = keys_of(generators, config.epochs, valid)

    return ppo.plan(lanes_first(rows).reshape(workers, -1), masters.n, keys, count, regular, masters.flat.shape[1])


def _choices(masters: StackedActorCritic, view: advantage.MasterView) -> tuple[Array, Array]:
    """(M, L) log-probabilities of a view's choices, and entropies in nats of the masters' own policies, without exploration."""
    decisions, lanes = view.choice.shape
    choice = advantage.one_longer(view.choice)
    head, by_lane = masters.network.head, (lanes, decisions + 1)

    with torch.no_grad():
        outputs = masters.policy(torch.from_numpy(lanes_first(view.observation)).view(masters.n, -1, view.observation.shape[-1]))
        log_std = masters.network.log_std(masters.parameters)
        log_prob = head.log_prob(outputs, log_std, torch.from_numpy(lanes_first(choice)).view(masters.n, -1))
        return log_prob.view(by_lane).T[:-1].numpy(), head.entropy(outputs, log_std).view(by_lane).T[:-1].numpy()


def choice_entropy(masters: StackedActorCritic, observation: Array) -> Array:
    """Mean entropy in nats of n masters' own policies: (T, L, observation), in n equal blocks of lanes -> (n,)."""
    with torch.no_grad():
        blocks = torch.from_numpy(lanes_first(observation)).view(masters.n, -1, observation.shape[-1])
        return masters.network.head.entropy(masters.policy(blocks), masters.network.log_std(masters.parameters)).mean(-1).numpy()
