"""What an iteration costs this rank."""

from __future__ import annotations

import time
from dataclasses import replace

from mlsh_mpi.comm import Meter


class Clock:
    """Started when it is made."""

    def __init__(self, meter: Meter) -> None:
        self._meter, self._before = meter, replace(meter)
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def costs(self, environment: float, policy: float) -> tuple[float, ...]:
        """Since the start, as named in :data:`metrics.COSTS`; the seconds of two of them are known already."""
        meter, before = self._meter, self._before
        communication = meter.seconds - before.seconds
        learning = time.perf_counter() - self._wall - environment - policy - communication
        cpu = time.process_time() - self._cpu
        return environment, policy, learning, communication, cpu, meter.calls - before.calls, meter.bytes - before.bytes
