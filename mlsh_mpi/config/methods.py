"""Facts about methods: which one learns a task after which training, with how many updates and environment steps."""

from __future__ import annotations

from dataclasses import replace

from mlsh_mpi.config.adaptation import AdaptConfig, Method
from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError

UNTRAINED: tuple[Method, ...] = ("scratch", "option-critic", "actor-critic")
"""Methods that need no training run."""
DESCRIPTIONS: dict[Method, str] = {
    "master": "fresh masters over the frozen primitives",
    "fine-tune": "copies of the trained policy that learn on",
    "scratch": "policies from scratch",
    "rl2": "tasks for the recurrent policy, an episode an update",
    "maml": "copies of the trained policy that take gradient steps",
    "option-critic": "Option-Critics from scratch",
    "actor-critic": "Actor-Critics from scratch",
}
"""What learns with each method, as the tables name it."""


def default_method(config: Config) -> Method:
    """The method that learns a task after such a training run."""
    if config.algorithm.algorithm != "mlsh":
        return config.algorithm.algorithm
    return "master" if config.hierarchy.primitives > 1 else "fine-tune"


def method_of(config: Config) -> Method:
    """The method that learns a task: the configured one, or else the default."""
    asked = config.test.method if isinstance(config, AdaptConfig) else None
    return asked or default_method(config)


def default_updates(config: Config) -> int:
    """Number of updates on a task by default: W, or U - 1 without a warm-up; for RL² the episodes of a trial less one."""
    if method_of(config) == "rl2":
        return max(1, (config.algorithm.trial or 10) - 1)
    return max(1, config.hierarchy.warmup or config.hierarchy.joint - 1)


def supports_forcing(config: Config) -> bool:
    """Whether each trained primitive can act alone, which a policy with a memory cannot."""
    return config.algorithm.algorithm != "rl2"


def resolved(config: AdaptConfig) -> AdaptConfig:
    """The configuration with one iteration more than updates, so that the effect of the last update is seen.

    Raises:
        UserError: the number of updates is less than 1.
    """
    updates = config.test.updates if config.test.updates is not None else default_updates(config)
    if updates < 1:
        raise UserError(f"--updates must be greater than 0, but is {updates}")
    return replace(config, run=replace(config.run, iterations=updates + 1))


def steps_of_a_worker(config: Config, episode_length: int) -> int:
    """Environment steps that a worker takes in an iteration of training.

    Raises:
        UserError: its D steps are too few for the algorithm.
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
    """Lanes of a worker before its gradient step, and as many after it: half of the episodes that D holds, but at least one."""
    return max(1, config.sampling.steps // 2 // episode_length)


def episodes_of_a_trial(config: Config, episode_length: int) -> int:
    """Episodes of a trial of RL²: as configured, or else as many as D holds, up to ten.

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
