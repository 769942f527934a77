"""What is said of a hierarchy that is well, and of one that is not."""

import numpy as np
import pytest
import torch

from mlsh_mpi.adaptation.diagnostics import HierarchyDiagnostics, divergence, mutual_information
from mlsh_mpi.networks.actor_critic import Network, StackedActorCritic
from mlsh_mpi.networks.distributions import Categorical, Gaussian
from mlsh_mpi.networks.inference import PrimitivePolicies

TASKS = ["goal=0", "goal=1"]
APART = np.array([[0.0, 4.0], [4.0, 0.0]])
CLOSE = APART / 1000
OWN = np.array([[1.0, 0.0], [0.0, 1.0]])
EVEN = np.full((2, 2), 0.5)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (OWN, np.log(2)),
        (EVEN, 0.0),
        (np.array([[1.0, 0.0], [1.0, 0.0]]), 0.0),
        (np.eye(4), np.log(4)),
        # joint 3/8, 1/8; 1/8, 3/8: 2 (3/8 ln(3/2) + 1/8 ln(1/2))
        (np.array([[0.75, 0.25], [0.25, 0.75]]), 0.75 * np.log(1.5) + 0.25 * np.log(0.5)),
    ],
)
def test_mutual_information_is_that_of_the_joint_distribution(usage, expected):
    assert mutual_information(usage) == pytest.approx(expected)


@pytest.mark.parametrize("head", [Categorical(4), Gaussian(3)])
def test_divergence_is_the_mean_of_torchs_both_ways(head):
    torch.manual_seed(0)
    stack = StackedActorCritic(3, Network(2, head, (8,)))
    stack.flat.normal_()
    observation = np.random.default_rng(0).normal(size=(7, 5, 3)).astype(np.float32)
    found = divergence(PrimitivePolicies(stack, np.arange(1, 3), None), observation, 1, 1000)
    outputs = stack.policy(torch.from_numpy(observation[..., 1:].reshape(1, -1, 2)).expand(3, -1, -1))
    if isinstance(head, Categorical):
        policies = [torch.distributions.Categorical(logits=of) for of in outputs]
    else:
        deviations = stack.network.log_std(stack.parameters).exp()
        policies = [
            torch.distributions.Independent(torch.distributions.Normal(of, deviation), 1)
            for of, deviation in zip(outputs, deviations, strict=True)
        ]
    kl = [[torch.distributions.kl_divergence(p, q).mean() for q in policies] for p in policies]
    np.testing.assert_allclose(found, (np.array(kl) + np.array(kl).T) / 2, rtol=1e-4, atol=1e-6)


def test_places_are_spread_over_all_learners_and_lanes():
    """Primitives differ in the last lane of the last learner alone; every fourth place is there."""
    stack = StackedActorCritic(2, Network(1, Categorical(2), ()))
    stack.parameters[0][0, 0] = torch.tensor([-3.0, 3.0])
    observation = np.zeros((1000, 4, 1), np.float32)
    observation[:, 3] = 1
    policies = PrimitivePolicies(stack, np.arange(1), None)
    everywhere = divergence(policies, observation, 2, 10**6)[0, 1]
    assert everywhere > 0
    assert divergence(policies, observation, 2, 40)[0, 1] == pytest.approx(everywhere)


def test_with_one_task_masters_cannot_choose_alike():
    usage = np.array([[0.5, 0.3, 0.2]])  # whose information rounds to a little below 0
    assert HierarchyDiagnostics(np.full((3, 3), 2.0), usage, np.array([[1.0], [5.0], [9.0]]), TASKS[:1]).verdict() == []


def test_where_no_reward_is_reached_primitives_are_compared_by_what_they_do():
    assert HierarchyDiagnostics(APART, OWN, np.zeros((2, 2)), TASKS).verdict() == []


def test_equal_returns_of_primitives_that_alone_come_to_no_reward_are_no_collapse():
    """A sparse task: one primitive finds the goal of one task by itself, two are needed one after the other for the rest."""
    forced = np.array([[300.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    apart, same = np.full((3, 3), 12.89), np.full((3, 3), 12.89)
    same[1, 2] = same[2, 1] = 0.01
    usage = np.array([[0.8, 0.1, 0.1], [0.1, 0.3, 0.6]])
    assert not [sentence for sentence in HierarchyDiagnostics(apart, usage, forced, TASKS).verdict() if "collapsed" in sentence]
    assert [
        sentence
        for sentence in HierarchyDiagnostics(same, usage, forced, TASKS).verdict()
        if "1 and 2 have collapsed" in sentence
    ]


def test_a_hierarchy_that_is_well_is_left_alone():
    assert HierarchyDiagnostics(APART, OWN, np.array([[42.0, 2.0], [2.0, 41.0]]), TASKS).verdict() == []


def test_one_primitive_is_no_hierarchy():
    assert HierarchyDiagnostics(np.zeros((1, 1)), np.ones((2, 1)), np.array([[42.0, 2.0]]), TASKS).verdict() == []


def test_a_collapse_is_named_with_its_evidence_and_what_to_try():
    told, unserved = HierarchyDiagnostics(APART, EVEN, np.array([[42.8, 2.1], [41.9, 2.4]]), TASKS).verdict()
    assert "no primitive serves goal=1: alone the best earns 2.40 there, and 42.80 elsewhere" in unserved
    for part in (
        "primitives 0 and 1 have collapsed onto one another",
        "42.80 and 41.90",
        "4.00 nats",
        "--whole-episode-iterations",
    ):
        assert part in told


def test_primitives_without_listed_tasks_are_compared_by_what_they_do():
    (told,) = HierarchyDiagnostics(CLOSE, OWN, np.zeros((2, 0)), TASKS).verdict()
    assert "collapsed" in told
    assert HierarchyDiagnostics(APART, OWN, np.zeros((2, 0)), TASKS).verdict() == []


def test_a_primitive_that_nobody_uses_is_named():
    forced = np.array([[42.0, 2.0], [2.0, 41.0], [5.0, 20.0]])
    usage = np.array([[0.99, 0.0, 0.01], [0.0, 1.0, 0.0]])
    (told,) = HierarchyDiagnostics(np.full((3, 3), 2.0), usage, forced, TASKS).verdict()
    assert "primitive 2 is hardly ever chosen (0.5%" in told


def test_masters_that_do_not_tell_tasks_apart_are_named():
    (told,) = HierarchyDiagnostics(APART, EVEN, np.array([[42.0, 2.0], [2.0, 41.0]]), TASKS).verdict()
    assert "0.00 nats" in told
    assert "0.69" in told
    assert "--warmup" in told


FIVE_GOALS = np.array(
    [
        [-9.6, -56.6, -91.7, -93.1, -59.9],
        [-91.0, -91.2, -57.5, -6.6, -56.8],
        [-58.6, -92.8, -92.7, -58.1, -6.6],
        [-94.4, -61.4, -8.3, -55.7, -92.2],
    ]
)
"""Four primitives alone on five goals around a point mass, as a run has left them: none goes to the second goal."""
REACHED = np.array([-9.6, -43.1, -8.2, -6.6, -6.5])


def left_behind(forced, reached):
    """The sentences on tasks that are left behind, for masters that choose the best primitive of each task."""
    usage = np.eye(len(forced))[forced.argmax(0)]
    apart = 4.0 * (1 - np.eye(len(forced)))
    tasks = [f"goal={task}" for task in range(forced.shape[1])]
    found = HierarchyDiagnostics(apart, usage, forced, tasks, reached).verdict()
    return [sentence for sentence in found if "left behind" in sentence]


def test_a_goal_to_which_no_primitive_goes_is_named_though_wrong_ones_earn_less_there():
    (told,) = left_behind(FIVE_GOALS, REACHED)
    for part in (
        "goal=1 is left behind",
        "-43.10 there and -8.20",
        "another task's primitive alone earns -57.50",
        "--primitives",
    ):
        assert part in told


def test_a_task_whose_returns_are_lower_by_nature_is_not_left_behind():
    """The same four goals, each with a primitive of its own, where one costs 50 more whatever is done."""
    served, reached = np.delete(FIVE_GOALS, 1, axis=1), np.delete(REACHED, 1)
    assert left_behind(served, reached) == []
    dearer = np.array([0.0, 0.0, 50.0, 0.0])
    assert left_behind(served - dearer, reached - dearer) == []


@pytest.mark.parametrize("scale", [0.05, 1.0, 20.0])
def test_a_task_of_another_scale_is_not_left_behind(scale):
    scales = np.array([1.0, scale, 1.0, 1.0])
    served, reached = np.delete(FIVE_GOALS, 1, axis=1) * scales, np.delete(REACHED, 1) * scales
    assert left_behind(served, reached) == []


def test_a_maze_that_is_harder_than_others_is_not_left_behind():
    """The pretrained primitives of the ant's mazes: north, east and south, alone, and what masters reach with them."""
    north = [254.4, -320.0, 441.2, -26.8, -0.6, 251.4, -8.2, 381.2, -43.5]
    east = [-244.5, -249.1, 94.3, 42.9, 579.9, 448.1, 333.1, 20.8, 55.9]
    south = [-361.1, 189.5, -4.1, 505.9, 74.8, 93.1, 496.8, -67.5, 526.1]
    reached = np.array([233.2, 194.0, 559.7, 513.5, 582.9, 885.0, 788.6, 606.0, 606.1])
    assert left_behind(np.array([north, east, south]), reached) == []


def test_where_primitives_alone_reach_no_reward_nothing_is_said_of_who_is_left_behind():
    """As with the pretrained primitives of the Four Rooms, whose goals take several, one after the other."""
    best, second = [0.5, 0.1, 0.0, 0.4, 0.1, 21.3, 20.0], [0.1, 0.1, 0.0, 0.2, 0.1, 19.2, 19.3]
    assert left_behind(np.array([best, second, [0.0] * 7]), np.array([52.8, 59.2, 80.8, 4.9, 4.9, 69.9, 60.7])) == []
