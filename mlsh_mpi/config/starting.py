"""What a run begins with in an environment that has no preset: it follows from actions, episode length and number of tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlsh_mpi.config.presets import DEFAULT_PRESET, config_for, preset_config
from mlsh_mpi.config.settings import Config
from mlsh_mpi.config.tuned import SEEING, tuned

DECISIONS = 5
"""Decisions of a master in an episode."""
ITERATIONS, FORMING = 100, 66
"""Iterations of a run, and how many of them run primitives for whole episodes."""


@dataclass(frozen=True)
class EnvironmentFacts:
    """What is known of an environment before a run."""

    name: str
    continuous: bool
    """Whether actions are numbers, not choices."""
    episode_length: int
    """T, steps."""
    tasks: int
    """Number of listed tasks; 0 if tasks are drawn."""

    @property
    def macro_length(self) -> int:
        """N to begin with."""
        return max(1, self.episode_length // DECISIONS)


def has_preset(env: str | None) -> bool:
    """Whether an environment has a preset; None stands for the default preset's."""
    name = config_for(None, env).preset
    return env is None or name != DEFAULT_PRESET or env == preset_config(name).environment.env


def starting_config(facts: EnvironmentFacts, default: Config) -> Config:
    """The configuration to begin with.

    Choices: the settings of the default preset, whose masters decide five times in an episode. Numbers: those with which ants
    and cheetahs learn, without their scales of rewards, which differ from one environment to another: values are standardised,
    and value networks see the time left and the task.

    Args:
        facts: about the environment.
        default: the configuration of the default preset.
    """
    if not facts.continuous:
        hierarchy = replace(default.hierarchy, macro_length=facts.macro_length)
        sampling = replace(default.sampling, steps=max(default.sampling.steps, facts.episode_length))
        return replace(default, hierarchy=hierarchy, sampling=sampling)

    sections = tuned(
        facts.name,
        ITERATIONS,
        forming=FORMING,
        cycle=(8, 24),
        macro_length=facts.macro_length,
        steps=max(2000, facts.episode_length),
        primitive=replace(SEEING, standardise_values=True),
        early_joint=32,
    )
    sections["environment"] = default.environment
    return replace(Config(preset=default.preset), **sections)  # type: ignore[arg-type]


def reason(facts: EnvironmentFacts, config: Config) -> str:
    """Why a run begins with the settings that it has, in a sentence.

    Args:
        facts: about the environment.
        config: the run's configuration: what it begins with, and on top of that what the user has asked for.
    """
    if facts.continuous:
        chosen = ["continuous actions, so the settings of ants, with standardised values, which need no scale of rewards"]
    else:
        chosen = [f"discrete actions, so the settings of {DEFAULT_PRESET}"]
    if config.hierarchy.macro_length == facts.macro_length:
        chosen.append(f"N = {facts.macro_length}, a fifth of an episode's {facts.episode_length} steps")
    if "task" in config.primitive.critic_inputs and facts.tasks:
        chosen.append(f"value networks are told which of the {facts.tasks} tasks it is")
    return f"{facts.name} has no preset: {'; '.join(chosen)}"
