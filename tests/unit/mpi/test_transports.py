"""Ranks of one host listen on no network, and leave the environment as it was."""

import os
import subprocess
import sys

import pytest

from mlsh_mpi.mpi.transports import within_host

HYDRA = {"PMI_RANK": "0", "PMI_SIZE": "4", "MPI_LOCALNRANKS": "4"}
LISTENING = """
import os
from pathlib import Path
import mlsh_mpi.mpi.library
lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/self/net/{name}").read_text().splitlines()[1:]]
listening = {f"socket:[{words[9]}]" for words in lines if words[3] == "0A"}
links = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
print([link for path in links if os.path.lexists(path) and (link := os.readlink(path)) in listening], "UCX_TLS" in os.environ)
"""


@pytest.mark.parametrize(
    ("environment", "chosen"),
    [
        ({}, True),
        (HYDRA, True),
        (HYDRA | {"MPI_LOCALNRANKS": "2"}, False),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, True),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1"}, True),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "2", "PMI_SIZE": "2"}, False),
        (HYDRA | {"MPI_LOCALNRANKS": "2", "SLURM_STEP_NUM_NODES": "1"}, False),
        ({"PMIX_RANK": "0"}, False),
    ],
    ids=[
        "no launcher",
        "MPICH",
        "two hosts",
        "Open MPI",
        "srun",
        "srun on two nodes",
        "mpirun in a batch job",
        "another launcher",
    ],
)
def test_only_ranks_that_are_all_on_one_host_are_kept_there(environment, chosen):
    changed = dict(environment)
    with within_host(changed):
        assert (changed.get("OMPI_MCA_btl") == "^tcp") == chosen
        assert changed.get("UCX_TLS", "").startswith("self,s") == (chosen and "OMPI_COMM_WORLD_RANK" not in environment)
    assert changed == environment


def test_what_the_user_has_set_stays():
    changed = {"UCX_TLS": "tcp", "OMPI_MCA_btl": "tcp,self"}
    with within_host(changed):
        assert changed == {"UCX_TLS": "tcp", "OMPI_MCA_btl": "tcp,self"}
    assert changed == {"UCX_TLS": "tcp", "OMPI_MCA_btl": "tcp,self"}


def test_a_lone_rank_listens_nowhere():
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("PMI", "OMPI_", "UCX_", "SLURM_"))}
    result = subprocess.run([sys.executable, "-c", LISTENING], capture_output=True, text=True, check=True, env=alone)
    assert result.stdout == "[] False\n"
