"""Episodes in lanes: starting them from their seeds, stepping them, and keeping unfinished ones between two collections."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from mlsh_mpi.errors import EnvironmentFault, Interrupted, as_words
from mlsh_mpi.mpi.watchdog import Watchdog
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.vector_env import LaneFault, VectorEnv

Array = np.ndarray[Any, np.dtype[Any]]
T = TypeVar("T")
LARGEST = 1e12
"""Largest magnitude of a number to learn from: the squares of returns over a thousand such rewards, and of their gradients, do
not overflow in float32."""


class Step(NamedTuple):
    """What happened at one step in every lane, (L, ...); or, stacked, at every step, (T, L, ...)."""

    raw_observation: Array
    """(L, observation) as the environment returned it."""
    observation: Array
    """(L, observation) float32, filtered: what policies saw."""
    action: Array
    """(L,) int64 or (L, action) float32, as policies sampled it."""
    reward: Array
    """(L,) reward of the step."""
    end: Array
    """(L,) bool: the last step of an episode, by termination or truncation."""
    primitive: Array
    """(L,) int64, the primitive that acted."""
    decides: Array
    """(L,) bool: a macro-action starts with this step."""
    explored: Array
    """(L,) bool: the macro-action of this step was chosen by exploration, not by the master."""


@dataclass(frozen=True)
class Streams:
    """Identifies the random streams of a collection."""

    seed: int
    iteration: int
    workers: Sequence[int]


class Episodes:
    """The episodes of all lanes, with their tasks and `seeds`; `seconds` is the time spent in environments."""

    def __init__(self, lanes: VectorEnv, tasks: Sequence[Any], first_seeds: Array, streams: Streams, watch: Watchdog) -> None:
        self._lanes, self._tasks, self._first, self._streams, self._watch = lanes, tasks, first_seeds, streams, watch
        self.seeds: list[int] = first_seeds.tolist()
        self._count = np.zeros(lanes.count, np.int64)
        self.seconds = 0.0

    def resume(self, running: RunningEpisodes) -> Array:
        """(L, observation) of all lanes, after starting an episode in those without an unfinished one."""
        fresh = ~running.started
        started = self.start(fresh) if fresh.any() else running.observation
        if fresh.all():
            return started
        self._count[running.started] = 1
        for lane in np.flatnonzero(running.started):
            self.seeds[lane] = int(running.seeds[lane])
        return np.where(fresh[:, None], started, running.observation)

    def start(self, which: Array) -> Array:
        """Starts the next episode in the marked lanes, each from a seed of its own."""
        for lane in np.flatnonzero(which & (self._count > 0)):
            self.seeds[lane] = seeding.next_episode_seed(int(self._first[lane]), int(self._count[lane]))
        self._count += which
        return self.start_again(which)

    def start_again(self, which: Array) -> Array:
        """Starts the episode of the marked lanes from the seed that it already has."""
        return self._timed("a reset", self._lanes.reset, which, self.seeds, self._tasks)

    @property
    def truncated(self) -> Array:
        """(L,) bool: whether only the time limit ended the episode with the last step."""
        return self._lanes.truncated

    def numbers(self, lanes: Array) -> list[dict[str, float]]:
        """The plain numbers of the environment's `info` with the last step, for each of these lanes, (n,)."""
        return self._lanes.numbers(lanes)

    def step(self, action: Array) -> tuple[Array, Array, Array]:
        """Steps every lane."""
        return self._timed("a step", self._lanes.step, action)

    def check_finite(self, reward: Array, observation: Array | None = None) -> None:
        """Refuses numbers that are useless for learning.

        Args:
            reward: (T, L), of each step.
            observation: (T + 1, L, observation) unfiltered, before each step and after the last.

        Raises:
            EnvironmentFault: one is not finite, or larger than :data:`LARGEST`. The message names the first.
        """
        faults = []
        for name, values, begins in (("observation", observation, 0), ("reward", reward, 1)):
            if values is None or not values.size or (values.min() >= -LARGEST and values.max() <= LARGEST):
                continue
            t, lane, *_ = np.argwhere(~(np.abs(values) <= LARGEST))[0].tolist()  # NaN does not fit either
            faults.append((t + begins, t, name, lane, values[t, lane]))
        if faults:
            _, steps, name, lane, value = min(faults, key=lambda one: one[0])
            limit = f": numbers beyond +-{LARGEST:g} overflow in learning, so scale it" if np.isfinite(value).all() else ""
            place = self._place(lane)
            raise EnvironmentFault(f"{place} has the {name} {value.tolist()} after {steps} steps of the iteration{limit}")

    def _timed(self, what: str, act: Callable[..., T], *arguments: Any) -> T:
        entered = time.perf_counter()
        self._watch.enter(lambda: f"{what} of {self._place(self._lanes.active_index)}")
        try:
            return act(*arguments)
        except LaneFault as fault:
            raise EnvironmentFault(f"{self._place(fault.lane)} {fault}") from fault.__cause__
        except Interrupted:
            raise
        except BaseException as error:
            raise EnvironmentFault(f"{self._place(self._lanes.active_index)} raised {as_words(error)}") from error
        finally:
            self._watch.leave()
            self.seconds += time.perf_counter() - entered

    def _place(self, lane: int | None) -> str:
        workers = self._streams.workers
        if lane is None:
            return f"the environments of workers {min(workers)} to {max(workers)} in iteration {self._streams.iteration + 1}"
        worker = workers[int(lane) * len(workers) // self._lanes.count]
        return f"the environment of worker {worker}, with task {self._tasks[lane]!r}, in iteration {self._streams.iteration + 1}"


@dataclass
class RunningEpisodes:
    """The unfinished episodes of L lanes between two collections, with their actions, so that they can be replayed."""

    started: Array
    """(L,) bool: an episode is unfinished; other lanes start a new one."""
    observation: Array
    """(L, observation) the last one, unfiltered."""
    macro_length: int
    """N of the last collection; if it changes, every lane decides again."""
    clock: Array
    """(L,) steps since the last decision; 0 where a decision is due."""
    primitive: Array
    """(L,) the active primitive."""
    explored: Array
    """(L,) bool: the macro-action was chosen by exploration."""
    seeds: Array
    """(L,) seeds from which the episodes were reset."""
    rewards: list[Array]
    """Rewards of each lane since its episode began: (steps,)."""
    actions: list[Array]
    """Actions of each lane since its episode began: (steps, ...) as policies sampled them."""

    @classmethod
    def empty(cls, lanes: int, observation_size: int) -> RunningEpisodes:
        """No lane has an unfinished episode."""
        observation, seeds = np.zeros((lanes, observation_size), np.float32), np.zeros(lanes, np.int64)
        clock, primitive, explored = (np.zeros(lanes, kind) for kind in (np.int64, np.int64, np.bool_))
        none = [np.zeros(0, np.float32)] * lanes
        return cls(np.zeros(lanes, np.bool_), observation, 0, clock, primitive, explored, seeds, none, list(none))

    @property
    def carried_over(self) -> tuple[Array, Array]:
        """(L,) summed reward so far of the unfinished episodes, and (L,) their steps so far; 0 where there is none."""
        initial_return = np.array([rewards.sum(dtype=np.float64) for rewards in self.rewards])
        return initial_return * self.started, np.array([len(rewards) for rewards in self.rewards]) * self.started

    def update(self, steps: Step, last: Array, seeds: Sequence[int], macro_length: int, clock: Array) -> None:
        """Updates the episodes after a collection.

        Args:
            steps: (T, L, ...) steps of the collection.
            last: (L, observation) after the last step, unfiltered.
            seeds: (L,) seeds of the current episodes.
            macro_length: N of the collection.
            clock: (L,) steps since the last decision.
        """
        self.observation, self.seeds = last.copy(), np.array(seeds, np.int64)
        self.macro_length, self.clock = macro_length, clock
        self.primitive, self.explored = steps.primitive[-1].copy(), steps.explored[-1].copy()
        for lane in range(len(clock)):
            ends = np.flatnonzero(steps.end[:, lane])
            for past, new in ((self.rewards, steps.reward[:, lane]), (self.actions, steps.action[:, lane])):
                continues = self.started[lane] and not len(ends)
                past[lane] = np.concatenate((past[lane], new)) if continues else new[ends[-1] + 1 if len(ends) else 0 :].copy()
        self.started = ~steps.end[-1]

    def lane_states(self) -> list[dict[str, Any]]:
        """The state of each lane for a resume, as tensors and plain values: its seed and actions determine an episode."""
        return [
            {
                "started": bool(self.started[lane]),
                "observation": torch.from_numpy(self.observation[lane].copy()),
                "macro_action": (self.macro_length, int(self.clock[lane]), int(self.primitive[lane]), bool(self.explored[lane])),
                "seed": int(self.seeds[lane]),
                "rewards": torch.from_numpy(self.rewards[lane]),
                "actions": torch.from_numpy(self.actions[lane]),
            }
            for lane in range(len(self.started))
        ]

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Restores what :meth:`lane_states` returned."""
        for lane, state in enumerate(states):
            self.started[lane], self.seeds[lane] = state["started"], state["seed"]
            self.observation[lane] = state["observation"].numpy()
            self.macro_length, self.clock[lane], self.primitive[lane], self.explored[lane] = state["macro_action"]
            self.rewards[lane], self.actions[lane] = state["rewards"].numpy(), state["actions"].numpy()

    def replay_actions(self, lanes: VectorEnv, tasks: Sequence[Any], watch: Watchdog) -> int:
        """Restores the episodes of new lanes, by repeating the actions taken since their reset.

        Args:
            lanes: lanes that have not been reset yet.
            tasks: (L,) tasks of the episodes.
            watch: watchdog over the environments.

        Returns:
            The number of episodes that diverged from before; they count as not started.
        """
        if not self.started.any():
            return 0

        longest = max(len(actions) for actions in self.actions)
        begins = np.array([longest - len(actions) for actions in self.actions])
        example = self.actions[int(begins.argmin())][:1]
        rewards = np.zeros((longest, lanes.count), np.float32)

        episodes = Episodes(lanes, tasks, self.seeds, Streams(0, 0, range(lanes.count)), watch)
        start = np.ones(lanes.count, np.bool_)

        for t in range(longest):  # all lanes finish together; until its own episode starts, a lane takes actions of zero
            if start.any():
                episodes.start_again(start)
            acting = begins <= t
            action = np.zeros((lanes.count, *example.shape[1:]), example.dtype)
            for lane in np.flatnonzero(acting).tolist():
                action[lane] = self.actions[lane][t - begins[lane]]
            last, rewards[t], end = episodes.step(action)
            start = (begins == t + 1) | (end & ~acting)

        diverged = [
            lane
            for lane in np.flatnonzero(self.started).tolist()
            if not self._is_at(lane, last[lane], rewards[begins[lane] :, lane])
        ]
        self.started[diverged] = False
        return len(diverged)

    def _is_at(self, lane: int, observation: Array, rewards: Array) -> bool:
        return np.array_equal(observation, self.observation[lane]) and np.array_equal(rewards, self.rewards[lane])
