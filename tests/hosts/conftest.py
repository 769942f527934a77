"""Two hosts for all tests of this folder."""

import pytest

from hosts.machines import Machines, missing
from mpi.families import FAMILIES, environment_of, folder_for


@pytest.fixture(scope="session")
def machines():
    with folder_for("hosts", missing()) as folder, Machines(folder, ["alpha", "beta"]) as running:
        yield running


@pytest.fixture(scope="session", params=FAMILIES[::-1])
def environment(request):
    """Where Python and its MPI are, each in turn; not made where it is of no use.

    The other way round than for SLURM, so that two workers do not wait for one environment and then start its MPI at once.
    """
    request.getfixturevalue("machines")
    return environment_of(request.param)
