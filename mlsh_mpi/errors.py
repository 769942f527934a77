"""The one error that a user's mistake raises, and help with its wording."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


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


def nearest(word: str, choices: Sequence[str]) -> str:
    """The choice most like a mistyped word, as a hint in parentheses, or nothing if none is like it."""
    match = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f" (did you mean {match[0]}?)" if match else ""
