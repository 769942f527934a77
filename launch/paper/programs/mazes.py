"""Do fresh masters get through the ant mazes? For each of the nine, and of the four that are held out.

    python launch/paper/programs/mazes.py RUN [--updates 20] [--masters 4] [--episodes 5] [--steps 2000] [--no-upright]
        [--search 12]

RUN is a run folder, a phi.pt, or the name of primitives that come with this project. Each maze gets --masters fresh masters of
one worker, and then plays --episodes episodes with each of them, not exploring. `--masters 4 --episodes 50` are the 200 episodes
a maze of Kuric and van Hoof (2023), with the upright reset every 200 steps as in the paper or, with --no-upright, without.

What the primitives are good for shows a search through the choices of one episode (--search WIDTH): of all that its best WIDTH
beginnings can be continued with, every 200 steps, again the best WIDTH.

An episode has reached the goal if the torso has come within 3 m of it along both axes; the goal is on the face of a wall, and a
cell's side is 16 m. The scripted trot is the policy of `tests/scripted.py`, which knows the way.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests"))

import mlsh_mpi
from mlsh_envs.ant_maze import HELD_OUT, TRAIN, AntMazeTask
from mlsh_envs.maze_maps import layout
from scripted import AntWalker, maze_route

NEAR = 3.0


@dataclass
class Played:
    """Episodes in one maze, or in several."""

    returns: list[float]
    closest: list[float]
    """Smallest distance from the goal in each episode: the larger one of both axes, in metres."""

    @classmethod
    def together(cls, parts: Sequence[Played]) -> Played:
        """The episodes of all parts."""
        return cls([x for part in parts for x in part.returns], [x for part in parts for x in part.closest])

    def cells(self) -> tuple[str, ...]:
        """Mean return, share of episodes that reach the goal, and the median distance, as text."""
        closest = np.array(self.closest)
        return f"{np.mean(self.returns):.0f}", f"{100 * (closest < NEAR).mean():.0f} %", f"{np.median(closest):.1f}"


def play(
    maze: str, act: Callable[..., Any], begin: Callable[[], object], episodes: int, settings: dict[str, object], seed: int
) -> Played:
    """Plays episodes with a policy."""
    env = gym.make("mlsh/AntMaze-v0", integrator="implicitfast", **settings)
    goal, played = np.array(layout(maze).goal), Played([], [])
    for episode in range(episodes):
        observation, _ = env.reset(seed=seed + episode, options={"task": AntMazeTask(maze)})
        begin()
        earned, closest, over = 0.0, np.inf, False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(act(observation))
            earned, over = earned + float(reward), terminated or truncated
            closest = min(closest, float(np.abs(observation[:2] - goal).max()))
        played.returns.append(earned)
        played.closest.append(closest)
    return played


def trot(maze: str, episodes: int, settings: dict[str, object]) -> Played:
    """Plays episodes with the scripted trot."""
    walker: list[AntWalker] = []

    def begin() -> None:
        walker[:] = [AntWalker([maze_route(maze)], 0.05)]

    return play(maze, lambda observation: walker[0](observation[None])[0], begin, episodes, settings, seed=0)


def search(maze: str, primitives: mlsh_mpi.Primitives, width: int, settings: dict[str, object]) -> Played:
    """The best episode that a search through the choices of a master finds."""
    env = gym.make("mlsh/AntMaze-v0", integrator="implicitfast", **settings)
    goal = np.array(layout(maze).goal)
    observation, _ = env.reset(seed=0, options={"task": AntMazeTask(maze)})
    ongoing, over = [(0.0, np.inf, observation, env)], False
    while not over:
        longer = []
        for earned, closest, observation, env in ongoing:
            for primitive in range(len(primitives)):
                branch, seen, total, nearest = copy.deepcopy(env), observation, earned, closest
                for _ in range(200):
                    seen, reward, terminated, truncated, _ = branch.step(primitives.act(seen, primitive))
                    total, nearest = total + float(reward), min(nearest, float(np.abs(seen[:2] - goal).max()))
                    over = terminated or truncated
                    if over:
                        break
                longer.append((total, nearest, seen, branch))
        ongoing = sorted(longer, key=lambda each: -each[0])[:width]
    return Played([ongoing[0][0]], [ongoing[0][1]])


def arguments() -> argparse.Namespace:
    """The command line's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--masters", type=int, default=4, help="of each maze")
    parser.add_argument("--episodes", type=int, default=5, help="with each master")
    parser.add_argument("--steps", type=int, default=2000, help="environment steps of a master's update")
    parser.add_argument("--no-upright", action="store_true", help="never set the ant upright")
    parser.add_argument("--search", type=int, metavar="WIDTH", help="also search for the best choices")
    parser.add_argument("--option", nargs="*", default=[], help="settings of a master, such as master_lam=0.3")
    return parser.parse_args()


def _best(found: Sequence[Played]) -> tuple[str, ...]:
    return tuple(cell for each in found for cell in (each.cells()[0], each.cells()[2]))


def main() -> None:
    """Prints a line for each maze and one for each split."""
    chosen = arguments()
    settings: dict[str, object] = {"upright_interval": None} if chosen.no_upright else {}
    env_settings = ("integrator=implicitfast", *(f"{name}={value}" for name, value in settings.items()))
    options = {name: float(value) for name, _, value in (option.partition("=") for option in chosen.option)}
    primitives = mlsh_mpi.load(chosen.run)
    table = Table(title=f"{chosen.run}, {chosen.updates} updates of {chosen.steps} steps")
    for name in (
        "maze",
        "at first",
        "learned",
        "without exploration",
        "worst master",
        "reached",
        "closest, m",
        "trot",
        "reached",
        "closest, m",
        *(("search", "closest, m") if chosen.search else ()),
    ):
        table.add_column(name, justify="left" if name == "maze" else "right")
    for split, mazes in (("the nine", TRAIN), ("held out", HELD_OUT)):
        adapted = mlsh_mpi.adapt(
            primitives,
            updates=chosen.updates,
            masters=chosen.masters * len(mazes),
            held_out=split == "held out",
            steps=chosen.steps,
            env_settings=env_settings,
            **options,
        )
        labels = np.array(adapted.tasks)
        rows = []
        for maze in track(mazes, f"{split}: episodes", console=Console(stderr=True)):
            mine = np.flatnonzero(labels == f"maze={maze}")
            hierarchies = [adapted.hierarchies[i] for i in mine]
            each = [
                play(maze, hierarchy.act, hierarchy.reset, chosen.episodes, settings, seed=1000 * i)
                for i, hierarchy in enumerate(hierarchies)
            ]
            together = Played.together(each)
            worst = min(np.mean(one.returns) for one in each)
            by_hand = trot(maze, 3, settings)
            found = [search(maze, primitives, chosen.search, settings)] if chosen.search else []
            rows.append((together, by_hand, *found))
            first, last = (f"{adapted.returns[update, mine].mean():.0f}" for update in (0, -1))
            returned, *near = together.cells()
            table.add_row(maze, first, last, returned, f"{worst:.0f}", *near, *by_hand.cells(), *_best(found))
        both = [Played.together(column) for column in zip(*rows, strict=True)]
        first, last = (f"{adapted.returns[update].mean():.0f}" for update in (0, -1))
        returned, *near = both[0].cells()
        best = _best(both[2:])
        table.add_row(split, first, last, returned, "", *near, *both[1].cells(), *best, style="bold", end_section=True)
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
