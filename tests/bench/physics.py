"""What an environment step costs beside its physics, what another integrator saves and changes, and why the ant is heavy.

python tests/bench/physics.py [--repeats 7] [--steps 400] [--check]

The first table: each MuJoCo environment in its vector form against a bare loop of mj_step over the same models from the same
states with the same actions, in turns; medians. The second: the ant with each integrator, its speed against RK4's, and what the
scripted walker then earns on Twowalk. The third: how often ants of different mass are on their feet under random actions.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from pathlib import Path

import mujoco
import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from environments import ANTS, PHYSICS, made_vector, tasks_of
from scripted import AntWalker, ant_route

GOAL = 0.95
"""Of the bare loop's speed, for the ants at ten lanes."""
INTEGRATORS = ("RK4", "Euler", "implicit", "implicitfast")
MASSES = (0.91, 5, 10, 20, 40)


def share(id_: str, lanes: int, steps: int, repeats: int, **settings: object) -> tuple[float, float, float]:
    """Microseconds of a lane's step, of its bare physics, and their ratio pair by pair: medians."""
    vector = made_vector(id_, lanes, **settings)
    space, rng = vector.single_action_space, np.random.default_rng(0)
    actions = rng.uniform(space.low, space.high, (steps, lanes, *space.shape)).astype(np.float32)
    tasks = tasks_of(vector, lanes)
    pairs = []
    for _ in range(repeats):
        vector.reset(seed=0, options={"task": tasks})
        entered = time.perf_counter()
        for action in actions:
            vector.step(action)
        whole = time.perf_counter() - entered
        vector.reset(seed=0, options={"task": tasks})
        world = vector.world
        simulations = [(model, data, data.ctrl) for model, data in zip(world.models, world.datas, strict=True)]
        entered = time.perf_counter()
        for action in actions:
            for lane, (model, data, control) in enumerate(simulations):
                control[:] = action[lane]
                mujoco.mj_step(model, data, world.frame_skip)
        pairs.append((whole, time.perf_counter() - entered))
    whole, bare = 1e6 * np.median(pairs, axis=0) / (steps * lanes)
    return float(whole), float(bare), float(np.median([bare / whole for whole, bare in pairs]))


def earned(integrator: str) -> float:
    """Mean return of the scripted walker over ten episodes of Twowalk."""
    vector = made_vector("mlsh/AntTwowalk-v0", 10, integrator=integrator)
    tasks = tasks_of(vector, 10)
    observation, _ = vector.reset(seed=0, options={"task": tasks})
    walker, returns = AntWalker([ant_route(task) for task in tasks], vector.world.dt), np.zeros(10)
    for _ in range(1000):
        observation, reward, *_ = vector.step(walker(observation))
        returns += reward
    return float(returns.mean())


def on_its_feet(mass: float, episodes: int = 10) -> float:
    """Share of the steps of a fresh policy, normal actions of variance 1, after which the torso is tipped by less than 70 deg."""
    world = made_vector("mlsh/AntTwowalk-v0", 1).world
    model = copy.copy(world.models[0])
    data = mujoco.MjData(model)
    mujoco.mj_setTotalmass(model, mass)
    mujoco.mj_setConst(model, data)
    rng, upright = np.random.default_rng(0), 0
    for _ in range(episodes):
        mujoco.mj_resetData(model, data)
        data.qpos[:] += rng.uniform(-0.1, 0.1, model.nq)
        for _ in range(1000):
            data.ctrl[:] = rng.standard_normal(model.nu)
            mujoco.mj_step(model, data, world.frame_skip)
            _, x, y, _ = data.qpos[3:7]
            upright += 1 - 2 * (x * x + y * y) > np.cos(np.deg2rad(70))
    return upright / (1000 * episodes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=400, help="of each repeat")
    parser.add_argument("--check", action="store_true", help=f"exit 1 if an ant with ten lanes is below {GOAL:.0%}")
    given = parser.parse_args()

    table, missed = Table(title="share of the bare physics' speed"), []
    for name in ("environment", "physics, us", "1 lane", "2 lanes", "10 lanes"):
        table.add_column(name, justify="left" if name == "environment" else "right")
    for id_ in PHYSICS:
        measured = [share(id_, lanes, given.steps, given.repeats) for lanes in (1, 2, 10)]
        table.add_row(id_, f"{measured[-1][1]:.0f}", *(f"{ratio:.1%}" for _, _, ratio in measured))
        if id_ in ANTS and measured[-1][2] < GOAL:
            missed.append(id_)
    console = Console(width=110)
    console.print(table)

    table = Table(title="mlsh/AntTwowalk-v0 by integrator")
    for name in ("integrator", "physics, us", "as fast as RK4", "return of the scripted walker"):
        table.add_column(name, justify="left" if name == "integrator" else "right")
    costs = {name: share("mlsh/AntTwowalk-v0", 10, given.steps, given.repeats, integrator=name)[1] for name in INTEGRATORS}
    for name, cost in costs.items():
        table.add_row(name, f"{cost:.0f}", f"{costs['RK4'] / cost:.1f} times", f"{earned(name):.3f}")
    console.print(table)

    table = Table(title="ants on their feet under random actions, share of an episode")
    for mass in MASSES:
        table.add_column(f"{mass:g} kg", justify="right")
    table.add_row(*(f"{on_its_feet(mass):.0%}" for mass in MASSES))
    console.print(table)
    if given.check and missed:
        sys.exit(f"below {GOAL:.0%}: {', '.join(missed)}")


if __name__ == "__main__":
    main()
