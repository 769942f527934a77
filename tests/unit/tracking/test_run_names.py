"""Names of runs: one for folder and titles, and no two experiments with the same."""

import dataclasses

import pytest

from mlsh_mpi.commands.cli import parse
from mlsh_mpi.errors import UserError
from mlsh_mpi.tracking import checkpoint
from mlsh_mpi.tracking.run_folder import RunFolder, default_folder
from mlsh_mpi.tracking.run_names import experiment_name


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("", "moving-bandits"),
        ("ant-twowalk", "ant-twowalk"),
        ("ant-twowalk-shared", "ant-twowalk-shared"),
        ("ant-mazes --smoke", "ant-mazes-smoke"),
        ("--env mlsh/KeyDoor-v0 --smoke", "key-door-smoke"),
        ("--env mlsh/AntBigCourse-v0", "AntBigCourse-v0"),
        ("--env corridor:Corridor", "Corridor"),
        ("--env script:Corridor", "Corridor"),
        ("--env my.module:my/Id-v0", "Id-v0"),
        ("--env corridor:Corridor --smoke", "Corridor-smoke"),
        ("moving-bandits-shared --env corridor:Corridor", "Corridor-shared"),
        ("ant-mazes-rl2 --env corridor:Corridor --smoke", "Corridor-rl2-smoke"),
    ],
)
def test_a_run_is_called_by_its_preset_or_by_an_environment_of_ones_own(arguments, name):
    config = parse(arguments.split()).settings
    assert experiment_name(config) == name
    assert str(default_folder(config)) == f"runs/{name}-seed0"


def earlier_run(path, env, source):
    config = parse(["--env", env]).settings
    state = {"config": dataclasses.asdict(config), "identity": identity_with(source), "stopped_by": None}
    path.mkdir()
    checkpoint.save(path / "checkpoints", 3, state)


def identity_with(source):
    return {"environment": {"name": "Corridor"}, "software": {"the environment": source}}


def continued(path, env, source):
    folder = RunFolder(path, fresh=False)
    try:
        return folder.continued(parse(["--env", env]).settings, identity_with(source), lambda _: None)
    finally:
        folder.close()


@pytest.mark.parametrize(("before", "now"), [("script:Corridor", "corridor:Corridor"), ("corridor:Corridor", "script:Corridor")])
def test_a_script_and_a_command_continue_one_run_of_the_same_source(tmp_path, before, now):
    earlier_run(tmp_path / "run", before, "0123456789abcdef")
    assert continued(tmp_path / "run", now, "0123456789abcdef").iteration == 3


@pytest.mark.parametrize(
    ("now", "source"),
    [
        ("corridor:Corridor", "another"),
        ("corridor:Corridor", ""),
        ("corridor:Hall", "0123456789abcdef"),
    ],
)
def test_but_not_one_of_another_source_or_name(tmp_path, now, source):
    earlier_run(tmp_path / "run", "script:Corridor", "0123456789abcdef")
    with pytest.raises(UserError, match=f"environment.env was script:Corridor and is now {now}"):
        continued(tmp_path / "run", now, source)
