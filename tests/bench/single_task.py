"""How soon one policy masters one task: ants and humanoids with the settings of their presets, or with others.

    python tests/bench/single_task.py maze [--seeds 5] [--steps 600000] [--folder build/single] [primitive.lam=0.98 ...]
    python tests/bench/single_task.py maze --ablation [--seeds 3]
    mpirun -np 2 python tests/bench/single_task.py maze groups=64 steps=200

A run writes FOLDER/NAME-seedS.jsonl, a line an iteration, and is not repeated if it is there. The return is that of the episodes
that ended in an iteration, exploring as the policy learns; a level is reached where the mean over the last 50,000 steps is.

--ablation leaves out, one at a time, what the preset has and the paper's PPO has not, and adds what it could have; the last row
is the paper's PPO with its 80,000 steps an update.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from mlsh_mpi.algorithm.mlsh import train
from mlsh_mpi.config.overrides import with_options
from mlsh_mpi.config.presets import preset_config
from mlsh_mpi.config.settings import Config, EnvironmentConfig
from mlsh_mpi.mpi.job import Job, job
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.experiment import Experiment
from mlsh_mpi.sampling.task_family import TaskFamily


@dataclass(frozen=True)
class Goal:
    """A level to be reached."""

    preset: str
    task: str | None
    """By its label; None where there is one."""
    level: float
    steps: int
    env: str | None = None
    """Another environment than the preset's, with RK4."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """What this task is learned with, where it is not SMALL_UPDATES."""


GOALS = {
    "maze": Goal("ant-mazes", "maze=eee", 600, 600_000),
    "twowalk": Goal("ant-twowalk", "target=0", -0.386, 1_000_000),
    "walk": Goal("humanoid-walk-crawl", "gait=walk", 4500, 2_000_000, changes={"initial_std": 0.5}),
    "crawl": Goal("humanoid-walk-crawl", "gait=crawl", 5000, 4_000_000, changes={"initial_std": 1.0, "primitive.lam": 0.95}),
    "humanoid-v5": Goal("humanoid-walk-crawl", None, 2500, 2_000_000, "one_task:Humanoid", {"initial_std": 0.5}),
}
SMOOTHED = 50_000
"""Steps over which returns are averaged."""
PARTS = (0.25, 0.5, 0.75, 1.0)
"""Of a run, at which the table shows returns."""
SMALL_UPDATES = {
    "groups": 10,
    "workers": 1,
    "steps": 500,
    "primitive.minibatches": 8,
    "primitive.lam": 0.8,
    "primitive.decay": 0.0,
    "primitive.epochs": 10,
    "primitive.standardise_values": True,
    "primitive.reward_shift": 0.0,
    "primitive.reward_scale": 1.0,
}
"""What one policy differs in from the presets' hierarchies: 5,000 steps an update, and standardised values."""
PAPER = {
    "groups": 10,
    "workers": 4,
    "steps": 2000,
    "initial_std": 1.0,
    "primitive.learning_rate": 3e-4,
    "primitive.lam": 0.98,
    "primitive.minibatches": 60,
    "primitive.standardise_values": False,
    "primitive.max_gradient_norm": None,
    "primitive.bootstrap_time_limits": False,
}
ABLATION: dict[str, dict[str, Any]] = {
    "preset": {},
    "initial standard deviation 1": {"initial_std": 1.0},
    "values not standardised, rewards times 0.05": {"primitive.standardise_values": False, "primitive.reward_scale": 0.05},
    "gradient not clipped": {"primitive.max_gradient_norm": None},
    "time limit is an end": {"primitive.bootstrap_time_limits": False},
    "lambda 0.95": {"primitive.lam": 0.95},
    "lambda 0.6": {"primitive.lam": 0.6},
    "whole episodes, D = 1000": {"steps": 1000, "primitive.minibatches": 16},
    "D = 200": {"steps": 200, "primitive.minibatches": 4},
    "learning rate 0.001, 5 epochs": {"primitive.learning_rate": 1e-3, "primitive.epochs": 5},
    "KL-adaptive learning rate, 0.02": {"primitive.adaptive_kl": 0.02},
    "epochs end at KL 0.03": {"primitive.target_kl": 0.03},
    "the paper's PPO": PAPER,
}


@dataclass(frozen=True)
class OneTask(TaskFamily):
    """A task family of which only one task is drawn."""

    only: Any = None

    @classmethod
    def within(cls, family: TaskFamily, label: str) -> OneTask:
        """The same with one of its tasks alone."""
        only = next(task for task in family.known_tasks if family.label(task) == label)
        return cls(**{each.name: getattr(family, each.name) for each in fields(family)}, only=only)

    def sample_task(self, rng: np.random.Generator, split: str = "train") -> Any:
        return self.only

    def listed(self, split: str) -> tuple[Any, ...]:
        return (self.only,)


def configured(preset: str, seed: int, changes: Mapping[str, Any]) -> Config:
    """One policy, learning in every iteration: a preset's settings with changes, as on the command line."""
    config = with_options(preset_config(preset), {"primitives": 1, "warmup": 0, "whole_episode_iterations": 0, "seed": seed})
    mine = {name.removeprefix("primitive."): value for name, value in changes.items() if name.startswith("primitive.")}
    config = with_options(config, {name: value for name, value in changes.items() if not name.startswith("primitive.")})
    return replace(config, primitive=replace(config.primitive, **mine))


def run(current: Job, goal: Goal, path: Path, seed: int, steps: int, changes: Mapping[str, Any]) -> None:
    """One training, written to a file on rank 0 once it is whole."""
    config = configured(goal.preset, seed, {**SMALL_UPDATES, **goal.changes, **changes})
    if goal.env is not None:
        config = replace(config, environment=EnvironmentConfig(goal.env, episode_length=1000))
    maker = EnvironmentMaker.from_config(config.environment)
    family = TaskFamily.from_maker(maker) if goal.task is None else OneTask.within(TaskFamily.from_maker(maker), goal.task)
    lanes, stretch = config.sampling.shape(family.episode_length)
    an_iteration = config.sampling.groups * config.sampling.workers * lanes * stretch
    alone = {"joint": 10**6, "macro_length": family.episode_length, "exploration": 0.0}
    config = with_options(config, {"iterations": -(-steps // an_iteration), **alone})
    rows: list[dict[str, float]] = []
    began = time.process_time()

    def on_iteration(metrics: dict[str, float], _: object) -> bool:
        row = {name: metrics[name] for name in metrics if name.startswith(("return/mean", "primitive/", "speed/"))}
        rows.append({"steps": metrics["iteration"] * an_iteration, "cpu_seconds": time.process_time() - began} | row)
        return False

    train(Experiment(config, current, family), None, on_iteration)
    if current.world.rank == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def smoothed(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and the mean return over the last :data:`SMOOTHED` of them."""
    rows = [row for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()) if "return/mean" in row]
    steps, returns = (np.array([row[name] for row in rows]) for name in ("steps", "return/mean"))
    first = np.searchsorted(steps, steps - SMOOTHED, side="right")
    total = np.concatenate(([0], np.cumsum(returns)))
    last = np.arange(1, len(rows) + 1)
    return steps, (total[last] - total[first]) / (last - first)


def row_of(name: str, paths: Sequence[Path], level: float, steps: int) -> tuple[str, ...]:
    """A line of the table: mean returns at parts of the way, area under the curve, and when each seed reached the level."""
    curves = [smoothed(path) for path in paths]
    at = [np.mean([np.interp(steps * part, *curve) for curve in curves]) for part in PARTS]
    grid = np.linspace(0, steps, 200)
    area = np.array([np.interp(grid, *curve).mean() for curve in curves])
    reached = [next((int(s) for s, value in zip(*curve, strict=True) if value >= level), None) for curve in curves]
    when = ", ".join("-" if at is None else f"{at / 1e6:.2f}" for at in reached)
    count = sum(at is not None and at <= steps for at in reached)
    return name, *(f"{value:.4g}" for value in at), f"{area.mean():.4g} ± {area.std():.2g}", f"{count} of {len(paths)}: {when}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("goal", choices=GOALS)
    parser.add_argument("changes", nargs="*", help="settings of the trainer, such as primitive.lam=0.98")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--folder", type=Path, default=Path("build/single"))
    parser.add_argument("--ablation", action="store_true")
    given = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    goal = GOALS[given.goal]
    steps = given.steps or goal.steps
    changes = {name: json.loads(value) for name, _, value in (change.partition("=") for change in given.changes)}
    variants = ABLATION if given.ablation else {" ".join(given.changes) or "preset": changes}
    paths = {
        name: [given.folder / f"{given.goal}-{name.replace(' ', '_')}-seed{seed}.jsonl" for seed in range(given.seeds)]
        for name in variants
    }
    with job() as current:
        for seed in range(given.seeds):
            for name, change in variants.items():
                if not current.world.bcast(paths[name][seed].exists()):
                    run(current, goal, paths[name][seed], seed, steps, change)
                    if current.world.rank == 0:
                        print(*row_of(f"{name}, seed {seed}", [paths[name][seed]], goal.level, steps), flush=True)
        if current.world.rank == 0:
            table = Table(title=f"{given.goal}: one policy, {given.seeds} seeds")
            marks = [f"{steps * part / 1e6:g} M" for part in PARTS]
            for heading in ("", *marks, "mean until then", f"{goal.level:g} at"):
                table.add_column(heading, justify="right" if heading else "left")
            for name in variants:
                table.add_row(*row_of(name, paths[name], goal.level, steps))
            Console(width=130).print(table)


if __name__ == "__main__":
    main()
