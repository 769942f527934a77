"""What a run begins with in an environment that has no preset: it follows from actions, episode length and number of tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace

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


def starting_config(facts: EnvironmentFacts, default: Config) -> tuple[Config, str]:
    """The configuration to begin with, and why, in a sentence.

    Choices: the settings of the default preset, whose masters decide five times in an episode. Numbers: those with which ants
    and cheetahs learn, without their scales of rewards, which differ from one environment to another: values are standardised,
    and value networks see the time left and the task.

    Args:
        facts: about the environment.
        default: the configuration of the default preset.
    """
    macro_length = max(1, facts.episode_length // DECISIONS)
    every = f"N = {macro_length}, a fifth of an episode's {facts.episode_length} steps"
    if not facts.continuous:
        hierarchy = replace(default.hierarchy, macro_length=macro_length)
        sampling = replace(default.sampling, steps=max(default.sampling.steps, facts.episode_length))
        reason = f"{facts.name} has no preset: discrete actions, so the settings of {default.preset}, and {every}"
        return replace(default, hierarchy=hierarchy, sampling=sampling), reason

    sections = tuned(
        facts.name,
        ITERATIONS,
        forming=FORMING,
        cycle=(8, 24),
        macro_length=macro_length,
        steps=max(2000, facts.episode_length),
        primitive=replace(SEEING, standardise_values=True),
        early_joint=32,
    )
    sections["environment"] = default.environment
    reason = (
        f"{facts.name} has no preset: continuous actions, so the settings of ants, with standardised values, which need no scale "
        f"of rewards, and {every}"
    )
    if facts.tasks:
        reason += f"; value networks are told which of the {facts.tasks} tasks it is"
    return replace(Config(preset=default.preset), **sections), reason  # type: ignore[arg-type]
