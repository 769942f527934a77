"""One cluster for all tests of this folder."""

import tempfile
from pathlib import Path

import pytest

from mpi.families import FAMILIES, cannot, environment_of
from slurm.cluster import Cluster, missing


@pytest.fixture(scope="session")
def cluster():
    if reason := missing():
        cannot(reason)
    with (
        tempfile.TemporaryDirectory(prefix="mlsh-slurm-", ignore_cleanup_errors=True) as folder,
        Cluster(Path(folder)) as running,
    ):
        yield running


@pytest.fixture(scope="session", params=FAMILIES)
def environment(request):
    """Where Python and its MPI are; not made where it is of no use."""
    request.getfixturevalue("cluster")
    return environment_of(request.param)
