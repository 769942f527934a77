"""What this rank is doing that could hang, and a timer that ends the rank when it takes too long."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

WAITING = 2.0
"""Patience with other ranks, as a multiple of that with the own environment: so the rank that hangs speaks first."""


class Watch:
    """Knows one thing at a time; entering and leaving cost a microsecond."""

    def __init__(self) -> None:
        self._entered: tuple[float, float, Callable[[], str]] | None = None

    def enter(self, what: Callable[[], str], factor: float = 1.0) -> None:
        """Something begins that may hang.

        Args:
            what: describes it, if it does.
            factor: multiplies the patience with it.
        """
        self._entered = (time.monotonic(), factor, what)

    def leave(self) -> None:
        """It is over."""
        self._entered = None

    def start(self, patience: float, tell: Callable[[str], None]) -> None:
        """Watches from a thread of its own, to the end of the process.

        Args:
            patience: seconds.
            tell: hears what hangs, and where in the program, just before the rank is ended.
        """
        working = threading.get_ident()

        def look() -> None:
            while True:
                time.sleep(min(1.0, patience / 4))
                entered = self._entered
                if entered is not None and time.monotonic() - entered[0] > patience * entered[1]:
                    frame = sys._current_frames().get(working)
                    tell(
                        f"has waited {patience * entered[1]:.0f} s for {entered[2]()}: it hangs, or --patience is too short\n"
                        + "".join(traceback.format_stack(frame))
                    )
                    time.sleep(0.3)  # the launcher reads it
                    os._exit(1)  # not MPI's abort, which may hang with the rest; the launcher ends the other ranks

        threading.Thread(target=look, name="watch", daemon=True).start()
