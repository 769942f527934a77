"""launch/hosts.sh over two hosts with a network between them that can be cut, for both families of MPI, by TCP."""

import json
import os
import time

import numpy as np
import pytest

from mpi.families import ROOT
from mpi.launcher import Job
from mpi.learned import phi
from mpi.pace import PACED, hurry, slowly

# Daemons, namespaces and MPI of a whole cluster share two cores here: what fails is tried once more, and the summary counts it.
pytestmark = [pytest.mark.mpi, pytest.mark.slow, pytest.mark.flaky(reruns=1)]
TCP = {"UCX_TLS": "tcp,self", "OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self,sm,tcp"}
"""Both would else find one another's memory: the hosts are on one machine."""
PATIENCE = 5
CORES = len(os.sched_getaffinity(0))
KEEPALIVE = "-o ServerAliveInterval=5 -o ServerAliveCountMax=3 -o ConnectTimeout=3"
"""Instead of hosts.sh's own, a minute: the first that ssh is told counts."""
SMALL = (
    "moving-bandits --groups 4 --steps 250 --whole-episode-iterations 4 --test-masters 4 --seed 3 --checkpoint-interval 5".split()
)
PACED_40 = [*SMALL, *PACED, "--iterations", "40"]
BOTH = "alpha:2,beta:2"
RUN = "runs/moving-bandits-seed3"


class Hosts:
    """The hosts, and the environment with which they run."""

    def __init__(self, machines, environment):
        self.machines = machines
        self.extra = TCP | {"MLSH_SSH": f"{machines.ssh} {KEEPALIVE}", "MLSH_VENV": str(environment)}

    def start(self, cwd, *arguments, hosts=BOTH):
        """hosts.sh as it would be typed on alpha."""
        return Job(self.machines.inside("alpha", ROOT / "launch" / "hosts.sh", "--hosts", hosts, *arguments), cwd, self.extra)

    def run(self, cwd, *arguments, **options):
        with self.start(cwd, *arguments, **options) as job:
            return job.wait()

    def ranks(self):
        return {name: self.machines.processes(name, _is_rank) for name in self.machines.names}

    def are_rid_of_launchers(self, patience):
        """mpirun has ended; its helpers on the other host must, too."""
        began = time.monotonic()
        while any((left := {name: self.machines.processes(name, _is_launcher) for name in self.machines.names}).values()):
            assert time.monotonic() - began < patience, f"launchers are left: {left}"
            time.sleep(0.1)

    def are_rid_of_ranks(self, patience):
        """Seconds until no host has a rank any more."""
        began = time.monotonic()
        while any(self.ranks().values()):
            assert time.monotonic() - began < patience, f"ranks are left: {self.ranks()}"
            time.sleep(0.1)
        return time.monotonic() - began


def _is_rank(words):
    """Not mpirun, whose command line has the same in it."""
    return words[0].endswith("/python") and words[1:4] == ["-m", "mlsh_mpi", "train"]


def _is_launcher(words):
    return words[0].endswith(("hydra_pmi_proxy", "prted"))


@pytest.fixture(scope="module")
def hosts(machines, environment):
    return Hosts(machines, environment)


@pytest.fixture(scope="module")
def together(hosts, tmp_path_factory):
    """Two ranks on each of two hosts."""
    folder = tmp_path_factory.mktemp("together")
    slowly(folder)
    hurry(folder)
    result = hosts.run(folder, *PACED_40).succeeded()
    assert "4 on 2 hosts (alpha, beta)" in result.stdout
    return folder


def kept_iteration(folder):
    names = sorted(path.name for path in (folder / RUN / "checkpoints").glob("*.pt"))
    return int(names[-1].split("-")[1].split(".")[0])


def test_two_hosts_learn_what_one_does(hosts, tmp_path):
    """To rounding."""
    for name, where in (("two", BOTH), ("one", "alpha:4")):
        (tmp_path / name).mkdir()
        hosts.run(tmp_path / name, *SMALL, "--iterations", "15", hosts=where).succeeded()
    np.testing.assert_allclose(phi(tmp_path / "two" / RUN), phi(tmp_path / "one" / RUN), rtol=1e-4, atol=1e-4)


def test_a_link_that_is_cut_for_four_seconds_costs_four_seconds(hosts, together, tmp_path):
    slowly(tmp_path)
    with hosts.start(tmp_path, *PACED_40) as job:
        job.wait_for("training 20/40")
        hosts.machines.cut("beta")
        time.sleep(2)
        shown = job.stdout.count("training ")
        time.sleep(2)
        assert job.stdout.count("training ") == shown < 40
        hosts.machines.mend("beta")
        hurry(tmp_path)
        job.wait().succeeded()
    np.testing.assert_array_equal(phi(tmp_path / RUN), phi(together / RUN))


@pytest.mark.parametrize(("lose", "regain"), [("cut", "mend"), ("kill", "restart")], ids=["its network", "its power"])
def test_a_host_that_is_lost_ends_the_job_everywhere_and_the_same_command_continues(hosts, together, tmp_path, lose, regain):
    slowly(tmp_path)
    with hosts.start(tmp_path, *PACED_40, "--patience", PATIENCE) as job:
        job.wait_for("training 20/40")
        getattr(hosts.machines, lose)("beta")
        try:
            hosts.are_rid_of_ranks(2 * PATIENCE + 60)
            result = job.wait()
            hosts.are_rid_of_launchers(60)
        finally:
            getattr(hosts.machines, regain)("beta")
    assert result.code != 0
    if lose == "cut":  # a host without power sometimes still says so
        assert f"on alpha has waited {2 * PATIENCE} s for 3 other ranks: one of them hangs, or its host" in result.stderr
    assert kept_iteration(tmp_path) >= 15  # the checkpoint of 20 follows its line
    hurry(tmp_path)
    hosts.run(tmp_path, *PACED_40).succeeded()
    np.testing.assert_array_equal(phi(tmp_path / RUN), phi(together / RUN))


def test_a_signal_on_the_first_host_reaches_the_ranks_of_the_other(hosts, tmp_path):
    with hosts.start(tmp_path, *SMALL, "--iterations", "5000") as job:
        job.wait_for("training   20/5000")
        job.signal("SIGUSR1")
        result = job.wait()
    assert result.code == 75
    assert kept_iteration(tmp_path) >= 20


# Before anything is started


def refused(result, *parts):
    """Nothing was started, and all was said."""
    assert result.code == 1, result.stderr
    assert result.stdout == ""
    for part in (*parts, "nothing was started"):
        assert part in result.stderr


@pytest.mark.parametrize("what", ["checkout", "environment", "folder"])
def test_a_host_that_lacks_something_is_named_with_it(hosts, environment, tmp_path, what):
    here = tmp_path / "work"
    here.mkdir()
    path = {"checkout": ROOT, "environment": environment, "folder": tmp_path}[what]
    hosts.machines.hide("beta", path)
    try:
        result = hosts.run(here, *SMALL)
    finally:
        hosts.machines.show("beta", path)
    refused(result, f"beta lacks the {what} {here if what == 'folder' else path}")
    assert "alpha" not in result.stderr


def test_a_host_with_another_version_is_named_with_it(hosts, machines, tmp_path):
    changed = tmp_path / "changed.py"
    source = ROOT / "mlsh_mpi" / "algorithm" / "schedule.py"
    changed.write_text(source.read_text() + "\n# changed\n")
    machines.replace("beta", source, changed)
    try:
        refused(hosts.run(tmp_path, *SMALL), "beta has another version than here of: mlsh_mpi ")
    finally:
        machines.show("beta", source)


def test_a_host_that_does_not_answer_is_named(hosts, tmp_path):
    hosts.machines.cut("beta")
    try:
        refused(hosts.run(tmp_path, *SMALL), "beta cannot be reached")
    finally:
        hosts.machines.mend("beta")


def test_a_hostfile_of_either_kind_and_a_count_by_cores(hosts, machines, tmp_path):
    (tmp_path / "hosts").write_text("# ours\nalpha slots=3\nbeta:2 # too\n")
    with Job(machines.inside("alpha", ROOT / "launch/hosts.sh", "--hostfile", "hosts", "--check"), tmp_path, hosts.extra) as job:
        assert job.wait().stderr.splitlines() == ["hosts.sh: alpha is ready for 3 ranks", "hosts.sh: beta is ready for 2 ranks"]
    assert f"beta is ready for {CORES} ranks" in hosts.run(tmp_path, "--check", hosts="beta").stderr


def test_the_doctor_looks_at_all_hosts(hosts, machines, tmp_path):
    with Job(machines.inside("alpha", ROOT / "launch/doctor.sh", "--hosts", BOTH), tmp_path, hosts.extra) as job:
        result = job.wait().succeeded()
    assert f"ranks on 2 hosts: alpha (2 on {CORES} cores), beta (2 on {CORES} cores)" in result.stdout
    assert f"ok     filesystem  {tmp_path}: seen by all hosts" in result.stdout
    machines.hide("beta", tmp_path)
    try:
        result = hosts.run(tmp_path, "doctor").succeeded()
    finally:
        machines.show("beta", tmp_path)
    assert f"note   filesystem  {tmp_path} is not shared with beta" in result.stdout


def test_a_run_folder_that_only_the_first_host_sees_is_said(hosts, tmp_path):
    hosts.machines.hide("beta", tmp_path)
    try:
        result = hosts.run(tmp_path, *SMALL, "--iterations", "5").succeeded()
    finally:
        hosts.machines.show("beta", tmp_path)
    assert "runs/moving-bandits-seed3 on alpha is not on a filesystem that beta shares" in result.stderr
    (entry,) = map(json.loads, (tmp_path / RUN / "jobs.jsonl").read_text().splitlines())
    assert entry["ranks"] == {"alpha": 2, "beta": 2}
