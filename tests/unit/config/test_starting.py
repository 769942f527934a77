"""What a run begins with in an environment that has no preset."""

import json

import pytest

from mlsh_mpi.commands.cli import parse, parse_train_args
from mlsh_mpi.commands.starting import is_looked_at
from mlsh_mpi.config.presets import preset_config
from mlsh_mpi.config.starting import EnvironmentFacts, starting_config

BANDITS = preset_config("moving-bandits")
PENDULUM = ["--env", "Pendulum-v1", "--task-settings", "g=5.0", "g=15.0"]


def test_choices_begin_as_bandits_and_numbers_with_standardised_values():
    config, reason = starting_config(EnvironmentFacts("Grid", False, 250, 8), BANDITS)
    assert (config.hierarchy.macro_length, config.sampling, config.primitive) == (50, BANDITS.sampling, BANDITS.primitive)
    assert "discrete" in reason
    config, reason = starting_config(EnvironmentFacts("Arm", True, 3000, 0), BANDITS)
    assert (config.hierarchy.macro_length, config.sampling.steps) == (600, 3000)
    assert config.primitive.standardise_values
    assert config.primitive.reward_scale == 1
    assert "tasks" not in reason
    config.check(3000)


def test_bandits_themselves_would_begin_as_they_do():
    assert starting_config(EnvironmentFacts("Bandits", False, 50, 2), BANDITS)[0] == BANDITS


def test_the_command_line_looks_at_the_environment(capsys):
    config, _, _ = parse_train_args([*PENDULUM, "--primitives", "3", "--macro-length", "50"])
    assert "Pendulum-v1 has no preset: continuous actions" in (said := capsys.readouterr().out)
    assert "which of the 2 tasks" in said
    assert (config.environment.env, config.environment.task_settings) == ("Pendulum-v1", ("g=5.0", "g=15.0"))
    assert (config.hierarchy.primitives, config.hierarchy.macro_length) == (3, 50)
    assert config.primitive.standardise_values


def test_a_printed_configuration_is_json_and_nothing_else(capsys):
    assert parse_train_args([*PENDULUM, "--print-config"]) is None
    assert json.loads(capsys.readouterr().out)["primitive"]["standardise_values"]


def test_fewer_iterations_have_fewer_whole_episodes():
    hierarchy = parse([*PENDULUM, "--iterations", "20"]).settings.hierarchy
    assert hierarchy.whole_episode_iterations == 13


@pytest.mark.parametrize("arguments", [["moving-bandits", *PENDULUM], ["--env", "mlsh/KeyDoor-v0"], []])
def test_a_preset_that_is_named_or_known_stays(arguments, capsys):
    assert not parse(arguments).settings.primitive.standardise_values
    assert "has no preset" not in capsys.readouterr().out


def test_an_environment_that_cannot_be_made_is_left_to_the_run(capsys):
    assert parse(["--env", "nowhere:Nothing"]).settings.primitive == BANDITS.primitive
    assert capsys.readouterr().out == ""


def test_which_environments_are_looked_at():
    assert is_looked_at("Pendulum-v1")
    assert is_looked_at("mlsh/AntDir-v0")
    for env in (None, "mlsh/MovingBandits-v0", "mlsh/AntBigCourse-v0", "script:Corridor", "corridor:Corridor"):
        assert not is_looked_at(env)
