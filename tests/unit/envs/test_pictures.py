"""What people see: pictures of every environment, the acting primitive's colour, cameras and windows."""

import ctypes
import os
import shutil
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from environments import ARRAYS, EVERY, PHYSICS, made_vector, random_action, tasks_of
from mlsh_envs import AntMazeTask, rendering
from mlsh_envs.window import PRIMITIVE_COLOURS, Window, primitive_colour

needs_drawing = pytest.mark.usefixtures("draws")


def seen(id_, **settings):
    env = gym.make(id_, render_mode="rgb_array", **settings)
    env.reset(seed=0, options={"task": tasks_of(env, 3)[-1]})
    env.step(random_action(env.action_space, np.random.default_rng(0)))
    return env


def like(picture, colour, hue=0.06):
    """Number of pixels of a hue, however lit: by the shares of red, green and blue."""
    shares = picture / np.maximum(picture.sum(-1, keepdims=True), 1)
    wanted = np.array(colour) / np.sum(colour)
    return int((np.abs(shares - wanted).max(-1) < hue).sum())


def differs(picture, other):
    """Which pixels do: software that draws in several threads rounds now and then the other way."""
    return (np.abs(np.int16(picture) - other) > 2).any(-1)


@pytest.mark.parametrize("id_", EVERY)
def test_the_acting_primitive_colours_the_agent_and_nothing_else(id_, request):
    if id_ in PHYSICS:
        request.getfixturevalue("draws")
    env = seen(id_)
    plain = env.render()
    assert plain.dtype == np.uint8
    assert plain.ndim == 3
    assert plain.shape[2] == 3
    assert min(plain.shape[:2]) >= 300
    for primitive in (1, 2):
        env.unwrapped.active_primitive = primitive
        picture = env.render()
        colour = primitive_colour(primitive)
        assert like(picture, colour) > like(plain, colour) + 50
        assert 0 < differs(picture, plain).mean() < 0.2
    env.unwrapped.active_primitive = None
    assert not differs(env.render(), plain).any()
    env.close()


@needs_drawing
@pytest.mark.parametrize("id_", ["mlsh/AntMaze-v0", "mlsh/AntBigCourse-v0"])
def test_from_far_above_the_agent_can_be_seen(id_):
    env = seen(id_, camera="overview")
    env.unwrapped.active_primitive = 1
    assert like(env.render(), primitive_colour(1), hue=0.15) > 200
    env.close()


@pytest.mark.parametrize("id_", PHYSICS)
@needs_drawing
def test_looking_changes_nothing(id_):
    looked, blind = seen(id_), seen(id_)
    rng = np.random.default_rng(1)
    for t in range(8):
        looked.unwrapped.active_primitive = t
        looked.render()
        action = random_action(looked.action_space, rng)
        for one, other in zip(looked.step(action)[:4], blind.step(action)[:4], strict=True):
            np.testing.assert_array_equal(one, other)
    looked.close()


@needs_drawing
def test_the_camera_follows_or_sees_it_all():
    pictures = {}
    for camera in ("follow", "overview"):
        env = seen("mlsh/AntMaze-v0", camera=camera)
        pictures[camera] = env.render()
        env.close()
    assert differs(pictures["follow"], pictures["overview"]).mean() > 0.3


@needs_drawing
def test_the_goal_and_the_walls_of_a_maze_are_seen():
    env = gym.make("mlsh/AntMaze-v0", render_mode="rgb_array", camera="overview")
    shapes = {}
    for maze in ("enn", "ess"):
        env.reset(seed=0, options={"task": AntMazeTask(maze)})
        picture = env.render()
        shares = picture / np.maximum(picture.sum(-1, keepdims=True), 1)
        green = np.argwhere(shares[..., 1] > 0.45)
        grey = np.abs(shares - 1 / 3).max(-1) < 0.01
        shapes[maze] = green.mean(0), grey
    assert shapes["enn"][0][0] < 100, "the goal is at the upper edge"
    assert shapes["ess"][0][0] > 380, "the goal is at the lower edge"
    assert (shapes["enn"][1] != shapes["ess"][1]).mean() > 0.1, "other cells are open"
    env.close()


@pytest.mark.parametrize("id_", ["mlsh/AntObstacleCourse-v0", "mlsh/AntBigCourse-v0"])
@needs_drawing
def test_the_enemy_is_seen_where_it_is(id_):
    env = gym.make(id_, render_mode="rgb_array", camera="overview")
    env.reset(seed=0)
    home = env.render()
    env.unwrapped.world.mocap[0][0, 0] += 8
    assert differs(env.render(), home).sum() > 200
    env.close()


@needs_drawing
def test_two_environments_draw_side_by_side():
    one, other = seen("mlsh/AntTwowalk-v0"), seen("mlsh/AntMaze-v0")
    first = one.render()
    other.render()
    assert not differs(one.render(), first).any()
    one.close()
    other.close()


@pytest.mark.parametrize("id_", [ARRAYS[0], "mlsh/AntMaze-v0"])
@needs_drawing
def test_the_vector_form_draws_every_lane(id_):
    vector = made_vector(id_, 2, render_mode="rgb_array")
    vector.reset(seed=0, options={"task": tasks_of(vector, 2)})
    plain = vector.render()
    vector.active_primitives = [None, 2]
    coloured = vector.render()
    assert differs(plain[0], plain[1]).any()
    assert not differs(plain[0], coloured[0]).any()
    assert like(coloured[1], primitive_colour(2)) > like(plain[1], primitive_colour(2)) + 50
    vector.close()
    with pytest.raises(ValueError, match="None or 'rgb_array', not 'human'"):
        made_vector(id_, 2, render_mode="human")


def test_a_window_without_a_screen_is_refused(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    env = gym.make(PHYSICS[0], render_mode="human")
    with pytest.raises(gym.error.DependencyNotInstalled, match="a window needs a screen"):
        env.reset(seed=0)


def test_without_a_render_mode_nothing_is_drawn():
    env = gym.make(ARRAYS[0]).unwrapped
    env.reset(seed=0)
    with pytest.warns(UserWarning, match='render_mode="rgb_array"'):
        assert env.render() is None


@pytest.mark.parametrize("id_", ARRAYS)
def test_a_window_shows_each_step(id_, monkeypatch):
    shown = []
    monkeypatch.setattr(Window, "show", lambda _, picture: shown.append(picture))
    env = gym.make(id_, render_mode="human")
    env.reset(seed=0)
    env.step(random_action(env.action_space, np.random.default_rng(0)))
    assert len(shown) == 2
    env.close()


def test_a_real_window_opens_and_closes():
    env = gym.make(ARRAYS[0], render_mode="human")
    for _ in range(2):
        env.reset(seed=0)
        env.step(1)
        env.close()


def test_without_pygame_a_window_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(gym.error.DependencyNotInstalled, match="pip install pygame-ce"):
        Window("nothing", 10)


def test_without_anything_that_draws_it_says_what_to_install(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    env = gym.make(PHYSICS[0], render_mode="rgb_array")
    env.reset(seed=0)
    with pytest.raises(gym.error.DependencyNotInstalled, match="apt-get install libegl1"):
        env.render()


def test_osmesa_is_the_second_choice(monkeypatch):
    def only_osmesa(name):
        if "OSMesa" not in name:
            raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", only_osmesa)
    assert rendering._headless() == "osmesa"


@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="xvfb-run gives the window a screen: `apt-get install xvfb xauth`")
@needs_drawing
def test_a_physics_window_opens_and_closes():
    program = (
        "import gymnasium as gym, mlsh_envs\n"
        "env = gym.make('mlsh/AntMaze-v0', render_mode='human')\n"
        "env.reset(seed=0); env.unwrapped.active_primitive = 1\n"
        "for _ in range(3): env.step(0 * env.action_space.sample())\n"
        "env.close(); print('closed')"
    )
    command = ["xvfb-run", "-a", "-s", "-screen 0 640x480x24", sys.executable, "-c", program]
    environment = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert "closed" in result.stdout, result.stderr


def test_colours_begin_again_after_the_last():
    assert primitive_colour(len(PRIMITIVE_COLOURS)) == primitive_colour(0) == (0xC1, 0x44, 0x2E)
    assert len(set(PRIMITIVE_COLOURS)) == len(PRIMITIVE_COLOURS)
