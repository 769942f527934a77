"""collect(): lanes of episodes in lock-step -> one frozen Rollout."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from mlsh_mpi import seeding
from mlsh_mpi.acting import outputs_of
from mlsh_mpi.errors import EnvironmentFault, Interrupted, as_words
from mlsh_mpi.heads import Exploring, Head
from mlsh_mpi.lanes import LaneFault, Lanes
from mlsh_mpi.policies import Array, Stack
from mlsh_mpi.skills import Skills
from mlsh_mpi.watch import Watch

T = TypeVar("T")


class Step(NamedTuple):
    """What happened at one step in every lane, (L, ...); or, stacked, at every step, (T, L, ...)."""

    raw_observation: Array
    """(L, observation) as the environment gave it."""
    observation: Array
    """(L, observation) float32, filtered: what policies saw."""
    action: Array
    """(L,) int64 or (L, action) float32, before clipping."""
    reward: Array
    """(L,)."""
    end: Array
    """(L,) bool: the last step of its episode, by the task's own end or its own horizon."""
    primitive: Array
    """(L,) int64, which primitive acted."""
    decides: Array
    """(L,) bool: a macro-action starts here."""
    explored: Array
    """(L,) bool: the macro-action of this step was exploration's choice, not the master's."""


@dataclass(frozen=True)
class Rollout:
    """What this rank's lanes saw in one iteration. T steps, L lanes; a worker's lanes are neighbours.

    An episode that ended before the last step was followed by another in the same lane.
    """

    steps: Step
    """(T, L, ...)."""
    final_observation: Array
    """(L, observation) after the last step, filtered; where the episode did not end there the collection cut it."""
    environment_seconds: float
    policy_seconds: float


class Decisions(NamedTuple):
    """What a master (or something in its place) wants the lanes to run."""

    primitive: Array
    """(L,) int64."""
    explored: Array
    """(L,) bool."""


Master = Callable[[Array, Array], Decisions]
"""(L, observation), (L, 2) uniform noise -> decisions for all lanes."""


def masters_decide(masters: Stack, exploration: float) -> Master:
    """Decisions by private masters: the lanes of master g are the g-th of as many equal blocks."""
    head = Exploring(masters.network.head.outputs, exploration)

    def decide(observation: Array, noise: Array) -> Decisions:
        blocks = observation.reshape(masters.n, -1, observation.shape[-1])
        outputs = outputs_of(masters, blocks).reshape(len(observation), -1)
        return Decisions(head.sample(outputs, outputs, noise), head.explores(noise))

    return decide


def always(primitive: int) -> Master:
    """The same primitive everywhere: to see what one skill does alone."""
    return lambda observation, _: Decisions(np.full(len(observation), primitive), np.zeros(len(observation), np.bool_))


def each_its_own(n: int, lanes_each: int) -> Master:
    """Each of n equal blocks of lanes runs its own row of a stack."""
    own = Decisions(np.repeat(np.arange(n), lanes_each), np.zeros(n * lanes_each, np.bool_))
    return lambda *_: own


@dataclass(frozen=True)
class Streams:
    """Whose randomness a collection uses."""

    seed: int
    iteration: int
    workers: Sequence[int]


def collect(
    lanes: Lanes,
    master: Master,
    skills: Skills,
    tasks: Sequence[Any],
    streams: Streams,
    *,
    episode_length: int,
    macro_length: int,
    watch: Watch,
) -> Rollout:
    """Runs every lane for `episode_length` steps from a fresh reset.

    Args:
        lanes: as many for each worker of `streams`.
        master: decides which primitive runs next.
        skills: the primitives, and how everyone observes.
        tasks: one for each worker.
        streams: names the random streams of each worker.
        episode_length: T.
        macro_length: N, steps between decisions; a new episode starts a new macro-action.
        watch: over the environments.

    Raises:
        EnvironmentFault: an environment raised, or observed or paid something that is no finite number.
    """
    started = time.perf_counter()
    lanes_each = lanes.count // len(streams.workers)
    noise, decision_noise, seeds = _draw(skills.head, streams, episode_length, lanes_each)
    episodes = Episodes(lanes, [task for task in tasks for _ in range(lanes_each)], seeds, streams, watch)
    first = episodes.start(np.ones(lanes.count, np.bool_))
    steps, raw, seen = _room(episode_length, first, skills)
    actions = []
    clock = np.zeros(lanes.count, np.int64)
    primitive, explored = np.zeros(lanes.count, np.int64), np.zeros(lanes.count, np.bool_)
    t = 0
    while t < episode_length:  # from one decision of any lane to the next
        steps.decides[t] = decides = clock == 0
        decisions = master(seen[t], decision_noise[t])
        primitive = np.where(decides, decisions.primitive, primitive)
        explored = np.where(decides, decisions.explored, explored)
        act = skills.acting(primitive)
        begin, until = t, min(episode_length, t + macro_length - int(clock.max()))
        steps.primitive[t:until], steps.explored[t:until] = primitive, explored
        ended = False
        while t < until and not ended:
            actions.append(act(skills.shown(seen[t]), noise[t]))
            following, steps.reward[t], steps.end[t] = episodes.step(actions[-1])
            ended = bool(np.count_nonzero(steps.end[t]))  # a fraction of the time of any()
            t += 1
            raw[t] = episodes.start(steps.end[t - 1]) if ended and t < episode_length else following
            seen[t] = skills.observe(raw[t])
        clock = np.where(steps.end[t - 1], 0, (clock + t - begin) % macro_length)
    episodes.refuse("observation", raw)
    episodes.refuse("reward", steps.reward)
    return Rollout(
        steps=steps._replace(action=np.stack(actions)),
        final_observation=seen[-1],
        environment_seconds=episodes.seconds,
        policy_seconds=time.perf_counter() - started - episodes.seconds,
    )


def _room(length: int, first: Array, skills: Skills) -> tuple[Step, Array, Array]:
    """Arrays to be filled with what will be seen and done.

    Args:
        length: T.
        first: (L, observation) at the beginning.
        skills: who observes and acts.

    Returns:
        Steps of shape (T, L, ...), and observations of shape (T + 1, L, observation), raw and as policies see them, of which all
        but the last are those of the steps. The two are one array where there is no filter.
    """
    lanes = len(first)
    raw = np.empty((length + 1, *first.shape), first.dtype)
    raw[0] = first
    seen = raw if skills.observation_filter is None else np.empty(raw.shape, np.float32)
    seen[0] = skills.observe(first)
    steps = Step(
        raw_observation=raw[:-1],
        observation=seen[:-1],
        action=np.empty(0),
        reward=np.empty((length, lanes), np.float32),
        end=np.empty((length, lanes), np.bool_),
        primitive=np.empty((length, lanes), np.int64),
        decides=np.zeros((length, lanes), np.bool_),
        explored=np.empty((length, lanes), np.bool_),
    )
    return steps, raw, seen


class Episodes:
    """Lanes with their tasks and seeds; `seconds` is the time that environments took."""

    def __init__(self, lanes: Lanes, tasks: Sequence[Any], first_seeds: Array, streams: Streams, watch: Watch) -> None:
        self._lanes, self._tasks, self._first, self._streams, self._watch = lanes, tasks, first_seeds, streams, watch
        self._seeds = first_seeds.tolist()
        self._count = np.zeros(lanes.count, np.int64)
        self.seconds = 0.0

    def start(self, which: Array) -> Array:
        """Starts the next episode in some lanes, each from a seed of its own."""
        for lane in np.flatnonzero(which & (self._count > 0)):
            self._seeds[lane] = seeding.next_episode_seed(int(self._first[lane]), int(self._count[lane]))
        self._count += which
        return self._timed("a reset", self._lanes.reset, which, self._seeds, self._tasks)

    def step(self, action: Array) -> tuple[Array, Array, Array]:
        """Steps every lane."""
        return self._timed("a step", self._lanes.step, action)

    def refuse(self, name: str, values: Array) -> None:
        """Raises EnvironmentFault if values (T, L, ...), or (T + 1, L, ...) of which the first came before a step, are not all
        finite numbers."""
        if not np.isfinite(values).all():
            t, lane, *_ = np.argwhere(~np.isfinite(values))[0]
            value = values[t, lane]
            raise EnvironmentFault(f"{self._place(lane)} has the {name} {value.tolist()} after {t} steps of the iteration")

    def _timed(self, what: str, act: Callable[..., T], *arguments: Any) -> T:
        entered = time.perf_counter()
        self._watch.enter(lambda: f"{what} of {self._place(self._lanes.at_work)}")
        try:
            return act(*arguments)
        except LaneFault as fault:
            raise EnvironmentFault(f"{self._place(fault.lane)} {fault}") from fault.__cause__
        except Interrupted:
            raise
        except BaseException as error:
            raise EnvironmentFault(f"{self._place(self._lanes.at_work)} raised {as_words(error)}") from error
        finally:
            self._watch.leave()
            self.seconds += time.perf_counter() - entered

    def _place(self, lane: int | None) -> str:
        workers = self._streams.workers
        if lane is None:
            return f"the environments of workers {min(workers)} to {max(workers)} in iteration {self._streams.iteration + 1}"
        worker = workers[int(lane) * len(workers) // self._lanes.count]
        return f"the environment of worker {worker}, with task {self._tasks[lane]!r}, in iteration {self._streams.iteration + 1}"


def _draw(head: Head, streams: Streams, steps: int, lanes_each: int) -> tuple[Array, Array, Array]:
    """All noise of an iteration, drawn for each worker apart: (T, L, ...), (T, L, 2), (L,)."""
    noise, decision_noise, seeds = [], [], []
    for worker in streams.workers:
        place = (streams.iteration, worker)
        noise.append(head.noise(seeding.stream(streams.seed, "action", *place), (steps, lanes_each)))
        decision_noise.append(seeding.stream(streams.seed, "decision", *place).random((steps, lanes_each, 2), np.float32))
        seeds.append(seeding.episode_seeds(streams.seed, *place, lanes_each))
    return np.concatenate(noise, axis=1), np.concatenate(decision_noise, axis=1), np.concatenate(seeds)
