"""The settings that a run begins with where nobody has chosen a preset and the environment has none."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym

from mlsh_mpi.config.presets import config_for
from mlsh_mpi.config.settings import Config
from mlsh_mpi.config.starting import EnvironmentFacts, reason, starting_config
from mlsh_mpi.output import warn
from mlsh_mpi.sampling.environment_choice import EnvironmentChoice
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.task_family import TaskFamily

Options = Callable[[Config], Config]
"""What the user asked for, on top of any configuration."""


def begun(config: Config, family: TaskFamily, options: Options | None) -> tuple[Config, str]:
    """The configuration that follows from an environment and the user's options, and why.

    Args:
        config: what the user asked for, on top of the default preset.
        family: the environment with its tasks.
        options: None keeps the configuration, and gives no reason: a preset was chosen.

    Raises:
        UserError: the options do not fit the configuration.
    """
    if options is None:
        return config, ""
    continuous = isinstance(family.action_space, gym.spaces.Box)
    facts = EnvironmentFacts(family.name, continuous, family.episode_length, len(family.tasks))
    found = options(starting_config(facts, config_for(None, config.environment.env)))
    return found, reason(facts, found)


def printed(config: Config, choice: EnvironmentChoice, options: Options | None) -> Config:
    """The configuration with which a run would begin.

    An environment of the user's own is made by runs only, where the job watches over it: for it, the settings are those of the
    default preset.

    Args:
        config: what the user asked for, on top of the default preset.
        choice: what the user, not a file, says about the environment.
        options: as for :func:`begun`.

    Raises:
        UserError: the environment cannot be made, or options do not fit.
    """
    if options is None:
        return config
    if config.environment.env not in gym.registry:
        warn(f"mlsh_mpi: a run of {config.environment.env} begins with other settings, which follow from the environment")
        return config
    family = TaskFamily.from_maker(EnvironmentMaker.from_config(config.environment, choice))
    return begun(config, family, options)[0]
