"""The launcher itself: jobs end, and nothing of them is left."""

import os
import signal
import sys

import pytest

from mpi.launcher import PROGRAMS, Job, environment, mpirun, mpirun_each, mpirun_path, python

pytestmark = pytest.mark.mpi
SIZE = "from mpi4py import MPI; r = MPI.COMM_WORLD.gather(MPI.COMM_WORLD.Get_rank()); r and print(r)"


def hanging(tmp_path, *arguments):
    return Job([mpirun_path(), "-np", "3", sys.executable, str(PROGRAMS / "hang.py"), *arguments], tmp_path)


@pytest.mark.parametrize("arguments", [[], ["deaf"]])
def test_a_job_that_hangs_is_ended_with_all_its_processes(tmp_path, arguments):
    with hanging(tmp_path, *arguments) as job:
        job.wait_for("3 ranks hang")
        assert len(job.members()) >= 4
        with pytest.raises(TimeoutError, match="3 ranks hang"):
            job.wait(patience=0.2)
        assert job.process.poll() is not None
        assert job.members() == []


def test_ranks_that_outlive_mpirun_are_ended_too(tmp_path):
    with hanging(tmp_path, "deaf") as job:
        job.wait_for("3 ranks hang")
        os.kill(job.process.pid, signal.SIGKILL)
        job.process.wait()
        job.end()
        assert job.members() == []


def test_a_failing_test_ends_its_job(tmp_path):
    job = hanging(tmp_path)

    def fails():
        with job:
            job.wait_for("3 ranks hang")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert job.members() == []


def test_result_has_code_and_both_streams(tmp_path):
    result = python("-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)", cwd=tmp_path)
    assert (result.code, result.stdout, result.stderr) == (7, "out\n", "err\n")
    with pytest.raises(AssertionError, match=r"exit 7[\s\S]*err"):
        result.succeeded()


def test_jobs_do_not_take_themselves_for_part_of_the_one_around(tmp_path, monkeypatch):
    foreign = ("PMI_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "SLURM_PROCID")
    for name in foreign:
        monkeypatch.setenv(name, "5")
    assert not set(foreign) & set(environment())
    assert environment({"PMI_SIZE": "4"})["PMI_SIZE"] == "4"
    result = mpirun(2, "-c", SIZE, cwd=tmp_path).succeeded()
    assert result.stdout == "[0, 1]\n"


def test_commands_in_one_job_say_and_return_what_each_would_alone(tmp_path):
    commands = [("-m", "mlsh_mpi", name, "moving-bandit") for name in ("train", "adapt", "replay")]
    shown, *mistakes = mpirun_each(2, ("-m", "mlsh_mpi.train", "--list"), *commands, cwd=tmp_path)
    alone = mpirun(2, *commands[1], cwd=tmp_path)
    assert (mistakes[1].code, mistakes[1].stdout, mistakes[1].told) == (alone.code, alone.stdout, alone.told)
    assert [result.code for result in mistakes] == [2] * 3
    assert "moving-bandits" in shown.succeeded().stdout


def test_a_command_that_ends_its_job_is_told_with_all_that_was_said(tmp_path):
    train = ["-m", "mlsh_mpi.train", *"--groups 2 --steps 50 --iterations 1 --whole-episode-iterations 0".split()]
    train += [*"--env small_envs:FailsEverywhere --episode-length 20 --macro-length 5 --folder".split(), tmp_path / "run"]
    with pytest.raises(AssertionError, match=r"000-000\.out[\s\S]*moving-bandits[\s\S]*001-00[01]\.err[\s\S]*failed"):
        mpirun_each(2, ("-m", "mlsh_mpi.train", "--list"), train, cwd=PROGRAMS)
