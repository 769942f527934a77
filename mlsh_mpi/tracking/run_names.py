"""The name of a run, for its folder and for titles; and the two names of one environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlsh_mpi.config.methods import BASELINES
from mlsh_mpi.config.presets import PRESETS, preset_config
from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.sampling.environment_choice import SCRIPTED

SMOKE = "-smoke"
"""Suffix of the preset of a trial run."""


def experiment_name(config: Config) -> str:
    """The preset's name; for an environment that is not the preset's, that environment's, with the baseline and ``-smoke``."""
    preset, env = config.preset.removesuffix(SMOKE), config.environment.env
    try:
        if preset_config(preset).environment.env == env:
            return config.preset
    except UserError:  # a configuration from a file may have any name
        return config.preset

    baseline = next((f"-{name}" for name in BASELINES if preset not in PRESETS and preset.endswith(f"-{name}")), "")
    smoke = SMOKE if config.preset.endswith(SMOKE) else ""
    return env.split("/")[-1].split(":")[-1] + baseline + smoke


def with_present_environment(earlier: Any, before: Mapping[str, Any] | None, config: Config, now: Mapping[str, Any]) -> Any:
    """An earlier configuration with the present name of its environment, if both names mean the same.

    A script passes a class itself, and a command line names it with its module: script:Corridor and corridor:Corridor.

    Args:
        earlier: the earlier configuration, as plain values.
        before: the identity of its checkpoint; None if there is none.
        config: the present configuration.
        now: the present identity.
    """
    env = config.environment.env
    try:
        was = str(earlier["environment"]["env"])
    except (TypeError, KeyError):  # of another kind, which is refused elsewhere
        return earlier

    scripted = was.startswith(SCRIPTED) or env.startswith(SCRIPTED)
    if not scripted or was.rpartition(":")[2] != env.rpartition(":")[2]:
        return earlier

    source = now["software"].get("the environment")
    if before is not None and (not source or before["software"].get("the environment") != source):
        return earlier
    return earlier | {"environment": earlier["environment"] | {"env": env}}
