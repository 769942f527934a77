"""A run that is cut and continued equals one that is not; leaving in order and dying both lose nothing that was kept."""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mpi.conftest import but_for_time
from mpi.launcher import PROGRAMS, Job, mpirun, mpirun_each, mpirun_path

pytestmark = pytest.mark.mpi
TRAIN = ("-m", "mlsh_mpi.train")
BRIEF = "--primitive.epochs 2 --primitive.minibatches 3 --master.epochs 2".split()
RUN = [
    "--steps",
    "100",
    *"--whole-episode-iterations 3 --warmup 3 --groups 4 --test-masters 2 --checkpoint-interval 1".split(),
    *BRIEF,
]
LASTING = [*RUN, "--folder", "run", "--iterations", "100000"]
CONTINUE = 75
ADAPTIVE = "--primitive.adaptive-kl 0.01 --primitive.standardise-values --primitive.max-gradient-norm 0.5".split()
SHORT = [*"--steps 13 --master.memory 3 --master.target-kl 0.001 --master.standardise-values --stratify-tasks".split(), *ADAPTIVE]
"""Episodes and macro-actions go on over iterations."""


def last_checkpoint(folder):
    newest = max((folder / "checkpoints").glob("*.pt"))
    return torch.load(newest, weights_only=True)


def learned(folder):
    """Everything that learning changed, by name."""
    saved = last_checkpoint(folder)
    parts = ("primitives", "masters", "observation_filter")
    return {f"{part}.{name}": value for part in parts for name, value in (saved[part] or {}).items()}


def logged(folder):
    """The metrics of each iteration that do not depend on the time."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [but_for_time(row) for row in rows]


@pytest.mark.parametrize(
    ("ranks", "more"),
    [
        (1, []),
        (2, "--env small_envs:Push --episode-length 20 --macro-length 5 --filter-observations --evaluation-interval 4".split()),
        (4, []),
        (1, [*SHORT, *"--env mlsh/AntTwowalk-v0 --episode-length 20 --macro-length 5 --filter-observations".split()]),
        (2, [*SHORT, *"--env small_envs:Walk --episode-length 20 --macro-length 5".split()]),
        (3, SHORT),
    ],
)
def test_a_run_cut_twice_equals_one_in_one_go_bit_for_bit(tmp_path, ranks, more):
    run = [*TRAIN, *RUN, *more, "--iterations", "9"]
    whole, cut = (*run, "--folder", tmp_path / "whole"), (*run, "--folder", tmp_path / "cut")
    for result in mpirun_each(ranks, whole, (*cut, "--stop-when", "iteration>1"), cwd=PROGRAMS):
        result.succeeded()
    mpirun(ranks, *cut, "--stop-when", "iteration>5", cwd=PROGRAMS).succeeded()
    result = mpirun(ranks, *cut, cwd=PROGRAMS).succeeded()
    assert "from the checkpoint after iteration 5; 4 to go" in result.stdout
    whole, cut = (learned(tmp_path / name) for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(cut[name], value) for name, value in whole.items())
    assert len(logged(tmp_path / "whole")) == 9
    assert logged(tmp_path / "cut") == logged(tmp_path / "whole")
    whole, cut = (json.loads((tmp_path / name / "summary.json").read_text())["curve"] for name in ("whole", "cut"))
    assert whole == cut
    best = [found_best(tmp_path / name) for name in ("whole", "cut")]
    assert [found is not None for found in best] == ["--evaluation-interval" in more] * 2
    assert best[0] is None or all(
        torch.equal(best[1]["primitives"][name], value) for name, value in best[0]["primitives"].items()
    )


def found_best(folder):
    """The best primitives of a run that were evaluated, which are those of the best logged evaluation; None if none were."""
    evaluated = [(row["evaluation/return"], -row["iteration"]) for row in logged(folder) if "evaluation/return" in row]
    if not evaluated:
        return None
    best = torch.load(folder / "best.pt", weights_only=True)
    summary = json.loads((folder / "summary.json").read_text())["evaluation"]
    assert (best["evaluation"]["iteration"], summary["iteration"]) == (-max(evaluated)[1],) * 2
    assert best["evaluation"]["return"] == pytest.approx(max(evaluated)[0], rel=1e-5)
    return best


@pytest.mark.parametrize("more", [[], [*SHORT, "--steps", "30"]], ids=["whole episodes", "short"])
def test_another_number_of_ranks_continues_with_the_same_workers_and_tasks(tmp_path, more):
    """Ranks 2 -> 4 -> 1, with one worker a group: four ranks would have grown nothing here, nor does one take any away."""
    run = [*TRAIN, *RUN, *more, "--iterations", "6", "--evaluation-interval", "4"]
    cut = (*run, "--folder", "cut", "--stop-when")
    for result in mpirun_each(2, (*run, "--folder", "whole"), (*cut, "iteration>3"), cwd=tmp_path):
        result.succeeded()
    for ranks, target in ((4, "iteration>4"), (1, "iteration>6")):
        mpirun(ranks, *cut, target, cwd=tmp_path).succeeded()
    whole, cut = logged(tmp_path / "whole"), logged(tmp_path / "cut")
    assert whole[:3] == cut[:3]
    assert cut[3]["primitive/usage_0"] == pytest.approx(whole[3]["primitive/usage_0"], rel=1e-5)
    assert cut[3].get("return/mean") == pytest.approx(whole[3].get("return/mean"), rel=1e-5)
    assert cut[3]["master/entropy"] == pytest.approx(whole[3]["master/entropy"], rel=1e-5)
    assert cut[3]["evaluation/return"] == pytest.approx(whole[3]["evaluation/return"], rel=1e-5)
    refused = mpirun(5, *TRAIN, *RUN, *more, "--iterations", "7", "--folder", "cut", cwd=tmp_path)
    assert refused.code == 2
    assert "5 ranks and 4 workers" in refused.stderr


def started(tmp_path, ranks=2, iteration=4, *more):
    """A job that has come to an iteration."""
    job = Job([mpirun_path(), "-np", str(ranks), sys.executable, *TRAIN, *LASTING, *more], tmp_path)
    job.wait_for(f"training {iteration:>6}/")
    return job


def ranks_of(job):
    """The processes that are ranks, in order of their numbers."""
    found = {}
    for member in job.members():
        with open(f"/proc/{member}/environ", "rb") as file:
            values = dict(entry.split(b"=", 1) for entry in file.read().split(b"\0") if b"=" in entry)
        number = values.get(b"PMI_RANK", values.get(b"OMPI_COMM_WORLD_RANK"))
        if number is not None:
            found.setdefault(int(number), member)
    return [found[number] for number in sorted(found)]


def continues(tmp_path, ranks=2):
    """The same command goes on from a whole checkpoint, and its logs have every iteration once."""
    done = last_checkpoint(tmp_path / "run")["iteration"]
    options = [*TRAIN, *LASTING, "--stop-when", f"iteration>{done + 2}"]
    result = mpirun(ranks, *options, cwd=tmp_path).succeeded()
    assert f"from the checkpoint after iteration {done}; " in result.stdout
    rows = logged(tmp_path / "run")
    assert [row["iteration"] for row in rows] == list(range(1, done + 3))
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"scalars": 0})
    events.Reload()
    shown = [(event.step, event.value) for event in events.Scalars("return/mean")]
    assert [step for step, _ in shown] == [row["environment_steps"] for row in rows]
    assert [value for _, value in shown] == pytest.approx([row["return/mean"] for row in rows], rel=1e-5)


@pytest.mark.parametrize(
    ("number", "whom"),
    [(signal.SIGUSR1, "mpirun"), (signal.SIGUSR2, "rank 1"), (signal.SIGHUP, "rank 0"), (signal.SIGTERM, "rank 1")],
)
def test_a_signal_ends_the_iteration_keeps_it_and_says_to_continue(tmp_path, number, whom):
    with started(tmp_path) as job:
        os.kill(job.process.pid if whom == "mpirun" else ranks_of(job)[1], number)
        result = job.wait()
    assert result.code == CONTINUE
    assert f"left early ({number.name})" in result.stdout
    assert "Traceback" not in result.stderr
    assert logged(tmp_path / "run")[-1]["iteration"] == last_checkpoint(tmp_path / "run")["iteration"]
    continues(tmp_path)


def test_a_signal_may_be_repeated_until_all_have_gone(tmp_path):
    with started(tmp_path) as job:
        ranks = ranks_of(job)
        while job.process.poll() is None:
            for rank in ranks:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rank, signal.SIGUSR1)
            time.sleep(0.01)
        assert job.wait().code == CONTINUE


def test_the_time_limit_leaves_in_time(tmp_path):
    result = mpirun(2, *TRAIN, *LASTING, "--time-limit", "0.1", cwd=tmp_path)
    assert result.code == CONTINUE
    assert "left early (the time limit)" in result.stdout
    assert last_checkpoint(tmp_path / "run")["iteration"] > 0


def test_a_signal_during_the_final_test_leaves_too_and_the_test_is_done_later(tmp_path):
    options = [*RUN, "--folder", "run", "--iterations", "4", "--warmup", "300"]
    with Job([mpirun_path(), "-np", "2", sys.executable, *TRAIN, *options], tmp_path) as job:
        job.wait_for("testing   5/")
        os.kill(ranks_of(job)[0], signal.SIGUSR1)
        assert job.wait().code == CONTINUE
    result = mpirun(2, *TRAIN, *options, cwd=tmp_path).succeeded()
    assert "training" not in result.stdout
    assert (tmp_path / "run" / "summary.json").exists()


def test_a_second_interrupt_ends_at_once(tmp_path):
    with started(tmp_path) as job:
        first = ranks_of(job)[0]
        os.kill(first, signal.SIGSTOP)
        os.kill(first, signal.SIGINT)
        os.kill(first, signal.SIGCONT)
        os.kill(first, signal.SIGINT)
        assert job.wait(60).code != 0


@pytest.mark.parametrize("whom", ["rank 0", "rank 1", "mpirun"])
def test_whoever_is_killed_the_job_ends_soon_and_the_next_continues(tmp_path, whom):
    with started(tmp_path) as job:
        os.kill(job.process.pid if whom == "mpirun" else ranks_of(job)[int(whom[-1])], signal.SIGKILL)
        assert job.wait(60).code != 0
        assert job.members() == []
    continues(tmp_path)


def listening(process):
    """The sockets on which a process listens."""
    tables = [Path(f"/proc/{process}/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    sockets = {f"socket:[{words[9]}]" for table in tables for line in table if (words := line.split())[3] == "0A"}
    found = set()
    for path in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            found.add(os.readlink(path))
    return found & sockets


def test_a_job_goes_on_after_it_was_suspended_and_leaves_in_order_when_its_launcher_is_killed(tmp_path):
    with started(tmp_path, 2, 4, "--patience", "5") as job:
        ranks = ranks_of(job)
        for rank in ranks:
            assert listening(rank) <= listening(job.process.pid)  # from which they have inherited

        members = [member for member in job.members() if member != job.process.pid]
        for number, seconds in ((signal.SIGSTOP, 14), (signal.SIGCONT, 0)):
            for member in members:
                os.kill(member, number)
            time.sleep(seconds)  # more than one and a half times --patience and five seconds
        seen = job.stdout.count("training ")
        while job.stdout.count("training ") < seen + 5:
            assert job.process.poll() is None
            time.sleep(0.1)

        parents = {int(Path(f"/proc/{rank}/stat").read_text().rpartition(")")[2].split()[1]) for rank in ranks}
        if job.process.pid in parents:
            return  # mpirun itself starts the ranks
        for parent in parents:
            os.kill(parent, signal.SIGKILL)
        assert job.wait(60).code != 0
        assert job.members() == []
    assert logged(tmp_path / "run")[-1]["iteration"] == last_checkpoint(tmp_path / "run")["iteration"]
    continues(tmp_path)


def test_damaged_checkpoints_are_named_and_passed_over_or_refused(tmp_path):
    mpirun(1, *TRAIN, *RUN, "--folder", "run", "--iterations", "5", cwd=tmp_path).succeeded()
    files = sorted((tmp_path / "run" / "checkpoints").glob("*.pt"))
    assert [path.name for path in files] == [f"iteration-{i:08}.pt" for i in (3, 4, 5)]
    data = bytearray(files[2].read_bytes())
    data[len(data) // 2] ^= 1
    files[2].write_bytes(data)
    saved = torch.load(files[1], weights_only=True)
    saved["primitives"]["mean"] = saved["primitives"]["mean"][:, 1:]  # whole, but no job can go on from it
    torch.save(saved, files[1])
    again = [*TRAIN, *RUN, "--folder", "run", "--iterations", "6"]
    result = mpirun(2, *again, cwd=tmp_path).succeeded()
    assert "from the checkpoint after iteration 3" in result.stdout
    for path in files[1:]:
        assert f"{path.relative_to(tmp_path)} cannot be used" in result.stderr
    for path in (tmp_path / "run" / "checkpoints").glob("*.pt"):
        path.write_bytes(b"PK something else")
    result = mpirun(2, *TRAIN, *RUN, "--folder", "run", "--iterations", "7", cwd=tmp_path)
    assert result.code == 2
    for part in ("no checkpoint in run/checkpoints can be used", "--fresh"):
        assert part in result.told[-1]


def test_a_full_disk_gets_a_sentence_and_what_was_kept_stays(tmp_path):
    options = "--env small_envs:Cramped --episode-length 20 --macro-length 5 --iterations 1000 --folder".split()
    result = mpirun(2, *TRAIN, *RUN, *options, tmp_path / "run", cwd=PROGRAMS)
    assert result.code == 2
    (said,) = (line for line in result.stderr.splitlines() if line.startswith("mlsh_mpi: "))
    for part in ("run cannot be written any more", "File too large", "the same command continues from iteration"):
        assert part in said
    assert "Traceback" not in result.stderr
    kept = int(said.rpartition(" ")[2])
    assert kept == last_checkpoint(tmp_path / "run")["iteration"] > 0
