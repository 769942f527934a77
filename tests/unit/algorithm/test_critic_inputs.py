"""What value networks see beside what policies see: against a second account, and without any effect on acting."""

import dataclasses

import numpy as np
import pytest

from mlsh_mpi.algorithm.critic_inputs import CriticInputs
from mlsh_mpi.algorithm.primitives import primitive_network
from mlsh_mpi.config.overrides import with_options
from mlsh_mpi.config.presets import preset_config
from mlsh_mpi.config.settings import Config
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.episodes import Step, Streams
from mlsh_mpi.sampling.rollout import Rollout, TimeLimit
from mlsh_mpi.sampling.task_family import TaskFamily

MAZES = TaskFamily.from_maker(EnvironmentMaker("mlsh/AntMaze-v0", None))
ALLWALK = TaskFamily.from_maker(EnvironmentMaker("mlsh/Allwalk-v0", None))  # draws tasks, but lists none
EVERY = ("time-left", "task", "whole-observation")
STEPS, LANES_EACH = 30, 2


def inputs_of(family, *wanted):
    return CriticInputs.from_config(with_options(Config(), {"primitive_critic_inputs": wanted}).primitive, family)


def rollout_of(family, tasks, seed=0, policies=None):
    """Episodes that end here and there; those of the first lanes were under way before."""
    rng = np.random.default_rng(seed)
    lanes = LANES_EACH * len(tasks)
    observation = rng.normal(size=(STEPS + 1, lanes, family.observation_size)).astype(np.float32)
    none, end = np.zeros((STEPS, lanes)), rng.random((STEPS, lanes)) < 0.1
    carried_over = (np.zeros(lanes), np.where(np.arange(lanes) < 2, rng.integers(1, 400, lanes), 0))
    return Rollout(
        steps=Step(observation[:-1], observation[:-1], none, none, end, none, none, none),
        final_observation=observation[-1],
        streams=Streams(0, 0, range(len(tasks))),
        policies=policies,
        macro_length=10,
        limits=(TimeLimit(4, np.array([1, 3]), observation[9, [1, 3]]),),
        carried_over=carried_over,
        environment_seconds=0,
        policy_seconds=0,
        tasks=tuple(tasks),
    )


class FirstTwoHidden:
    """Skills whose primitives see all but the first two numbers, as those of the mazes."""

    def primitive_view(self, observation):
        return observation[..., 2:]


@pytest.mark.parametrize("seed", range(3))
def test_the_steps_of_an_episode_are_counted_across_collections_and_ends(seed):
    rollout = rollout_of(MAZES, MAZES.tasks[:3], seed)
    counted = rollout.carried_over[1].copy()
    for t in range(STEPS + 1):
        np.testing.assert_array_equal(rollout.steps_taken[t], counted)
        if t < STEPS:
            counted = np.where(rollout.steps.end[t], 0, counted + 1)


def test_each_row_holds_what_policies_see_then_position_time_and_task():
    tasks = [MAZES.tasks[3], MAZES.listed("held-out")[0], MAZES.tasks[8]]
    rollout = rollout_of(MAZES, tasks, policies=FirstTwoHidden())
    critic, lanes = inputs_of(MAZES, *EVERY), np.array([0, 3, 5])
    assert critic.size == 1 + 9 + 2
    one_hot = np.zeros((3, 9))
    one_hot[0, 3] = one_hot[2, 8] = 1  # the maze that is held out has no place
    found = critic.of_steps(rollout, lanes)
    assert found.dtype == np.float32
    for t, n in np.ndindex(STEPS, len(lanes)):
        seen, left = rollout.steps.observation[t, lanes[n]], 1 - 2 * rollout.steps_taken[t, lanes[n]] / 1000
        np.testing.assert_allclose(found[t, n], [*seen[2:], *seen[:2], left, *one_hot[n]], atol=1e-6)
    last = critic.at_the_end(rollout, lanes)
    np.testing.assert_allclose(last[1, :27], rollout.final_observation[3, 2:])
    np.testing.assert_allclose(last[:, 29], 1 - 2 * rollout.steps_taken[-1, lanes] / 1000, atol=1e-6)
    limit = critic.at_a_limit(rollout, rollout.limits[0])
    np.testing.assert_allclose(limit[:, 29], 1 - 2 * (rollout.steps_taken[4, [1, 3]] + 1) / 1000, atol=1e-6)
    np.testing.assert_array_equal(limit[:, 30:], one_hot[[0, 1]])


@pytest.mark.parametrize(
    ("family", "wanted", "size"),
    [
        (MAZES, (), 0),
        (MAZES, ("time-left",), 1),
        (MAZES, ("task",), 9),
        (MAZES, ("whole-observation",), 2),
        (ALLWALK, EVERY, 1),  # no listed tasks, and primitives see all
    ],
)
def test_what_an_environment_does_not_have_is_left_out(family, wanted, size):
    critic = inputs_of(family, *wanted)
    assert critic.size == size
    task = family.sample_task(np.random.default_rng(0))
    rollout = rollout_of(family, [task] * 2)
    assert critic.of_steps(rollout, np.arange(4)).shape == (STEPS, 4, family.observation_size + size)


def test_policies_have_the_size_that_they_had():
    plain, seeing = (
        primitive_network(with_options(preset_config("ant-mazes"), {"primitive_critic_inputs": wanted}), MAZES)
        for wanted in ((), EVERY)
    )
    assert dataclasses.replace(seeing, critic_size=0) == plain
    assert {name for name, shape in seeing.shapes.items() if plain.shapes[name] != shape} == {"value.0.weight"}
    assert seeing.shapes["value.0.weight"] == (27 + 12, 64)
