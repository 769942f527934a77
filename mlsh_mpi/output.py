"""Output for users while a job runs, and numbers as text. A job does not fail because something cannot be printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress

PLAIN = str.maketrans("┏┳┓┡╇┩├┼┤└┴┘━─│┃²", "++++++++++++=-||2")
"""ASCII replacements for characters of tables that an encoding may not have."""


def say(text: str) -> None:
    """Prints one or more lines to standard output."""
    _write(text, sys.stdout)


def warn(text: str) -> None:
    """Prints one or more lines to standard error, where users look for warnings and errors."""
    _write(text, sys.stderr)


def printable(text: str) -> str:
    """The text with control characters escaped, since somebody else's file may hold some; line breaks and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def plain(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics rounded to six significant digits, for text files."""
    return {name: value if isinstance(value, int) else float(f"{value:.6g}") for name, value in metrics.items()}


def format_value(value: float) -> str:
    """A return as text, with more decimals the smaller it is: 14333, 39.72, -0.7451."""
    return f"{value:.{4 if abs(value) < 1 else 2 if abs(value) < 1000 else 0}f}"


def _write(text: str, stream: object) -> None:
    text = printable(text)
    try:
        try:
            print(text, file=stream, flush=True)  # type: ignore[call-overload]
        except UnicodeEncodeError:
            encoding = getattr(stream, "encoding", None) or "ascii"
            known = text.translate(PLAIN).encode(encoding, "replace").decode(encoding)
            print(known, file=stream, flush=True)  # type: ignore[call-overload]
    except (OSError, ValueError):  # the disk is full, the reader has gone, or the stream is closed
        discard(stream)


def discard(stream: object) -> None:
    """Discards what is still to be printed to a stream, or Python would fail again when it exits."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())  # type: ignore[attr-defined]
        os.close(null)
