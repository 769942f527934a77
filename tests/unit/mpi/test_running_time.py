"""The clock that stands still while its process is stopped, with made-up times."""

import time

import pytest

from mlsh_mpi.mpi import running_time


@pytest.mark.parametrize(
    ("passed", "switches", "counted"),
    [(1.0, 2, 1.0), (905.0, 2, 1.04), (30.0, 6000, 30.0), (0.2, 50, 0.2)],
    ids=["as meant", "stopped", "another thread held the lock", "woken early"],
)
def test_running_time(monkeypatch, passed, switches, counted):
    now = {"time": 5.0, "switches": 7}
    monkeypatch.setattr(time, "monotonic", lambda: now["time"])
    monkeypatch.setattr(running_time, "_switches", lambda: now["switches"])
    clock = running_time.RunningClock()
    now |= {"time": 5.0 + passed, "switches": 7 + switches}
    assert clock.since_last(1.0) == pytest.approx(counted)
    assert clock.since_last(1.0) == 0
