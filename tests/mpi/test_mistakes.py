"""A mistake gets one sentence from one rank and exit 2; a failure on any rank ends the job with its traceback, once."""

import json
import re
import signal
import sys

import pytest
import torch

from mpi.launcher import PROGRAMS, Job, mpirun, mpirun_path, python

pytestmark = pytest.mark.mpi
TRAIN = ("-m", "mlsh_mpi.train")
SMALL = "--groups 3 --steps 50 --iterations 3 --whole-episode-iterations 0 --warmup 1 --test-masters 3".split()
SHORT = "--episode-length 20 --macro-length 5".split()


def refused(result, parts):
    """The job said one line, and ended as it should."""
    assert result.code == 2, result.stderr
    (line,) = result.told
    assert line.startswith("mlsh_mpi: ")
    for part in parts:
        assert part in line
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("moving-bandit", ["no preset 'moving-bandit'", "moving-bandits?", "moving-bandits-paper"]),
        ("--env mlsh/MovingBandit-v0", ["no environment 'mlsh/MovingBandit-v0'", "mlsh/MovingBandits-v0?"]),
        ("--groups 1 --workers 2", ["3 ranks", "2 workers", "1 groups of 2", "--groups or --workers"]),
        ("--steps 4", ["10 iterations of --steps 4", "50 steps", "--steps 5 or more"]),
    ],
    ids=["preset", "environment", "more ranks than workers", "steps"],
)
def test_three_ranks_say_one_sentence(tmp_path, arguments, parts):
    refused(mpirun(3, *TRAIN, *arguments.split(), cwd=tmp_path), parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("env", "parts"),
    [
        ("small_envs:Walc", ["'Walc'", "Walk?"]),
        ("no_such_module:Walk", ["'no_such_module'", "install it, or start in its folder"]),
        ("CartPole-v1", ["CartPole-v1", "sample_task"]),
    ],
)
def test_an_environment_that_will_not_do_is_named(tmp_path, env, parts):
    refused(mpirun(1, *TRAIN, "--env", env, "--folder", tmp_path / "run", cwd=PROGRAMS), parts)
    assert list(tmp_path.iterdir()) == []


def test_a_script_hears_of_its_mistakes_in_the_same_way(tmp_path):
    (tmp_path / "script.py").write_text("import mlsh_mpi\nmlsh_mpi.run(iteration=5)\n")
    refused(mpirun(3, "script.py", cwd=tmp_path), ["no option 'iteration'", "iterations?"])


@pytest.mark.parametrize("rank", [0, 1])
def test_singletons_of_a_foreign_launcher_are_refused_by_the_first_of_them(tmp_path, rank):
    """Set by hand, as the mpirun of another MPI sets it for each of four processes that then know nothing of one another."""
    result = python(*TRAIN, cwd=tmp_path, OMPI_COMM_WORLD_SIZE="4", OMPI_COMM_WORLD_RANK=str(rank))
    if rank == 0:
        refused(result, ["promised 4 ranks", "MPI has 1", "own mpirun"])
    else:
        assert (result.code, result.stdout, result.stderr) == (2, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rank", [0, 1])
def test_ranks_for_which_there_is_no_shared_memory_are_refused_before_mpi_starts(tmp_path, rank):
    """Set by hand, as MPICH's mpirun sets it for each of a hundred million ranks on this host."""
    ranks = {"MPI_LOCALNRANKS": "100000000", "PMI_SIZE": "100000000", "PMI_RANK": str(rank), "MPI_LOCALRANKID": str(rank)}
    result = python(*TRAIN, cwd=tmp_path, **ranks)
    if rank == 0:
        refused(result, ["MPI needs 106000000.0 MB in /dev/shm for 100000000 ranks", "docker run --shm-size"])
    else:
        assert (result.code, result.stdout, result.stderr) == (2, "", "")


@pytest.mark.parametrize(
    ("what", "parts"),
    [
        ("code", ["rank 1 on ", "has mlsh_mpi ", "instead of", "launch/setup.sh"]),
        ("clock", ["clocks may differ by 300 s", "is 400 s ahead of"]),
    ],
)
def test_ranks_with_other_code_or_another_time_are_refused(tmp_path, what, parts):
    refused(mpirun(3, PROGRAMS / "other_software.py", what, cwd=tmp_path), parts)


def test_ranks_with_another_command_line_are_refused(tmp_path):
    ranks = [mpirun_path()]
    for seed in "01":
        ranks += [*(":" if seed == "1" else ()), "-np", "1", sys.executable, *TRAIN, "--seed", seed]
    with Job(ranks, tmp_path) as job:
        refused(job.wait(), ["rank 1 on ", "the command line --seed 1 instead of --seed 0"])


def test_fewer_ranks_than_the_launch_script_asked_for_are_refused(tmp_path):
    refused(mpirun(2, *TRAIN, cwd=tmp_path, MLSH_RANKS="4"), ["MLSH_RANKS asks for 4 ranks, but MPI has 2"])


def test_a_batch_job_without_a_launcher_is_refused(tmp_path):
    slurm = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}
    refused(python(*TRAIN, cwd=tmp_path, **slurm), ["SLURM has given this job 4 tasks, but MPI has one rank", "mpirun or srun"])
    python(*TRAIN, "--list", cwd=tmp_path, **slurm, MLSH_RANKS="1").succeeded()


@pytest.mark.parametrize(
    ("env", "says", "ranks"),
    [
        ("FailsOnRankOne", "ArithmeticError: the simulator exploded", [1]),
        ("FailsEverywhere", "ArithmeticError: the simulator exploded", [0, 1, 2]),
        ("ExitsOnRankOne", "raised SystemExit: 3 (small_envs.py, line ", [1]),
    ],
)
def test_a_failure_while_training_ends_every_rank_and_is_told_once(tmp_path, env, says, ranks):
    folder = tmp_path / "run"
    result = mpirun(3, *TRAIN, "--env", f"small_envs:{env}", *SMALL, *SHORT, "--folder", folder, cwd=PROGRAMS)
    assert result.code not in (0, 2)
    assert told_once(result.stderr, says) in ranks
    kept = (folder / "traceback.txt").read_text()
    assert told_once(kept, says) in ranks
    assert kept.strip() in result.stderr
    assert not (folder / "summary.json").exists()


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ("FailsOnRankOne", "raised ArithmeticError: the simulator exploded"),
        ("NotANumber", "has the observation [nan, nan] after"),
        ("Priceless", "has the reward inf after"),
        ("Reshaped", "returned an observation of shape (3,), but its space says (2,)"),
        ("Hangs", "has waited 3 s for a step of the environment of worker 1"),
    ],
)
def test_an_environment_that_goes_wrong_is_named_with_worker_task_and_iteration(tmp_path, env, says):
    folder = tmp_path / "run"
    options = [*SMALL, *SHORT, "--checkpoint-interval", "1", "--patience", "3", "--folder", folder]
    result = mpirun(3, *TRAIN, "--env", f"small_envs:{env}", *options, cwd=PROGRAMS)
    assert result.code not in (0, 2)
    for text in (result.stderr, (folder / "traceback.txt").read_text()):
        assert text.count("rank 1 of 3 on ") == 1
        assert says in text
        assert re.search(r"the environment of worker 1, with task -?1, in iteration 1", text)
    assert not (folder / "checkpoints").exists()


def test_a_parameter_that_is_not_finite_ends_the_job_before_it_is_kept(tmp_path):
    options = [*SMALL, "--checkpoint-interval", "1", "--master.learning-rate", "1e38", "--folder", "run", "--iterations", "30"]
    result = mpirun(3, *TRAIN, *options, cwd=tmp_path)
    assert result.code not in (0, 2)
    assert re.search(
        r"after the update of iteration \d+, (policy|value)\.\d\.\w+ of master of group \d is NaN or infinite", result.stderr
    )
    for path in (tmp_path / "run").glob("checkpoints/*.pt"):
        assert torch.load(path, weights_only=True)["masters"]["parameters"].isfinite().all()


def test_a_target_that_is_never_logged_is_refused_after_a_cycle(tmp_path):
    result = mpirun(2, *TRAIN, *SMALL, "--stop-when", "return/adopted>5", "--folder", "run", cwd=tmp_path)
    assert result.code == 2
    assert "return/adopted" in result.stderr
    assert "did you mean return/adapted?" in result.stderr


ODD = """
from mpi4py import MPI
import mlsh_mpi
from mlsh_mpi.algorithm.training_state import TrainingState
check = TrainingState.check
def spoil(state, iteration):
    check(state, iteration)
    if MPI.COMM_WORLD.rank == 2 and iteration == 3:
        state.primitives.stack.flat[0, 5] += 1e-6
TrainingState.check = spoil
sizes = {"iterations": 9, "whole_episode_iterations": 0, "warmup": 1, "groups": 3, "steps": 50}
mlsh_mpi.run(**sizes, sync_interval=2, checkpoint_interval=1, folder="run")
"""


def test_a_rank_whose_phi_has_gone_astray_is_named(tmp_path):
    (tmp_path / "odd.py").write_text(ODD)
    result = mpirun(3, "odd.py", cwd=tmp_path)
    assert result.code not in (0, 2)
    assert "phi differs from rank 0's on ranks [2] after iteration 4" in result.stderr
    assert max(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == "iteration-00000003.pt"


def test_episodes_that_end_with_their_first_step_are_episodes(tmp_path):
    options = [*SMALL, *SHORT, "--folder", tmp_path / "run"]
    mpirun(2, *TRAIN, "--env", "small_envs:EndsAtOnce", *options, cwd=PROGRAMS).succeeded()
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["episode/length"] for row in rows] == [1, 1, 1]


@pytest.mark.parametrize("ranks", [1, 3])
def test_an_environment_that_cannot_be_made_is_a_mistake_said_before_anything_is_written(tmp_path, ranks):
    options = ["--env", "small_envs:FailsAtOnce", *SMALL, *SHORT, "--folder", tmp_path / "run"]
    result = mpirun(ranks, *TRAIN, *options, cwd=PROGRAMS)
    refused(result, ["FailsAtOnce could not be made", "ArithmeticError: the simulator has no licence (small_envs.py, line "])
    assert not (tmp_path / "run").exists()


def test_what_the_first_look_finds_is_said_once_and_nothing_is_written(tmp_path, finished_job):
    options = ["--env", "small_envs:OwnDraws", *SMALL, *SHORT, "--folder", tmp_path / "run"]
    refused(mpirun(3, *TRAIN, *options, cwd=PROGRAMS), ["sample_task of OwnDraws must draw from the generator it is given"])
    where = ["--env", "small_envs:OwnDraws", "--episode-length", "50"]
    for command in ("adapt", "replay"):
        result = mpirun(1, "-m", "mlsh_mpi", command, finished_job.folder, *where, cwd=PROGRAMS)
        refused(result, ["sample_task of OwnDraws must draw from the generator it is given"])
    assert not (tmp_path / "run").exists()


def test_tasks_that_are_others_on_another_rank_are_refused(tmp_path):
    """Text has another hash in each process, so a set has another order."""
    ranks = [mpirun_path()]
    for seed in "12":
        ranks += [*(":" if seed == "2" else ()), "-np", "1", "env", f"PYTHONHASHSEED={seed}", sys.executable, *TRAIN]
        ranks += ["--env", "small_envs:FromASet", *SMALL, *SHORT, "--folder", str(tmp_path / "run")]
    with Job(ranks, PROGRAMS) as job:
        refused(job.wait(), ["tasks of FromASet must be the same on every rank", "the order of a set differs"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("env", "says", "ranks"),
    [
        ("Exits", "raised SystemExit (small_envs.py, line ", 1),
        ("Exits", "raised SystemExit (small_envs.py, line ", 2),
        ("Interrupts", "raised KeyboardInterrupt (small_envs.py, line ", 2),
        ("ExitsAtOnce", "os._exit(0) was called during a step of the environment of worker", 1),
        ("ExitsAtOnce", "os._exit(0) was called during a step of the environment of worker", 2),
        ("ChildDies", "raised EOFError (connection.py, line ", 1),
    ],
)
def test_an_environment_that_leaves_is_a_fault_and_never_a_success(tmp_path, env, says, ranks):
    options = ["--env", f"small_envs:{env}", *SMALL, *SHORT, "--folder", tmp_path / "run"]
    result = mpirun(ranks, *TRAIN, *options, cwd=PROGRAMS)
    assert result.code not in (0, 2, 75)
    assert says in result.stderr
    assert re.search(r"environment of worker \d, with task -?1, in iteration 1", result.stderr)
    assert not (tmp_path / "run" / "summary.json").exists()


def test_an_environment_that_leaves_while_it_draws_a_task_is_a_fault_too(tmp_path):
    options = ["--env", "small_envs:TaskExits", *SMALL, *SHORT, "--folder", tmp_path / "run", "--iterations", "100"]
    result = mpirun(2, *TRAIN, *options, cwd=PROGRAMS)
    assert result.code not in (0, 2, 75)
    assert "sample_task of TaskExits raised SystemExit (small_envs.py, line " in result.stderr


def test_a_library_that_hangs_and_holds_the_interpreter_is_ended_though_nobody_can_look(tmp_path):
    options = ["--env", "small_envs:HoldsTheLock", *SMALL, *SHORT, "--patience", "2", "--folder", tmp_path / "run"]
    result = python(*TRAIN, *options, cwd=PROGRAMS)
    assert result.code == -signal.SIGKILL
    assert "Timeout (0:00:08)!" in result.stderr
    assert re.search(r'small_envs.py", line \d+ in fail', result.stderr)


def test_interrupted_while_starting_the_job_ends_with_a_line(tmp_path):
    """The ranks interrupt themselves where most of their start is still to come."""
    interrupted = "import os, signal, sys; from mlsh_mpi.mpi import early_interrupt; early_interrupt.watch()"
    interrupted += "; os.kill(os.getpid(), signal.SIGINT); from mlsh_mpi.commands import train; train.main()"
    result = mpirun(2, "-c", interrupted, cwd=tmp_path)
    assert (result.code, result.told, result.stdout) == (130, ["mlsh_mpi: interrupted while starting"], "")
    assert not list(tmp_path.iterdir())


def test_without_an_mpi_library_the_extras_are_named(tmp_path):
    result = python(*TRAIN, cwd=tmp_path, MPI4PY_LIBMPI=str(tmp_path / "libmpi.so"))
    assert result.code == 2
    assert not list(tmp_path.iterdir())
    (line,) = result.stderr.splitlines()
    for part in ("there is no MPI library", "pip install 'mlsh_mpi[mpich]'", "MPI4PY_LIBMPI=/path/to/libmpi.so"):
        assert part in line


def test_more_than_fits_is_refused_in_a_sentence(tmp_path):
    refused(python(*TRAIN, "--workers", 10**9, cwd=tmp_path), ["GB of memory", "--groups, --workers or --steps"])
    assert not list(tmp_path.iterdir())


def test_a_language_without_the_tables_lines_costs_nothing_but_their_beauty(tmp_path):
    options = [*SMALL, *SHORT, "--folder", tmp_path / "run"]
    system = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    result = python(*TRAIN, *options, cwd=tmp_path, **system).succeeded()
    assert result.stderr == ""
    assert "+=" in result.stdout
    assert "| goal=0 |" in result.stdout
    assert "│ goal=0 │" in (tmp_path / "run" / "summary.txt").read_text(encoding="utf-8")


def test_a_reader_who_leaves_does_not_end_the_run(tmp_path):
    command = [sys.executable, *TRAIN, *map(str, [*SMALL, *SHORT]), "--folder", "run"]
    first_line = ["bash", "-c", f"set -o pipefail; {' '.join(command)} | head -n 1"]
    with Job(first_line, tmp_path) as job:
        assert job.wait().succeeded().stdout.count("\n") == 1
    assert (tmp_path / "run" / "summary.json").exists()


def test_fresh_leaves_a_link_to_another_disk_where_it_is(tmp_path):
    (tmp_path / "large").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "large" / "run")
    for more in ([], ["--fresh"]):
        python(*TRAIN, *SMALL, *SHORT, "--folder", "run", *more, cwd=tmp_path).succeeded()
    assert (tmp_path / "run").is_symlink()
    assert sorted(path.name for path in (tmp_path / "large").iterdir()) == ["run", "run.1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large", "run"]
    assert all((tmp_path / "large" / name / "summary.json").exists() for name in ("run", "run.1"))


def told_once(text, says):
    """The rank that tells of the failure."""
    assert says in text
    (line,) = [line for line in text.splitlines() if line.startswith("rank ")]
    assert " of 3 on " in line
    assert line.endswith(" failed")
    return int(line.split()[1])
