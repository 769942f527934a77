"""Policies by hand, one for each environment: what an agent can reach that knows its task and how its world works."""

import numpy as np

from mlsh_envs.ant_course import AntBigCourseTask, AntObstacleCourseTask
from mlsh_envs.ant_maze import AntMazeTask
from mlsh_envs.ant_movement import AntMovementTask
from mlsh_envs.ant_twowalk import TARGETS, AntTwowalkTask
from mlsh_envs.maze_maps import CELL, STEP, layout

LEGS = np.deg2rad([45, 135, 225, 315])
"""Where each leg points, in the order of the ant's joint angles."""
MOTOR_OF_JOINT = [2, 3, 4, 5, 6, 7, 0, 1]
"""Which action turns each joint."""
FOLD = np.array([1, -1, -1, 1])
"""Sign with which an ankle folds its leg."""
TROT = np.array([0, np.pi, 0, np.pi])
STRIDES, SWING, LIFT, LAG, BEND, STIFFNESS, DAMPING = 2.322, 0.543, 0.140, 5.297, np.deg2rad(50) - 0.02, 3.422, 0.126
"""A trot found by random search: strides a second, radians, gain on an angle and on its speed. It makes 2 m/s."""
COURSE_ROUTE = [(18.0, 6.0), (24.0, 30.0), (38.0, 38.0)]
BIG_ROUTE = [(-20.0, -3.0), (-5.0, -4.0), (20.0, 6.0), (28.0, -20.0), (35.0, -35.0)]
BARS_AHEAD = 1.1


def gait(observation, time, heading, moving):
    """A trot in any direction: turning towards it is not needed, for the ant looks the same from four sides.

    Args:
        observation: (L, 29).
        time: seconds since the start.
        heading: (L,) direction in the world, radians.
        moving: (L,) bool; the others stand.
    """
    w, x, y, z = observation[:, 3:7].T
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    push = np.sin((heading - yaw)[:, None] - LEGS)
    phase = 2 * np.pi * STRIDES * time + TROT
    target = np.empty((len(observation), 8))
    target[:, ::2] = SWING * push * np.cos(phase) * moving[:, None]
    target[:, 1::2] = FOLD * (BEND + LIFT * np.sin(phase + LAG) * moving[:, None])
    torque = STIFFNESS * (target - observation[:, 7:15]) - DAMPING * observation[:, 21:29]
    action = np.zeros((len(observation), 8))
    action[:, MOTOR_OF_JOINT] = torque.clip(-1, 1)
    return action


class AntWalker:
    """Trots from one place to the next, and stands at the last.

    Args:
        routes: for each lane, places in metres.
        dt: seconds a step.
        near: metres from a place at which it counts as reached.
    """

    def __init__(self, routes, dt, near=1.0):
        self._routes, self._dt, self._near = [list(route) for route in routes], dt, near
        self._time = 0.0

    def __call__(self, observation):
        here = observation[:, :2]
        for lane, route in enumerate(self._routes):
            if len(route) > 1 and np.linalg.norm(here[lane] - route[0]) < self._near:
                route.pop(0)
        ahead = np.array([route[0] for route in self._routes]) - here
        last = np.array([len(route) == 1 for route in self._routes])
        moving = ~last | (np.linalg.norm(ahead, axis=1) > 0.3)
        self._time += self._dt
        return gait(observation, self._time, np.arctan2(ahead[:, 1], ahead[:, 0]), moving)


def ant_route(task):
    """The places to walk to in a task."""
    match task:
        case AntTwowalkTask(target):
            return [tuple(TARGETS[target, :2])]
        case AntMovementTask(axis):
            return [(1000.0, 0.0) if axis == "x" else (0.0, 1000.0)]
        case AntMazeTask(maze):
            return maze_route(maze)
        case AntObstacleCourseTask():
            return COURSE_ROUTE
        case AntBigCourseTask():
            return BIG_ROUTE


def maze_route(maze):
    """Middles of the cells from the start to the goal by the shortest way, then the goal."""
    plan = layout(maze)
    ways = {plan.start: [plan.start]}
    edge = [plan.start]
    while edge:
        cell = edge.pop(0)
        for down, right in STEP.values():
            following = (cell[0] + down, cell[1] + right)
            if following in plan.open_cells and following not in ways:
                ways[following] = [*ways[cell], following]
                edge.append(following)
    last = min(ways, key=lambda cell: np.linalg.norm(np.subtract(plan.centre(cell), plan.goal)))
    assert np.abs(np.subtract(plan.centre(last), plan.goal)).max() <= CELL / 2
    return [*map(plan.centre, ways[last]), plan.goal]


def swimmer(observation, time, target, head=1.0):
    """Waves along the body; the joints' bias steers.

    Args:
        observation: (L, 10).
        time: seconds since the start.
        target: (L, 2) metres.
        head: +1 or -1, which way the wave makes the swimmer move.
    """
    x, y, front, first, second = observation[:, :5].T
    middle = np.stack((x + 0.5 * np.cos(front) - 0.5 * np.cos(front + first), y + 0.5 * np.sin(front) - 0.5 * np.sin(front + first)), 1)
    ahead = target - middle
    body = front + first
    error = np.arctan2(ahead[:, 1], ahead[:, 0]) - body
    error = (error + np.pi) % (2 * np.pi) - np.pi
    near = np.linalg.norm(ahead, axis=1)
    size = np.minimum(1.0, near / 0.5)
    phase = 2 * np.pi * 0.9 * time
    bend = np.clip(0.5 * error, -0.5, 0.5)
    wanted = np.stack((0.9 * size * np.sin(phase) + bend, 0.9 * size * np.sin(phase - 1.8 * head) + bend), 1)
    return (2.0 * (wanted - np.stack((first, second), 1))).clip(-1, 1)
