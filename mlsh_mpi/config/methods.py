"""Facts about methods: what learns a task after which training, for how many updates, and how many steps that takes."""

from __future__ import annotations

from dataclasses import replace

from mlsh_mpi.config.adaptation import AdaptConfig, Method
from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError

UNTRAINED: tuple[Method, ...] = ("scratch", "option-critic", "actor-critic")
"""Methods that begin from nothing."""
DESCRIPTIONS: dict[Method, str] = {
    "master": "fresh masters over the frozen primitives",
    "fine-tune": "copies of the trained policy that learn on",
    "scratch": "policies from scratch",
    "rl2": "tasks for the recurrent policy, an episode an update",
    "maml": "copies of the trained policy that take gradient steps",
    "option-critic": "Option-Critics from scratch",
    "actor-critic": "Actor-Critics from scratch",
}
"""Who learns, in the tables."""


def default_method(config: Config) -> Method:
    """What learns a task after such a training."""
    if config.algorithm.algorithm != "mlsh":
        return config.algorithm.algorithm
    return "master" if config.hierarchy.primitives > 1 else "fine-tune"


def method_of(config: Config) -> Method:
    """What learns a task: as asked for, else the usual."""
    asked = config.test.method if isinstance(config, AdaptConfig) else None
    return asked or default_method(config)


def default_updates(config: Config) -> int:
    """As many as warm-up has; without one, as many as a cycle has before its last iteration."""
    if method_of(config) == "rl2":
        return max(1, (config.algorithm.trial or 10) - 1)
    return max(1, config.hierarchy.warmup or config.hierarchy.joint - 1)


def supports_forcing(config: Config) -> bool:
    """Whether what was trained acts by itself, without a memory."""
    return config.algorithm.algorithm != "rl2"


def resolved(config: AdaptConfig) -> AdaptConfig:
    """With as many iterations as updates ask for: one more, because the last update's effect is to be seen.

    Raises:
        UserError: it asks for no update.
    """
    updates = config.test.updates if config.test.updates is not None else default_updates(config)
    if updates < 1:
        raise UserError(f"--updates must be greater than 0, but is {updates}")
    return replace(config, run=replace(config.run, iterations=updates + 1))


def steps_of_a_worker(config: Config, episode_length: int) -> int:
    """Environment steps that a worker takes in an iteration of training.

    Raises:
        UserError: its D steps do not hold what the algorithm needs.
    """
    if config.algorithm.algorithm == "rl2":
        return _whole(config, episode_length * episodes_of_a_trial(config, episode_length))
    if config.algorithm.algorithm == "maml":
        return 2 * lanes_before_and_after(config, episode_length) * episode_length
    return _whole(config, episode_length)


def _whole(config: Config, length: int) -> int:
    lanes, steps = config.sampling.shape(length)
    return lanes * steps


def lanes_before_and_after(config: Config, episode_length: int) -> int:
    """Lanes of a worker before its step, and as many after it: half of what D holds, but at least one."""
    return max(1, config.sampling.steps // 2 // episode_length)


def episodes_of_a_trial(config: Config, episode_length: int) -> int:
    """As asked for, else as many as D holds, up to ten.

    Raises:
        UserError: D does not hold them.
    """
    most = config.sampling.steps // episode_length
    if config.algorithm.trial is not None and config.algorithm.trial > most:
        raise UserError(
            f"a trial of RL² has --trial {config.algorithm.trial} episodes of {episode_length} steps, but --steps is "
            f"{config.sampling.steps}: use --steps {config.algorithm.trial * episode_length} or more, or a shorter --trial"
        )
    return config.algorithm.trial or min(10, most)
