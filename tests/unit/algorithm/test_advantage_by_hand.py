"""Small rollouts whose two views were worked out on paper."""

import numpy as np
import pytest

from mlsh_mpi.algorithm.advantage import master_view, primitive_advantages

GAMMA, LAM = 0.5, 0.5


def view_of(decides, end, reward, primitive, macro_length):
    """The master's view of lanes, one string a lane; observations are times, -1 after the last."""

    def steps_first(rows, kind):
        return np.array([list(row) for row in rows]).T.astype(kind)

    reward = steps_first(reward, np.float32)
    times = np.broadcast_to(np.arange(len(reward), dtype=np.float32)[:, None, None], (*reward.shape, 1))
    return master_view(
        times,
        reward,
        steps_first([[c == "x" for c in row] for row in end], bool),
        steps_first([[int(c) for c in row] for row in primitive], np.int64),
        steps_first([[c == "d" for c in row] for row in decides], bool),
        np.full((len(end), 1), -1, np.float32),
        macro_length,
    )


def test_whole_macro_actions_and_a_time_limit():
    view = view_of(["d..d.."], [".....x"], ["110101"], ["222000"], 3)
    assert view.observation[:, 0, 0].tolist() == [0, 3, -1]
    assert view.choice[:, 0].tolist() == [2, 0]
    assert view.reward[:, 0].tolist() == [2, 2]
    assert view.end[:, 0].tolist() == [False, True]
    assert view.valid[:, 0].tolist() == [True, True]
    value = np.array([[1], [4], [100]], np.float32)
    # 2 - 4 = -2 with nothing after the end; 2 + 0.5 * 4 - 1 = 3, and a quarter of -2.
    assert view.advantages(value, GAMMA, LAM)[:, 0].tolist() == [2.5, -2]


def test_an_early_end_closes_its_macro_action_and_the_cut_one_is_dropped():
    view = view_of(["d..dd."], ["...x.."], ["000517"], ["111011"], 3)
    assert view.observation[:, 0, 0].tolist() == [0, 3, 4, -1]
    assert view.choice[:, 0].tolist() == [1, 0, 1]
    assert view.reward[:2, 0].tolist() == [0, 5]
    assert view.end[:, 0].tolist() == [False, True, False]
    assert view.valid[:, 0].tolist() == [True, True, False]
    value = np.array([[2], [4], [8], [100]], np.float32)
    # 5 - 4 = 1; 0 + 0.5 * 4 - 2 = 0, and a quarter of 1; what was cut teaches nothing.
    assert view.advantages(value, GAMMA, LAM)[:, 0].tolist() == [0.25, 1, 0]


def test_a_cut_macro_action_is_what_the_one_before_it_bootstraps_from():
    view = view_of(["d.d"], ["..."], ["119"], ["002"], 2)
    assert view.observation[:, 0, 0].tolist() == [0, 2, -1]
    assert view.valid[:, 0].tolist() == [True, False]
    value = np.array([[1], [6], [100]], np.float32)
    assert view.advantages(value, GAMMA, LAM)[:, 0].tolist() == [2 + 0.5 * 6 - 1, 0]


def test_where_the_collection_stops_between_macro_actions_the_last_state_counts():
    view = view_of(["d.d."], ["...."], ["1111"], ["0011"], 2)
    assert view.valid[:, 0].tolist() == [True, True]
    value = np.array([[0], [0], [8]], np.float32)
    assert view.advantages(value, GAMMA, LAM)[:, 0].tolist() == [2 + 0.25 * 6, 2 + 0.5 * 8]


def test_lanes_with_different_numbers_of_macro_actions():
    view = view_of(["d...", "dddd"], ["...x", "xxxx"], ["1111", "2345"], ["0000", "0101"], 4)
    assert view.valid.T.tolist() == [[True, False, False, False], [True] * 4]
    assert view.reward[0].tolist() == [4, 2]
    assert view.choice[:, 1].tolist() == [0, 1, 0, 1]
    assert view.observation[:2, 0, 0].tolist() == [0, -1]
    assert view.observation[:, 1, 0].tolist() == [0, 1, 2, 3, -1]
    value = np.full((5, 2), 1, np.float32)
    assert view.advantages(value, GAMMA, LAM).T.tolist() == [[3, 0, 0, 0], [1, 2, 3, 4]]


def test_an_episode_shorter_than_a_macro_action_is_one_valid_decision():
    view = view_of(["d."], [".x"], ["11"], ["11"], 50)
    assert view.valid.tolist() == [[True]]
    assert view.reward.tolist() == [[2]]


@pytest.mark.parametrize(
    ("through", "expected"),
    # 1 + 0.5 * 2 - 2 = 0 while step follows step, and 1 - 2 = -1 at the end; a quarter carries back.
    [(False, [0, 0, -0.25, -1]), (True, [-1 / 64, -1 / 16, -0.25, -1])],
)
def test_credit_stops_at_the_hand_over_or_runs_on(through, expected):
    column = np.ones((4, 1), np.float32)
    end = np.array([[False], [False], [False], [True]])
    decides = np.array([[True], [False], [True], [False]])
    found = primitive_advantages(
        column, end, decides, 2 * column, np.array([9.0]), through_macro_actions=through, gamma=GAMMA, lam=LAM
    )
    assert found[:, 0].tolist() == expected


def test_primitives_bootstrap_only_where_the_collection_cuts():
    reward, value = np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32)
    decides = np.array([[True, True], [False, False]])
    end = np.array([[False, False], [False, True]])
    found = primitive_advantages(
        reward, end, decides, value, np.array([8.0, 8.0]), through_macro_actions=False, gamma=GAMMA, lam=LAM
    )
    assert found.T.tolist() == [[1, 4], [0, 0]]
