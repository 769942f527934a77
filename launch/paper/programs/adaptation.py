"""Is a new task mastered in a few updates, and sooner than by other means? On 2D Moving Bandits and on Four Rooms' unseen goals.

    python launch/paper/programs/adaptation.py [--check] [--quick] [--seeds 5] [--only bandits|rooms] [--folder runs/adaptation]

Bandits: for each seed a trained phi (preset moving-bandits) and a shared policy (moving-bandits-shared), 6 million steps each.
Over each phi 20 fresh masters at N = 10, beside them 20 copies of the shared policy that are fine-tuned and 20 from scratch;
each learns one goal with one worker, D = 2000 steps an update. Means over seeds and learners, 95 % bands over seeds.

Goals: a fresh master starts near 16 to 18 (a random master over good primitives; a collapsed or shared policy has 23); both
goals come to 36 or more within 8 updates; masters are ahead of fine-tuning and of scratch in the mean over both goals from the
fourth update on, in the worse goal from the second, and in the area under the curve.

Four Rooms: the four goals that training never draws, and those that it does, by MLSH, PPO, Option-Critic and Actor-Critic,
against dynamic programming. phi is that of the preset four-rooms-blind, 18 million steps, and masters are trained at N = 2 with
less exploration. Goal: MLSH ahead of PPO over the first 20,000 steps.

Finished runs in --folder are not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests"))

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import scripted
from mlsh_envs.window import PRIMITIVE_COLOURS
from mlsh_mpi.reporting.statistics import band

Curves = dict[str, np.ndarray]
"""By goal: (seeds, U + 1), mean over the learners of a seed."""


def python(*arguments: str) -> None:
    """One rank: the result does not depend on how many there are."""
    subprocess.run(["mpirun", "-np", "1", sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def trained(preset: str, seed: int, folder: Path) -> Path:
    """A finished run of the shipped trainer."""
    run = folder / f"{preset}-seed{seed}"
    if not (run / "summary.json").exists():
        python("-m", "mlsh_mpi.train", preset, "--seed", str(seed), "--folder", str(run))
    return run


def adapted(source: str, method: str, updates: int, seed: int, folder: Path, *options: str) -> dict[str, Any]:
    """adaptation.json of a finished test."""
    test = folder / f"{method}-seed{seed}"
    if not (test / "summary.json").exists():
        choice = ("--method", method, "--updates", str(updates), "--seed", str(seed), "--folder", str(test))
        python("-m", "mlsh_mpi", "adapt", source, *choice, *options)
    found: dict[str, Any] = json.loads((test / "adaptation.json").read_text())
    return found


def by_goal(tests: list[dict[str, Any]]) -> Curves:
    """Curves of several seeds, exploring."""
    goals = sorted(set(tests[0]["tasks"]))
    return {
        goal: np.array([np.array(t["returns"])[:, [task == goal for task in t["tasks"]]].mean(1) for t in tests])
        for goal in goals
    }


def show(title: str, curves: dict[str, Curves], steps: int) -> None:
    """A row an update: for each method the mean over goals with its band, and each goal."""
    table = Table(title=title, title_justify="left")
    for name in ("updates", "steps", *(f"{method}: mean, band (goals)" for method in curves)):
        table.add_column(name, justify="right")
    for update in range(len(next(iter(next(iter(curves.values())).values()))[0])):
        row = [str(update), f"{update * steps:,}"]
        for of_goals in curves.values():
            mean = np.mean([values[:, update] for values in of_goals.values()], axis=0)
            low, high = band(mean)
            goals = " ".join(f"{values[:, update].mean():.1f}" for values in of_goals.values())
            row.append(f"{mean.mean():.1f}, {low:.1f} to {high:.1f} ({goals})")
        table.add_row(*row)
    Console(width=150).print(table)


def draw(path: Path, title: str, curves: dict[str, Curves], steps: int) -> None:
    """The same as a picture: means over goals and seeds with bands over seeds, and the worst goal of each method dashed."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    for colour, (method, of_goals) in zip(PRIMITIVE_COLOURS, curves.items(), strict=False):
        goals = np.stack(list(of_goals.values()))  # (goals, seeds, U + 1)
        at = np.arange(goals.shape[-1]) * steps / 1000
        axis.plot(at, goals.mean((0, 1)), color=colour, label=method)
        axis.fill_between(at, *np.transpose([band(values) for values in goals.mean(0).T]), color=colour, alpha=0.2, lw=0)
        axis.plot(at, goals.min(0).mean(0), color=colour, ls="--", lw=0.9)
    axis.set(title=title, xlabel="environment steps on the task (thousands)", ylabel="return of an episode, exploring")
    note = "mean over goals; dashed: the worst of a seed's goals"
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, title=note, title_fontsize=8)
    figure.savefig(path, dpi=110)
    print(f"drawn: {path}")


def bandits(seeds: int, folder: Path) -> dict[str, bool]:
    """Which goals are met."""
    updates = 12

    def of_seed(seed: int) -> list[dict[str, Any]]:
        phi = trained("moving-bandits", seed, folder)
        shared = trained("moving-bandits-shared", seed, folder)
        return [
            adapted(str(phi), "master", updates, seed, folder),
            adapted(str(shared), "fine-tune", updates, seed, folder),
            adapted("moving-bandits", "scratch", updates, seed, folder),
        ]

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        tests = list(zip(*pool.map(of_seed, range(seeds)), strict=True))
    names = ("fresh master (MLSH)", "shared policy, fine-tuned", "from scratch (PPO)")
    curves = {name: by_goal(list(of)) for name, of in zip(names, tests, strict=True)}
    title = f"2D Moving Bandits, {seeds} seeds x 20 learners"
    show(title, curves, 2000)
    draw(folder / "bandits.png", title, curves, 2000)
    goals = {name: np.stack(list(of.values())) for name, of in curves.items()}  # (goals, seeds, U + 1)
    mean = {name: values.mean((0, 1)) for name, values in goals.items()}
    worse = {name: values.min(0).mean(0) for name, values in goals.items()}
    for name, values in worse.items():
        print(f"the worse goal of a seed, {name}: {' '.join(f'{value:.1f}' for value in values)}")
    master, *others = curves
    return {
        "starts between 15 and 19": bool(15 < mean[master][0] < 19),
        "36 on both goals within 8 updates": bool(worse[master][: 8 + 1].max() >= 36),
        "ahead in the mean from the fourth update on": all(bool((mean[master] > mean[o])[4:].all()) for o in others),
        "ahead on the worse goal from the second update on": all(bool((worse[master] > worse[o])[2:].all()) for o in others),
        "more area under the curve": all(bool(mean[master].sum() > mean[o].sum()) for o in others),
    }


def best(goal: str) -> float:
    """What dynamic programming finds for a goal of Four Rooms."""
    value, _ = scripted.best_in_rooms(scripted.rooms("released"), int(goal.removeprefix("goal=")))
    return float(value)


def rooms(seeds: int, folder: Path) -> dict[str, bool]:
    """Which goals are met."""
    updates, master = 27, "--macro-length 2 --exploration 0.02".split()
    methods = {"MLSH": "master", "PPO": "scratch", "Option-Critic": "option-critic", "Actor-Critic": "actor-critic"}

    def of_seed(seed: int) -> dict[str, list[dict[str, Any]]]:
        phi = trained("four-rooms-blind", seed, folder)
        found: dict[str, list[dict[str, Any]]] = {}
        for split, options in (("unseen", ["--held-out"]), ("seen", [])):
            sources = [str(phi), *["four-rooms"] * 3]
            found[split] = [
                adapted(source, method, updates, seed, folder / split, *options, *(master if method == "master" else ()))
                for source, method in zip(sources, methods.values(), strict=True)
            ]
        return found

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        of_seeds = list(pool.map(of_seed, range(seeds)))
    area: dict[str, dict[str, float]] = {}
    for split in ("unseen", "seen"):
        tests = zip(*(found[split] for found in of_seeds), strict=True)
        curves = {name: by_goal(list(of)) for name, of in zip(methods, tests, strict=True)}
        area[split] = {name: float(np.mean([values[:, :11].mean() for values in of.values()])) for name, of in curves.items()}
        for first in (4, 11):
            means = (f"{n} {np.mean([v[:, :first].mean() for v in of.values()]):.1f}" for n, of in curves.items())
            print(f"{split}, mean over the first {2 * first - 2},000 steps: {', '.join(means)}")
        if split == "unseen":
            title = f"Four Rooms, unseen goals, {seeds} seeds x 20 learners"
            show(title, curves, 2000)
            draw(folder / "rooms.png", title, curves, 2000)
        for name, of in curves.items():
            ends = (f"{goal} {values[:, -1].mean():.1f} of {best(goal):.1f}" for goal, values in of.items())
            print(f"{name} after {updates} updates: {', '.join(ends)}")
    return {f"ahead of PPO over the first 20,000 steps on {split} goals": a["MLSH"] > a["PPO"] for split, a in area.items()}


def main() -> None:
    """Prints curves, and which goals are met in the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 if a goal is missed")
    parser.add_argument("--quick", action="store_true", help="one seed: to try it out")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=("bandits", "rooms"))
    parser.add_argument("--folder", type=Path, default=Path("runs/adaptation"))
    given = parser.parse_args()
    seeds, met = 1 if given.quick else given.seeds, {}
    if given.only != "rooms":
        met |= bandits(seeds, given.folder)
    if given.only != "bandits":
        met |= rooms(seeds, given.folder)
    print(json.dumps(met))
    sys.exit(1 if given.check and not all(met.values()) else 0)


if __name__ == "__main__":
    main()
