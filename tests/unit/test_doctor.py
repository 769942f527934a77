"""Verdicts on what no real cluster of the tests has."""

import pytest

from mlsh_mpi.commands.doctor import NOTE, OK, WRONG, Verdict, _slurm, hosts

JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NTASKS": "4"}


@pytest.mark.parametrize(
    ("environment", "ranks", "commands", "level", "says"),
    [
        ({}, 4, [], OK, "no job of it; not here"),
        ({}, 4, ["sbatch"], OK, "train.sbatch doctor looks at its nodes"),
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
