"""Films: the same episode again, with what acted, and refusals of environments that cannot be filmed."""

import gymnasium as gym
import numpy as np
import PIL.Image
import pytest

from mlsh_mpi.errors import UserError
from mlsh_mpi.reporting.video import STRIP, Episode, frame_steps, render_frames, side_by_side, write
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.task_family import TaskFamily


def episode(env_id="mlsh/FourRooms-v0", length=12, **changed):
    """What really happened when an environment was stepped at random."""
    maker = EnvironmentMaker(env_id, length)
    env, family, rng = maker.single(), TaskFamily.from_maker(maker), np.random.default_rng(0)
    env.reset(seed=5, options={"task": family.tasks[0]})
    actions = np.array([rng.integers(env.action_space.n) for _ in range(length)])
    rewards = np.array([env.step(action)[1] for action in actions])
    found = {"title": "here", "task": family.tasks[0], "seed": 5, "action": actions, "reward": rewards}
    return maker.single(render=True), Episode(**found | {"primitive": np.arange(length) // 4} | changed)


def test_a_film_is_the_episode_again_with_the_primitive_as_colour():
    env, seen = episode()
    frames = list(render_frames(env, seen))
    assert len(frames) == 12
    plain = list(render_frames(*episode(primitive=None)))
    changed = [(a[STRIP:] != b[STRIP:]).any() for a, b in zip(frames, plain, strict=True)]
    assert all(changed)
    env.reset(seed=5, options={"task": seen.task})
    env.unwrapped.active_primitive = 0
    env.step(seen.action[0])
    np.testing.assert_array_equal(frames[0][STRIP:], env.render())


def test_an_environment_that_does_not_repeat_itself_is_refused():
    env, seen = episode()
    with pytest.raises(UserError, match="did not repeat itself: step 1 "):
        list(render_frames(env, Episode(**vars(seen) | {"reward": seen.reward + 1})))


def test_long_episodes_are_shown_in_few_pictures_up_to_their_end(monkeypatch):
    monkeypatch.setattr("mlsh_mpi.reporting.video.LONGEST", 5)
    env, seen = episode()
    frames = list(render_frames(env, seen))
    assert len(frames) == len(frame_steps(12)) == 4
    np.testing.assert_array_equal(frames[-1][STRIP:], env.render())


def test_films_side_by_side_wait_for_the_longest():
    short, long = (iter([np.full((3, 5, 3), k, np.uint8) for k in range(n)]) for n in (1, 3))
    frames = list(side_by_side([short, long]))
    assert [frame.shape for frame in frames] == [(4, 2 * (5 + 8 + 1), 3)] * 3
    assert [frame[0, 4].max() for frame in frames] == [0, 0, 0]
    assert [frame[0, 14 + 4].max() for frame in frames] == [0, 1, 2]


def test_an_environment_without_pictures_is_refused():
    class Blind(gym.Env):
        observation_space, action_space = gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(2)

        def __init__(self, render_mode=None):
            pass

        def reset(self, *, seed=None, options=None):
            return np.zeros(1, np.float32), {}

        def step(self, action):
            return np.zeros(1, np.float32), 0.0, False, False, {}

        def render(self):
            return None

    seen = Episode("here", 0, 0, np.zeros(3, int), np.zeros(3), None)
    with pytest.raises(UserError, match="draws no pictures"):
        list(render_frames(EnvironmentMaker(Blind, 3).single(render=True), seen))


@pytest.mark.parametrize(("name", "told"), [("film.mov", "must end in"), ("a-file/film.mp4", "cannot be written")])
def test_a_film_that_cannot_be_written_is_refused(tmp_path, name, told):
    (tmp_path / "a-file").touch()
    with pytest.raises(UserError, match=told):
        write(tmp_path / name, iter([np.zeros((4, 4, 3), np.uint8)]), [1], 10, lambda: None)


def test_a_png_shows_stills_of_each_episode_from_its_first_picture_to_its_last(tmp_path):
    lengths, told = [9, 3], []
    frames = (np.full((2, 3, 3), 10 * number, np.uint8) for number in range(sum(lengths)))
    write(tmp_path / "strip.png", frames, lengths, 10, lambda: told.append(1))
    strip = np.asarray(PIL.Image.open(tmp_path / "strip.png"))
    assert strip.shape == (4, 15, 3)
    assert strip[0, ::3, 0].tolist() == [0, 20, 40, 60, 80]
    assert strip[2, ::3, 0].tolist() == [90, 100, 110, 0, 0]  # no more than there are
    assert len(told) == 12
