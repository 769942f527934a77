"""Which environment to make: the one that the user names, and what a file may name instead.

People load one another's primitives, and a phi file names the environment of its training. Importing a module and calling one of
its attributes would run any code that the file's author has chosen. So a file may name an environment that Gymnasium has
registered, with numbers and words as its settings; anything else is used only if the user also names it, or trusts the file.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from mlsh_mpi.errors import UserError

SCRIPTED = "script:"
"""Prefix of the name of an environment that a script passed; it cannot be made again from that name."""
WORD = re.compile(r"\w[\w-]*")
"""Text that a file may use as a setting: no path, no name in a module, no command."""
EnvFactory = Callable[..., gym.Env[Any, Any]]


@dataclass(frozen=True)
class EnvironmentChoice:
    """What the user, not a file, says about the environment."""

    env: str | EnvFactory | None = None
    """The environment that was named, or passed from a script; None for that of the configuration."""
    settings: bool = False
    """Whether the user gave settings of the environment."""
    trust: bool = False
    """Whether the user trusts the file that the configuration comes from."""

    def check_setting(self, name: str, value: Any) -> None:
        """Refuses a setting that a file must not contain.

        Raises:
            UserError: the user has not given it, and it is neither a number nor a word nor a list of these.
        """
        if not (self.settings or self.trust or _is_plain(value)):
            raise UserError(
                f"a file may set numbers and words of an environment, but this one sets {name}={value!r}: give that with "
                "--env-settings if you mean it, or add --trust (in Python trust=True) if you trust the file"
            )

    def check_code(self, env: str) -> None:
        """Refuses to follow the name of a module in a configuration.

        Args:
            env: the environment that the configuration names.

        Raises:
            UserError: it is not a registered id, and the user neither names it nor trusts the file.
        """
        if env.startswith(SCRIPTED):
            name = env.removeprefix(SCRIPTED)
            raise UserError(
                f"the environment of this run came from a script, as {name}: name it with --env module:{name}, or pass "
                f"env={name} in Python"
            )
        if ":" in env and not self.trust:
            raise UserError(
                f"a file may name registered environments, but this one names {env}, which is code in a module: name it "
                f"yourself with --env {shlex.quote(env)} (in Python env={env!r}), or add --trust (trust=True) if you trust it"
            )


def check_is_environment(env: str, named: object) -> None:
    """Refuses to call what a trusted file names, unless it is an environment's class.

    Raises:
        UserError: it is something else.
    """
    if isinstance(named, str) or (isinstance(named, type) and issubclass(named, gym.Env)):
        return
    raise UserError(
        f"a file may name a subclass of gymnasium.Env, but {env} is {named!r}: if a function of yours makes the environment, "
        f"name it yourself with --env {shlex.quote(env)} (in Python env={env!r})"
    )


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, int) or (isinstance(value, str) and bool(WORD.fullmatch(value)))
