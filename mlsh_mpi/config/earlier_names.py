"""Names of earlier versions, which users' files and scripts may still use."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlsh_mpi.output import warn

SETTINGS = {
    "forming_iterations": "whole_episode_iterations",
    "uniform_iterations": "random_master_iterations",
    "deal_tasks": "stratify_tasks",
}
"""The present name of a setting by its earlier one."""
RESULTS = {
    "without_exploration": "unexplored",
    "returns_without_exploration": "unexplored",
    "curve_without_exploration": "curve_unexplored",
}
"""The earlier name of a result in summary.json or adaptation.json by its present one."""
_noted: set[str] = set()


def present_settings(value: Any) -> Any:
    """A configuration as plain values, as a file holds it, with the present names of all settings."""
    if isinstance(value, Mapping):
        return {SETTINGS.get(name, name): present_settings(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(present_settings(item) for item in value)
    if isinstance(value, str) and "=" in value:  # an entry of Config.shortened: forming_iterations=72
        name, _, rest = value.partition("=")
        return f"{SETTINGS.get(name, name)}={rest}"
    return value


def present_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword options with their present names. Warns once about each earlier name."""
    present = {}
    for name, value in options.items():
        _note(name, SETTINGS.get(name, name))
        present[SETTINGS.get(name, name)] = present_options(value) if isinstance(value, Mapping) else value
    return present


def present_arguments(arguments: Sequence[str]) -> list[str]:
    """The words of a command line with the present names of options. Warns once about each earlier name."""
    present = []
    for word in arguments:
        match = re.fullmatch(r"--(no-)?([\w-]+)(=.*)?", word, re.DOTALL)
        name = match[2].replace("-", "_") if match else ""
        if match and name in SETTINGS:
            option = SETTINGS[name].replace("_", "-")
            _note(f"--{match[2]}", f"--{option}")
            word = f"--{match[1] or ''}{option}{match[3] or ''}"
        present.append(word)
    return present


def result(values: Mapping[str, Any], name: str) -> Any:
    """A result by its present name, also from a file of an earlier version; None if there is none."""
    return values.get(name, values.get(RESULTS.get(name, name)))


def _note(earlier: str, present: str) -> None:
    if earlier != present and earlier not in _noted:
        _noted.add(earlier)
        warn(f"mlsh_mpi: {earlier} is now called {present}")
