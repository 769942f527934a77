"""The command line: what it resolves to, and one line for each mistake that names the nearest valid choice."""

import dataclasses
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mlsh_envs
from mlsh_mpi import __main__ as command
from mlsh_mpi.commands.cli import listing, parse, parse_adapt_args, parse_replay_args, parse_train_args
from mlsh_mpi.config.overrides import with_options
from mlsh_mpi.config.presets import PRESETS, config_for
from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi.launchers import RANK_VARIABLES
from mlsh_mpi.networks.actor_critic import Network, StackedActorCritic
from mlsh_mpi.networks.distributions import Categorical
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.policies.hierarchy import Hierarchy
from mlsh_mpi.policies.phi_file import save_phi
from mlsh_mpi.policies.primitives import load
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.task_family import TaskFamily

BASE = PRESETS["moving-bandits"].config


def settings(*arguments):
    return parse(arguments).settings


def test_without_arguments_it_is_moving_bandits():
    command = parse([])
    assert command.settings == BASE
    assert (command.list, command.print_config, command.fresh, command.config) == (False, False, False, None)


@pytest.mark.parametrize("name", PRESETS)
def test_the_first_word_is_the_preset(name):
    assert settings(name) == PRESETS[name].config


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ("--seed 3", {"seed": 3}),
        ("moving-bandits --seed=3 --groups 7", {"seed": 3, "groups": 7}),
        ("--macro_length 5 --episode-length None", {"macro_length": 5, "episode_length": None}),
        ("--whole-episode-iterations 25", {"whole_episode_iterations": 25}),
        ("--hidden 32 16", {"hidden": (32, 16)}),
        ("--learn-from-explored", {"learn_from_explored": True}),
        ("--no-learn-from-explored --filter-observations", {"learn_from_explored": False, "filter_observations": True}),
        ("--env here.there:Mine --episode-length 20", {"env": "here.there:Mine", "episode_length": 20}),
        ("--credit episode --folder /tmp/x", {"credit": "episode", "folder": "/tmp/x"}),
        ("--master.learning-rate 0.5", {"master": dataclasses.replace(BASE.master, learning_rate=0.5)}),
        ("--primitive.epochs 3", {"primitive": dataclasses.replace(BASE.primitive, epochs=3)}),
    ],
)
def test_options_override_the_preset(arguments, options):
    assert settings(*arguments.split()) == with_options(BASE, options)


@pytest.mark.parametrize(
    ("arguments", "preset"),
    [
        ("--env mlsh/KeyDoor-v0", "key-door"),
        ("--env=mlsh/AntMaze-v0", "ant-mazes"),
        ("--env mlsh/AntBigCourse-v0 --seed 3", "ant-obstacle-course"),
        ("--seed 3 --env mlsh/FourRooms-v0", "four-rooms"),
        ("moving-bandits --env mlsh/KeyDoor-v0", "moving-bandits"),
        ("--env here.there:Mine", "moving-bandits"),
        ("--env CartPole-v1", "moving-bandits"),
    ],
)
def test_without_a_presets_name_the_environments_preset_is_the_start(arguments, preset):
    found = settings(*arguments.split())
    env, seed = found.environment.env, found.run.seed
    assert found == with_options(PRESETS[preset].config, {"env": env, "seed": seed})
    assert env in arguments


def test_it_is_said_which_preset_an_environment_has_chosen(capsys):
    line = "mlsh/KeyDoor-v0 begins with the settings of the preset key-door\n"
    for arguments, said in (("", ""), ("key-door", ""), ("--env a:B", ""), ("--env mlsh/KeyDoor-v0 --seed 3", line)):
        parse_train_args(arguments.split())
        assert capsys.readouterr().out == said


def test_every_environment_has_a_preset_that_is_not_the_papers():
    for name in mlsh_envs.FAMILIES:
        env = f"mlsh/{name}-v0"
        config = config_for(None, env)
        assert not config.preset.endswith("-paper")
        assert (config.preset == "moving-bandits") == (env == "mlsh/MovingBandits-v0")


def test_an_environment_of_ones_own_takes_any_preset_without_the_settings_of_that_presets_environment():
    mine = settings("ant-twowalk", "--env", "my_module:MyEnv")
    assert (mine.environment.env_settings, mine.environment.primitive_columns) == ((), None)
    scratch, *_ = parse_adapt_args(["ant-twowalk", "--method", "scratch", "--env", "my_module:MyEnv"])
    over_primitives, *_ = parse_adapt_args(["ant-twowalk", "--env", "my_module:MyEnv"])
    assert (scratch.environment.env_settings, scratch.environment.primitive_columns) == ((), None)
    assert (over_primitives.environment.env_settings, over_primitives.environment.primitive_columns) == ((), (0, 28))
    assert mine.primitive == PRESETS["ant-twowalk"].config.primitive
    assert settings("ant-mazes", "--env", "mlsh/AntBigCourse-v0").environment.env_settings == ("integrator=implicitfast",)


@pytest.mark.parametrize(("words", "preset"), [("twowalk", "ant-twowalk"), ("twowalk-shared", "ant-twowalk-shared")])
def test_the_last_words_of_a_preset_name_it(words, preset):
    assert settings(words) == settings(preset)


def test_flags_stand_alone():
    assert parse(["--list"]).list
    assert parse(["--print-config"]).print_config
    assert parse(["moving-bandits", "--fresh", "--seed", "2"]).fresh


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("moving-bandit", ["no preset 'moving-bandit'", "did you mean moving-bandits?", *PRESETS]),
        ("zzz", ["no preset 'zzz'", *PRESETS]),
        ("--sed 3", ["no option --sed", "did you mean --seed?"]),
        ("--group=3", ["no option --group", "did you mean --groups?"]),
        ("--master.learnin-rate 1", ["no option --master.learnin-rate", "did you mean --master.learning-rate?"]),
        ("--learning-rate 1", ["no option --learning-rate", "did you mean --master.learning-rate?"]),
        ("--frsh", ["no option --frsh", "did you mean --fresh?"]),
        ("--no-learn-from-explord", ["no option --no-learn-from-explord", "learn-from-explored"]),
        ("--seed 3 --sed 4", ["no option --sed", "did you mean --seed?"]),
        ("--iterations many", ["--iterations takes a whole number, not 'many'"]),
        ("--seed 1.5", ["--seed takes a whole number, not '1.5'"]),
        ("--seed=x", ["--seed takes a whole number, not 'x'"]),
        ("--master.learning-rate fast", ["--master.learning-rate takes a number, not 'fast'"]),
        ("--episode_length x", ["--episode-length takes a whole number or None, not 'x'"]),
        ("--primitive-columns 1", ["--primitive-columns takes two whole numbers or None, not '1'"]),
        ("--primitive-columns 1 b", ["--primitive-columns takes two whole numbers or None, not '1' 'b'"]),
        ("--test-masters 3 4", ["unrecognized: 4; --test-masters takes a whole number"]),
        ("--fresh yes", ["unrecognized: yes; --fresh takes no value"]),
        ("--no-fresh", ["no option --no-fresh"]),
        ("--iterations", ["missing value for --iterations, which takes a whole number"]),
        ("--credit episod", ["--credit takes one of episode, macro-action, not 'episod' (did you mean episode?)"]),
        ("--hidden wide", ["--hidden takes whole numbers, not 'wide'"]),
        ("moving-bandits more", ["unrecognized", "more"]),
        ("--seed 3 moving-bandits", ["unrecognized", "moving-bandits"]),
        ("--config /no/such/file.json", ["--config /no/such/file.json", "cannot be read"]),
        ("--config=/no/such/file.json", ["/no/such/file.json", "cannot be read"]),
        ("--config", ["--config", "missing value"]),
    ],
)
def test_mistakes_get_one_line_that_names_what_is_meant(arguments, parts):
    with pytest.raises(UserError) as refusal:
        parse(arguments.split())
    sentence = str(refusal.value)
    assert "\n" not in sentence
    assert "│" not in sentence
    assert not any(word in sentence for word in ("int()", "float()", "Expected", "<class", "tuple[", "Error"))
    for part in parts:
        assert part in sentence


def test_on_a_terminal_the_line_is_the_same():
    """Open MPI gives every rank a terminal, and there messages come coloured."""
    program = "from mlsh_mpi.commands.cli import parse\ntry:\n    parse(['--iterations', 'many'])\n"
    program += "except Exception as error:\n    print(error)"
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", program], stdin=theirs, stdout=theirs, stderr=theirs, check=True)
    said = os.read(ours, 4096).decode().split()
    os.close(ours)
    os.close(theirs)
    with pytest.raises(UserError) as refusal:
        parse(["--iterations", "many"])
    assert said == str(refusal.value).split()


def test_hints_name_only_options_that_exist():
    with pytest.raises(UserError) as refusal:
        parse(["--presett", "x"])
    assert "did you mean --preset?" not in str(refusal.value)


@pytest.mark.parametrize("form", ["--config {}", "--config={}", "moving-bandits --config {}"])
def test_a_file_replaces_the_preset_and_options_replace_the_file(tmp_path, form):
    expected = with_options(PRESETS["moving-bandits-paper"].config, {"seed": 8, "hidden": (5,)})
    path = tmp_path / "config.json"
    path.write_text(json.dumps(dataclasses.asdict(expected)))
    arguments = form.format(path).split()
    assert settings(*arguments) == expected
    assert settings(*arguments, "--seed", "9") == with_options(expected, {"seed": 9})


@pytest.mark.parametrize(
    ("text", "parts"),
    [("{", ["cannot be read as JSON"]), ("[]", ["must hold an object"]), ('{"run": {"sed": 1}}', ["'run.sed'"])],
)
def test_files_that_hold_something_else_are_named(tmp_path, text, parts):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(UserError) as refusal:
        parse(["--config", str(path)])
    for part in [str(path), *parts]:
        assert part in str(refusal.value)


def test_the_listing_shows_presets_and_environments():
    text = listing()
    for name, preset in PRESETS.items():
        assert any(line.split() == [name, *preset.summary.split()] for line in text.splitlines())
    assert "mlsh/MovingBandits-v0" in text.split()


def test_help_lists_options_and_presets(capsys):
    with pytest.raises(SystemExit) as end:
        parse(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for word in ("--groups", "--master.learning-rate", "moving-bandits-paper", "--config"):
        assert word in shown


def test_a_baselines_name_goes_behind_a_presets():
    assert settings("ant-twowalk-shared").hierarchy.primitives == 1
    assert settings("moving-bandits-n1", "--seed", "3").run.seed == 3
    with pytest.raises(UserError, match="did you mean moving-bandits-maml"):
        parse(["moving-bandits-mamml"])


@pytest.fixture
def phi(tmp_path):
    """Of a preset with other settings than the default's."""
    family, config = (
        TaskFamily.from_maker(EnvironmentMaker("mlsh/MovingBandits-v0", None)),
        with_options(BASE, {"seed": 7, "warmup": 4, "folder": "elsewhere"}),
    )
    save_phi(
        tmp_path / "phi.pt",
        PrimitivePolicies(StackedActorCritic(2, Network(6, Categorical(5), (64, 64))), np.arange(6), None),
        config,
        family,
    )
    return str(tmp_path / "phi.pt")


def test_a_test_takes_over_the_settings_of_the_training_but_not_its_folder(phi):
    config, _, fresh = parse_adapt_args([phi, "--macro-length", "5", "--task", "goal=1"])
    assert (config.run.seed, config.hierarchy.macro_length, config.run.folder, fresh) == (7, 5, None, False)
    assert config.run.iterations == 4 + 1
    assert config.test.task == ("goal=1",)
    assert config.hierarchy.whole_episode_iterations == 0


def test_updates_can_be_asked_for(phi):
    assert parse_adapt_args([phi, "--updates", "20"])[0].run.iterations == 21
    with pytest.raises(UserError, match="--updates must be greater than 0"):
        parse_adapt_args([phi, "--updates", "0"])[0].check(50)


def test_a_film_has_a_place_and_perhaps_a_primitive(phi):
    config, _, film = parse_replay_args([phi, "--video", "x.gif", "--force-primitive", "1"])
    assert (str(film.video), film.force_primitive, config.run.seed) == ("x.gif", 1, 7)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ant-twowlk", "did you mean ant-twowalk?"),
        ("PointMass-sed0", "did you mean runs/PointMass-seed0?"),
        ("runs/PointMas-seed0", "did you mean runs/PointMass-seed0?"),
        ("./runs/PointMass", "did you mean runs/PointMass-seed0?"),
    ],
)
@pytest.mark.parametrize("parse_args", [parse_adapt_args, parse_replay_args])
@pytest.mark.usefixtures("run_here")
def test_hints_for_what_was_trained_are_runs_and_shipped_primitives_and_no_presets(parse_args, name, hint):
    with pytest.raises(UserError) as refusal:
        parse_args([name])
    assert hint in str(refusal.value)
    assert "there are ant-mazes, ant-twowalk" in str(refusal.value)
    assert "key-door" not in str(refusal.value)


@pytest.mark.usefixtures("run_here")
def test_a_run_below_runs_needs_no_more_than_its_name():
    assert parse_adapt_args(["PointMass-seed0"])[0].source == "runs/PointMass-seed0"
    assert parse_replay_args(["PointMass-seed0"])[0].run.seed == 7
    assert len(load("PointMass-seed0")) == 2
    assert parse_adapt_args(["four-rooms", "--method=scratch"])[0].source == "four-rooms"
    with pytest.raises(UserError, match="key-door is a preset, with nothing trained"):
        parse_adapt_args(["key-door"])


@pytest.fixture
def run_here(phi, tmp_path, monkeypatch):
    """A run below runs/ in the current folder."""
    (tmp_path / "runs/PointMass-seed0").mkdir(parents=True)
    Path(phi).rename(tmp_path / "runs/PointMass-seed0/phi.pt")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--folder x", "--folder does not affect a film: leave it out, and use --video"),
        ("--test-episodes 3", "--test-episodes does not affect a film: leave it out"),
        ("--groups 3", "--groups only affects training, which is over"),
    ],
)
def test_a_film_refuses_what_does_nothing_for_it(phi, arguments, says):
    with pytest.raises(UserError, match=says):
        parse_replay_args([phi, *arguments.split()])


def test_help_of_a_film_leaves_out_what_does_nothing_and_says_whose_defaults_it_shows(phi, capsys):
    for source, whose in ([], "moving-bandits: mlsh replay RUN --help shows those of the run"), ([phi], phi.split("/")[-2]):
        with pytest.raises(SystemExit):
            parse_replay_args([*source, "--help"])
        shown = " ".join(capsys.readouterr().out.split())
        assert {"--video", "--updates", "--fps"} <= set(shown.split())
        assert not {"--groups", "--folder", "--test-episodes", "--checkpoint-minutes", "--time-limit"} & set(shown.split())
        assert whose in shown


def test_from_scratch_a_preset_is_enough():
    config, *_ = parse_adapt_args(["four-rooms", "--method", "option-critic", "--held-out"])
    assert (config.preset, config.test.method, config.test.held_out) == ("four-rooms", "option-critic", True)


def test_the_short_help_fits_one_screen_and_has_the_presets_defaults(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        parse(["ant-twowalk", "-h"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert len(shown.splitlines()) <= 45
    assert {"--env", "--seed", "--iterations", "--groups", "--primitives", "--macro-length", "--list", "--help"} <= set(
        shown.split()
    )
    assert "(default: mlsh/AntTwowalk-v0)" in shown
    assert not {"--master.learning-rate", "--patience", "--credit"} & set(shown.split())


def test_help_of_a_test_leaves_out_what_only_training_asks_for(capsys):
    with pytest.raises(SystemExit):
        parse_adapt_args(["--help"])
    shown = capsys.readouterr().out
    assert {"--updates", "--task", "--macro-length", "--master.learning-rate"} <= set(shown.split())
    assert not {"--groups", "--whole-episode-iterations", "--iterations", "--stop-when"} & set(shown.split())


def test_pretrained_primitives_are_known_by_name_and_a_hierarchy_by_its_file(tmp_path):
    config, *_ = parse_adapt_args(["ant-twowalk", "--updates", "2"])
    assert config.source.endswith("primitives/ant-twowalk.pt")
    assert parse_adapt_args(["four-rooms", "--method", "scratch"])[0].source == "four-rooms"
    primitives = load("moving-bandits")
    master = StackedActorCritic(1, Network(6, Categorical(2), primitives.phi.config.network.hidden)).flat[0]
    Hierarchy(primitives, master, 7, "goal=1").save(tmp_path / "h.pt")
    config, *_ = parse_replay_args([str(tmp_path / "h.pt")])
    assert (config.hierarchy.macro_length, config.test.task) == (7, ("goal=1",))


def test_one_command_starts_the_others(monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", [*sys.path])
    for arguments, said in (
        (["--version"], "mlsh_mpi 0.1.0"),
        ([], "mlsh train [PRESET]"),
        (["--help"], "mpirun -np N mlsh train"),
    ):
        monkeypatch.setattr("sys.argv", ["mlsh", *arguments])
        command.main()
        assert said in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["mlsh", "trian"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert (ended.value.code, "did you mean train?" in capsys.readouterr().err) == (2, True)
    called = []
    monkeypatch.setattr("mlsh_mpi.commands.seeds.main", lambda: called.append(sys.argv))
    monkeypatch.setattr("sys.argv", ["mlsh", "seeds", "a", "--picture", "b.png"])
    command.main()
    assert called == [["mlsh seeds", "a", "--picture", "b.png"]]


@pytest.mark.parametrize("arguments", ["train --help", "train four-rooms --list", "adapt --help", "replay --help"])
def test_help_needs_neither_torch_nor_mpi(arguments):
    program = "import atexit, sys; atexit.register(lambda: print({'torch', 'mpi4py'} & set(sys.modules), file=sys.stderr))"
    program += "; from mlsh_mpi.__main__ import main; main()"
    plain = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
    shown = subprocess.run([sys.executable, "-c", program, *arguments.split()], env=plain, capture_output=True, text=True)
    assert (shown.returncode, shown.stderr) == (0, "set()\n")
    assert "moving-bandits" in shown.stdout or "RUN_OR_PHI" in shown.stdout


def test_who_reads_only_the_first_lines_of_a_help_sees_no_traceback():
    command = [sys.executable, "-c", "from mlsh_mpi.__main__ import main; main()", "adapt", "--help"]
    read, write = os.pipe()
    os.close(read)
    shown = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (shown.returncode, shown.stderr) == (0, "")


def test_a_smoke_run_is_small_and_may_be_changed():
    small = parse(["ant-mazes", "--smoke", "--iterations", "6"]).settings
    assert (small.preset, small.sampling.groups, small.run.iterations) == ("ant-mazes-smoke", 2, 6)
