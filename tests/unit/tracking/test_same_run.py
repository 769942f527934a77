"""A run may be made longer; what follows its length then stays as it began, and what was set by hand is compared."""

import dataclasses
from pathlib import Path

import pytest

from mlsh_mpi.config.overrides import fitted, from_dict, with_options
from mlsh_mpi.config.presets import PRESETS
from mlsh_mpi.errors import UserError
from mlsh_mpi.tracking.same_run import as_it_began, check_same_settings

BANDITS = PRESETS["moving-bandits"].config
PATH = Path("run")


def asked(**options):
    """The configuration of a command line with these options."""
    return fitted(with_options(BANDITS, options), BANDITS)


def plain(config):
    return dataclasses.asdict(config)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"iterations": 7}, {"iterations": 12}),
        ({"iterations": 7}, {}),
        ({"iterations": 7}, {"iterations": 7}),
        ({"iterations": 7}, {"iterations": 12, "whole_episode_iterations": 5}),
        ({}, {"iterations": 80}),
    ],
)
def test_a_longer_run_keeps_the_whole_episode_iterations_that_it_began_with(before, now):
    before, now = asked(**before), asked(**now)
    for _ in range(2):  # once more, as it has gone on
        check_same_settings(PATH, plain(before), now)
        kept = as_it_began(PATH, plain(before), now)
        assert kept.hierarchy.whole_episode_iterations == before.hierarchy.whole_episode_iterations
        assert kept.run == now.run
        before = kept
    assert from_dict(plain(kept), "config.json") == kept


@pytest.mark.parametrize(
    ("before", "now", "says"),
    [
        (
            {"iterations": 7},
            {"iterations": 12, "whole_episode_iterations": 6},
            "hierarchy.whole_episode_iterations was 5 and is now 6",
        ),
        ({"whole_episode_iterations": 0}, {}, "hierarchy.whole_episode_iterations was 0 and is now 72"),
        (
            {},
            {"iterations": 70},
            "began with --whole-episode-iterations 72, which would be all of --iterations 70: use 73 or more",
        ),
    ],
)
def test_what_was_set_by_hand_or_would_take_all_is_told_truly(before, now, says):
    earlier, config = plain(asked(**before)), asked(**now)
    refuse = as_it_began if "began" in says else check_same_settings
    with pytest.raises(UserError, match=says):
        refuse(PATH, earlier, config)


def test_a_run_of_a_version_that_did_not_keep_what_was_asked_for_is_told_what_to_add():
    earlier = plain(dataclasses.replace(asked(iterations=7), shortened=()))
    check_same_settings(PATH, earlier, asked(iterations=7))
    with pytest.raises(
        UserError, match=r"was 5 and is now 8, because --iterations shortens it: add --whole-episode-iterations 5"
    ):
        check_same_settings(PATH, earlier, asked(iterations=12))
    check_same_settings(PATH, earlier, asked(iterations=12, whole_episode_iterations=5))


def test_what_was_asked_for_outlives_a_configuration_file():
    """A run's config.json as the base of another command line."""
    short = asked(iterations=7)
    assert short.shortened == ("whole_episode_iterations=72",)
    again = fitted(with_options(short, {"iterations": 12}), short)
    assert (again.hierarchy.whole_episode_iterations, again.shortened) == (5, ("whole_episode_iterations=72",))
    check_same_settings(PATH, plain(short), again)
    by_hand = fitted(with_options(short, {"iterations": 12, "whole_episode_iterations": 8}), short)
    assert by_hand.shortened == ()
