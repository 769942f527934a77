"""collect() steps lanes of episodes in lock-step and returns one frozen Rollout."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from mlsh_mpi.errors import EnvironmentFault
from mlsh_mpi.mpi.watchdog import Watchdog
from mlsh_mpi.networks.actor_critic import Array, StackedActorCritic
from mlsh_mpi.networks.distributions import Exploring, Head, uniform
from mlsh_mpi.networks.inference import Act, PrimitivePolicies, outputs_of
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.episodes import Episodes, RunningEpisodes, Step, Streams
from mlsh_mpi.sampling.vector_env import VectorEnv


@dataclass(frozen=True)
class Rollout:
    """What this rank's lanes saw and did in one iteration: T steps, L lanes. A worker's lanes are adjacent.

    An episode that ended before the last step was followed by another in the same lane.
    """

    steps: Step
    """(T, L, ...)."""
    final_observation: Array
    """(L, observation) after the last step, filtered; an episode that did not end there was cut by the collection."""
    streams: Streams
    """The workers and their random streams."""
    policies: PrimitivePolicies | None
    """The primitives that acted; None for tabular methods."""
    macro_length: int
    """N, steps from one decision to the next."""
    limits: tuple[TimeLimit, ...]
    """Ends of episodes that only the time limit caused, in chronological order."""
    carried_over: tuple[Array, Array]
    """(L,) summed reward, and (L,) steps, of the episodes that this collection continued, before it began."""
    environment_seconds: float
    policy_seconds: float
    tasks: tuple[Any, ...] = ()
    """The task of each worker; empty for tabular methods."""
    info: tuple[tuple[int, dict[str, float]], ...] = ()
    """For each end of an episode: its lane, and the plain numbers of the environment's `info` if there are any."""

    def primitive_view(self, observation: Array) -> Array:
        """(..., observation) -> (..., the part of it that the primitives see)."""
        return observation if self.policies is None else self.policies.primitive_view(observation)

    @cached_property
    def steps_taken(self) -> Array:
        """(T + 1, L) steps that the episode of a lane had taken before each step of the rollout, and after the last."""
        begins = np.full((len(self.steps.end) + 1, self.steps.end.shape[1]), np.iinfo(np.int64).min)
        begins[0] = -self.carried_over[1]
        t, lane = np.nonzero(self.steps.end)
        begins[t + 1, lane] = t + 1
        return np.arange(len(begins))[:, None] - np.maximum.accumulate(begins)


class TimeLimit(NamedTuple):
    """The lanes whose episode ended with step t only because of the time limit."""

    t: int
    lanes: Array
    """(n,) numbers of the lanes."""
    observation: Array
    """(n, observation) after the last step of the episode, filtered."""


class Decisions(NamedTuple):
    """The decisions of a master, or of a substitute, for the lanes."""

    primitive: Array
    """(L,) int64, the chosen primitive."""
    explored: Array
    """(L,) bool: exploration made the choice."""


Master = Callable[[Array, Array], Decisions]
"""(L, observation), (L, 2) uniform noise -> decisions for all lanes."""


def master_policy(masters: StackedActorCritic, exploration: float) -> Master:
    """Decisions of private masters; the lanes are divided into equal blocks, one for each master."""
    head = Exploring(masters.network.head.outputs, exploration)

    def decide(observation: Array, noise: Array) -> Decisions:
        blocks = observation.reshape(masters.n, -1, observation.shape[-1])
        outputs = outputs_of(masters, blocks).reshape(len(observation), -1)
        return Decisions(head.sample(outputs, outputs, noise), head.explores(noise))

    return decide


def uniform_choice(primitives: int) -> Master:
    """Uniformly random choices, from which primitives learn as from those of a master."""

    def decide(_: Array, noise: Array) -> Decisions:
        return Decisions(uniform(noise[:, 1], primitives), np.zeros(len(noise), np.bool_))

    return decide


def constant_primitive(primitive: int) -> Master:
    """The same primitive in every lane, to see what it does alone."""
    return lambda observation, _: Decisions(np.full(len(observation), primitive), np.zeros(len(observation), np.bool_))


def one_per_block(n: int, lanes_each: int) -> Master:
    """In each of n equal blocks of lanes, always the row of the stack with the block's number."""
    own = Decisions(np.repeat(np.arange(n), lanes_each), np.zeros(n * lanes_each, np.bool_))
    return lambda *_: own


def collect(
    lanes: VectorEnv,
    master: Master,
    policies: PrimitivePolicies,
    tasks: Sequence[Any],
    streams: Streams,
    *,
    steps: int,
    macro_length: int,
    watch: Watchdog,
    running: RunningEpisodes | None = None,
) -> Rollout:
    """Steps every lane, from a fresh reset or from where the last collection left it.

    Args:
        lanes: the same number of lanes for each worker of `streams`.
        master: decides which primitive runs next.
        policies: the primitives and the observation filter.
        tasks: one task for each worker.
        streams: names the random streams of each worker.
        steps: number of steps of each lane; T for a whole episode.
        macro_length: N, steps between decisions; a new episode starts a new macro-action.
        watch: watchdog over the environments.
        running: the unfinished episodes of the last collection, updated in place; None resets every lane and keeps nothing.

    Raises:
        EnvironmentFault: an environment raised an exception, or returned an observation or reward that is not finite.
    """
    started = time.perf_counter()
    lanes_each = lanes.count // len(streams.workers)
    noise, decision_noise, seeds = _draw(policies.head, streams, steps, lanes_each)

    episodes = Episodes(lanes, [task for task in tasks for _ in range(lanes_each)], seeds, streams, watch)
    before = running or RunningEpisodes.empty(lanes.count, 0)
    recording = _Recording.allocate(steps, episodes.resume(before), policies)
    at, seen = recording.steps, recording.seen

    # Steps since the decision of each lane; an unfinished macro-action continues if N is still the same.
    clock = np.where(before.started & (before.macro_length == macro_length), before.clock, 0)
    primitive, explored, t, act = before.primitive, before.explored, 0, policies.acting(before.primitive)

    while t < steps:  # from one decision of any lane to the next
        at.decides[t] = decides = clock == 0
        decisions = master(seen[t], decision_noise[t])
        chosen = np.where(decides, decisions.primitive, primitive)
        explored = np.where(decides, decisions.explored, explored)
        if not np.array_equal(chosen, primitive):
            primitive, act = chosen, policies.acting(chosen)

        begin, until = t, min(steps, t + macro_length - int(clock.max()))
        at.primitive[t:until], at.explored[t:until] = primitive, explored
        t = 1 + recording.steps_until_an_end(range(begin, until), act, noise, episodes, policies)
        clock = np.where(at.end[t - 1], 0, (clock + t - begin) % macro_length)

    episodes.check_finite(at.reward, recording.raw)
    at, carried_over = at._replace(action=np.stack(recording.actions), reward=at.reward.astype(np.float32)), before.carried_over
    if running is not None:
        running.update(at, recording.raw[-1], episodes.seeds, macro_length, clock)

    return Rollout(
        steps=at,
        final_observation=seen[-1],
        streams=streams,
        policies=policies,
        macro_length=macro_length,
        limits=tuple(recording.limits),
        carried_over=carried_over,
        environment_seconds=episodes.seconds,
        policy_seconds=time.perf_counter() - started - episodes.seconds,
        tasks=tuple(tasks),
        info=tuple(recording.info),
    )


@dataclass(frozen=True)
class _Recording:
    """Buffers for what lanes see and do, filled step by step."""

    steps: Step
    """(T, L, ...), all fields but the actions."""
    raw: Array
    """(T + 1, L, observation) as the environments returned it: before each step, and after the last."""
    seen: Array
    """(T + 1, L, observation) as policies see it; the same array as `raw` if there is no filter."""
    actions: list[Array]
    limits: list[TimeLimit]
    info: list[tuple[int, dict[str, float]]]

    @classmethod
    def allocate(cls, length: int, first: Array, policies: PrimitivePolicies) -> _Recording:
        """Buffers for `length` steps, the first of which starts from the observation `first`, (L, observation)."""
        lanes = len(first)
        raw = np.empty((length + 1, *first.shape), first.dtype)
        raw[0] = first

        seen = raw if policies.observation_filter is None else np.empty(raw.shape, np.float32)
        seen[0] = policies.observe(first)

        steps = Step(
            raw_observation=raw[:-1],
            observation=seen[:-1],
            action=np.empty(0),
            reward=np.empty((length, lanes)),  # float32 only once it is known to fit
            end=np.empty((length, lanes), np.bool_),
            primitive=np.empty((length, lanes), np.int64),
            decides=np.zeros((length, lanes), np.bool_),
            explored=np.empty((length, lanes), np.bool_),
        )

        return cls(steps, raw, seen, [], [], [])

    def steps_until_an_end(self, steps: range, act: Act, noise: Array, episodes: Episodes, policies: PrimitivePolicies) -> int:
        """Takes these steps, but stops after one with which an episode has ended; returns the number of the last step."""
        for t in steps:
            if self.step(t, act(policies.primitive_view(self.seen[t]), noise[t]), episodes, policies):
                break
        return t

    def step(self, t: int, action: Array, episodes: Episodes, policies: PrimitivePolicies) -> bool:
        """Steps every lane, and starts the next episode where one ended. Returns whether any did."""
        self.actions.append(action)

        try:
            following, self.steps.reward[t], self.steps.end[t] = episodes.step(action)
        except EnvironmentFault:
            episodes.check_finite(self.steps.reward[:t], self.raw[: t + 1])  # an earlier observation may be the cause
            raise

        end = self.steps.end[t]
        ended = bool(np.count_nonzero(end))  # much faster than any()

        if ended:
            limited = np.flatnonzero(end & episodes.truncated)
            if len(limited):
                self.limits.append(TimeLimit(t, limited, policies.observe(following)[limited]))
            lanes = np.flatnonzero(end)
            infos = zip(lanes.tolist(), episodes.numbers(lanes), strict=False)  # a vector environment may have none at all
            self.info.extend((lane, numbers) for lane, numbers in infos if numbers)

        # After an end comes the first observation of the next episode.
        self.raw[t + 1] = episodes.start(end) if ended and t + 1 < len(self.steps.end) else following
        self.seen[t + 1] = policies.observe(self.raw[t + 1])
        return ended


def _draw(head: Head, streams: Streams, steps: int, lanes_each: int) -> tuple[Array, Array, Array]:
    """All noise of an iteration, drawn separately for each worker: actions' (T, L, ...), decisions' (T, L, 2), seeds (L,)."""
    noise, decision_noise, seeds = [], [], []
    for worker in streams.workers:
        place = (streams.iteration, worker)
        noise.append(head.noise(seeding.stream(streams.seed, "action", *place), (steps, lanes_each)))
        decision_noise.append(seeding.stream(streams.seed, "decision", *place).random((steps, lanes_each, 2), np.float32))
        seeds.append(seeding.episode_seeds(streams.seed, *place, lanes_each))
    return np.concatenate(noise, axis=1), np.concatenate(decision_noise, axis=1), np.concatenate(seeds)
