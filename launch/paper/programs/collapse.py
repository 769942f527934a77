"""Which of the paper's settings makes the two primitives of the 2D Moving Bandits collapse onto one goal?

    python launch/paper/programs/collapse.py factors|released|schedules|tasks [--seeds 5] [--folder runs/collapse]
        [--picture collapse.png]

`factors` runs every combination of four differences between `moving-bandits` and the paper's settings, at one size (60,000 steps
an iteration are 30 groups of one worker or 10 of three), and then two more changes at both ends. `released` adds to the paper's
settings what the released code does besides. `schedules` tries other ways from whole episodes to N than a jump. `tasks` has the
paper's settings with one worker a group, and other numbers of tasks from which phi learns at once: groups times U / (W + U).
What is no option of the trainer is changed here, by replacing a function of it.

A seed has separated if each task has a primitive of its own that returns at least 33 there and at most 10 on the other task,
when it runs alone. Finished runs in --folder are not run again; as many run at a time as there are cores.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mlsh_mpi.figures import final_tests, style

OWN, OTHER = 33.0, 10.0
ITERATIONS, FORMING = 100, 72
SETTINGS: dict[str, dict[str, Any]] = {
    "N = 10 from the start": {"whole_episode_iterations": 0},
    "explored decisions": {"learn_from_explored": True},
    "the paper's rate": {"primitive_learning_rate": 3e-4, "primitive_decay": 0.0},
    "ten groups": {"groups": 10, "workers": 3},
    "W - 1, U + 1": {"warmup": 8, "joint": 2},
    "observation filter": {"filter_observations": True},
    "48 forming iterations": {"whole_episode_iterations": 48},
    "one worker": {"workers": 1, "iterations": 300},
    "W = 19, U = 1": {"warmup": 19, "joint": 1},
    "W = U = 9": {"warmup": 9, "joint": 9},
    "W = U = 20": {"warmup": 20, "joint": 20},
    "fifty groups": {"groups": 50, "iterations": 60},
}
"""Changes that options of the trainer make."""
FACTORS = tuple(SETTINGS)[:4]


def in_phase() -> None:
    """All groups begin their tasks in the same iteration."""
    from mlsh_mpi.algorithm import schedule

    schedule._delay = lambda *_: 0


def five_phases() -> None:
    """Groups begin their tasks in five iterations of a cycle, as in the released code."""
    from mlsh_mpi.algorithm import schedule

    schedule._delay = lambda group, _, length: group % 5 * length // 5


def wide_heads() -> None:
    """Columns of a fresh primitive's last layer have norm 1 in place of 0.01."""
    from mlsh_mpi.networks.actor_critic import StackedActorCritic
    from mlsh_mpi.networks.distributions import Exploring

    initialise = StackedActorCritic.initialise

    def wide(self: StackedActorCritic, row: int, rng: np.random.Generator) -> None:
        initialise(self, row, rng)
        if not isinstance(self.network.head, Exploring):
            last = f"policy.{len(self.network.hidden)}.weight"
            dict(zip(self.network.shapes, self.parameters, strict=True))[last][row] *= 100

    StackedActorCritic.initialise = wide  # type: ignore[method-assign]


def moments_survive() -> None:
    """A master that begins anew keeps Adam's moments of the one before, as in the released code."""
    from mlsh_mpi.algorithm.stack_trainer import StackTrainer

    StackTrainer.restart = lambda self, row, rng: self.stack.initialise(row, rng)  # type: ignore[method-assign]


def staged(lengths: Callable[[int, float], int]) -> Callable[[], None]:
    """Replaces the jump from whole episodes to N.

    Args:
        lengths: given the iteration and the share of the forming iterations that is over, returns N.
    """

    def change() -> None:
        from mlsh_mpi.algorithm import schedule

        def of(iteration: int, whole_episode_iterations: int, _: int, settled: int) -> int:
            return lengths(iteration, iteration / whole_episode_iterations) if iteration < whole_episode_iterations else settled

        schedule.staged = of  # type: ignore[assignment]

    return change


def drawn(iteration: int, done: float) -> int:
    """N of an iteration at random, from half to one and a half of a mean that falls from 50 to 10."""
    mean = 50 * 0.2**done
    return int(np.clip(round(mean * np.random.default_rng(iteration).uniform(0.5, 1.5)), 5, 50))


REPLACED: dict[str, Callable[[], None]] = {
    "in phase": in_phase,
    "wide heads": wide_heads,
    "five phases": five_phases,
    "moments survive": moments_survive,
    "halving": staged(lambda _, done: (50, 25, 12)[int(3 * done)]),
    "linear": staged(lambda _, done: round(50 - 40 * done)),
    "random": staged(drawn),
}
"""Changes that need another function in the trainer."""


@dataclass(frozen=True)
class Variant:
    """`moving-bandits` with some changes."""

    changes: tuple[str, ...]

    @property
    def name(self) -> str:
        """What stands in the table."""
        return ", ".join(self.changes) or "moving-bandits"

    def train(self, seed: int, folder: Path) -> None:
        """Makes one run, in this process."""
        import mlsh_mpi

        options: dict[str, Any] = {"iterations": ITERATIONS, "whole_episode_iterations": FORMING}
        for change in self.changes:
            if change in SETTINGS:
                options |= SETTINGS[change]
            else:
                REPLACED[change]()
        mlsh_mpi.run("moving-bandits", seed=seed, folder=str(folder), fresh=True, **options)

    def run(self, seed: int, root: Path) -> dict[str, Any]:
        """The summary of one run, which is made in a process of its own if it is not there."""
        folder = root / self.name.replace(" ", "_").replace("'", "") / f"seed{seed}"
        if not (folder / "summary.json").exists():
            told = json.dumps([self.changes, seed, str(folder)])
            command = ["mpirun", "-np", "1", sys.executable, __file__, "--one", told]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
        return summary


def variants(study: str) -> list[Variant]:
    """What a study runs."""
    every = [tuple(itertools.compress(FACTORS, chosen)) for chosen in itertools.product((0, 1), repeat=len(FACTORS))]
    if study == "factors":
        ends = [(*end, more) for end in ((), FACTORS) for more in ("in phase", "wide heads")]
        return [Variant(changes) for changes in sorted([*every, *ends], key=len)]
    if study == "released":
        found = [("W - 1, U + 1",), ("five phases",), ("moments survive",), ("observation filter",)]
        return [Variant((*FACTORS, *more)) for more in [(), *found, tuple(itertools.chain(*found))]]
    if study == "tasks":
        found = [("W = 19, U = 1",), (), ("W = U = 9",), ("W = U = 20",), ("fifty groups",)]
        return [Variant((*FACTORS, "one worker", *more)) for more in found]
    shapes = ((), ("halving",), ("linear",), ("random",))
    return [Variant((*shape, *forming)) for forming in ((), ("48 forming iterations",)) for shape in shapes]


def alone(summary: dict[str, Any]) -> np.ndarray[Any, Any]:
    """(2, 2) what each primitive earns alone on each task; the one that earns most on task 0 comes first."""
    forced = np.array([task["forced"] for task in summary["tasks"].values()]).T
    return forced if forced[0, 0] >= forced[1, 0] else forced[::-1]


def has_separated(summary: dict[str, Any]) -> bool:
    """Whether each task has a primitive of its own."""
    return final_tests.has_separated(alone(summary).T, OWN, OTHER)


def draw(results: dict[Variant, list[dict[str, Any]]], file: Path) -> None:
    """A row for each variant: on the left its changes as dots, on the right a point for each run."""
    changes = list(dict.fromkeys(change for variant in results for change in variant.changes))
    colour, none = style.COLOURS["ours"], "0.85"
    with matplotlib.rc_context(style.RC):
        figure = Figure(figsize=(style.WIDTH, 1.6 + 0.24 * len(results)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(len(changes), 8))
        for row, (variant, summaries) in enumerate(results.items()):
            for column, change in enumerate(changes):
                left.plot(column, row, "o", color="0.2" if change in variant.changes else none, markersize=8)
            for shift, summary in zip(np.linspace(-0.25, 0.25, len(summaries)), summaries, strict=True):
                inside = colour if has_separated(summary) else "white"
                right.plot(summary["without_exploration"], row + shift, "o", color=inside, markeredgecolor=colour, markersize=4.5)
        left.set_xticks(range(len(changes)), changes, rotation=40, ha="left")
        left.xaxis.tick_top()
        left.set_yticks([])
        left.set_xlim(-0.5, len(changes))
        left.grid(visible=False)
        left.spines[:].set_visible(False)
        left.invert_yaxis()
        right.set_xlabel("return of fresh masters, without exploration\nfilled: the two primitives have separated")
        right.grid(visible=True, axis="x")
        figure.savefig(file)


def main() -> None:
    """Prints a line for each variant, and for each factor what it changes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", choices=("factors", "released", "schedules", "tasks"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("runs/collapse"))
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        changes, seed, folder = json.loads(arguments.one)
        Variant(tuple(changes)).train(seed, Path(folder))
        return
    if not arguments.study:
        parser.error("name a study")
    chosen = variants(arguments.study)
    runs = [(variant, seed) for variant in chosen for seed in range(arguments.seeds)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        made = pool.map(lambda one: one[0].run(one[1], arguments.folder), runs)
        summaries = list(track(made, "runs", len(runs), console=Console(stderr=True)))
    results = {v: summaries[i * arguments.seeds : (i + 1) * arguments.seeds] for i, v in enumerate(chosen)}
    table = Table(title=f"{arguments.study}, {arguments.seeds} seeds")
    for name in ("changes", "separated", "its own goal", "the other", "fresh masters", "without exploration"):
        table.add_column(name, justify="left" if name == "changes" else "right")
    for variant, found in results.items():
        forced = np.array([alone(summary) for summary in found])
        own, other = forced[:, [0, 1], [0, 1]].min(1), forced[:, [0, 1], [1, 0]].max(1)
        adapted, quiet = ([summary[name] for summary in found] for name in ("adapted", "without_exploration"))
        numbers = (f"{values.mean():.1f}" for values in map(np.array, (own, other, adapted, quiet)))
        table.add_row(variant.name, f"{sum(map(has_separated, found))} of {len(found)}", *numbers)
    Console(width=150).print(table)
    if arguments.study == "factors":
        whole = {v: np.mean([*map(has_separated, found)]) for v, found in results.items() if set(v.changes) <= set(FACTORS)}
        for factor in FACTORS:
            without, with_it = (
                np.mean([share for v, share in whole.items() if (factor in v.changes) == on]) for on in (False, True)
            )
            print(f"{factor}: {100 * without:.0f} % of all runs separate without it, {100 * with_it:.0f} % with it")
    if arguments.picture:
        draw(results, arguments.picture)


if __name__ == "__main__":
    main()
