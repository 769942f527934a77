"""What this rank is doing that could hang, and a timer that ends the rank when it takes too long."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

from mlsh_mpi import launchers

TELLING = 8.0
"""Seconds that the last words may take."""
GRACE = 10.0
"""Seconds that the launcher has to end the job by itself."""
WAITING = 2.0
"""Patience with other ranks, as a multiple of that with the own environment: so the rank that hangs speaks first."""


class Watch:
    """Knows one thing at a time; entering and leaving cost a microsecond."""

    def __init__(self) -> None:
        self._entered: tuple[float, float, Callable[[], str]] | None = None
        self._patience: float | None = None

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
        """Watches from a thread of its own, to the end of the process; called again it only changes the patience.

        Args:
            patience: seconds.
            tell: hears what hangs, and where in the program, just before the rank is ended.
        """
        watching, self._patience = self._patience is not None, patience
        if watching:
            return
        working = threading.get_ident()

        def look() -> None:
            while True:
                entered, limit = self._entered, self._patience or patience
                if entered is not None and time.monotonic() - entered[0] > limit * entered[1]:
                    frame = sys._current_frames().get(working)
                    text = f"has waited {limit * entered[1]:.0f} s for {entered[2]()}, or --patience is too short\n"
                    _end(tell, text + "".join(traceback.format_stack(frame)))
                time.sleep(min(1.0, limit / 4))

        threading.Thread(target=look, name="watch", daemon=True).start()


def _end(tell: Callable[[str], None], text: str) -> None:
    """Ends the rank, whatever else hangs: the filesystem may be gone with the network."""
    telling = threading.Thread(target=tell, args=(text,), daemon=True)
    telling.start()
    telling.join(TELLING)
    time.sleep(0.3)  # the launcher reads it
    try:
        launchers.end_later(GRACE)
    finally:
        os._exit(1)  # not MPI's abort, which may hang with the rest; the launcher ends the other ranks
