"""What people read while a job runs. Nothing that goes wrong here is a reason for the job to fail."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

PLAIN = str.maketrans("┏┳┓┡╇┩├┼┤└┴┘━─│┃²", "++++++++++++=-||2")
"""For terminals that know no more than their own alphabet: tables are drawn with what every one of them has."""


def say(text: str) -> None:
    """A line, or several, on standard output."""
    _write(text, sys.stdout)


def warn(text: str) -> None:
    """The same on standard error, where whoever keeps the output looks for what is unusual."""
    _write(text, sys.stderr)


def _write(text: str, stream: object) -> None:
    try:
        try:
            print(text, file=stream, flush=True)  # type: ignore[call-overload]
        except UnicodeEncodeError:
            encoding = getattr(stream, "encoding", None) or "ascii"
            known = text.translate(PLAIN).encode(encoding, "replace").decode(encoding)
            print(known, file=stream, flush=True)  # type: ignore[call-overload]
    except (OSError, ValueError):  # the disk is full, the reader has gone, or the stream is closed
        with suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())  # type: ignore[attr-defined]  # or Python fails once more, when it ends
            os.close(nowhere)
