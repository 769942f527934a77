"""The settings that a run begins with where nobody has chosen a preset, by looking at the environment."""

from __future__ import annotations

import gymnasium as gym

from mlsh_mpi.config.presets import DEFAULT_PRESET, config_for, preset_config
from mlsh_mpi.config.settings import Config
from mlsh_mpi.config.starting import EnvironmentFacts, starting_config
from mlsh_mpi.errors import UserError
from mlsh_mpi.sampling.environment_choice import EnvironmentChoice
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.sampling.vector_env import fault_of_closing


def is_looked_at(env: str | None) -> bool:
    """Whether what to begin with follows from the environment: it is registered with Gymnasium and has no preset.

    A class of the user's own is not made before the job watches over it: it may end the process, or hang.
    """
    name = config_for(None, env).preset
    known = name != DEFAULT_PRESET or env == preset_config(name).environment.env
    return env in gym.registry and not known


def started(config: Config, choice: EnvironmentChoice) -> tuple[Config, str] | None:
    """The configuration to begin with in an environment without a preset, and why; None if the environment cannot be made.

    Args:
        config: what was asked for, on top of the default preset: it says how the environment is made.
        choice: what the user, not a file, says about the environment.
    """
    try:
        family = TaskFamily.from_maker(EnvironmentMaker.from_config(config.environment, choice))
        tasks = len(family.tasks)
        fault_of_closing(family.env)
    except UserError:  # the run will say it
        return None
    facts = EnvironmentFacts(family.name, isinstance(family.action_space, gym.spaces.Box), family.episode_length, tasks)
    return starting_config(facts, config_for(None, config.environment.env))
