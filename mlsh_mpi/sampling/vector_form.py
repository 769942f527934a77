"""The vector form with which an environment may be registered: many episodes stepped as arrays."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode

from mlsh_mpi.errors import Interrupted, UserError, as_words
from mlsh_mpi.sampling.actions import Actions
from mlsh_mpi.sampling.flattening import is_flat
from mlsh_mpi.sampling.vector_env import VectorEnv

ALTERNATIVE = "fix it, or register the environment without vector_entry_point"


class NotUsed(Exception):  # noqa: N818  (nothing is wrong)
    """The vector form is not used; the message completes the sentence "its vector form ..."."""


def vector_lanes(env: str, count: int, episode_length: int | None, settings: Mapping[str, Any]) -> VectorEnv:
    """Lanes that are stepped as arrays.

    Args:
        env: id of an environment that is registered with a vector form.
        count: number of lanes.
        episode_length: T, steps of an episode; None takes the registered time limit.
        settings: keyword arguments of the environment.

    Raises:
        NotUsed: the vector form cannot replace the single one.
        UserError: it could not be made.
    """
    spec = gym.spec(env)
    if spec.additional_wrappers:
        raise NotUsed("cannot have the additional_wrappers with which it is registered")

    limit: dict[str, Any] = {} if episode_length is None else {"max_episode_steps": episode_length}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*(autoreset_mode|AutoresetMode)")  # reported once, below
            vector = gym.make_vec(env, count, vectorization_mode="vector_entry_point", **limit, **settings)
        actions = Actions.from_space(vector.single_action_space, bool(getattr(vector.unwrapped, "unclipped_actions", False)))
        lanes = VectorEnv(vector, actions, episode_length or spec.max_episode_steps)
        mode = vector.metadata.get("autoreset_mode")
    except Interrupted:
        raise
    except BaseException as error:
        raise UserError(f"the vector form of {env} could not be made: it raised {as_words(error)}; {ALTERNATIVE}") from error

    if lanes.count != count:
        raise UserError(f"the vector form of {env} was asked for {count} episodes, but has {lanes.count}; {ALTERNATIVE}")
    if mode is not AutoresetMode.DISABLED:
        raise NotUsed('resets by itself, because {"autoreset_mode": AutoresetMode.DISABLED} is missing in its metadata')
    if not is_flat(vector.single_observation_space):
        raise NotUsed(f"observes {vector.single_observation_space}, not flat vectors")
    if not hasattr(vector.unwrapped, "sample_task"):
        raise NotUsed("has no sample_task")
    return lanes
