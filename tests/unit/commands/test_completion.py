"""What a shell offers behind `mlsh`: the script is read by bash, and its function is called as readline would call it."""

import shlex
import shutil
import subprocess

import pytest

from mlsh_mpi.commands import completion
from mlsh_mpi.commands.cli import parse as parse_train_args
from mlsh_mpi.commands.cli import parse_adapt_args, parse_replay_args
from mlsh_mpi.commands.start import COMMANDS
from mlsh_mpi.config.presets import PRESETS
from mlsh_mpi.sampling.environment_maker import known_environments


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "mlsh"
    path.write_text(completion.script("bash") + "\n")
    return path


@pytest.fixture
def offered(script, tmp_path):
    """A function: the words before the cursor, of which the last may be empty -> what is offered."""
    for name in ("PointMass-seed0", "with a space-seed1"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs/PointMass-seed0/phi.pt").touch()
    (tmp_path / "goal0.pt").touch()
    (tmp_path / "notes.txt").touch()

    def offer(line):
        words = ["mlsh", *line.split(" ")]
        program = f"source {script}; COMP_WORDS=({shlex.join(words)}) COMP_CWORD={len(words) - 1}; _mlsh"
        program += "; printf '%s\\n' \"${COMPREPLY[@]}\""
        told = subprocess.run(["bash", "-uc", program], capture_output=True, text=True, cwd=tmp_path)
        assert (told.returncode, told.stderr) == (0, "")
        return told.stdout.split("\n")[:-1] if told.stdout != "\n" else []

    return offer


RUNS = ["runs/PointMass-seed0", "runs/with a space-seed1"]
SHIPPED = ["ant-mazes", "ant-twowalk", "four-rooms", "humanoid-walk-crawl", "moving-bandits"]


def test_the_commands_are_offered_first(offered):
    assert offered("") == [*COMMANDS, "--help", "--version"]
    assert offered("t") == ["train"]
    assert offered("re") == ["replay", "report"]


def test_presets_and_baselines_are_offered_behind_train_and_nothing_else(offered):
    assert set(offered("train ")) > {*PRESETS, "moving-bandits-shared"}
    assert not [word for word in offered("train ") if word.startswith("-") or " " in word]
    assert set(offered("train moving-bandits-p")) == {"moving-bandits-paper"} | {
        f"moving-bandits-paper-{baseline}" for baseline in ("shared", "no-warmup", "n1", "rl2", "maml")
    }


@pytest.mark.parametrize("command", ["adapt", "replay"])
def test_shipped_primitives_and_runs_are_offered_behind_adapt_and_replay(offered, command):
    assert offered(f"{command} ") == [*SHIPPED, *RUNS, "goal0.pt"]
    assert offered(f"{command} ru") == RUNS
    assert offered(f"{command} runs/P") == RUNS[:1]
    assert offered(f"{command} runs/PointMass-seed0/p") == ["runs/PointMass-seed0/phi.pt"]
    assert offered(f"{command} ant-t") == ["ant-twowalk"]


def test_the_options_are_those_of_the_command(offered):
    assert offered("adapt x --upd") == ["--updates"]
    assert offered("adapt --upd") == ["--updates"]
    assert offered("train --upd") == []
    assert offered("train --grou") == ["--groups"]
    assert offered("adapt x --grou") == []
    assert offered("replay x --vid") == ["--video"]
    assert offered("replay x --fold") == []
    assert offered("train --strat") == ["--stratify-tasks"]
    assert offered("train --no-strat") == ["--no-stratify-tasks"]
    assert offered("train --no-fresh") == []
    assert offered("train --preset") == []
    assert "--master.learning-rate" in offered("train moving-bandits --seed 3 ")
    assert offered("seeds a b --pic") == ["--picture"]


def test_the_values_of_options_are_offered(offered):
    assert offered("train --env ") == known_environments()
    assert offered("train --env mlsh/Key") == ["mlsh/KeyDoor-v0"]
    assert offered("train --env = mlsh/Key") == ["mlsh/KeyDoor-v0"]  # as readline takes --env=mlsh/Key apart
    assert offered("train --env =") == known_environments()
    assert offered("train --credit ") == ["episode", "macro-action"]
    assert "scratch" in offered("adapt x --method ")
    assert offered("replay x --video no") == ["notes.txt"]
    assert offered("train --iterations ") == []


def test_several_runs_or_figures_are_offered_where_several_are_taken(offered):
    assert offered("seeds runs/a ") == [*RUNS, "goal0.pt"]
    assert offered("figures fig4a table") == ["table1", "table2"]


@pytest.mark.parametrize(
    ("command", "parse"), [("train", parse_train_args), ("adapt", parse_adapt_args), ("replay", parse_replay_args)]
)
def test_every_option_that_is_offered_is_in_the_help(offered, capsys, command, parse):
    with pytest.raises(SystemExit):
        parse(["--help"])
    shown = set(capsys.readouterr().out.replace(",", " ").split())
    assert set(offered(f"{command} --")) - {"--help"} <= shown


def test_the_command_prints_a_script_for_each_shell_and_names_them(monkeypatch, capsys):
    for shell in completion.SHELLS:
        monkeypatch.setattr("sys.argv", ["mlsh completion", shell])
        completion.main()
        assert "complete -F _mlsh mlsh" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["mlsh completion", "bsh"])
    with pytest.raises(SystemExit) as ended:
        completion.main()
    assert (ended.value.code, "did you mean bash?" in capsys.readouterr().err) == (2, True)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_reads_its_script(tmp_path):
    (tmp_path / "mlsh").write_text(completion.script("zsh"))
    told = subprocess.run(["zsh", "-fc", f"source {tmp_path}/mlsh"], capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, "")
