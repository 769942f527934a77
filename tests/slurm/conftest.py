"""One cluster for all tests of this folder."""

import shutil
import tempfile
from pathlib import Path

import pytest

from mpi.families import FAMILIES, cannot, environment_of
from slurm.cluster import Cluster, missing


@pytest.fixture(scope="session")
def cluster():
    if reason := missing():
        cannot(reason)
    folder = Path(tempfile.mkdtemp(prefix="mlsh-slurm-"))
    try:
        with Cluster(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", params=FAMILIES)
def environment(request):
    """Where Python and its MPI are; not made where it is of no use."""
    request.getfixturevalue("cluster")
    return environment_of(request.param)
