"""Two hosts for all tests of this folder."""

import tempfile
from pathlib import Path

import pytest

from hosts.machines import Machines, missing
from mpi.families import FAMILIES, cannot, environment_of


@pytest.fixture(scope="session")
def machines():
    if reason := missing():
        cannot(reason)
    with (
        tempfile.TemporaryDirectory(prefix="mlsh-hosts-", ignore_cleanup_errors=True) as folder,
        Machines(Path(folder), ["alpha", "beta"]) as running,
    ):
        yield running


@pytest.fixture(scope="session", params=FAMILIES)
def environment(request):
    """Where Python and its MPI are; not made where it is of no use."""
    request.getfixturevalue("machines")
    return environment_of(request.param)
