"""Mazes: what names and maps mean, that every goal can be reached, and that no wall can be passed."""

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsh_envs.ant_maze import BLOCK, HELD_OUT, THICKNESS, TRAIN, AntMaze, AntMazeTask
from mlsh_envs.maze_maps import CELL, layout
from scripted import maze_route

PAPER = {
    (8, 24): "00 10",
    (8, -24): "10 20",
    (24, 24): "01 10 11",
    (24, -24): "10 11 21",
    (48, 0): "10 11 12",
    (40, 24): "02 10 11 12",
    (40, -24): "10 11 12 22",
    (32, 16): "00 01 10",
    (32, -16): "10 20 21",
}
"""Goal of each of the paper's mazes, and its open cells: row 0 is y = 16, column 0 is x = 8."""
MINE = "#######/#..#.G#/#S...##/#######"
RADIUS = 0.75


def test_the_nine_are_the_papers():
    found = {layout(maze).goal: " ".join(sorted(f"{r}{c}" for r, c in layout(maze).open_cells)) for maze in TRAIN}
    assert found == PAPER


def test_the_ground_is_the_papers():
    plan = layout("nn")
    assert plan.bounds == (0, 48, -24, 24)
    assert [plan.centre((row, column)) for row, column in ((0, 0), (1, 2), (2, 1))] == [(8, 16), (40, 0), (24, -16)]
    assert AntMaze().world.start_qpos[:3].tolist() == [2, 0, 0.6]


def test_the_held_out_mazes_are_others():
    plans = [layout(maze) for maze in (*TRAIN, *HELD_OUT)]
    assert len(HELD_OUT) >= 4
    assert len({(plan.open_cells, plan.goal) for plan in plans}) == len(plans)


@pytest.mark.parametrize(
    ("drawn", "name"),
    [
        ("##G##/##.##/#S.##/#####/#####", "enn"),
        ("#####/#..G#/#S###/#####/#####", "nee"),
        ("#####\n#####\n#S..G\n#####\n#####\n", "eee"),
        ("  #####\n  #####\n  #S###\n  #.###\n  #G###", "ss"),
    ],
)
def test_a_map_and_a_name_can_mean_the_same(drawn, name):
    assert layout(drawn) == layout(name)


def test_a_map_of_ones_own():
    plan = layout("#######/#..#.G#/#S...##/#######")
    assert (plan.rows, plan.columns, plan.start) == (2, 5, (1, 0))
    assert sorted(plan.blocks) == [(0, 2), (0, 4), (1, 4)]
    assert plan.goal == (3.5 * CELL + CELL / 2, CELL)
    assert layout("#####/#S.G#/###.#/#####").goal == (2 * CELL, 0), "of two neighbours one is open"
    inside = layout("#####/#S.g#/#####")
    assert inside.goal == (2.5 * CELL, 0)
    env = AntMaze()
    env.reset(seed=0, options={"task": AntMazeTask("#####/#S.g#/#####")})
    names = [env.world.models[0].geom(i).name for i in range(env.world.models[0].ngeom)]
    assert {"wall_north", "wall_south", "wall_east", "wall_west", "goal"} <= set(names)
    assert not any(name.startswith("block") for name in names)


@pytest.mark.parametrize(
    ("maze", "says"),
    [
        ("", "signs|rows"),
        ("up", "letters nsew or a map"),
        ("ww", "leaves the grid"),
        ("eeee", "leaves the grid"),
        ("ew", "leads back to an open cell"),
        ("####/#S.#/####", "one S and one goal, .* has 1 and 0"),
        ("#####/#SSg#/#####", "has 2 and 1"),
        ("#####/#SgG#/#####", "has 1 and 2"),
        ("#####/#S#g#/#####", "cannot be reached"),
        ("######/#S##.#/####G#/######", "exactly one open neighbour .* it has 0"),
        ("#####/#.G.#/#.S.#/#...#/#####", "it has 3"),
        ("#####/#Sg##/####", "rows of one length"),
        ("#####/.Sg##/#####", "open at its edge"),
        ("#x###/#Sg##/#####", "signs"),
    ],
)
def test_refuses_what_is_no_maze(maze, says):
    with pytest.raises(ValueError, match=says):
        layout(maze)
    with pytest.raises(ValueError, match=says):
        AntMaze().reset(options={"task": AntMazeTask(maze)})


@given(st.text(alphabet="#.SGg/\n", max_size=40))
def test_any_text_is_a_maze_or_refused(text):
    try:
        plan = layout(text)
    except ValueError:
        return
    route = maze_route(text)
    assert route[-1] == plan.goal


def ball_among(maze):
    """A ball of the ant's size among a maze's walls, pushed by a force in the plane."""
    env = AntMaze()
    env.reset(seed=0, options={"task": AntMazeTask(maze)})
    model = env.world.models[0]
    spec = mujoco.MjSpec()
    spec.option.timestep = 0.01
    walls = [model.geom(i) for i in range(model.ngeom) if model.geom(i).name.startswith(("wall", "block"))]
    for wall in walls:
        spec.worldbody.add_geom(name=wall.name, type=mujoco.mjtGeom.mjGEOM_BOX, pos=wall.pos, size=wall.size)
    ball = spec.worldbody.add_body(name="ball", pos=(0, 0, RADIUS))
    for axis in ((1, 0, 0), (0, 1, 0)):
        ball.add_joint(type=mujoco.mjtJoint.mjJNT_SLIDE, axis=axis)
    ball.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=(RADIUS, 0, 0), mass=40)
    built = spec.compile()
    return built, mujoco.MjData(built)


def pushed(model, data, target, seconds=30.0, force=400.0):
    """Pushes the ball towards a place, braked to 5 m/s, until it is there or the time is over."""
    for _ in range(int(seconds / model.opt.timestep)):
        ahead = np.asarray(target) - data.qpos
        distance = np.linalg.norm(ahead)
        if distance < 0.1:
            break
        data.qfrc_applied[:] = force * ahead / max(distance, 1) - force / 5 * data.qvel
        mujoco.mj_step(model, data)
    return data.qpos.copy()


@pytest.mark.parametrize("maze", [*TRAIN, *HELD_OUT, MINE])
def test_a_ball_gets_through_the_open_cells_to_the_goal(maze):
    model, data = ball_among(maze)
    data.qpos[:] = (2, 0)
    for place in maze_route(maze):
        reached = pushed(model, data, place)
    assert np.linalg.norm(reached - layout(maze).goal) < RADIUS + CELL / 2 - BLOCK + THICKNESS + 0.1


@pytest.mark.parametrize("maze", [*TRAIN, MINE])
def test_a_ball_gets_through_no_wall(maze):
    """Pushed outwards from every open cell with ten times its weight, at the middle of a wall and at the gaps between blocks."""
    plan = layout(maze)
    model, data = ball_among(maze)
    west, east, south, north = plan.bounds
    for cell in plan.open_cells:
        x, y = plan.centre(cell)
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            beside = (cell[0] - dy, cell[1] + dx)
            if beside in plan.open_cells:
                continue
            for along in (0.0, 6.0, -6.0, 8.0, -8.0):
                aside = (cell[0] - int(np.sign(along)) * abs(dx), cell[1] + int(np.sign(along)) * abs(dy))
                if abs(along) == 8 and (aside not in plan.open_cells or (aside[0] - dy, aside[1] + dx) in plan.open_cells):
                    continue  # at the edge of a cell there is a gap ahead only between two blocks
                data.qpos[:], data.qvel[:] = (x + along * abs(dy), y + along * abs(dx)), 0
                start = data.qpos.copy()
                end = pushed(model, data, start + 40 * np.array([dx, dy]), seconds=4, force=4000)
                went = (end - start) @ (dx, dy)
                assert went < CELL / 2 - RADIUS + (CELL / 2 - BLOCK) + 0.25
                assert west < end[0] < east
                assert south < end[1] < north
