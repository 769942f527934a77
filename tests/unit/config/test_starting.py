"""What a run begins with in an environment that has no preset."""

import json

import pytest

from mlsh_mpi.commands.cli import asked_for, parse, parse_train_args
from mlsh_mpi.commands.starting import begun
from mlsh_mpi.config.presets import preset_config
from mlsh_mpi.config.starting import EnvironmentFacts, has_preset, reason, starting_config
from mlsh_mpi.sampling.environment_choice import EnvironmentChoice
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.task_family import TaskFamily

BANDITS = preset_config("moving-bandits")
PENDULUM = ["--env", "Pendulum-v1", "--task-settings", "g=5.0", "g=15.0"]


def pendulum(*more):
    """What a run of the pendulum begins with, and why."""
    arguments = [*PENDULUM, *more]
    config = parse(arguments).settings
    maker = EnvironmentMaker.from_config(config.environment, EnvironmentChoice(settings=True))
    return begun(config, TaskFamily.from_maker(maker), asked_for(arguments))


def test_choices_begin_as_bandits_and_numbers_with_standardised_values():
    facts = EnvironmentFacts("Grid", False, 250, 8)
    config = starting_config(facts, BANDITS)
    assert (config.hierarchy.macro_length, config.sampling, config.primitive) == (50, BANDITS.sampling, BANDITS.primitive)
    assert reason(facts, config) == (
        "Grid has no preset: discrete actions, so the settings of moving-bandits; N = 50, a fifth of an episode's 250 steps"
    )
    facts = EnvironmentFacts("Arm", True, 3000, 0)
    config = starting_config(facts, BANDITS)
    assert (config.hierarchy.macro_length, config.sampling.steps) == (600, 3000)
    assert config.primitive.standardise_values
    assert config.primitive.reward_scale == 1
    assert "tasks" not in reason(facts, config)
    config.check(3000)


def test_bandits_themselves_would_begin_as_they_do():
    assert starting_config(EnvironmentFacts("Bandits", False, 50, 2), BANDITS) == BANDITS


def test_options_come_on_top():
    config, said = pendulum("--primitives", "3")
    assert said.startswith("Pendulum-v1 has no preset: continuous actions")
    assert "N = 40" in said
    assert said.endswith("which of the 2 tasks it is")
    assert (config.environment.env, config.environment.task_settings) == ("Pendulum-v1", ("g=5.0", "g=15.0"))
    assert (config.hierarchy.primitives, config.hierarchy.macro_length) == (3, 40)
    assert config.primitive.standardise_values
    config, said = pendulum("--macro-length", "50", "--primitive.critic-inputs", "time-left")
    assert config.hierarchy.macro_length == 50
    assert "N =" not in said
    assert "tasks" not in said


def test_a_printed_configuration_is_json_and_nothing_else(capsys):
    assert parse_train_args([*PENDULUM, "--print-config"]) is None
    assert json.loads(capsys.readouterr().out)["primitive"]["standardise_values"]


def test_fewer_iterations_have_fewer_whole_episodes():
    assert pendulum("--iterations", "20")[0].hierarchy.whole_episode_iterations == 13


@pytest.mark.parametrize("arguments", [["moving-bandits", *PENDULUM], ["--env", "mlsh/KeyDoor-v0"], [], ["--config", "a.json"]])
def test_what_is_named_or_known_stays(arguments):
    assert asked_for(arguments) is None
    assert begun(BANDITS, None, None) == (BANDITS, "")


def test_which_environments_have_a_preset():
    for env in (None, "mlsh/MovingBandits-v0", "mlsh/AntBigCourse-v0"):
        assert has_preset(env)
    for env in ("Pendulum-v1", "mlsh/AntDir-v0", "script:Corridor", "corridor:Corridor"):
        assert not has_preset(env)


def test_an_environment_of_the_users_own_is_not_made_to_be_printed(capsys):
    assert parse_train_args(["--env", "nowhere:Nothing", "--print-config"]) is None
    assert json.loads(capsys.readouterr().out)["hierarchy"]["macro_length"] == BANDITS.hierarchy.macro_length
