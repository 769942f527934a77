"""The one error that a user's mistake raises, and help with its wording."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class UserError(Exception):
    """A mistake in what the user asked for. The message is one sentence or two: the rule, the values, what to do."""

    everywhere = False
    """Every rank of the job raises it."""

    @classmethod
    def of_all(cls, text: str) -> UserError:
        """One that every rank of the job raises."""
        error = cls(text)
        error.everywhere = True
        return error


@contextmanager
def told() -> Iterator[None]:
    """Around a command that is no MPI job: a UserError ends it with its sentence and exit code 2."""
    try:
        yield
    except UserError as error:
        print(f"mlsh_mpi: {error}", file=sys.stderr)
        sys.exit(2)


def nearest(word: str, choices: Sequence[str]) -> str:
    """The choice most like a mistyped word, as a hint in parentheses, or nothing if none is like it."""
    match = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f" (did you mean {match[0]}?)" if match else ""
