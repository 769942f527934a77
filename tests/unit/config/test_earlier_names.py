"""Files, options and scripts of earlier versions: what has another name since is still read."""

import dataclasses
import json

import pytest

from mlsh_mpi.commands.cli import parse
from mlsh_mpi.config import earlier_names
from mlsh_mpi.config.overrides import from_dict, with_options
from mlsh_mpi.config.presets import preset_config
from mlsh_mpi.tracking.checkpoint import Checkpoint

BANDITS = preset_config("moving-bandits")


@pytest.fixture(autouse=True)
def nothing_noted(monkeypatch):
    monkeypatch.setattr(earlier_names, "_noted", set())


def test_a_configuration_of_an_earlier_version_is_read():
    plain = json.loads(json.dumps(dataclasses.asdict(BANDITS)))
    plain["hierarchy"]["forming_iterations"] = plain["hierarchy"].pop("whole_episode_iterations")
    plain["hierarchy"]["uniform_iterations"] = plain["hierarchy"].pop("random_master_iterations")
    plain["sampling"]["deal_tasks"] = plain["sampling"].pop("stratify_tasks")
    plain["shortened"] = ["forming_iterations=72"]
    assert from_dict(plain, "config.json") == dataclasses.replace(BANDITS, shortened=("whole_episode_iterations=72",))


@pytest.mark.parametrize("options", [{"forming_iterations": 5}, {"hierarchy": {"forming_iterations": 5}}])
def test_a_script_is_told_the_present_name_once(options, capsys):
    for _ in range(2):
        assert with_options(BANDITS, options).hierarchy.whole_episode_iterations == 5
    assert capsys.readouterr().err == "mlsh_mpi: forming_iterations is now called whole_episode_iterations\n"


@pytest.mark.parametrize("words", ["--forming-iterations 5 --deal-tasks", "--forming-iterations=5 --no-deal-tasks"])
def test_so_is_a_command_line(words, capsys):
    config = parse(["moving-bandits", *words.split()]).settings
    assert config.hierarchy.whole_episode_iterations == 5
    assert config.sampling.stratify_tasks == ("--no-" not in words)
    assert capsys.readouterr().err.splitlines() == [
        "mlsh_mpi: --forming-iterations is now called --whole-episode-iterations",
        "mlsh_mpi: --deal-tasks is now called --stratify-tasks",
    ]


def test_a_checkpoint_of_an_earlier_version_is_read():
    identity = {"environment": {}, "software": {}}
    values = {"iteration": 3, "config": {"hierarchy": {"forming_iterations": 40}}, "identity": identity, "stopped_by": None}
    assert Checkpoint.from_dict(values).config == {"hierarchy": {"whole_episode_iterations": 40}}


def test_results_of_an_earlier_version_are_read():
    assert earlier_names.result({"unexplored": 39.0}, "without_exploration") == 39
    assert earlier_names.result({"unexplored": 1.0, "without_exploration": 39.0}, "without_exploration") == 39
    assert earlier_names.result({}, "without_exploration") is None
    assert earlier_names.result({"returns": 2.0}, "returns") == 2
