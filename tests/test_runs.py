"""The run folder: one writer at a time, and no earlier run is ever lost."""

import json
import signal
import subprocess
import sys

import pytest

from mlsh_mpi.config import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.options import with_options
from mlsh_mpi.runs import RunFolder, default_folder

CONFIG = with_options(Config(), {"iterations": 40})

HOLDER = """
import sys, time
from pathlib import Path
from mlsh_mpi.runs import RunFolder
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


def earlier_run(path, *, finished=False, iterations=3, mark=""):
    """Leaves a run behind, as the trainer would."""
    folder = RunFolder(path, fresh=False)
    folder.write_config(CONFIG)
    rows = [{"iteration": i + 1, "environment_steps": 1000 * (i + 1)} for i in range(iterations)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if mark:
        (path / "mark").write_text(mark)
    if finished:
        folder.write_json("summary.json", {})
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


@pytest.mark.parametrize(
    ("finished", "iterations", "parts"),
    [
        (True, 40, ["a finished run", "40 of 40 iterations", "40,000 environment steps", "summary.txt"]),
        (False, 3, ["an unfinished run", "3 of 40 iterations", "3,000 environment steps", "did not finish"]),
        (False, 0, ["an unfinished run", "0 of 40 iterations"]),
    ],
)
def test_an_earlier_run_is_refused_saying_what_is_there(tmp_path, finished, iterations, parts):
    earlier_run(tmp_path / "run", finished=finished, iterations=iterations)
    for _ in range(2):
        sentence = said(tmp_path / "run")
        for part in [str(tmp_path / "run"), "--fresh", *parts]:
            assert part in sentence


def torn(path):
    (path / "metrics.jsonl").write_text('{"iteration": 1, "envir')


def unstarted(path):
    (path / "metrics.jsonl").unlink()


@pytest.mark.parametrize(
    "damage",
    [torn, unstarted, *(lambda path, text=text: (path / "config.json").write_text(text) for text in ("{", "{}", "[]"))],
    ids=["torn line", "no line", "torn config", "empty config", "no config"],
)
def test_a_run_that_broke_off_anywhere_is_refused_too(tmp_path, damage):
    earlier_run(tmp_path / "run", mark="a")
    damage(tmp_path / "run")
    assert "already holds" in said(tmp_path / "run")
    assert (tmp_path / "run" / "mark").read_text() == "a"


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
