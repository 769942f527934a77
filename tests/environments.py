"""What the tests of all environments know of them: ids, tasks, and how to act in them."""

import gymnasium as gym
import numpy as np

import mlsh_envs

ARRAYS = ["mlsh/MovingBandits-v0", "mlsh/KeyDoor-v0", "mlsh/Allwalk-v0", "mlsh/FourRooms-v0", "mlsh/FourRoomsPublished-v0"]
ANTS = [f"mlsh/Ant{name}-v0" for name in ("Twowalk", "Movement", "Maze", "ObstacleCourse", "BigCourse")]
HUMANOIDS = ["mlsh/HumanoidWalkCrawl-v0", "mlsh/HumanoidCombination-v0"]
PHYSICS = [*ANTS, *HUMANOIDS, "mlsh/WalkerObstacles-v0", "mlsh/SwimmerBandits-v0"]
EVERY = [*ARRAYS, *PHYSICS]


def tasks_of(env, count):
    """As many tasks, all of them different if there are so many."""
    env = env.unwrapped
    if hasattr(env, "tasks"):
        listed = env.tasks()
    else:
        rng = np.random.default_rng(5)
        listed = [env.sample_task(rng) for _ in range(count)]
    return [listed[i % len(listed)] for i in range(count)]


def random_action(space, rng, lanes=None, beyond=1.2):
    """One action, or one for each lane; for a Box from its bounds times `beyond`."""
    if isinstance(space, gym.spaces.Discrete):
        return rng.integers(space.n, size=lanes)
    shape = space.shape if lanes is None else (lanes, *space.shape)
    return rng.uniform(beyond * space.low, beyond * space.high, shape).astype(np.float32)


def single_class(id_):
    """The single form behind an id."""
    return getattr(mlsh_envs, gym.spec(id_).entry_point.split(":")[1])


def made_vector(id_, lanes, **settings):
    """The vector form."""
    return gym.make_vec(id_, lanes, vectorization_mode="vector_entry_point", **settings)
