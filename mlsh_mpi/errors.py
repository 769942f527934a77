"""The errors that end a run: a user's mistake, a faulty environment, an interrupt; and helpers for their messages."""

from __future__ import annotations

import difflib
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlsh_mpi.output import warn


class UserError(Exception):
    """A mistake of the user's. The message is a sentence or two: the rule, the values, what to do."""

    everywhere = False
    """Whether every rank of the job raises it."""

    @classmethod
    def of_all(cls, text: str) -> UserError:
        """An error that every rank of the job raises."""
        error = cls(text)
        error.everywhere = True
        return error


class EnvironmentFault(Exception):  # noqa: N818  (the faulty thing is the environment)
    """An environment raised an exception, tried to end the process, or returned unusable values. The message names it."""


class Interrupted(KeyboardInterrupt):
    """A second Ctrl-C: the job ends at once. A KeyboardInterrupt of any other kind is the environment's own."""


def as_words(error: BaseException) -> str:
    """An exception as the last line of its traceback, and where it was raised: ``KeyError: 'goal' (my_env.py, line 12)``."""
    line = traceback.format_exception_only(error)[-1].strip()
    frames = traceback.extract_tb(error.__traceback__)
    users = [frame for frame in frames if not {"gymnasium", "mlsh_mpi"} & set(Path(frame.filename).parts[-3:-1])]
    if not frames:
        return line
    place = (users or frames)[-1]
    return f"{line} ({Path(place.filename).name}, line {place.lineno})"


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """For a command that is not an MPI job: a UserError in the body ends it with the error's message and exit code 2."""
    try:
        yield
    except UserError as error:
        warn(f"mlsh_mpi: {error}")
        sys.exit(2)


@contextmanager
def exit_on_interrupt() -> Iterator[None]:
    """For a command: Ctrl-C in the body ends it with a line and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        warn("mlsh_mpi: interrupted")
        sys.exit(130)


def nearest(word: str, choices: Sequence[str]) -> str:
    """The choice most similar to a mistyped word, as a hint in parentheses; empty if none is similar."""
    match = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f" (did you mean {match[0]}?)" if match else ""
