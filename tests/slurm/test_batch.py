"""The batch scripts as they are shipped, submitted to a real SLURM: over nodes, time limits, cancellation and a failing node."""

import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from mlsh_mpi.tracking import checkpoint
from mpi.families import ROOT
from mpi.launcher import mpirun
from mpi.learned import phi
from mpi.pace import PACED, hurry, slowly

# Daemons, namespaces and MPI of a whole cluster share two cores here: what fails is tried once more, and the summary counts it.
pytestmark = [pytest.mark.mpi, pytest.mark.slow, pytest.mark.flaky(reruns=1)]
BATCH = ROOT / "launch" / "slurm"
SMALL = "moving-bandits --groups 4 --steps 250 --whole-episode-iterations 4 --test-masters 4 --seed 3".split()
ITERATIONS, NAP = 48, 0.3
"""More than a minute, in which SLURM looks at time limits twice."""
LONG = [*SMALL, *PACED, "--iterations", str(ITERATIONS)]
FEW = [*SMALL, "--iterations", "15"]


class Submitted:
    """A job of the shipped script."""

    def __init__(self, cluster, environment, cwd, options, arguments, **extra):
        self.cluster, self.cwd = cluster, cwd
        slowly(cwd, NAP)
        extra = {"MLSH_VENV": str(environment), "MLSH_ROOT": str(ROOT)} | extra
        self.number = cluster.submit(*options, BATCH / "train.sbatch", *arguments, cwd=cwd, **extra)

    @property
    def output(self):
        return "".join(path.read_text() for path in sorted(self.cwd.glob("mlsh-*.out")))

    @property
    def folder(self):
        return self.cwd / "runs" / "moving-bandits-seed3"

    def wait_for_iteration(self, iteration):
        """Until the output, read while the job runs, shows it."""
        self.cluster.wait_for(f"no iteration {iteration} in {self.output}", lambda: self.shown() >= iteration)
        assert self.cluster.state(self.number) == "RUNNING"

    def shown(self):
        return max((int(found) for found in re.findall(r"training +(\d+)/", self.output)), default=0)

    def is_requeued(self):
        """Until SLURM has put it back into the queue; from then on it makes haste, with time enough."""
        try:
            self.cluster.wait_for("it was never requeued", lambda: int(self.cluster.fields(self.number)["Restarts"]) > 0)
        except TimeoutError as error:
            raise AssertionError(self.output) from error
        hurry(self.cwd)
        self.cluster.run("scontrol", "update", f"JobId={self.number}", "TimeLimit=10")

    def finished(self):
        self.cluster.wait(self.number, "COMPLETED", "FAILED")
        assert self.cluster.state(self.number) == "COMPLETED", self.output
        return self

    @property
    def jobs(self):
        return [json.loads(line) for line in (self.folder / "jobs.jsonl").read_text().splitlines()]

    @property
    def rows(self):
        return [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]


def foreign(environment):
    """A launcher that starts ranks which know nothing of one another."""
    return "srun --mpi=none" if (environment / "bin" / "hydra_pmi_proxy").exists() else "srun --mpi=pmi2"


TWO = ("--nodes=2", "--ntasks-per-node=2", "--time=10")


@pytest.fixture(scope="module")
def uninterrupted(cluster, environment, tmp_path_factory):
    """Two nodes of two ranks. The output is read while the job runs."""
    job = Submitted(cluster, environment, tmp_path_factory.mktemp("whole"), TWO, LONG)
    job.wait_for_iteration(2)
    hurry(job.cwd)
    return job.finished()


def test_a_job_over_two_nodes_keeps_its_script_its_configuration_and_who_ran_it(uninterrupted):
    job = uninterrupted
    assert (job.folder / "job.sbatch").read_text() == (BATCH / "train.sbatch").read_text()
    assert json.loads((job.folder / "config.json").read_text())["run"]["iterations"] == ITERATIONS
    (entry,) = job.jobs
    assert (entry["iteration"], sum(entry["ranks"].values())) == (0, 4)
    assert entry["SLURM"] == {"JOB_ID": job.number}
    assert len(job.rows) == ITERATIONS


@pytest.fixture(scope="module")
def on_one_host(tmp_path_factory):
    here = tmp_path_factory.mktemp("here")
    mpirun(4, "-m", "mlsh_mpi.train", *FEW, cwd=here).succeeded()
    return here / "runs" / "moving-bandits-seed3"


def test_four_nodes_learn_what_one_host_does(cluster, environment, on_one_host, tmp_path):
    """To rounding: sums over nodes have another order."""
    job = Submitted(cluster, environment, tmp_path, ("--nodes=4", "--ntasks-per-node=1", "--time=10"), FEW).finished()
    np.testing.assert_allclose(phi(job.folder), phi(on_one_host), rtol=1e-4, atol=1e-4)


def test_a_job_whose_time_is_up_requeues_itself_and_ends_with_the_same_phi(cluster, environment, uninterrupted, tmp_path):
    """Of a minute; SLURM looks every half minute and sends the signal up to that much earlier than it is asked to. A look that
    a busy machine delays comes too late for that minute, so that this cluster lets jobs run two more (OverTimeLimit)."""
    limit = ("--nodes=2", "--ntasks-per-node=2", "--time=1", "--signal=B:USR1@10")
    job = Submitted(cluster, environment, tmp_path, limit, LONG)
    job.is_requeued()
    job.finished()
    assert "the time is nearly up" in job.output
    assert 0 < job.jobs[1]["iteration"] < ITERATIONS
    assert job.jobs[1]["SLURM"] == {"JOB_ID": job.number, "RESTART_COUNT": "1"}
    np.testing.assert_array_equal(phi(job.folder), phi(uninterrupted.folder))
    assert [row["return/mean"] for row in job.rows] == [row["return/mean"] for row in uninterrupted.rows]


def test_a_node_that_goes_down_costs_nothing_but_time(cluster, environment, uninterrupted, tmp_path):
    job = Submitted(cluster, environment, tmp_path, TWO, [*LONG, "--checkpoint-interval", "8"])
    job.wait_for_iteration(10)
    lost = cluster.run("scontrol", "show", "hostnames", cluster.fields(job.number)["NodeList"]).split()[1]
    cluster.run("scontrol", "update", f"NodeName={lost}", "State=DOWN", "Reason=test")
    try:
        job.is_requeued()
        job.finished()
        assert lost not in cluster.run("scontrol", "show", "hostnames", cluster.fields(job.number)["NodeList"]).split()
    finally:
        cluster.run("scontrol", "update", f"NodeName={lost}", "State=RESUME")
    assert job.jobs[1]["iteration"] >= 8
    np.testing.assert_array_equal(phi(job.folder), phi(uninterrupted.folder))


def test_cancelling_leaves_a_whole_checkpoint_and_no_process(cluster, environment, tmp_path):
    job = Submitted(cluster, environment, tmp_path, TWO, [*LONG, "--checkpoint-interval", "2"])
    job.wait_for_iteration(5)
    cluster.run("scancel", job.number)
    cluster.wait(job.number, "CANCELLED")
    cluster.wait_for("ranks are left", lambda: not cluster.processes("mlsh_mpi"))
    assert (cluster.state(job.number), cluster.fields(job.number)["Restarts"]) == ("CANCELLED", "0")
    told = []
    assert checkpoint.newest(job.folder / "checkpoints", told.append)["iteration"] >= 4
    assert told == []


def test_asked_to_end_a_job_keeps_everything_and_stays_out_of_the_queue(cluster, one_environment, tmp_path):
    job = Submitted(cluster, one_environment, tmp_path, TWO, LONG)
    job.wait_for_iteration(5)
    cluster.run("scancel", "--batch", "--signal=TERM", job.number)
    cluster.wait(job.number, "FAILED")
    assert cluster.fields(job.number)["ExitCode"] == "75:0"
    assert "the same command continues" in job.output
    assert checkpoint.newest(job.folder / "checkpoints", print)["iteration"] == job.shown()


def test_without_scontrol_another_job_continues(cluster, one_environment, tmp_path):
    absent = tmp_path / "bin"
    absent.mkdir()
    (absent / "scontrol").write_text("#!/bin/sh\nexit 127\n")
    (absent / "scontrol").chmod(0o755)
    job = Submitted(cluster, one_environment, tmp_path, TWO, LONG, PATH=f"{absent}:{os.environ['PATH']}")
    job.wait_for_iteration(5)
    cluster.run("scancel", "--batch", "--signal=USR1", job.number)
    cluster.wait(job.number)
    following = re.findall(r"Submitted batch job (\d+)", job.output)
    assert len(following) == 1
    limits = [cluster.fields(number)["TimeLimit"] for number in (job.number, *following)]
    assert limits == ["00:10:00"] * 2
    cluster.wait(following[0], "RUNNING")
    cluster.wait_for("it did not continue", lambda: len(job.jobs) == 2)
    assert job.jobs[1]["iteration"] >= 5
    cluster.run("scancel", following[0])


def test_seeds_are_an_array_and_a_figure_follows_though_one_is_requeued(cluster, one_environment, tmp_path):
    options = ("--nodes=1", "--ntasks-per-node=1", "--time=10", "--")
    arguments = [*SMALL[:-2], "--iterations", "150"]
    said = cluster.run(BATCH / "seeds.sh", "0-3", *options, *arguments, cwd=tmp_path, MLSH_VENV=str(one_environment))
    array, figure = re.findall(r"job (\d+)", said)
    output = tmp_path / f"mlsh-{array}_3.out"
    cluster.wait_for("no iteration", lambda: output.exists() and "training  10/" in output.read_text())
    cluster.run("scancel", "--batch", "--signal=USR1", f"{array}_3")
    cluster.wait_for("it was never requeued", lambda: "back in the queue" in output.read_text())
    cluster.wait(figure)
    assert (tmp_path / f"mlsh-figure-{figure}.out").read_text().startswith(f"4 runs are in seeds-{array}.png")
    assert (tmp_path / f"seeds-{array}.png").stat().st_size > 10_000
    runs = [tmp_path / "runs" / f"moving-bandits-seed{seed}" for seed in range(4)]
    assert [len((run / "jobs.jsonl").read_text().splitlines()) for run in runs] == [1, 1, 1, 2]
    assert all((run / "summary.txt").exists() for run in runs)


def test_a_sweep_takes_a_line_of_a_file_for_each_task(cluster, one_environment, tmp_path):
    lines = [f"{' '.join(FEW)} --macro-length {n} --folder runs/sweep/n{n}\n" for n in (5, 25)]
    (tmp_path / "sweep.txt").write_text("".join(lines))
    options = ("--nodes=1", "--ntasks-per-node=1", "--time=10", "--", "@sweep.txt", "--test-episodes", "5")
    said = cluster.run(BATCH / "seeds.sh", "1-2", *options, cwd=tmp_path, MLSH_VENV=str(one_environment))
    array, figure = re.findall(r"job (\d+)", said)
    cluster.wait(figure)
    for n in (5, 25):
        config = json.loads((tmp_path / "runs/sweep" / f"n{n}" / "config.json").read_text())
        assert (config["hierarchy"]["macro_length"], config["run"]["test_episodes"]) == (n, 5)
    assert (tmp_path / f"mlsh-figure-{figure}.out").read_text().startswith(f"2 runs are in seeds-{array}.png")


def test_a_line_of_a_file_may_be_a_test(cluster, one_environment, tmp_path):
    line = "adapt moving-bandits --method scratch --updates 2 --test-masters 2 --folder runs/scratch\n"
    (tmp_path / "tests.txt").write_text(line)
    options = ("--parsable", "--array=1", "--nodes=1", "--ntasks-per-node=1", "--time=10")
    job = cluster.run("sbatch", *options, BATCH / "train.sbatch", "@tests.txt", cwd=tmp_path, MLSH_VENV=str(one_environment))
    cluster.wait(job.strip())
    assert (tmp_path / "runs/scratch" / "adaptation.json").exists()


def test_outside_a_checkout_the_script_finds_its_own(cluster, one_environment, tmp_path):
    job = Submitted(cluster, one_environment, tmp_path, ("--nodes=1", "--ntasks-per-node=1", "--time=5"), FEW, MLSH_ROOT="")
    job.finished()


def test_mistakes_end_the_job_in_its_first_seconds_with_a_sentence(cluster, one_environment, tmp_path):
    job = Submitted(cluster, one_environment, tmp_path, TWO, ["moving-bandit"])
    cluster.wait(job.number, "FAILED")
    assert cluster.fields(job.number)["ExitCode"] == "2:0"
    assert "no preset 'moving-bandit'" in job.output
    assert not (tmp_path / "runs").exists()


def test_a_launcher_that_is_not_the_librarys_is_refused(cluster, environment, tmp_path):
    """It starts four ranks that know nothing of one another."""
    job = Submitted(cluster, environment, tmp_path, TWO, FEW, MLSH_LAUNCHER=foreign(environment))
    cluster.wait(job.number, "FAILED")
    assert "promised 4 ranks, but MPI has 1" in job.output
    assert not (tmp_path / "runs").exists()


def test_a_rank_that_is_killed_ends_the_job_at_once(cluster, environment, tmp_path):
    job = Submitted(cluster, environment, tmp_path, TWO, [*LONG, "--checkpoint-interval", "2"])
    job.wait_for_iteration(5)
    ranks = [pid for pid in cluster.processes("mlsh_mpi train") if Path(f"/proc/{pid}/comm").read_text().startswith("python")]
    assert len(ranks) == 4
    os.kill(ranks[1], signal.SIGKILL)
    cluster.wait_for("it goes on", lambda: cluster.state(job.number) == "FAILED")
    cluster.wait_for("ranks are left", lambda: not cluster.processes("mlsh_mpi"))


# The doctor


def test_the_doctor_finds_a_good_job_well(cluster, environment, tmp_path):
    job = Submitted(cluster, environment, tmp_path, TWO, ["doctor"])
    job.finished()
    verdicts = dict(line.split()[:2][::-1] for line in job.output.splitlines() if line.split(" ")[0] in ("ok", "note", "WRONG"))
    assert verdicts.keys() == {*"start recovery hosts shm binding network filesystem pictures SLURM".split()}
    # Pictures may be impossible here; the nodes are one host with all their ranks on its cores; and tests have killed jobs here.
    assert {name for name, level in verdicts.items() if level != "ok"} <= {"pictures", "network", "hosts", "shm"}
    assert f"job {job.number}, nodes n[1-2], 4 tasks; the job can requeue itself" in job.output


def test_the_doctor_names_a_wrong_launcher(cluster, one_environment, tmp_path):
    job = Submitted(cluster, one_environment, tmp_path, TWO, ["doctor"], MLSH_LAUNCHER=foreign(one_environment))
    cluster.wait(job.number, "FAILED")
    assert "WRONG  start       the launcher promised 4 ranks, but MPI has 1" in job.output
