"""Learning curves of PPO trainers on Gymnasium's Ant-v5: the return over environment steps and over CPU-seconds of one core.

python tests/bench/learning.py [--trainers mlsh_mpi rl_games] [--seeds 3] [--steps 1000000] [--folder build/learning]
    [--picture learning.png] [--table]

Each peer is installed from PyPI into an environment of its own below the folder, with the settings that its authors publish for
this ant (learning_peers.py names where), and is run for as long as they do or as is given below. All run in turns on one core
with one thread: seed 0 of every trainer, then seed 1, and so on. A run that is done stays in FOLDER/TRAINER-seedS.jsonl and is
not repeated, so that the command can be interrupted and continued; a run that is interrupted begins anew.

A row, about every 20,000 steps: steps and CPU-seconds since training began (imports do not count, compilation and children do),
and the mean return of the training episodes that ended since the last row, as Gymnasium has it: not discounted, not normalised.
The policies explore as they train; none is tested apart.

Not the same: lambda (0.5) and the size of an update of this trainer were chosen on this ant, over half a million steps of seed 1;
EnvPool has a MuJoCo of its own (3.6.0) and counts the step that restarts an episode.

Prints the interquartile mean over the seeds, each seed's curve interpolated on a common grid, and draws it with its 95 % band.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter
from rich.console import Console
from rich.table import Table

from ant_v5 import ID, check
from learning_peers import ROW_STEPS, Write, record
from mlsh_mpi.algorithm.mlsh import train
from mlsh_mpi.config.overrides import with_options
from mlsh_mpi.config.presets import TUNED
from mlsh_mpi.config.settings import Config, HierarchyConfig, NetworkConfig, SamplingConfig
from mlsh_mpi.mpi.job import job
from mlsh_mpi.reporting.statistics import interquartile_band
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.experiment import Experiment
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.sampling.vector_env import VectorEnv


@dataclass(frozen=True)
class Trainer:
    """One that is compared."""

    steps: int
    """Environment steps of a run."""
    colour: str
    packages: tuple[str, ...] = ()
    """What pip installs for it; nothing for this trainer, which runs where this program does."""
    bare: tuple[str, ...] = ()
    """The same without what they depend on, and for any Python."""


ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
COMMON = ("gymnasium[mujoco]==1.4.0", "mujoco==4.0.0", "torch==2.13.0")
OURS_NAME = "mlsh_mpi"
TRAINERS = {
    OURS_NAME: Trainer(2_700_000, "#0072b2"),
    "rl_games": Trainer(2_700_000, "#d55e00", ("rl-games==1.6.5", "envpool==1.2.5", "gymnasium==1.4.0", "torch==2.13.0")),
    "cleanrl": Trainer(1_000_000, "#009e73", (*COMMON, "tensorboard"), ("cleanrl==1.2.0",)),
    "stable-baselines3": Trainer(1_000_000, "#cc79a7", (*COMMON, "stable-baselines3==2.9.2", "rl_zoo3==2.9.2")),
}
OURS = {
    "hierarchy": HierarchyConfig(primitives=1, macro_length=1000, warmup=0, joint=10**6, exploration=0.0),
    "sampling": SamplingConfig(groups=16, workers=1, steps=250),
    "network": NetworkConfig(filter_observations=True, initial_std=0.5),
    "primitive": replace(TUNED, minibatches=8, lam=0.5, adaptive_kl=0.02, standardise_values=True),
}
"""This trainer's settings, where they are not the defaults: one policy, 16 lanes of 250 steps an update."""
AT_STEPS = (300_000, 700_000, 1_000_000, 1_400_000, 2_000_000, 2_700_000)
LEVELS = (1000, 3000, 5000)


class Counted(VectorEnv):
    """Lanes that keep the returns of episodes that end."""

    def __init__(self, lanes: VectorEnv) -> None:
        super().__init__(lanes._vector, lanes._actions)
        self.ended: list[float] = []
        self._returns = np.zeros(self.count)

    def reset(self, mask, seeds, tasks):
        self._returns[mask] = 0.0
        return super().reset(mask, seeds, tasks)

    def step(self, action):
        observation, reward, end = super().step(action)
        self._returns += reward
        self.ended += self._returns[end].tolist()
        return observation, reward, end


class CountingMaker(EnvironmentMaker):
    """Makes one :class:`Counted`."""

    def lanes(self, count: int) -> VectorEnv:
        self.counted = Counted(super().lanes(count))
        return self.counted


def run_mlsh_mpi(seed: int, steps: int, lam: float, write: Write) -> None:
    """This trainer with one primitive, on the ant as a world of this project."""
    each = OURS["sampling"].groups * OURS["sampling"].workers * OURS["sampling"].steps
    maker = CountingMaker(ID, None)

    def after_iteration(*_: object) -> bool:
        returns = maker.counted.ended.copy()
        maker.counted.ended.clear()
        return write(each, returns)

    torch.set_num_threads(1)
    with job() as current:
        options = OURS | {"seed": seed, "iterations": -(-steps // each), "primitive_lam": lam}
        config = with_options(Config(), options)
        train(Experiment(config, current, TaskFamily.from_maker(maker)), None, after_iteration)


@dataclass(frozen=True)
class Curves:
    """All seeds of a trainer, each on what a grid says."""

    x: np.ndarray
    """(X,) steps or CPU-seconds, up to where all seeds got."""
    mean: np.ndarray
    """(X,) interquartile mean return."""
    low: np.ndarray
    high: np.ndarray
    """(X,) ends of its 95 % band, by the bootstrap."""

    @classmethod
    def of(cls, runs: Sequence[Sequence[Mapping[str, float]]], name: str, spacing: float) -> Curves:
        """Interpolates.

        Args:
            runs: rows of each seed.
            name: of what is along the axis.
            spacing: of the grid.
        """
        along = [np.array([row[name] for row in run], float) for run in runs]
        x = np.arange(1, min(places[-1] for places in along) // spacing + 1) * spacing
        returns = [np.interp(x, places, [row["return"] for row in run]) for places, run in zip(along, runs, strict=True)]
        return cls(x, *interquartile_band(np.array([returns]), np.random.default_rng(0)))

    def at(self, place: float) -> float | None:
        """The mean there; None if not all seeds got there."""
        return float(np.interp(place, self.x, self.mean)) if place <= self.x[-1] + ROW_STEPS else None

    def reached(self, level: float) -> float | None:
        """Where the mean first has a value."""
        there = np.flatnonzero(self.mean >= level)
        return float(self.x[there[0]]) if len(there) else None

    def average(self, end: float) -> float:
        """Of the mean from the beginning to an end: the area under it, divided by its width."""
        return float(self.mean[self.x <= end].mean())


def python_of(name: str, folder: Path) -> Path:
    """The Python of a trainer's environment, made if it is not there."""
    trainer, place = TRAINERS[name], folder / "python" / name
    if not trainer.packages:
        return Path(sys.executable)
    if not (place / "ready").exists():
        print(f"installing {name} into {place}", flush=True)
        venv.create(place, with_pip=True, clear=True)
        install = [place / "bin/python", "-m", "pip", "install", "-q"]
        subprocess.run([*install, *trainer.packages], check=True)
        if trainer.bare:
            subprocess.run([*install, "--no-deps", "--ignore-requires-python", *trainer.bare], check=True)
        (place / "ready").touch()
    return place / "bin/python"


def run(name: str, seed: int, steps: int, folder: Path, lam: float) -> None:
    """Runs one seed of a trainer, if it is missing."""
    path = folder / f"{name}-seed{seed}.jsonl"
    if path.exists():
        return
    script = Path(__file__).resolve()
    program = [script, "--program", str(lam)] if name == OURS_NAME else [script.with_name("learning_peers.py"), name]
    part, log, core = path.with_suffix(".part"), path.with_suffix(".log"), min(os.sched_getaffinity(0))
    print(f"{name}, seed {seed}: {steps:,} steps", flush=True)
    with tempfile.TemporaryDirectory() as scratch, log.open("w") as output:
        done = subprocess.run(
            [python_of(name, folder), *program, str(seed), str(steps), part],
            cwd=scratch,
            env=os.environ | ONE_THREAD,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
    if done.returncode:
        sys.exit(f"{name} failed: see {log}")
    log.unlink()
    part.rename(path)


def read(name: str, seeds: int, folder: Path) -> list[list[dict[str, float]]]:
    """Rows of each seed that is done."""
    paths = [folder / f"{name}-seed{seed}.jsonl" for seed in range(seeds)]
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in paths if path.exists()]


def number(value: float | None) -> str:
    """As it stands in a table."""
    return "" if value is None else f"{value:,.0f}"


def print_tables(by_steps: Mapping[str, Curves], by_cpu: Mapping[str, Curves], seeds: Mapping[str, int]) -> None:
    """Returns at some steps and on average, and when some returns were first reached."""
    most_steps, most_cpu = (min(curves.x[-1] for curves in found.values()) for found in (by_steps, by_cpu))
    returns = Table(title="Ant-v5, interquartile mean return after steps, and its mean until", title_justify="left")
    levels = Table(title="Steps and CPU-seconds until a return is first reached", title_justify="left")
    means = [f"{steps / 1e6:.1f} M" for steps in AT_STEPS] + [f"{most_steps / 1e6:.2f} M steps", f"{most_cpu:,.0f} CPU-s"]
    firsts = [f"{level:,} {unit}" for level in LEVELS for unit in ("steps", "CPU-s")]
    for table, headings in ((returns, means), (levels, firsts)):
        table.add_column("")
        for heading in ("seeds", *headings):
            table.add_column(heading, justify="right")
    for name, curves in by_steps.items():
        averages = (curves.average(most_steps), by_cpu[name].average(most_cpu))
        returns.add_row(name, str(seeds[name]), *(number(curves.at(steps)) for steps in AT_STEPS), *map(number, averages))
        reached = [found.reached(level) for level in LEVELS for found in (curves, by_cpu[name])]
        levels.add_row(name, str(seeds[name]), *map(number, reached))
    console = Console(width=130)
    console.print(returns)
    console.print(levels)


def draw(path: Path, by_steps: Mapping[str, Curves], by_cpu: Mapping[str, Curves], seeds: Mapping[str, int]) -> None:
    """Writes the picture: a panel over steps, one over CPU-seconds."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    draw_panel(left, by_steps, "environment steps", lambda x, _: f"{x / 1e6:g} M" if x else "0")
    draw_panel(right, by_cpu, "CPU-seconds of one core", lambda x, _: f"{x:,.0f}")
    left.set_title("Return of training episodes on Ant-v5", loc="left", fontsize=11)
    few, many = min(seeds.values()), max(seeds.values())
    counted = ("1 seed" if many == 1 else f"{many} seeds") if few == many else f"{few} to {many} seeds"
    right.set_title(f"interquartile mean of {counted}, 95 % bootstrap band", loc="right", fontsize=9, color="0.35")
    figure.savefig(path, dpi=150)


def draw_panel(axis: Axes, found: Mapping[str, Curves], label: str, tick: Callable[[float, int], str]) -> None:
    """One line a trainer, named where it ends."""
    right = max(curves.x[-1] for curves in found.values())
    highest = max(curves.high.max() for curves in found.values())
    taken: list[tuple[float, float]] = []
    for name, curves in sorted(found.items(), key=lambda item: -item[1].mean[-1]):
        colour, width = TRAINERS[name].colour, 2.2 if name == OURS_NAME else 1.6
        axis.plot(curves.x, curves.mean, color=colour, lw=width)
        axis.fill_between(curves.x, curves.low, curves.high, color=colour, alpha=0.15, lw=0)
        x, y = curves.x[-1], curves.mean[-1]
        for other_x, other_y in taken:
            if abs(x - other_x) < 0.4 * right:
                y = min(y, other_y - 0.06 * highest)
        taken.append((x, y))
        text = axis.annotate(name, (x, y), (5, 0), textcoords="offset points", va="center", fontsize=9, color=colour)
        text.set_path_effects([withStroke(linewidth=3, foreground="white")])
    axis.set_xlim(0, 1.3 * right)
    axis.set_xticks([place for place in axis.get_xticks() if 0 <= place <= 1.02 * right])
    axis.xaxis.set_major_formatter(FuncFormatter(tick))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
    axis.set_xlabel(label)
    axis.grid(axis="y", color="0.92")
    axis.set_axisbelow(True)
    axis.tick_params(length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set(color="0.7", bounds=(0, right))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainers", nargs="+", choices=TRAINERS, default=list(TRAINERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of each run, if it has as many")
    parser.add_argument("--folder", type=Path, default=Path("build/learning"))
    parser.add_argument("--lam", type=float, default=OURS["primitive"].lam, help="lambda of this trainer")
    parser.add_argument("--picture", type=Path, help="draws this file")
    parser.add_argument("--table", action="store_true", help="shows what is there, and runs nothing")
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(0 if given.table else given.seeds):
        for name in given.trainers:
            most = TRAINERS[name].steps
            run(name, seed, min(given.steps or most, most), folder, given.lam)

    runs = {name: found for name in given.trainers if (found := read(name, given.seeds, folder))}
    if not runs:
        sys.exit(f"nothing is done yet in {folder}")
    by_steps = {name: Curves.of(found, "steps", ROW_STEPS) for name, found in runs.items()}
    by_cpu = {name: Curves.of(found, "cpu_seconds", 1) for name, found in runs.items()}
    seeds = {name: len(found) for name, found in runs.items()}
    print_tables(by_steps, by_cpu, seeds)
    if given.picture:
        draw(given.picture, by_steps, by_cpu, seeds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--program"]:
        check()
        lam, seed, steps, path = sys.argv[2:]
        record(lambda seed, begin: run_mlsh_mpi(seed, int(steps), float(lam), begin()), int(seed), int(steps), Path(path))
    else:
        main()
