"""What could primitives be worth on Four Rooms' unseen goals? Scripted primitives, over which fresh masters learn.

    python launch/paper/programs/four_rooms.py [--masters 30] [--updates 10] [--only N ...]

Ten goals are unseen. A set of primitives is the four directions, of which all policies are made; the same with a way back into
the room that all goals are in; or the optimal policies for some of the eleven other goals, which training could not better. For
each set and each N the table has the return of the best possible master, found by dynamic programming, and that of fresh masters,
exploring, as they learn; and the same of PPO from scratch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests"))

import mlsh_mpi
import scripted
from mlsh_envs.four_rooms import GOALS
from mlsh_mpi.config.presets import preset_config
from mlsh_mpi.networks.actor_critic import Array
from mlsh_mpi.policies.phi_file import PhiCheckpoint
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.task_family import TaskFamily

UNSEEN = (68, 70, 78, 80, 82, 90, 92, 99, 101, 103)
SEEN = tuple(goal for goal in GOALS if goal not in UNSEEN)
CORNERS = (69, 72, 100, 102)
"""Four seen goals that are far from one another."""
CENTRE = 80
"""Of the room of the goals."""
MACRO_LENGTHS = (1, 2, 5, 10, 25)
STEPS, CELLS, ACTIONS = 100, 104, 4
SHOWN = (0, 1, 2, 3, 5, 10)
"""Updates in the table."""
CERTAIN = 10.0
"""A weight that makes a unit of tanh, or the choice of an action, as good as certain."""


def sets(p: Array) -> dict[str, Array]:
    """(K, 104) the action of each primitive in each cell, for each set of primitives."""

    def towards(goals: tuple[int, ...]) -> Array:
        return np.stack([scripted.best_in_rooms(p, goal)[1][STEPS] for goal in goals])

    directions = np.repeat(np.arange(ACTIONS)[:, None], CELLS, axis=1)
    return {
        "the four directions": directions,
        "the same, and back into the room": np.where(np.isin(np.arange(CELLS), GOALS), directions, towards((CENTRE,))),
        "to four seen goals": towards(CORNERS),
        "to all eleven seen goals": towards(SEEN),
    }


def best_return(p: Array, actions: Array, goal: int, macro_length: int) -> float:
    """Return of the best master over these primitives that decides every `macro_length` steps."""
    step = p[np.arange(CELLS), actions]  # (K, from, to)
    pays = np.zeros((len(actions), CELLS, 1))
    pays[:, goal] = 1
    earned, reached = np.zeros_like(pays), np.broadcast_to(np.eye(CELLS), step.shape)
    for _ in range(macro_length):
        reached = reached @ step
        earned = earned + reached @ pays
    value = np.zeros(CELLS)
    for _ in range(STEPS // macro_length):
        value = (earned[..., 0] + reached @ value).max(0)
    return float(value[scripted.DOORWAY])


def by_hand(actions: Array) -> mlsh_mpi.Primitives:
    """Primitives whose networks take these actions, (K, 104): in every layer a unit for each action, the others idle."""
    config = preset_config("four-rooms")
    settings = (f"held_out={list(UNSEEN)}".replace(" ", ""),)
    config = replace(
        config,
        environment=replace(config.environment, env_settings=settings),
        hierarchy=replace(config.hierarchy, primitives=len(actions)),
        sampling=replace(config.sampling, workers=1),
    )
    family = TaskFamily.from_maker(EnvironmentMaker.from_config(config.environment))
    sizes = (CELLS, *config.network.hidden, ACTIONS)
    parameters: dict[str, torch.Tensor] = {}
    for name, outputs in (("policy", ACTIONS), ("value", 1)):
        for layer, (size, following) in enumerate(zip(sizes, (*sizes[1:-1], outputs), strict=False)):
            parameters[f"{name}.{layer}.weight"] = torch.zeros(len(actions), size, following)
            parameters[f"{name}.{layer}.bias"] = torch.zeros(len(actions), following)
    unit = torch.arange(ACTIONS)
    chosen = torch.from_numpy(actions)[..., None] == unit
    parameters["policy.0.weight"][..., :ACTIONS] = CERTAIN * (2.0 * chosen - 1)
    for layer in range(1, len(sizes) - 1):
        parameters[f"policy.{layer}.weight"][:, unit, unit] = CERTAIN
    return mlsh_mpi.Primitives(PhiCheckpoint(config, family.name, parameters, None, family.as_dict()))


def learned(primitives: mlsh_mpi.Primitives, masters: int, updates: int, options: Mapping[str, Any]) -> list[float]:
    """Mean return of fresh learners, exploring, after each of the shown updates, and over all of them."""
    found = mlsh_mpi.adapt(primitives, masters=masters, updates=updates, held_out=True, seed=0, **options).returns.mean(1)
    return [*found[[update for update in SHOWN if update <= updates]], found.mean()]


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masters", type=int, default=30, help="over all ten goals")
    parser.add_argument("--updates", type=int, default=10, help="of 2,000 steps")
    parser.add_argument("--only", type=int, nargs="+", default=MACRO_LENGTHS, metavar="N")
    arguments = parser.parse_args()
    p = scripted.rooms("released")
    shown = [f"{2000 * update:,}" for update in SHOWN if update <= arguments.updates]
    table = Table("primitives", "N", "best master", *shown, "mean", title="return on ten unseen goals after steps")

    def row(name: str, macro_length: str, best: float, returns: list[float]) -> None:
        table.add_row(name, macro_length, *(f"{value:.1f}" for value in (best, *returns)))

    def mean(actions: Array, macro_length: int) -> float:
        return float(np.mean([best_return(p, actions, goal, macro_length) for goal in UNSEEN]))

    chosen = sets(p)
    for name, actions in chosen.items():
        primitives = by_hand(actions)
        for n in arguments.only:
            options = {"macro_length": n, "exploration": 0.02}
            row(name, str(n), mean(actions, n), learned(primitives, arguments.masters, arguments.updates, options))
    directions = chosen["the four directions"]
    scratch = learned(by_hand(directions), arguments.masters, arguments.updates, {"method": "scratch"})
    row("none: PPO from scratch", "", mean(directions, 1), scratch)
    Console().print(table)


if __name__ == "__main__":
    main()
