"""Scripted policies, one for each environment: what an agent can reach that knows its task and how its world works.

Long: a policy for each of fourteen worlds.
"""

import numpy as np

from environments import made_vector, random_action
from mlsh_envs.ant_course import AntBigCourseTask, AntObstacleCourseTask
from mlsh_envs.ant_maze import AntMazeTask
from mlsh_envs.ant_movement import AntMovementTask
from mlsh_envs.ant_twowalk import TARGETS, AntTwowalkTask
from mlsh_envs.four_rooms import PLAN
from mlsh_envs.four_rooms import START as DOORWAY
from mlsh_envs.maze_maps import CELL, STEP, layout

LEGS = np.deg2rad([45, 135, 225, 315])
"""Where each leg points, in the order of the ant's joint angles."""
MOTOR_OF_JOINT = [2, 3, 4, 5, 6, 7, 0, 1]
"""Which action turns each joint."""
FOLD = np.array([1, -1, -1, 1])
"""Sign with which an ankle folds its leg."""
TROT = np.array([0, np.pi, 0, np.pi])
STRIDES, SWING, LIFT, LAG, BEND, STIFFNESS, DAMPING = 2.175, 0.580, 0.516, 3.969, np.deg2rad(50) + 0.307, 1.339, 0.079
"""A trot found by random search: strides a second, radians, gain on an angle and on its speed. It makes 1.6 m/s."""
COURSE_ROUTE = [(18.0, 6.0), (24.0, 30.0), (38.0, 38.0)]
BIG_ROUTE = [(-20.0, -3.0), (-5.0, -4.0), (20.0, 6.0), (28.0, -20.0), (35.0, -35.0)]
START = 200.0
LATTICE = START + 20 * np.stack(np.meshgrid(np.arange(-12, 13), np.arange(-12, 13), indexing="ij"), -1).reshape(-1, 2)
"""Every place on which a point that moves by 20 may want to stand."""


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
            return [TARGETS[target][:2]]
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


class PointWalker:
    """Walks to one place of the lattice on which the point moves after the other, along x first.

    Args:
        places: (L, P, 2) in the units of the square.
    """

    def __init__(self, places):
        self.places, self._next = places, np.zeros(len(places), int)

    def __call__(self, observation):
        lanes = np.arange(len(self.places))
        agent = np.float64(observation[:, :2]) * 400
        there = (np.abs(agent - self.places[lanes, self._next]) < 1).all(1) & self.counts(observation)
        self._next = np.minimum(self._next + there, self.places.shape[1] - 1)
        dx, dy = (self.places[lanes, self._next] - agent).T
        return np.where(np.abs(dx) > 10, np.where(dx > 0, 1, 2), np.where(np.abs(dy) > 10, np.where(dy > 0, 3, 4), 0))

    def counts(self, observation):
        """Whether being at a place is enough to go on to the next."""
        return True


class KeyWalker(PointWalker):
    """Goes on to the goal once it has the key."""

    def counts(self, observation):
        return observation[:, 8] == 1


def bandit_walker(observation, tasks):
    """To the nearest place from which the right goal pays."""
    goals = np.float64(observation[:, 2:6].reshape(-1, 2, 2) * 400)[np.arange(len(tasks)), [task.goal for task in tasks]]
    moves = np.abs(LATTICE - START).sum(-1) / 20
    return PointWalker(LATTICE[np.where(in_reach(goals), moves, 999).argmin(-1)][:, None])


def key_walker(observation, tasks):
    """By the shortest way that touches the key to a place from which the right goal pays; and its length in steps, (L,)."""
    points = np.float64(observation[:, 2:8].reshape(-1, 3, 2) * 400)
    at_goal = in_reach(points[np.arange(len(tasks)), [task.goal for task in tasks]])
    to_key = np.abs(LATTICE - START).sum(-1) / 20
    to_key[to_key == 0] = 1  # the key is taken by a step that ends there, if only by staying
    to_key = np.where(in_reach(points[:, 2]), to_key, 999)
    between = np.abs(LATTICE[:, None] - LATTICE).sum(-1) / 20
    places, length = np.zeros((len(tasks), 2, 2)), np.zeros(len(tasks))
    for lane in range(len(tasks)):
        goals = np.flatnonzero(at_goal[lane])
        total = to_key[lane][:, None] + between[:, goals]
        via, last = np.unravel_index(total.argmin(), total.shape)
        places[lane], length[lane] = (LATTICE[via], LATTICE[goals[last]]), total[via, last]
    return KeyWalker(places), length


def in_reach(targets):
    """Which places of the lattice are within 50 of each target: (L, 2) -> (L, places)."""
    return np.square(LATTICE - targets[:, None]).sum(-1) < 2500


class RoomWalker:
    """What dynamic programming finds.

    Args:
        tasks: of each lane.
        noise: of the rooms.
        steps: of an episode.
    """

    def __init__(self, tasks, noise="released", steps=100):
        plans = {task: best_in_rooms(rooms(noise), task.goal, steps)[1] for task in set(tasks)}
        self._plan = np.stack([plans[task] for task in tasks], axis=1)
        self._left = steps

    def __call__(self, observation):
        actions = self._plan[self._left, np.arange(len(observation)), observation.argmax(1)]
        self._left -= 1
        return actions


def rooms(noise):
    """P(next cell | cell, action), (104, 4, 104), written out cell by cell from the text of the rules."""
    cells = [(r, c) for r, row in enumerate(PLAN) for c, square in enumerate(row) if square == " "]
    number = {cell: i for i, cell in enumerate(cells)}
    moves = [(-1, 0), (1, 0), (0, -1), (0, 1)]

    def ahead(cell, action):
        return number.get((cells[cell][0] + moves[action][0], cells[cell][1] + moves[action][1]), cell)

    p = np.zeros((len(cells), 4, len(cells)))
    for cell in range(len(cells)):
        for action in range(4):
            if noise == "published":
                for taken in range(4):
                    p[cell, action, ahead(cell, taken)] += 2 / 3 if taken == action else 1 / 9
                continue
            new = ahead(cell, action)
            if new == cell:
                p[cell, action, cell] = 1
                continue
            around = [ahead(new, a) for a in range(4) if ahead(new, a) != new]
            p[cell, action, new] += 2 / 3
            for other in around:
                p[cell, action, other] += 1 / 3 / len(around)
    return p


def best_in_rooms(p, goal, steps=100):
    """Value of the start, and the best action with t steps to go, (steps + 1, 104)."""
    value, actions = np.zeros(len(p)), [np.zeros(len(p), int)]
    pays = np.zeros(len(p))
    pays[goal] = 1
    for _ in range(steps):
        q = p @ (pays + value)
        value = q.max(1)
        actions.append(q.argmax(1))
    return value[DOORWAY], np.stack(actions)


class Wave:
    """Joints that follow sine waves, by a spring and a damper each.

    Args:
        dt: seconds a step.
        strides: a second.
        stiffness, damping: of every joint.
        middle, size, lag: of the wave of each joint, (J,).
    """

    def __init__(self, dt, strides, stiffness, damping, middle, size, lag):
        self._dt, self._strides, self._stiffness, self._damping = dt, strides, stiffness, damping
        self._middle, self._size, self._lag = middle, size, lag
        self._time = 0.0

    def torque(self, angle, speed, bias=0.0):
        """(L, J) angles and speeds -> (L, J) in units of the motors."""
        wanted = self._middle + bias + self._size * np.sin(2 * np.pi * self._strides * self._time + self._lag)
        self._time += self._dt
        return self._stiffness * (wanted - angle) - self._damping * speed


class PlanarWalker(Wave):
    """A run found by random search: the two legs half a stride apart, leaning corrected by the thighs."""

    def __init__(self):
        leg = np.array([(-0.518, 0.225, 0.215), (-0.694, 0.941, 1.931), (0.453, 0.471, 2.920)])
        middle, size, lag = np.tile(leg, (2, 1)).T
        lag = lag + np.repeat([0, np.pi], 3)
        super().__init__(0.008, 2 * np.exp(0.618), np.exp(1.218), 0.1 * np.exp(-0.134), middle, size, lag)

    def __call__(self, observation):
        bias = 0.948 * observation[:, 1:2] * np.array([1, 0, 0, 1, 0, 0])
        return self.torque(observation[:, 2:8], observation[:, 11:17], bias).clip(-1, 1)


class SwimmerByHand(Wave):
    """Waves along the body, found by random search; bending towards the target steers.

    Args:
        tasks: of each lane.
    """

    def __init__(self, tasks):
        self._targets = np.array([(task.x, task.y) for task in tasks])
        size, lag = np.array([1.329, 1.008]), np.array([0, -0.426])
        super().__init__(0.04, np.exp(-0.44), np.exp(1.45), 0.0, 0.0, size, lag)

    def __call__(self, observation):
        x, y, front, first, second = observation[:, :5].T
        body = front + first
        middle = np.stack((x + 0.5 * (np.cos(front) - np.cos(body)), y + 0.5 * (np.sin(front) - np.sin(body))), axis=1)
        ahead = self._targets - middle
        off = (np.arctan2(ahead[:, 1], ahead[:, 0]) - body + np.pi) % (2 * np.pi) - np.pi
        bend = 0.971 * np.clip(-2.152 * off, -1, 1)[:, None] * np.array([1, 0.717])
        self._size = np.minimum(1, np.linalg.norm(ahead, axis=1) / np.exp(0.608))[:, None] * np.array([1.329, 1.008])
        return self.torque(np.stack((first, second), axis=1), 0.0, bend).clip(-1, 1)


HUMANOID_GAITS = {
    "walk": ((0.157, -1.003, 0.018, 0.318), """0.126 0.257 -0.012 -0.009 0.196 -0.172 -0.028 -0.211 -0.095 -0.052 0.131 -0.218
        -0.061 -0.164 -0.058 -0.129 0.856 0.405 -0.792 2.16 -0.031 -0.222 2.277 0.157"""),
    "crawl": ((0.696, -0.902, -0.9, 0.421), """-0.286 0.253 0.279 -0.203 0.417 -0.502 0.082 -0.581 0.462 -0.135 -0.479 1.323
        -0.194 0.23 -0.632 0.061 3.11 -1.84 -0.222 3.842 -1.44 3.3 -3.637 2.192"""),
}  # fmt: skip
"""Log of stiffness, of ten times the damping and of strides a second, lag of the left side in half strides; then middle, size and
lag for abdomen y, hip x, z, y, knee, shoulder 1, 2 and elbow. Found by random search, and not far from falling over."""


class HumanoidByHand(Wave):
    """Keeps on its feet for some seconds, or scrapes along backwards.

    Args:
        gait: ``"walk"`` or ``"crawl"``.
    """

    def __init__(self, gait):
        (stiffness, damping, strides, shift), numbers = HUMANOID_GAITS[gait]
        middle, size, lag = (self._both_sides(part) for part in np.array(numbers.split(), float).reshape(3, 8))
        left = np.repeat([0, 1, 0, 1], [7, 4, 3, 3])
        lag = np.abs(lag) + shift * np.pi * left
        super().__init__(0.015, np.exp(strides), np.exp(stiffness), 0.1 * np.exp(damping), middle, size, lag)

    @staticmethod
    def _both_sides(part):
        waist, *leg_and_arm = part
        leg, arm = np.array(leg_and_arm[:4]), np.array(leg_and_arm[4:])
        elbow = np.array([-arm[0], -arm[1], -arm[2]])
        return np.concatenate(([0, waist, 0], leg, leg, arm, elbow))

    def __call__(self, observation):
        torque = self.torque(observation[:, 7:24], observation[:, 30:47])
        return torque[:, [1, 0, *range(2, 17)]].clip(-0.4, 0.4)


def policy(id_, observation, tasks):
    """The scripted policy for an environment: something called with (L, observation) that gives actions.

    Args:
        id_: of the environment.
        observation: (L, observation) at the episodes' start.
        tasks: (L,).
    """
    match id_.removeprefix("mlsh/").removesuffix("-v0"):
        case "MovingBandits":
            return bandit_walker(observation, tasks)
        case "KeyDoor":
            return key_walker(observation, tasks)[0]
        case "Allwalk":
            return PointWalker(np.array([[(task.x, task.y)] for task in tasks]))
        case "FourRooms":
            return RoomWalker(tasks)
        case "FourRoomsPublished":
            return RoomWalker(tasks, "published")
        case "HumanoidWalkCrawl":
            return HumanoidByHand(tasks[0].gait)
        case "HumanoidCombination":
            return HumanoidByHand("walk")
        case "WalkerObstacles":
            return PlanarWalker()
        case "SwimmerBandits":
            return SwimmerByHand(tasks)
        case _:
            return AntWalker([ant_route(task) for task in tasks], 0.05)


def played(id_, task, episodes, scripted):
    """Returns of episodes of one task: (episodes,), scripted or by uniformly random actions."""
    vector, rng = made_vector(id_, episodes), np.random.default_rng(0)
    observation, _ = vector.reset(seed=1, options={"task": task})
    act = policy(id_, observation, [task] * episodes) if scripted else None
    returns, alive = np.zeros(episodes), np.ones(episodes, bool)
    for _ in range(vector.max_episode_steps):
        action = act(observation) if act else random_action(vector.single_action_space, rng, episodes, beyond=1)
        observation, reward, terminated, _, _ = vector.step(action)
        returns += reward * alive
        alive &= ~terminated
        if not alive.any():
            break
    return returns
