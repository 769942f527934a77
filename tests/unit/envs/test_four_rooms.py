"""Four Rooms against a second model of its rules, and its levels by dynamic programming."""

import gymnasium as gym
import numpy as np
import pytest

from environments import made_vector
from mlsh_envs import FourRooms, FourRoomsTask
from mlsh_envs.four_rooms import PLACES, PLAN, START
from scripted import RoomWalker, best_in_rooms, rooms

T = 100
RELEASED, PUBLISHED = "mlsh/FourRooms-v0", "mlsh/FourRoomsPublished-v0"


def test_the_plan_is_that_of_sutton_precup_and_singh():
    assert len(PLAN) == 13
    assert {len(row) for row in PLAN} == {13}
    assert len(PLACES) == 104
    known = {62: (7, 9), 68: (8, 7), 80: (9, 9), 90: (10, 8), 103: (11, 11)}
    assert {cell: tuple(PLACES[cell].tolist()) for cell in known} == known


@pytest.mark.parametrize(("id_", "noise"), [(RELEASED, "released"), (PUBLISHED, "published")])
def test_moves_are_distributed_as_the_rules_say(id_, noise):
    """From every cell with every action; 5 standard errors over all 416 x 104 shares."""
    p, each = rooms(noise), 500
    for action in range(4):
        lanes = 104 * each
        vector = made_vector(id_, lanes)
        vector.reset(seed=action)
        vector.world.cell = np.repeat(np.arange(104), each)
        vector.step(np.full(lanes, action))
        found = np.zeros((104, 104))
        np.add.at(found, (np.repeat(np.arange(104), each), vector.world.cell), 1 / each)
        expected = p[:, action]
        assert (found[expected == 0] == 0).all()
        assert (np.abs(found - expected) <= 5 * np.sqrt(expected * (1 - expected) / each) + 1e-12).all()


def test_noise_is_independent_from_step_to_step_and_from_lane_to_lane():
    lanes = 4000
    vector = made_vector(RELEASED, lanes)
    vector.reset(seed=0)
    strayed = []
    for _ in range(6):
        vector.world.cell = np.full(lanes, 0)
        vector.step(np.full(lanes, 3))
        strayed.append(vector.world.cell != 1)
    correlation = np.corrcoef(np.stack(strayed)) - np.eye(6)
    assert np.abs(correlation).max() < 5 / np.sqrt(lanes)
    neighbours = np.corrcoef(strayed[0][:-1], strayed[0][1:])[0, 1]
    assert abs(neighbours) < 5 / np.sqrt(lanes)


@pytest.mark.parametrize(("goal", "level"), [(103, 94.5), (68, 97.2), (80, 37.3), (90, 37.9)])
def test_best_play_reaches_the_level_that_dynamic_programming_finds(goal, level):
    value, _ = best_in_rooms(rooms("released"), goal)
    assert value == pytest.approx(level, abs=0.05)
    lanes = 10_000
    vector = made_vector(RELEASED, lanes)
    observation, _ = vector.reset(seed=0, options={"task": FourRoomsTask(goal)})
    walker, returns = RoomWalker([FourRoomsTask(goal)] * lanes), np.zeros(lanes)
    for _ in range(T):
        observation, reward, *_ = vector.step(walker(observation))
        returns += reward
    assert abs(returns.mean() - value) < 2 * returns.std() / np.sqrt(lanes)


def test_random_play_earns_little():
    vector, lanes = made_vector(RELEASED, 4000), 4000
    rng = np.random.default_rng(0)
    tasks = [vector.held_out_tasks[i] for i in rng.integers(4, size=lanes)]
    vector.reset(seed=0, options={"task": tasks})
    returns = sum(vector.step(rng.integers(4, size=lanes))[1] for _ in range(T))
    assert returns.mean() == pytest.approx(1.8, abs=0.05 + 3 * returns.std() / np.sqrt(lanes))


def test_goals_are_the_released_21_and_four_of_them_are_held_out():
    env = FourRooms()
    train, held_out = ({task.goal for task in env.tasks(split)} for split in ("train", "held-out"))
    assert held_out == {68, 80, 90, 103}
    assert train | held_out == {*range(68, 73), *range(78, 83), *range(88, 94), *range(99, 104)}
    assert len(train) == 17


def test_the_observation_is_the_cell_as_one_of_104():
    env = FourRooms()
    observation, _ = env.reset(seed=0)
    assert np.flatnonzero(observation).tolist() == [START]
    assert observation.sum() == 1
    env.step(0)
    assert np.flatnonzero(env.world.observe()[0]).tolist() == env.world.cell.tolist()


def test_the_goal_pays_on_every_step_that_ends_in_it():
    env = gym.make(RELEASED)
    env.reset(seed=0, options={"task": FourRoomsTask(103)})
    world = env.unwrapped.world
    for _ in range(3):
        world.cell = np.array([103])
        cell_before = world.cell.copy()
        _, reward, *_ = env.step(3)  # against the wall: it stays
        assert (reward, world.cell.tolist()) == (1.0, cell_before.tolist())
    world.cell = np.array([0])
    assert env.step(0)[1] == 0.0


def test_refuses_another_noise():
    with pytest.raises(ValueError, match="'released' or 'published', not 'none'"):
        gym.make(RELEASED, noise="none")
