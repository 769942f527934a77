"""Every environment: Gymnasium's own checks, the task protocol, two forms that agree, and copies that go on where they were.

Long: what all environments have in common is asked here, once.
"""

import copy
import inspect
import itertools
import json
import pickle
import re
import subprocess
import sys

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import mlsh_envs
from environments import ANTS, ARRAYS, EVERY, HUMANOIDS, PHYSICS, made_vector, random_action, single_class, tasks_of
from mlsh_envs.world_env import WorldEnv
from scripted import played

every = pytest.mark.parametrize("id_", EVERY)
FORMS = ["single", "vector"]
SECTIONS = ["Description", "Action space", "Observation space", "Reward", "Start", "End", "Task", "Version history"]


def made(id_, form, lanes=2):
    return gym.make(id_).unwrapped if form == "single" else made_vector(id_, lanes)


def history(env, rng, steps):
    """What random actions lead to: (steps, ...) observations, rewards and ends in one array."""
    space = getattr(env, "single_action_space", env.action_space)
    seen = []
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = env.step(random_action(space, rng, getattr(env, "num_envs", None)))
        seen.append(np.concatenate([np.ravel(part) for part in (observation, reward, terminated, truncated)]))
    return np.stack(seen)


def test_every_family_is_here():
    others = [f"mlsh/{name}-v0" for name in (*mlsh_envs.BENCHMARKS, *mlsh_envs.PACKAGES)]  # have tests of their own
    assert sorted([*EVERY, *others]) == sorted(id_ for id_ in gym.registry if id_.startswith("mlsh/"))
    assert {single_class(id_).__name__ for id_ in EVERY} == set(mlsh_envs.FAMILIES)


def test_importing_the_package_loads_neither_mujoco_nor_what_draws():
    heavy = ["mujoco", "pygame", "torch", "mpi4py"]
    code = f"import mlsh_envs, sys; mlsh_envs.MovingBandits; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert "AntMazeTask" in dir(mlsh_envs)
    with pytest.raises(AttributeError, match="no attribute 'AntMaize'"):
        _ = mlsh_envs.AntMaize


# The checkers advise against unbounded observations; nothing here has bounds that could be told.
@pytest.mark.filterwarnings("ignore:.*infinity.*:UserWarning")
@every
def test_passes_gymnasiums_checks(id_):
    env = gym.make(id_)  # with Gymnasium's checker of every step
    check_env(env.unwrapped, skip_render_check=True)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(3):
        env.step(env.action_space.sample() if isinstance(env.action_space, gym.spaces.Box) else rng.integers(env.action_space.n))
    env.close()


@every
def test_its_page_says_what_there_is_to_know(id_):
    page = inspect.getdoc(single_class(id_))
    assert [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")][:3] == SECTIONS[:3]
    for section in SECTIONS:
        assert f"## {section}\n" in page
    assert not re.search(r"\{[A-Z]+\}", page)
    if id_ not in ANTS + HUMANOIDS:
        return
    assert "| index | observation | unit |" in page
    assert "`integrator`" in page


@every
def test_observations_are_flat_float32_and_stay_as_they_were(id_):
    for form in FORMS:
        env = made(id_, form)
        space = getattr(env, "single_observation_space", env.observation_space)
        seen = [env.reset(seed=0)[0]]
        rng = np.random.default_rng(0)
        action_space = getattr(env, "single_action_space", env.action_space)
        seen += [env.step(random_action(action_space, rng, getattr(env, "num_envs", None)))[0] for _ in range(4)]
        assert space.dtype == np.float32
        assert len(space.shape) == 1
        assert {(o.dtype, o.shape[-1]) for o in seen} == {(np.dtype(np.float32), space.shape[0])}
        assert not any(np.shares_memory(a, b) for a, b in itertools.pairwise(seen))


@every
def test_what_a_step_returns_is_the_callers(id_):
    vector = made_vector(id_, 2)
    vector.reset(seed=0)
    action = np.zeros((2, *vector.single_action_space.shape), vector.single_action_space.dtype)
    for part in vector.step(action)[1:4]:
        part += True
    _, reward, terminated, truncated, _ = vector.step(action)
    assert not terminated.any()
    assert not truncated.any()
    assert (np.abs(reward) < 100).all()


@every
def test_every_environment_samples_actions_of_its_own(id_):
    one, other = gym.make(id_), gym.make(id_)
    one.action_space.seed(0)
    other.action_space.seed(0)
    for _ in range(3):
        np.testing.assert_array_equal(one.action_space.sample(), other.action_space.sample())


def test_starts_do_not_show_a_task_drawn_with_the_same_seed():
    env, places = gym.make("mlsh/SwimmerBandits-v0").unwrapped, []
    for seed in range(200):
        task = env.sample_task(np.random.default_rng(seed))
        observation, _ = env.reset(seed=seed, options={"task": task})
        places.append((task.x, task.y, *observation[:2]))
    correlation = np.corrcoef(np.array(places).T)[:2, 2:]
    assert np.abs(correlation).max() < 4 / np.sqrt(200)


def test_one_seed_seeds_the_vectors_own_generator():
    one, other = made_vector(ARRAYS[0], 2), made_vector(ARRAYS[0], 2)
    for vector in (one, other):
        vector.reset(seed=3)
    assert [one.np_random.random() for _ in range(3)] == [other.np_random.random() for _ in range(3)]


@every
@pytest.mark.parametrize("form", FORMS)
def test_one_seed_and_the_same_actions_give_the_same_bits(id_, form):
    histories = []
    for seed in (9, 9, 10):
        env = made(id_, form)
        start = env.reset(seed=seed, options={"task": tasks_of(env, 2)[-1]})[0]
        first = history(env, np.random.default_rng(0), 25)
        histories.append(np.concatenate((start.ravel(), first.ravel(), env.reset()[0].ravel())))
    np.testing.assert_array_equal(histories[0], histories[1])
    if id_ in PHYSICS or "FourRooms" in id_ or id_ == "mlsh/MovingBandits-v0":
        assert not np.array_equal(histories[0], histories[2])


@every
def test_the_vector_form_equals_singles_through_partial_and_bare_resets(id_):
    lanes = 3
    vector = made_vector(id_, lanes)
    singles = [gym.make(id_) for _ in range(lanes)]
    rng = np.random.default_rng(1)
    tasks = tasks_of(singles[0], 5)

    def reset(mask, seeds, tasks):
        """Seeds None and tasks None are a bare reset."""
        options = {"reset_mask": np.array(mask)} | ({} if tasks is None else {"task": tasks})
        observation, _ = vector.reset(seed=seeds, options=options)
        for lane in np.flatnonzero(mask):
            task = None if tasks is None else {"task": tasks[lane]}
            single, _ = singles[lane].reset(seed=None if seeds is None else seeds[lane], options=task)
            np.testing.assert_array_equal(observation[lane], single)

    def steps(count):
        for _ in range(count):
            actions = random_action(vector.single_action_space, rng, lanes)
            for lane, results in enumerate(zip(*vector.step(actions)[:4], strict=True)):
                for found, expected in zip(results, singles[lane].step(actions[lane])[:4], strict=True):
                    np.testing.assert_array_equal(found, expected)

    reset([True] * lanes, [7, 8, 7], tasks[:3])
    steps(20)
    reset([True, False, True], [11, 12, 13], tasks[2:])
    steps(20)
    reset([False, True, False], None, None)
    steps(10)
    reset([True] * lanes, None, None)
    steps(20)


@every
def test_both_forms_truncate_where_the_registration_says(id_):
    limit = gym.spec(id_).max_episode_steps
    assert made_vector(id_, 1).max_episode_steps == limit
    still = {"max_episode_steps": 7}
    env, vector = gym.make(id_, **still), made_vector(id_, 2, **still)
    env.reset(seed=0)
    vector.reset(seed=0)
    rng = np.random.default_rng(0)
    for t in range(7):
        action = random_action(env.action_space, rng)
        assert env.step(action)[3] == (t == 6)
        assert vector.step(np.stack([action, action]))[3].tolist() == [t == 6] * 2


@every
@pytest.mark.parametrize("through", [pickle, cloudpickle, copy], ids=["pickle", "cloudpickle", "deepcopy"])
@pytest.mark.parametrize("form", FORMS)
def test_a_copy_goes_on_where_the_original_was(id_, through, form):
    env = made(id_, form)
    env.reset(seed=4, options={"task": tasks_of(env, 3)[-1]})
    rng = np.random.default_rng(0)
    history(env, rng, 12)
    twin = copy.deepcopy(env) if through is copy else through.loads(through.dumps(env))
    np.testing.assert_array_equal(twin.world.observe(), env.world.observe())
    state = rng.bit_generator.state
    expected = history(env, rng, 15), env.reset()[0], history(env, rng, 5)
    rng.bit_generator.state = state
    found = history(twin, rng, 15), twin.reset()[0], history(twin, rng, 5)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


@every
@pytest.mark.parametrize("form", FORMS)
def test_tasks_stay_until_another_is_given(id_, form):
    env = made(id_, form)
    task = tasks_of(env, 2)[-1]
    env.reset(seed=0, options={"task": task})
    env.reset()
    env.reset(seed=5, options={})
    assert env.task in (task, [task] * 2)


@every
def test_tasks_print_hash_and_go_through_json_and_pickle(id_):
    env = gym.make(id_).unwrapped
    for task in tasks_of(env, 4):
        assert env.task_from_json(json.loads(json.dumps(env.task_to_json(task)))) == task
        assert pickle.loads(pickle.dumps(task)) == task
        assert hash(copy.copy(task)) == hash(task)
        assert str(task).startswith(single_class(id_).__name__ + "Task(")
        with pytest.raises(AttributeError):
            task.extra = 1


@every
def test_tasks_are_drawn_from_their_split_and_evenly(id_):
    env = gym.make(id_).unwrapped
    before, rng = env.task, np.random.default_rng(0)
    for split in ("train", "held-out"):
        if not hasattr(env, "tasks") or (split == "held-out" and not env.held_out_tasks):
            continue
        listed = env.tasks(split)
        drawn = [env.sample_task(rng, split) for _ in range(200 * len(listed))]
        counts = np.array([drawn.count(task) for task in listed])
        assert counts.sum() == len(drawn)
        assert np.abs(counts - 200).max() < 5 * np.sqrt(200)
    assert env.task == before
    held_out = set(getattr(env, "held_out_tasks", ()))
    assert not held_out & set(getattr(env, "train_tasks", ()))


@every
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "use",
    [
        lambda env: env.reset(options={"task": "left"}),
        lambda env: env.reset(options={"task": None}),
        lambda env: env.task_from_json({"speed": 7}),
        lambda env: env.task_from_json([0]),
        lambda env: env.task_from_json("nn"),
        lambda env: env.sample_task(np.random.default_rng(0), "test"),
    ],
    ids=["word", "none", "other field", "list", "string", "split"],
)
def test_refuses_what_is_no_task_and_says_what_there_is(id_, form, use):
    env = made(id_, form)
    with pytest.raises(ValueError, match=r"has no tasks? .*; it has"):
        use(env)


@every
@pytest.mark.parametrize("wrong", [None, "left", np.nan, np.inf, [[0]], -1, 99])
def test_refuses_actions_that_do_not_fit(id_, wrong):
    env, vector = gym.make(id_).unwrapped, made_vector(id_, 2)
    env.reset(seed=0)
    vector.reset(seed=0)
    space = env.action_space
    if isinstance(space, gym.spaces.Box):
        if wrong in (-1, 99):
            return  # beyond the bounds is clipped
        wrong = np.full(space.shape, wrong) if isinstance(wrong, float) else wrong
    with pytest.raises(ValueError, match="the action must be"):
        env.step(wrong)
    with pytest.raises(ValueError, match="actions must be"):
        vector.step([wrong, wrong])
    for lanes in (1, 3):
        with pytest.raises(ValueError, match="actions must be"):
            vector.step(random_action(space, np.random.default_rng(0), lanes))


@every
@pytest.mark.parametrize("form", FORMS)
def test_refuses_to_step_before_a_reset(id_, form):
    env = made(id_, form)
    space = getattr(env, "single_action_space", env.action_space)
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        env.step(random_action(space, np.random.default_rng(0), getattr(env, "num_envs", None)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("id_", [ARRAYS[0], ANTS[0]])
def test_refuses_negative_seeds_and_takes_large_ones(id_, form):
    env = made(id_, form)
    with pytest.raises(gym.error.Error, match="greater or equal to zero"):
        env.reset(seed=-1)
    for seed in (2**31, 2**63 + 1, 2**100):
        env.reset(seed=seed)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"options": {"reset_mask": [0, 2]}}, "reset_mask must be 3 bools"),
        ({"options": {"reset_mask": [True]}}, "reset_mask must be 3 bools"),
        ({"seed": [1, 2]}, "an integer, or 3 of them"),
        ({"seed": [1, 2, 3, 4]}, "an integer, or 3 of them"),
        ({"seed": [1.5, 2, 3]}, "an integer, or 3 of them"),
    ],
)
def test_the_vector_form_refuses_resets_that_are_not_for_its_lanes(given, says):
    vector = made_vector(ARRAYS[0], 3)
    vector.reset(seed=np.int64(3))
    with pytest.raises(ValueError, match=says):
        vector.reset(**given)


def test_the_vector_form_refuses_another_number_of_tasks():
    vector = made_vector(ARRAYS[0], 3)
    with pytest.raises(ValueError, match="one for each of 3 lanes, not 2"):
        vector.reset(seed=0, options={"task": tasks_of(vector, 2)})


@pytest.mark.parametrize("id_", [ARRAYS[0], "mlsh/AntMaze-v0"])
def test_the_vector_form_gives_lane_i_the_seed_plus_i(id_):
    observation, _ = made_vector(id_, 3).reset(seed=5)
    for lane in range(3):
        np.testing.assert_array_equal(observation[lane], gym.make(id_).reset(seed=5 + lane)[0])


@every
def test_primitives_of_one_body_see_one_layout(id_):
    env = gym.make(id_).unwrapped
    if id_ in ANTS:
        assert env.observation_space.shape == (29,)
    if id_ in HUMANOIDS:
        assert env.observation_space.shape == (350,)
    if id_ in ANTS + HUMANOIDS:
        assert env.primitive_observation == slice(2, None)


def test_forms_have_no_rules_of_their_own():
    assert {"reset", "step", "render", "close"} <= vars(WorldEnv).keys()
    for id_ in EVERY:
        assert not {"reset", "step"} & vars(single_class(id_)).keys()


@every
def test_a_policy_by_hand_earns_more_than_random_actions(id_):
    """What an environment pays for can be learned: tests/bench/levels.py prints by how much."""
    vector = made_vector(id_, 1)
    for task in dict.fromkeys(tasks_of(vector, 2)):
        by_hand, random = (played(id_, task, 4 if id_ in PHYSICS else 200, hand) for hand in (True, False))
        assert by_hand.mean() > random.mean()
