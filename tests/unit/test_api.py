"""What scripts call, as far as it needs no job: mistakes that are found before anything is sent."""

import threading

from mlsh_mpi.api import unpicklable_part


def test_the_part_that_keeps_an_environment_from_travelling_is_named():
    lock = threading.Lock()

    def made():
        return lock.locked()

    class Holding:
        lock = threading.Lock()

    assert "the variable lock, a lock (" in unpicklable_part(made)
    assert "the attribute lock, a lock (" in unpicklable_part(Holding)
