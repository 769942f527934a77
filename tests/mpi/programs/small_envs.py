"""Environments that are quick to step: with early ends, discrete and Box actions, and with every kind of failure."""

import ctypes
import multiprocessing
import os
import resource
import sys
import time

import gymnasium as gym
import numpy as np
from mpi4py import MPI

RANK = MPI.COMM_WORLD.Get_rank()


class Walk(gym.Env):
    """A point on a line; one end pays, the other costs, and both end the episode, which then says whether it went well.
    Episodes start anywhere."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(3)

    def sample_task(self, rng, split="train"):
        return int(rng.choice([-1, 1]))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.task = (options or {}).get("task", getattr(self, "task", 1))
        self.x = float(self.np_random.uniform(-0.6, 0.6))
        return self._observation(), {}

    def step(self, action):
        self.x += 0.25 * (int(action) - 1) + float(self.np_random.normal(0, 0.05))
        done = abs(self.x) >= 1
        paid = float(np.sign(self.x) * self.task) if done else 0.0
        return self._observation(), paid, done, False, {"is_success": paid > 0} if done else {}

    def _observation(self):
        return np.array([np.clip(self.x, -1, 1), 100 + 10 * self.x], np.float32)  # the second needs the filter


class Cramped(Walk):
    """After a while no file may grow beyond 8 kB, as on a disk without room."""

    resets = 0

    def reset(self, *, seed=None, options=None):
        Cramped.resets += 1
        if Cramped.resets == 100:
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
        return super().reset(seed=seed, options=options)


class Push(gym.Env):
    """A point in the plane, pushed by a Box action; coming near the task's corner ends the episode."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-0.2, 0.2, (2,), np.float32)
    corners = ((1, 1), (-1, 1), (1, -1))

    def tasks(self, split="train"):
        return self.corners

    def sample_task(self, rng, split="train"):
        return self.corners[rng.integers(3)]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.task = (options or {}).get("task", self.corners[0])
        self.place = self.np_random.uniform(-0.2, 0.2, 2)
        return self.place.astype(np.float32), {}

    def step(self, action):
        assert self.action_space.contains(np.asarray(action, np.float32))
        self.place = self.place + action
        distance = float(np.linalg.norm(self.place - self.task))
        return self.place.astype(np.float32), -distance, distance < 1, False, {}


class FailsOnRankOne(Walk):
    """Raises in a step, on one rank, in every instance but the first, with which an environment is only tried."""

    failing = (1,)
    made = 0

    def __init__(self):
        FailsOnRankOne.made += 1
        self.number, self.steps = FailsOnRankOne.made, 0

    def step(self, action):
        self.steps += self.number > 1
        if self.steps > 7 and RANK in self.failing:
            self.fail()
        return super().step(action)

    def fail(self):
        raise ArithmeticError("the simulator exploded")


class FailsEverywhere(FailsOnRankOne):
    """Raises in a step, on every rank."""

    failing = range(100)


class ExitsOnRankOne(FailsOnRankOne):
    """Some simulators end the process themselves."""

    def fail(self):
        sys.exit(3)


class Interrupts(FailsOnRankOne):
    """Raises what the interpreter raises for Ctrl-C, on every rank."""

    failing = range(100)

    def fail(self):
        raise KeyboardInterrupt


class Exits(Interrupts):
    """Ends the process as if all were well, on every rank."""

    def fail(self):
        sys.exit()


class ExitsAtOnce(Interrupts):
    """The same without asking Python."""

    def fail(self):
        os._exit(0)


class ChildDies(Interrupts):
    """Asks a process of its own, which ends without an answer."""

    def fail(self):
        mine, its = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(target=os._exit, args=(0,))
        child.start()
        its.close()
        child.join()
        mine.recv()


class TaskExits(Walk):
    """Draws tasks until it has drawn enough."""

    def sample_task(self, rng, split="train"):
        self.drawn = getattr(self, "drawn", 0) + 1
        if self.drawn > 60:
            sys.exit()
        return super().sample_task(rng, split)


class HoldsTheLock(Interrupts):
    """Hangs in a library that does not give the interpreter back, as an extension may."""

    def fail(self):
        ctypes.PyDLL(None).sleep(1000)


class OwnDraws(Walk):
    """Its tasks do not come from the generator it is given."""

    def sample_task(self, rng, split="train"):
        return int(self.np_random.integers(1000))


class FromASet(Walk):
    """Its tasks come in another order in each process."""

    def sample_task(self, rng, split="train"):
        return list({"north", "east", "south", "west", "nowhere"})[rng.integers(5)]


class FailsAtOnce(Walk):
    """Raises when it is made, on every rank."""

    def __init__(self):
        raise ArithmeticError("the simulator has no licence")


class NotANumber(FailsOnRankOne):
    """Observes NaN once, on one rank."""

    def fail(self):
        self.x = float("nan")


class Priceless(FailsOnRankOne):
    """Pays infinity, on one rank."""

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, float("inf") if self.steps > 7 and RANK == 1 else reward, *rest

    def fail(self):
        pass


class Reshaped(FailsOnRankOne):
    """Observes one number more than it should, on one rank."""

    wide = False

    def fail(self):
        self.wide = True

    def _observation(self):
        return np.zeros(3, np.float32) if self.wide else super()._observation()


class Hangs(FailsOnRankOne):
    """Never comes back from a step, on one rank."""

    def fail(self):
        time.sleep(1000)


class EndsAtOnce(Walk):
    """Every episode is over after its first step."""

    def step(self, action):
        observation, reward, _, _, info = super().step(action)
        return observation, reward, True, False, info


class Arms(gym.Env):
    """Two arms; the task says which of them pays in nine pulls of ten, while the other pays in one. Nothing is to be seen."""

    observation_space, action_space = gym.spaces.Box(0, 1, (1,), np.float32), gym.spaces.Discrete(2)

    def tasks(self, split="train"):
        return (0, 1)

    def sample_task(self, rng, split="train"):
        return int(rng.integers(2))

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.good = (options or {}).get("task", 0)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        pays = self.np_random.random() < (0.9 if action == self.good else 0.1)
        return np.zeros(1, np.float32), float(pays), False, False, {}


class CartPole(gym.Wrapper):
    """Gymnasium's, as a family of one task."""

    def __init__(self, **how):
        super().__init__(gym.make("CartPole-v1", **how))

    @property
    def unwrapped(self):
        return self

    def sample_task(self, rng, split="train"):
        return "balance"

    def reset(self, *, seed=None, options=None):
        return self.env.reset(seed=seed)
