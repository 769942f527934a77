"""A file of somebody else names an environment and its settings: nothing that it names is imported or called unasked."""

import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

import mlsh_mpi
from mlsh_mpi.commands.cli import parse_adapt_args, parse_replay_args, parse_train_args
from mlsh_mpi.config.settings import EnvironmentConfig
from mlsh_mpi.errors import UserError
from mlsh_mpi.output import say
from mlsh_mpi.policies.hierarchy import phi_in
from mlsh_mpi.policies.pretrained import all_pretrained
from mlsh_mpi.sampling.environment_choice import EnvironmentChoice
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.tracking.run_folder import RunFolder

MODULE = """
import pathlib
import gymnasium as gym
pathlib.Path("imported").touch()

class Bandits(gym.Wrapper):
    def __init__(self, **settings):
        import mlsh_envs
        super().__init__(gym.make("mlsh/MovingBandits-v0"))

def made():
    return Bandits()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a module that leaves a trace when it is imported, and primitives that name what they like."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    (tmp_path / "theirs.py").write_text(MODULE)
    return tmp_path


def primitives(folder, env, *settings, **other):
    """A phi file that names this environment with these settings."""
    saved = torch.load(all_pretrained()["moving-bandits"], weights_only=True)
    saved["config"]["environment"] |= {"env": env, "env_settings": settings}
    torch.save(saved | other, folder / "x.pt")
    return str(folder / "x.pt")


def made(config, choice):
    return EnvironmentMaker.from_config(config.environment, choice)


@pytest.mark.parametrize("parse", [parse_adapt_args, parse_replay_args])
@pytest.mark.parametrize("env", ["theirs:Bandits", "theirs:made", "theirs:some/Id-v0"])
def test_code_that_a_file_names_is_not_imported(folder, parse, env):
    config, choice, _ = parse([primitives(folder, env)])
    with pytest.raises(UserError, match=f"a file may name registered environments, .*{env}.*--env.*--trust"):
        made(config, choice)
    assert not Path("imported").exists()


def test_a_command_that_a_file_names_is_not_run(folder):
    path = primitives(folder, "subprocess:Popen", "args=['touch','run']")
    for given in ([path], [path, "--trust"]):
        config, choice, _ = parse_adapt_args(given)
        with pytest.raises(UserError, match="a file may"):
            made(config, choice)
    with pytest.raises(UserError, match="a file may"):
        mlsh_mpi.adapt(path, updates=1)
    assert not Path("run").exists()


def test_a_configuration_file_names_no_code_either(folder):
    (folder / "config.json").write_text('{"environment": {"env": "theirs:Bandits"}}')
    config, choice, _ = parse_train_args(["--config", "config.json"])
    with pytest.raises(UserError, match="a file may"):
        made(config, choice)
    assert not Path("imported").exists()


@pytest.mark.parametrize("more", [("--trust",), ("--env", "theirs:Bandits"), ("--env=theirs:Bandits",)])
def test_the_user_may_name_the_same_or_trust_the_file(folder, more):
    config, choice, _ = parse_adapt_args([primitives(folder, "theirs:Bandits"), *more])
    assert made(config, choice).name == "Bandits"


def test_what_a_trusted_file_names_must_still_be_an_environment(folder):
    path = primitives(folder, "theirs:made")
    config, choice, _ = parse_adapt_args([path, "--trust"])
    with pytest.raises(UserError, match=r"a subclass of gymnasium\.Env, but theirs:made is <function made"):
        made(config, choice)
    config, choice, _ = parse_adapt_args([path, "--env", "theirs:made"])
    assert made(config, choice).name == "made"


@pytest.mark.parametrize("setting", ["xml_file=/tmp/a.xml", "of=../there", 'args=["a b"]', "env_id=subprocess:x", 'x={"a": 1}'])
def test_a_file_sets_numbers_and_words_only(folder, setting):
    path = primitives(folder, "mlsh/MovingBandits-v0", setting)
    config, choice, _ = parse_adapt_args([path])
    with pytest.raises(UserError, match=f"numbers and words.*{setting.partition('=')[0]}.*--env-settings.*--trust"):
        made(config, choice)
    for more in (("--env-settings", setting), ("--trust",)):
        config, choice, _ = parse_adapt_args([path, *more])
        assert made(config, choice).name == "mlsh/MovingBandits-v0"


def test_settings_of_tasks_are_held_to_the_same():
    tasks = EnvironmentConfig("CartPole-v1", task_settings=("render_mode=/etc/passwd", "gain=1.0"))
    with pytest.raises(UserError, match="a file may set numbers and words of an environment, but this one sets render_mode"):
        EnvironmentMaker.from_config(tasks, EnvironmentChoice())
    plain = EnvironmentConfig("Pendulum-v1", task_settings=("g=5.0", "g=15.0"))
    assert EnvironmentMaker.from_config(plain, EnvironmentChoice()).single().tasks() == [{"g": 5.0}, {"g": 15.0}]


@pytest.mark.parametrize("setting", ["integrator=implicitfast", "held_out=[68,70]", "upright_interval=None", "noise=1e-3"])
def test_numbers_and_words_pass(setting):
    EnvironmentMaker.from_config(EnvironmentConfig("mlsh/AntMaze-v0", env_settings=(setting,)), EnvironmentChoice())


def test_primitives_act_without_their_environment(folder):
    found = mlsh_mpi.load(primitives(folder, "theirs:Bandits"))
    assert found.act(np.zeros(6)) in found.action_space
    assert not Path("imported").exists()


def test_primitives_of_an_earlier_version_act_in_a_registered_environment_only(folder):
    known = mlsh_mpi.load(primitives(folder, "mlsh/MovingBandits-v0", interface=None))
    assert known.observation_size == 6
    with pytest.raises(UserError, match="a file may"):
        mlsh_mpi.load(primitives(folder, "theirs:Bandits", interface=None))
    assert not Path("imported").exists()


def test_a_hierarchy_names_no_code_either(folder):
    saved = torch.load(primitives(folder, "theirs:Bandits"), weights_only=True)
    found = mlsh_mpi.load("moving-bandits")
    master = mlsh_mpi.adapt(found, updates=1, masters=2, steps=50).hierarchies[0]
    master.save("h.pt")
    torch.save(torch.load("h.pt", weights_only=True) | {"phi": saved}, "h.pt")
    config, choice, _ = parse_adapt_args(["h.pt"])
    with pytest.raises(UserError, match="a file may"):
        made(config, choice)
    assert mlsh_mpi.Hierarchy.load("h.pt").act(np.zeros(6)) in gym.spaces.Discrete(5)
    assert not Path("imported").exists()


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", ".", "a/b", "a\\b", ""])
def test_a_preset_in_a_file_names_no_other_folder(folder, name):
    path = primitives(folder, "mlsh/MovingBandits-v0")
    saved = torch.load(path, weights_only=True)
    saved["config"]["preset"] = name
    torch.save(saved, path)
    with pytest.raises(UserError, match=r"x\.pt cannot be used: a preset's name becomes that of a folder"):
        phi_in(Path(path))


def test_a_folder_in_a_phi_file_is_that_of_somebody_else(folder):
    path = primitives(folder, "mlsh/MovingBandits-v0")
    saved = torch.load(path, weights_only=True)
    saved["config"]["run"]["folder"] = "/tmp/elsewhere"
    torch.save(saved, path)
    assert phi_in(Path(path)).config.run.folder is None


@pytest.mark.parametrize("place", ["/tmp/elsewhere", "../elsewhere", "runs/../../elsewhere"])
def test_a_configuration_file_names_no_folder_elsewhere(folder, place):
    (folder / "config.json").write_text(f'{{"run": {{"folder": "{place}"}}}}')
    with pytest.raises(UserError, match=r"below this one.*--folder"):
        parse_train_args(["--config", "config.json"])
    config, *_ = parse_train_args(["--config", "config.json", "--trust"])
    assert config.run.folder == place


def nested(levels):
    """A list in a list, ten times each, of as many parts as no memory holds; its pickle is short."""
    parts = [0] * 10
    for _ in range(levels):
        parts = [parts] * 10
    return parts


@pytest.mark.parametrize(
    "harm",
    [
        lambda saved: saved["config"]["network"].update(hidden=(64, 4_000_000)),
        lambda saved: saved["config"]["network"].update(hidden=(10**9, 10**9)),
        lambda saved: saved["primitives"].update(
            {name: v[:1].expand(10**7, *v.shape[1:]) for name, v in saved["primitives"].items()}
        ),
        lambda saved: saved["primitives"].update({name: v.to("meta") for name, v in saved["primitives"].items()}),
        lambda saved: saved["primitives"].update({name: v * float("nan") for name, v in saved["primitives"].items()}),
        lambda saved: saved["config"]["hierarchy"].update(primitives=99),
        lambda saved: saved["config"].update(preset=nested(20)),
        lambda saved: saved["config"].update(shortened=("x",)),
        lambda saved: saved["config"]["sampling"].update(steps=10**400),
        lambda saved: saved["interface"].update(observation_size=2**62),
        lambda saved: saved["interface"].update(action_space={"n": 2**70, "start": 0}),
        lambda saved: saved["interface"].update(action_space={"dtype": "(,)f4", "low": [0], "high": [1]}),
        lambda saved: saved["interface"].update(offset=[float("nan")] * 6),
        lambda saved: saved.update(observation_filter={"total": 3}),
        lambda saved: saved.update(format=torch.zeros(2)),
    ],
)
def test_a_file_made_to_harm_gets_one_sentence(folder, harm):
    saved = torch.load(all_pretrained()["moving-bandits"], weights_only=True)
    harm(saved)
    torch.save(saved, folder / "x.pt")
    with pytest.raises(UserError) as refused:
        mlsh_mpi.load(folder / "x.pt")
    assert len(str(refused.value)) < 1000


def test_a_run_folder_with_links_out_of_it_is_refused(folder):
    (folder / "precious").write_text("mine")
    (folder / "run").mkdir()
    (folder / "run/summary.txt").symlink_to(folder / "precious")
    with pytest.raises(UserError, match="link out of the run folder"):
        RunFolder(folder / "run", fresh=False)
    assert (folder / "precious").read_text() == "mine"


def test_control_characters_of_a_file_do_not_reach_the_terminal(capsys):
    say("a\x1b]0;b\x07c\nd\x9be")
    assert capsys.readouterr().out == "a\\x1b]0;b\\x07c\nd\\x9be\n"
