"""What random actions and a scripted policy earn in every environment, beside what is known of it.

python tests/bench/levels.py [--episodes 20]

A row is the mean over its tasks and their episodes, with its standard error.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from environments import ARRAYS, EVERY, made_vector, tasks_of
from scripted import played

KNOWN = {
    "mlsh/MovingBandits-v0": "best 43.8, random 2.4",
    "mlsh/FourRooms-v0": "best 94.5 for goal 103, 97.2 for 68, 37.3 for 80, 37.9 for 90",
    "mlsh/AntTwowalk-v0": "standing still -0.745, the paper's best -0.386",
    "mlsh/AntObstacleCourse-v0": "the paper: 193 with MLSH, 0 for a single policy",
    "mlsh/HumanoidWalkCrawl-v0": "the paper's best 2606",
    "mlsh/HumanoidCombination-v0": "the paper: 14333 with MLSH",
}


def splits_of(single: object) -> dict[str, list[object]]:
    """Tasks by the name of a row: each for itself where there are two at most, else all of a split together."""
    if not hasattr(single, "tasks"):
        return {"any (8 drawn)": tasks_of(single, 8)}
    if len(single.train_tasks) <= 2 and not single.held_out_tasks:
        return {label(single, task): [task] for task in single.train_tasks}
    return {"train": list(single.train_tasks), "held out": list(single.held_out_tasks)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=20, help="of each task; a hundred times as many where they are cheap")
    episodes = parser.parse_args().episodes
    table = Table(title="mean return of an episode")
    for name in ("environment", "task", "random", "scripted", "known"):
        table.add_column(name, justify="right" if name in ("random", "scripted") else "left")
    for id_ in EVERY:
        count = 100 * episodes if id_ in ARRAYS else episodes
        for row, tasks in splits_of(made_vector(id_, 1)).items():
            random, by_hand = (np.concatenate([played(id_, task, count, hand) for task in tasks]) for hand in (False, True))
            table.add_row(id_, row, shown(random), shown(by_hand), KNOWN.get(id_, ""))
        table.add_section()
    Console(width=150).print(table)


def label(env: object, task: object) -> str:
    """A task in a row's name."""
    return ", ".join(f"{key} {value}" for key, value in env.task_to_json(task).items()) or "the only one"


def shown(returns: np.ndarray) -> str:
    """Mean and standard error."""
    digits = 3 if np.abs(returns).max() < 10 else 1
    return f"{returns.mean():.{digits}f} +- {returns.std() / np.sqrt(len(returns)):.{digits}f}"


if __name__ == "__main__":
    main()
