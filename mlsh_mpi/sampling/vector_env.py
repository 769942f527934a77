"""Episodes in lock-step: an environment's vector form, or single environments stepped one after another behind its interface."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from mlsh_mpi.errors import Interrupted, as_words
from mlsh_mpi.sampling.actions import Actions
from mlsh_mpi.sampling.info import numbers_of, numbers_of_lane

Array = np.ndarray[Any, np.dtype[Any]]
RESET, STEP = ("observation", "info"), ("observation", "reward", "terminated", "truncated", "info")
"""What an environment's methods return."""


class LaneFault(Exception):  # noqa: N818  (the faulty thing is the environment)
    """A fault of a lane's environment; the lane is None if the environment steps all lanes at once."""

    def __init__(self, lane: int | None, fault: str) -> None:
        super().__init__(fault)
        self.lane = lane


class VectorEnv:
    """Episodes in lock-step; the caller restarts those that have ended.

    Args:
        vector: an environment with the vector interface and autoreset disabled.
        actions: the conversion from policies' actions to its own.
        episode_length: T; an episode that the environment has not ended by then is truncated. None leaves that to it.
    """

    def __init__(self, vector: Any, actions: Actions, episode_length: int | None = None) -> None:
        self._vector, self._actions, self._episode_length = vector, actions, episode_length
        self.count: int = vector.num_envs
        self._shape: tuple[int, ...] = (self.count, *vector.single_observation_space.shape)
        self._taken = np.zeros(self.count, np.int64)  # steps of each lane since its reset
        self.truncated = np.zeros(self.count, np.bool_)
        """(L,) bool: whether only the time limit ended the episode with the last step."""
        self.offset: Array | None = None
        """(observation,) subtracted from observations in their own precision; None subtracts nothing."""
        self.kind: type[np.floating[Any]] = np.float32
        """Type of the returned observations."""
        self._info: Any = {}

    def reset(self, mask: Array, seeds: Sequence[int], tasks: Sequence[Any]) -> Array:
        """Starts new episodes.

        Args:
            mask: (L,) bool, the lanes that restart.
            seeds: (L,) a seed for each lane.
            tasks: (L,) a task for each lane.

        Returns:
            (L, observation) of all lanes, as :attr:`kind`.

        Raises:
            LaneFault: the environment does not follow Gymnasium's interface.
        """
        answer = self._vector.reset(seed=seeds, options={"reset_mask": mask, "task": tasks})
        observation, _ = _unpack(None, "reset", answer, RESET)
        self._taken[mask] = 0
        return self._observed(observation)

    def step(self, action: Array) -> tuple[Array, Array, Array]:
        """Steps all lanes.

        Args:
            action: (L, ...) as policies sampled it.

        Returns:
            (L, observation) as :attr:`kind`, (L,) rewards, and (L,) bool whether the episode is over, by termination or
            truncation.

        Raises:
            LaneFault: the environment does not follow Gymnasium's interface.
        """
        answer = self._vector.step(self._actions(action))
        observation, reward, *ends, self._info = _unpack(None, "step", answer, STEP)
        terminated, truncated = (self._one_a_lane("end", end).astype(np.bool_, copy=False) for end in ends)

        self._taken += 1
        if self._episode_length is not None:
            truncated = truncated | (self._taken >= self._episode_length)
        self.truncated = truncated & ~terminated
        return self._observed(observation), self._one_a_lane("reward", reward), terminated | truncated

    def numbers(self, lanes: Array) -> list[dict[str, float]]:
        """The plain numbers in the environment's `info` of the last step, for each of these lanes.

        Args:
            lanes: (n,) numbers of lanes.
        """
        if isinstance(self._vector, SequentialVectorEnv):
            return [numbers_of(self._vector.infos[lane]) for lane in lanes]
        return [numbers_of_lane(self._info, lane) for lane in lanes] if self._info else []

    @property
    def spaces(self) -> tuple[gym.Space[Any], gym.Space[Any]]:
        """The spaces of an observation and of an action in one lane."""
        return self._vector.single_observation_space, self._actions.space

    @property
    def active_index(self) -> int | None:
        """The lane that is being stepped or reset; None if all are stepped as one array."""
        return getattr(self._vector, "lane", None)

    def close(self) -> str:
        """Closes the environments. Returns a description of what went wrong; empty if nothing did."""
        return fault_of_closing(self._vector)

    def _observed(self, observation: Any) -> Array:
        values = np.asarray(observation)
        if values.shape != self._shape or not _is_numeric(values):
            raise LaneFault(
                None, f"returned observations of type {values.dtype} and shape {values.shape}, not numbers of shape {self._shape}"
            )
        if self.offset is not None:
            values = values - self.offset
        return values.astype(self.kind, copy=False)

    def _one_a_lane(self, what: str, values: Any) -> Array:
        array = np.asarray(values)
        if array.size != self.count or not _is_numeric(array):
            raise LaneFault(None, f"returned the {what} as {array.dtype} of shape {array.shape}, not one for each lane")
        return array.reshape(self.count)


class SequentialVectorEnv:
    """Single environments behind the vector interface with autoreset disabled; `lane` is the one being stepped or reset, `infos`
    are the `info` of the last step.

    Args:
        envs: one for each lane.
        options: makes the options of a reset from a task.
    """

    def __init__(
        self, envs: Sequence[gym.Env[Any, Any]], options: Callable[[Any], dict[str, Any]] = lambda task: {"task": task}
    ) -> None:
        self.envs, self.num_envs, self._options = list(envs), len(envs), options
        self.single_observation_space = envs[0].observation_space
        self._shape: tuple[int, ...] = envs[0].observation_space.shape  # type: ignore[assignment]
        self._observation = np.zeros((len(envs), *self._shape))
        self.infos: list[Any] = [{}] * len(envs)
        self.lane = 0

    def reset(self, *, seed: Sequence[int], options: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
        """Resets the lanes of options["reset_mask"] to options["task"], a sequence with one for each lane."""
        with self._attribute_faults():
            for lane in np.flatnonzero(options["reset_mask"]).tolist():
                self.lane = lane
                answer = self.envs[lane].reset(seed=seed[lane], options=self._options(options["task"][lane]))
                self._put(_unpack(lane, "reset", answer, RESET)[0])
        return self._observation.copy(), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Steps every lane."""
        reward = np.zeros(self.num_envs)
        ends = np.zeros((2, self.num_envs), np.bool_)
        with self._attribute_faults():
            for lane, env in enumerate(self.envs):
                self.lane = lane
                answer = env.step(actions[lane])
                observation, step_reward, terminated, truncated, self.infos[lane] = _unpack(lane, "step", answer, STEP)
                self._put(observation)
                reward[lane] = step_reward if type(step_reward) is float else self._number("reward", step_reward)
                ends[0, lane] = terminated if type(terminated) is bool else self._number("end", terminated)
                ends[1, lane] = truncated if type(truncated) is bool else self._number("end", truncated)
        return self._observation.copy(), reward, *ends, {}

    def _put(self, observation: Any) -> None:
        values = np.asarray(observation)
        if values.shape != self._shape or not _is_numeric(values):
            shape = f"an observation of shape {values.shape}, but its space says {self._shape}"
            raise LaneFault(self.lane, f"returned {shape if values.shape != self._shape else f'the observation {observation!r}'}")
        self._observation[self.lane] = values

    def _number(self, what: str, value: Any) -> float:
        """One number, which may be an array or tensor of one element."""
        try:
            if not isinstance(value, (str, bytes)):
                return float(value.item() if hasattr(value, "item") else value)
        except (TypeError, ValueError):
            pass  # reported below
        raise LaneFault(self.lane, f"returned the {what} {value!r}, not one number")

    @contextlib.contextmanager
    def _attribute_faults(self) -> Iterator[None]:
        try:
            yield
        except (LaneFault, Interrupted):
            raise
        except BaseException as error:  # including a simulator that calls sys.exit()
            raise LaneFault(self.lane, f"raised {as_words(error)}") from error

    def close(self) -> None:
        """Closes every environment, even after one has failed."""
        with contextlib.ExitStack() as stack:
            for env in self.envs:
                stack.callback(env.close)


def fault_of_closing(env: Any) -> str:
    """Closes an environment. Returns a description of what went wrong; empty if nothing did: cleaning up never ends a job."""
    try:
        env.close()
    except Interrupted:
        raise
    except BaseException as error:  # including a viewer that calls sys.exit()
        return f"raised {as_words(error)}"
    return ""


def _unpack(lane: int | None, method: str, answer: Any, expected: tuple[str, ...]) -> tuple[Any, ...]:
    """What an environment's method returned, after checking that it is a tuple of the right length."""
    if isinstance(answer, tuple) and len(answer) == len(expected):
        return answer
    returned = f"{len(answer)} values" if isinstance(answer, tuple) else type(answer).__name__
    raise LaneFault(lane, f"returned {returned} from {method}, but Gymnasium since 0.26 requires ({', '.join(expected)})")


def _is_numeric(values: Array) -> bool:
    return values.dtype.kind in "fiub"
