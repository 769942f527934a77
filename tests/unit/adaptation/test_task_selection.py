"""Which tasks a test learns: named, listed, held out or drawn."""

from dataclasses import replace

import pytest

from mlsh_mpi.adaptation.task_selection import chosen_tasks, different_tasks, named_task
from mlsh_mpi.commands.adapt import default_folder
from mlsh_mpi.config import adaptation as settings
from mlsh_mpi.config.adaptation import AdaptConfig
from mlsh_mpi.config.presets import PRESETS
from mlsh_mpi.config.settings import RunConfig
from mlsh_mpi.errors import UserError
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.task_family import TaskFamily

ROOMS, PLACES = (TaskFamily.from_maker(EnvironmentMaker(f"mlsh/{name}-v0", None)) for name in ("FourRooms", "Allwalk"))


def config(masters=6, **test):
    return AdaptConfig(run=RunConfig(test_masters=masters), test=settings.AdaptationSettings(**test))


def labels(family, tasks):
    return [family.label(task) for task in tasks]


def test_listed_tasks_are_learned_equally_often():
    found = labels(ROOMS, chosen_tasks(config(masters=20), ROOMS, 1))
    assert len(found) == 34
    assert {found.count(label) for label in found} == {2}


def test_held_out_tasks_are_those_that_training_never_draws():
    assert set(labels(ROOMS, chosen_tasks(config(held_out=True), ROOMS, 1))) == {f"goal={n}" for n in (68, 80, 90, 103)}


def test_there_is_a_learner_for_every_rank():
    assert len(chosen_tasks(config(masters=2, task=("goal=70",)), ROOMS, 5)) == 5


def test_tasks_that_are_not_listed_are_drawn_the_same_every_time():
    first, again = (chosen_tasks(config(), PLACES, ranks) for ranks in (1, 3))
    assert first == again
    assert len(set(first)) == 6


def test_a_task_is_named_by_its_label_or_as_json():
    assert named_task(ROOMS, "goal=103") == named_task(ROOMS, '{"goal": 103}')
    assert named_task(PLACES, '{"x": 3, "y": 4}').x == 3


@pytest.mark.parametrize(("family", "text"), [(ROOMS, "goal=1"), (ROOMS, '{"goal": 1}'), (PLACES, "x=3"), (PLACES, '{"x": 3}')])
def test_an_unknown_task_is_refused(family, text):
    with pytest.raises(UserError, match="has no --task"):
        named_task(family, text)


def test_tasks_that_cannot_be_hashed_are_told_apart():
    class Lists:
        def label(self, task):
            return str(task)

    assert different_tasks([[1], [2], [1], [3], [2]], Lists()) == ([1], [2], [3])


def test_the_folder_tells_tests_apart():
    base = AdaptConfig(preset="four-rooms", source="four-rooms", environment=PRESETS["four-rooms"].config.environment)
    scratch = replace(base, test=settings.AdaptationSettings(method="scratch", held_out=True))
    assert str(default_folder(scratch)) == "runs/four-rooms-scratch-held-out-seed0"
    named = replace(base, test=settings.AdaptationSettings(method="scratch", task=("goal=7",)))
    assert str(default_folder(named)) == "runs/four-rooms-scratch-goal7-seed0"
