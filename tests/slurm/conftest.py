"""One cluster for all tests of this folder."""

import pytest

from mpi.families import FAMILIES, environment_of, folder_for
from slurm.cluster import Cluster, missing


@pytest.fixture(scope="session")
def cluster():
    with folder_for("slurm", missing()) as folder, Cluster(folder) as running:
        yield running


@pytest.fixture(scope="session", params=FAMILIES)
def environment(request):
    """Where Python and its MPI are; not made where it is of no use."""
    request.getfixturevalue("cluster")
    return environment_of(request.param)
