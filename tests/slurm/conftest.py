"""One cluster for all tests of this folder."""

import pytest

from mpi.families import FAMILIES, environment_of, folder_for
from slurm.cluster import Cluster, missing


@pytest.fixture(scope="session")
def cluster():
    with folder_for("slurm", missing()) as folder, Cluster(folder) as running:
        yield running


@pytest.fixture(autouse=True)
def jobs_of_its_own(cluster):
    """No test meets what another has left, above all one that failed."""
    yield
    cluster.clear()


@pytest.fixture(scope="session", params=FAMILIES)
def environment(request):
    """Where Python and its MPI are, each in turn; not made where it is of no use."""
    request.getfixturevalue("cluster")
    return environment_of(request.param)


@pytest.fixture(scope="session")
def one_environment():
    """The first of them, for what does not depend on the MPI."""
    return environment_of(FAMILIES[0])
