"""Two hosts for all tests of this folder."""

import pytest

from hosts.machines import Machines, missing
from mpi.families import FAMILIES, environment_of, folder_for


@pytest.fixture(scope="session")
def machines():
    with folder_for("hosts", missing()) as folder, Machines(folder, ["alpha", "beta"]) as running:
        yield running


@pytest.fixture(scope="session", params=FAMILIES)
def environment(request):
    """Where Python and its MPI are, each in turn; not made where it is of no use."""
    request.getfixturevalue("machines")
    return environment_of(request.param)
