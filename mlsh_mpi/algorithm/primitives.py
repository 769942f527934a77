"""phi: the primitives that all tasks share, updated on the full timescale (paper, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mlsh_mpi.algorithm import advantage, ppo, schedule
from mlsh_mpi.algorithm.batches import keys_of, lanes_first, normalise, samples
from mlsh_mpi.algorithm.critic_inputs import CriticInputs
from mlsh_mpi.algorithm.return_scale import diagnostics
from mlsh_mpi.algorithm.stack_trainer import StackTrainer
from mlsh_mpi.config.ppo_settings import PrimitivePPO
from mlsh_mpi.config.settings import Config
from mlsh_mpi.mpi.ranks import Ranks
from mlsh_mpi.networks.actor_critic import Array, Network, StackedActorCritic, by_row
from mlsh_mpi.networks.distributions import head_for
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.rollout import Rollout
from mlsh_mpi.sampling.task_family import TaskFamily


def primitive_network(config: Config, family: TaskFamily) -> Network:
    """The architecture of a primitive, or of a single policy instead."""
    head, critic = head_for(family.action_space, config.network.initial_std), CriticInputs.from_config(config.primitive, family)
    return Network(len(family.primitive_columns), head, config.network.hidden, critic_size=critic.size)


def primitive_stack(config: Config, family: TaskFamily) -> StackedActorCritic:
    """The K primitives, not yet initialised."""
    return StackedActorCritic(config.hierarchy.primitives, primitive_network(config, family))


def shared_primitives(config: Config, world: Ranks, family: TaskFamily) -> StackTrainer:
    """phi, with the same initial parameters on every rank."""
    learner = StackTrainer.create(primitive_stack(config, family), config.primitive, world)
    for k in range(learner.stack.n):
        learner.restart(k, seeding.stream(config.run.seed, "phi", k))
    return learner


@dataclass(frozen=True)
class PrimitiveUpdate:
    """Diagnostics of an update of the K primitives, the same on every rank that took part."""

    samples: Array
    """(K,) number of samples of each primitive, over those ranks."""
    diagnostics: Array
    """(K, 9) columns as in :data:`mlsh_mpi.algorithm.ppo.DIAGNOSTICS`."""


def update_primitives(
    trainer: StackTrainer, rollout: Rollout, joint: Sequence[bool], config: Config, critic: CriticInputs
) -> PrimitiveUpdate:
    """PPO on phi on the full timescale: each primitive learns from the samples in which it was active (paper, section 4.1).

    Args:
        trainer: trains the primitives, on the ranks that have data for them.
        rollout: the steps of this rank's W workers.
        joint: (W,) whether each worker's group is in its joint phase; samples of the others are left out.
        config: the run's configuration.
        critic: what the primitives' value networks see.
    """
    primitives, settings, streams = trainer.stack, config.primitive, rollout.streams
    lanes_each = rollout.steps.reward.shape[1] // len(streams.workers)

    # The lanes of joint groups: phi does not learn from the others.
    joint_lanes, all_steps = np.flatnonzero(np.repeat(joint, lanes_each)), rollout.steps
    reward, end, decides, explored, active = (
        values[:, joint_lanes]
        for values in (all_steps.reward, all_steps.end, all_steps.decides, all_steps.explored, all_steps.primitive)
    )

    observation = critic.of_steps(rollout, joint_lanes)
    value = _active_value(trainer, observation, active)
    final_value = _active_value(trainer, critic.at_the_end(rollout, joint_lanes)[None], active[-1:])[0]
    advantages = advantage.primitive_advantages(
        settings.learned(reward),
        end,
        decides,
        value,
        final_value,
        _values_at_time_limits(trainer, rollout, settings, critic)[:, joint_lanes],
        through_macro_actions=config.hierarchy.credit == "episode",
        gamma=settings.gamma,
        lam=settings.lam,
    )

    # A step belongs to the active primitive, or to none if it was explored and those are left out.
    learns = config.hierarchy.learn_from_explored | ~explored
    rows = np.where(learns, active, -1)

    seen, action = samples(observation), samples(all_steps.action[:, joint_lanes])
    log_prob = _active_log_prob(primitives, seen, action, lanes_first(active).reshape(-1))
    by_step = log_prob.view(active.shape[::-1]).T.numpy()
    returns = advantages + value
    normalised, pooled = normalise(advantages, returns, by_step, rows, primitives.n, trainer.ranks)
    batch = ppo.Batch(
        observation=seen,
        action=action,
        log_prob=log_prob,
        advantage=samples(normalised),
        target=samples(trainer.targets(returns, active, pooled)),
    )

    workers = [worker for worker, on in zip(streams.workers, joint, strict=True) if on]
    generators = [seeding.stream(streams.seed, "primitive", streams.iteration, worker) for worker in workers]
    keys = keys_of(generators, settings.epochs, np.ones((len(workers), lanes_each, len(active)), np.bool_))
    by_worker = lanes_first(rows).reshape(len(workers), lanes_each * len(active))
    minibatches = ppo.plan(by_worker, primitives.n, keys, settings.minibatches, parameters=primitives.flat.shape[1])

    rate = schedule.decayed(streams.iteration, config.hierarchy.whole_episode_iterations, settings.learning_rate, settings.decay)
    enough = [count >= settings.min_samples for count in pooled.count]
    update_diagnostics = trainer.update(batch, minibatches, enough, rate, trainer.allreduce)
    return PrimitiveUpdate(pooled.count, diagnostics(update_diagnostics, primitives, pooled))


def _values_at_time_limits(trainer: StackTrainer, rollout: Rollout, config: PrimitivePPO, critic: CriticInputs) -> Array:
    """(T, L) value of the last state of each episode that only its time limit ended (Pardo et al. 2018); 0 elsewhere."""
    values = np.zeros(rollout.steps.reward.shape, np.float32)
    for limit in rollout.limits if config.bootstrap_time_limits else ():
        at = limit.t, limit.lanes
        values[at] = _active_value(trainer, critic.at_a_limit(rollout, limit)[None], rollout.steps.primitive[at][None])[0]
    return values


def _active_value(trainer: StackTrainer, observation: Array, active: Array) -> Array:
    """(T, L, observation), (T, L) -> (T, L) values of the active primitive."""
    if not active.size:
        return np.zeros(active.shape, np.float32)
    index, place = by_row(active.reshape(-1), trainer.stack.n)
    with torch.no_grad():
        flat = torch.from_numpy(observation.reshape(-1, observation.shape[-1])[index])
        value: Array = trainer.stack.value(flat).view(-1).numpy()[place].reshape(active.shape)
    return trainer.returns_from(value, active)


def _active_log_prob(primitives: StackedActorCritic, observation: Tensor, action: Tensor, active: Array) -> Tensor:
    """(S, observation), (S, ...), (S,) -> (S,) log-probabilities under the active primitive."""
    if not active.size:
        return torch.zeros(0)
    index, place = by_row(active, primitives.n)
    with torch.no_grad():
        return primitives.log_prob(observation[index], action[index]).view(-1)[place]
