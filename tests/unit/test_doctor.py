"""Verdicts on what no real cluster of the tests has."""

from pathlib import Path

import pytest

from mlsh_mpi.commands.doctor import NOTE, OK, WRONG, Verdict, _slurm, hosts, shared_memory

JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NTASKS": "4"}


@pytest.mark.parametrize(
    ("environment", "ranks", "commands", "level", "says"),
    [
        ({}, 4, [], OK, "this is not a SLURM job; not installed here"),
        ({}, 4, ["sbatch"], OK, "train.sbatch doctor checks its nodes"),
        (JOB, 4, ["scontrol", "sbatch"], OK, "the job can requeue itself"),
        (JOB, 4, ["sbatch"], OK, "4 tasks"),
        (JOB, 4, [], NOTE, "neither scontrol nor sbatch"),
        (JOB, 2, ["scontrol"], WRONG, "4 tasks, but 2 ranks"),
        (JOB | {"MLSH_RANKS": "2"}, 2, ["scontrol"], OK, "2 tasks"),
    ],
)
def test_what_slurm_has_given(environment, ranks, commands, level, says):
    verdict = _slurm(environment, ranks, lambda name: name if name in commands else None)
    assert verdict.level == level
    assert says in verdict.text


class TwoHosts:
    """Three ranks on two hosts, of which one has little memory."""

    hosts, host_of = ("a", "b"), ("a", "a", "b")

    def __init__(self, memory):
        self.world, self.cores, self._found = self, 2, [(2, 8e9), (2, 8e9), (1, memory)]

    def allgather(self, _):
        return self._found


def test_a_host_with_too_little_memory_is_named():
    assert hosts(TwoHosts(1e9)) == Verdict(OK, "hosts", "ranks on 2 hosts: a (2 on 2 cores), b (1 on 1 cores)")
    verdict = hosts(TwoHosts(5e7))
    assert (verdict.level, "too little free memory on b (0.1 GB)" in verdict.text) == (WRONG, True)


class Shared(TwoHosts):
    """The same, with something in /dev/shm."""

    library, is_lowest_on_host = "MPICH 5.0.2", True

    def __init__(self, free, size, left=()):
        self.world, self._found = self, [(5e8, 1e9, []), None, (free, size, [Path(f"/dev/shm/{name}") for name in left])]


def test_shared_memory_is_compared_with_the_ranks_of_each_host():
    text = "/dev/shm: 500 of 1,000 MB free on a, 60 of 64 MB free on b"
    assert shared_memory(Shared(6e7, 6.4e7)) == Verdict(OK, "shm", text)
    verdict = shared_memory(Shared(4e6, 4e6))
    assert verdict.level == WRONG
    for part in ("MPI needs 5.4 MB in /dev/shm for 1 ranks, but b has 4.0 MB there", "docker run --shm-size=1g"):
        assert part in verdict.text


def test_leftovers_in_shared_memory_are_named_with_their_host():
    left = "killed jobs have left files there: rm -r /dev/shm/mpich_shm_1_0 on b"
    verdict = shared_memory(Shared(6e7, 6.4e7, ["mpich_shm_1_0"]))
    assert (verdict.level, verdict.text.partition("; ")[2]) == (NOTE, left)
