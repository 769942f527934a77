"""The run folder: one writer at a time, and no earlier run is ever lost."""

import dataclasses
import errno
import json
import signal
import subprocess
import sys
import threading

import pytest
import torch

from mlsh_mpi.config.overrides import with_options
from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.tracking import checkpoint
from mlsh_mpi.tracking.run_folder import RunFolder, default_folder
from mlsh_mpi.tracking.same_run import OWN_UNITS

CONFIG = with_options(Config(), {"iterations": 40, "groups": 30})
IDENTITY = {"environment": {"name": "Here", "observation_size": "6"}, "software": {"torch": "9.9"}}

HOLDER = """
import sys, time
from pathlib import Path
from mlsh_mpi.tracking.run_folder import RunFolder
folder = RunFolder(Path(sys.argv[1]), fresh=False)
print("holds it", flush=True)
time.sleep(60)
"""


def said(path, fresh=False):
    """The one sentence with which a folder is refused."""
    with pytest.raises(UserError) as refusal:
        RunFolder(path, fresh=fresh)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def earlier_run(path, *, iterations=3, mark=""):
    """Leaves a run behind, as the trainer would."""
    folder = RunFolder(path, fresh=False)
    folder.write_config(CONFIG)
    rows = [{"iteration": i + 1, "environment_steps": 1000 * (i + 1)} for i in range(iterations)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if mark:
        (path / "mark").write_text(mark)
    folder.close()


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder tmp_path/run."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "holds it\n"
        yield process
        process.kill()


@pytest.mark.parametrize("fresh", [False, True])
def test_a_second_writer_is_refused_until_the_first_dies(tmp_path, holder, fresh):
    path = tmp_path / "run"
    sentence = said(path, fresh)
    for part in ("another process is writing", str(path), "--seed or --folder"):
        assert part in sentence
    assert [child.name for child in tmp_path.iterdir()] == ["run"]
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    RunFolder(path, fresh=fresh).close()


def test_a_closed_folder_can_be_taken_again(tmp_path):
    first = RunFolder(tmp_path / "a" / "run", fresh=False)
    said(tmp_path / "a" / "run")
    first.close()
    RunFolder(tmp_path / "a" / "run", fresh=False).close()


def continued(path, config=CONFIG, told=None, leaves=(), check_resumable=lambda _: None, **other):
    """What a job finds that starts in a folder, and the final tables if there is nothing left to do."""
    folder = RunFolder(path, fresh=False)
    told = [] if told is None else told
    now = {"environment": IDENTITY["environment"] | other, "software": IDENTITY["software"]}
    try:
        saved = folder.continued(config, now, told.append, "--iterations", check_resumable)
        return saved, folder.finished(config, saved, leaves)
    finally:
        folder.close()


def kept_run(path, iteration=3, stopped_by=None, config=CONFIG):
    """An earlier run with a checkpoint."""
    earlier_run(path)
    state = {"config": dataclasses.asdict(config), "identity": IDENTITY, "stopped_by": stopped_by}
    checkpoint.save(path / "checkpoints", iteration, state)


def summary_of(path, iterations):
    (path / "summary.json").write_text(json.dumps({"iterations": iterations}))
    (path / "summary.txt").write_text("tables")


def test_a_run_without_a_checkpoint_starts_from_its_beginning(tmp_path):
    earlier_run(tmp_path / "run", mark="a")
    assert continued(tmp_path / "run") == (None, None)
    assert (tmp_path / "run" / "mark").read_text() == "a"


def test_a_run_goes_on_from_its_newest_checkpoint(tmp_path):
    kept_run(tmp_path / "run", iteration=3)
    kept_run(tmp_path / "run", iteration=12)
    saved, tables = continued(tmp_path / "run")
    assert (saved.iteration, tables) == (12, None)


def test_a_finished_run_is_shown_and_more_iterations_extend_it(tmp_path):
    path = tmp_path / "run"
    kept_run(path, iteration=40)
    assert continued(path)[1] is None, "trained, not yet tested"
    summary_of(path, 40)
    assert continued(path)[1] == "tables"
    saved, tables = continued(path, with_options(CONFIG, {"iterations": 41}))
    assert (saved.iteration, tables) == (40, None)
    assert json.loads((path / "config.json").read_text())["run"]["iterations"] == 41


@pytest.mark.parametrize("text", ["null", "[]", "3", "{", '{"iterations": "40"}', ""])
def test_a_run_whose_summary_is_something_else_is_not_finished(tmp_path, text):
    kept_run(tmp_path / "run", iteration=40)
    summary_of(tmp_path / "run", 40)
    (tmp_path / "run" / "summary.json").write_text(text)
    assert continued(tmp_path / "run")[1] is None


def test_a_run_that_lacks_a_file_is_not_finished(tmp_path):
    kept_run(tmp_path / "run", iteration=40)
    summary_of(tmp_path / "run", 40)
    assert continued(tmp_path / "run", leaves=["phi.pt"])[1] is None
    (tmp_path / "run" / "phi.pt").touch()
    assert continued(tmp_path / "run", leaves=["phi.pt"])[1] == "tables"


@pytest.mark.parametrize("change", ["identity", "config", "iteration", "unfit"])
def test_a_whole_checkpoint_that_will_not_do_is_named_and_passed_over(tmp_path, change):
    kept_run(tmp_path / "run", iteration=3)
    kept_run(tmp_path / "run", iteration=12)
    newest = tmp_path / "run" / "checkpoints" / "iteration-00000012.pt"
    if change != "unfit":
        saved = torch.load(newest, weights_only=True)
        del saved[change]
        torch.save(saved, newest)

    def check_resumable(saved):
        if change == "unfit" and saved.iteration == 12:
            raise KeyError("primitives")

    told = []
    assert continued(tmp_path / "run", told=told, check_resumable=check_resumable)[0].iteration == 3
    assert len(told) == 1
    assert f"{newest} cannot be used: " in told[0]


def test_whether_a_checkpoint_fits_is_asked_of_the_same_run_only(tmp_path):
    """With other settings it cannot fit, and those are to be named."""
    kept_run(tmp_path / "run")
    with pytest.raises(UserError, match=r"hierarchy.primitives was 2 and is now 3"):
        continued(tmp_path / "run", with_options(CONFIG, {"primitives": 3}), check_resumable=pytest.fail)
    with pytest.raises(UserError, match=r"observation_size was 6 and is now 9"):
        continued(tmp_path / "run", check_resumable=pytest.fail, observation_size="9")


def test_a_run_that_reached_its_target_is_finished_for_that_target_alone(tmp_path):
    path = tmp_path / "run"
    kept_run(path, iteration=7, stopped_by="return/mean>5")
    summary_of(path, 7)
    assert continued(path, with_options(CONFIG, {"stop_when": "return/mean>5"}))[1] == "tables"
    assert continued(path, with_options(CONFIG, {"stop_when": "return/mean>6"}))[1] is None
    assert continued(path)[1] is None


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"seed": 4}, ["run.seed was 0 and is now 4"]),
        ({"macro_length": 5, "groups": 7}, ["hierarchy.macro_length was 10 and is now 5", "sampling.groups was 30 and is now 7"]),
        ({"iterations": 2}, ["has reached iteration 3", "--iterations 3 or more"]),
    ],
)
def test_what_would_make_it_another_run_is_refused_and_named(tmp_path, options, parts):
    kept_run(tmp_path / "run")
    for _ in range(2):
        with pytest.raises(UserError) as refusal:
            continued(tmp_path / "run", with_options(CONFIG, options))
        for part in [str(tmp_path / "run"), "--fresh", *parts]:
            assert part in str(refusal.value)
    assert continued(tmp_path / "run")[0].iteration == 3


def test_what_does_not_change_the_run_may_change(tmp_path):
    kept_run(tmp_path / "run")
    options = {"iterations": 50, "sync_interval": 3, "checkpoint_minutes": 5.0, "time_limit": 60.0, "test_masters": 8}
    assert continued(tmp_path / "run", with_options(CONFIG, options))[0].iteration == 3


def test_another_environment_is_refused_and_other_software_mentioned(tmp_path):
    kept_run(tmp_path / "run")
    with pytest.raises(UserError, match=r"another environment .*observation_size was 6 and is now 9"):
        continued(tmp_path / "run", observation_size="9")
    saved = checkpoint.newest(tmp_path / "run" / "checkpoints", print)
    saved["identity"]["software"] = {"torch": "0.1"}
    checkpoint.save(tmp_path / "run" / "checkpoints", 4, {k: v for k, v in saved.items() if k not in {"iteration"}})
    told = []
    assert continued(tmp_path / "run", told=told)[0].iteration == 4
    assert "another version of torch" in told[0]


def test_primitives_that_were_trained_further_are_no_other_environment(tmp_path):
    kept_run(tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    saved = checkpoint.newest(folder, print)
    saved["identity"]["environment"]["phi"] = "24f671ff"
    checkpoint.save(folder, 4, {k: v for k, v in saved.items() if k not in {"iteration"}})
    with pytest.raises(UserError, match=r"before they were trained further \(phi was 24f671ff and is now 0badcafe\)") as refusal:
        continued(tmp_path / "run", phi="0badcafe")
    assert "environment" not in str(refusal.value)


def test_a_run_whose_actions_were_drawn_in_other_units_is_refused(tmp_path):
    """As those of a humanoid were by earlier versions, which kept no such entry; what is within +-1 continues."""
    kept_run(tmp_path / "run")
    continued(tmp_path / "run", actions=OWN_UNITS)
    with pytest.raises(UserError, match=r"actions was in units of the environment and is now in units of the half-width"):
        continued(tmp_path / "run", actions="in units of the half-width of their bounds")


@pytest.mark.parametrize("text", ["{", "{}", "[]", ""])
def test_a_folder_whose_config_says_nothing_is_refused(tmp_path, text):
    earlier_run(tmp_path / "run", mark="a")
    (tmp_path / "run" / "config.json").write_text(text)
    with pytest.raises(UserError, match="--fresh"):
        continued(tmp_path / "run")
    assert (tmp_path / "run" / "mark").read_text() == "a"


def test_an_earlier_traceback_makes_room_for_the_next(tmp_path):
    kept_run(tmp_path / "run")
    (tmp_path / "run" / "traceback.txt").write_text("boom")
    continued(tmp_path / "run")
    assert (tmp_path / "run" / "traceback.txt.1").read_text() == "boom"
    assert not (tmp_path / "run" / "traceback.txt").exists()


def test_fresh_moves_every_earlier_run_aside_whole(tmp_path):
    path = tmp_path / "run"
    for mark in "abc":
        RunFolder(path, fresh=True).close()
        earlier_run(path, mark=mark)
    RunFolder(path, fresh=True).close()
    kept = {child.name: (child / "mark").read_text() for child in tmp_path.iterdir() if (child / "mark").exists()}
    assert sorted(kept.values()) == ["a", "b", "c"]
    assert "run" not in kept
    for name in kept:
        assert json.loads((tmp_path / name / "config.json").read_text())["run"]["iterations"] == 40
        assert len((tmp_path / name / "metrics.jsonl").read_text().splitlines()) == 3


def test_fresh_does_not_mind_that_nothing_is_there(tmp_path):
    RunFolder(tmp_path / "run", fresh=True).close()
    assert [child.name for child in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("where", ["file", "file/run", "file/deep/run"])
def test_a_folder_that_cannot_be_made_gets_a_sentence(tmp_path, where):
    (tmp_path / "file").write_text("in the way")
    sentence = said(tmp_path / where)
    for part in (str(tmp_path / where), "cannot be written", "--folder"):
        assert part in sentence
    assert (tmp_path / "file").read_text() == "in the way"


def test_the_current_folder_can_be_a_run_folder_but_not_be_moved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = default_folder(with_options(Config(), {"folder": "."}))
    earlier_run(path, mark="a")
    assert "--folder" in said(path, fresh=True)
    assert (tmp_path / "mark").read_text() == "a"


def test_the_folder_is_named_by_preset_and_seed_unless_it_is_given():
    assert str(default_folder(with_options(Config(), {"seed": 5}))) == "runs/moving-bandits-seed5"
    assert str(default_folder(with_options(Config(), {"folder": "/tmp/x"}))) == "/tmp/x"


# Clusters


def test_a_filesystem_without_locks_is_said_and_used(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("mlsh_mpi.tracking.run_folder.fcntl.flock", refuse)
    RunFolder(tmp_path / "run", fresh=False).close()
    assert "without locks" in capsys.readouterr().err


def test_a_requeued_job_waits_for_the_last_process_of_its_predecessor(tmp_path, holder, monkeypatch):
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    killed = threading.Timer(1, holder.kill)
    killed.start()
    RunFolder(tmp_path / "run", fresh=False).close()
    assert not killed.is_alive()


def test_jobs_are_noted_and_the_batch_script_kept(tmp_path, monkeypatch):
    (tmp_path / "slurm_script").write_text("#!/bin/sh\n")
    monkeypatch.setenv("MLSH_JOB_SCRIPT", str(tmp_path / "slurm_script"))
    folder = RunFolder(tmp_path / "run", fresh=False)
    folder.note_job(0, {"a": 2, "b": 2}, "MPI 1")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    folder.note_job(12, {"c": 4}, "MPI 1")
    folder.close()
    first, second = map(json.loads, (tmp_path / "run" / "jobs.jsonl").read_text().splitlines())
    assert (first["iteration"], first["ranks"], first["MPI"]) == (0, {"a": 2, "b": 2}, "MPI 1")
    assert (second["iteration"], second["ranks"], second["SLURM"]["JOB_ID"]) == (12, {"c": 4}, "7")
    assert (tmp_path / "run" / "job.sbatch").read_text() == "#!/bin/sh\n"
