"""Episodes before and after learning a task, as a film.

python -m mlsh_mpi replay RUN_OR_PHI [--task ...] [--video out.mp4] [--force-primitive K] [--options of adapt]
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mlsh_mpi import files
from mlsh_mpi.adaptation.fresh_masters import FreshMasters
from mlsh_mpi.adaptation.loop import AdaptationMethod, AdaptationSet
from mlsh_mpi.adaptation.task_selection import chosen_tasks, different_tasks
from mlsh_mpi.commands.adapt import ready_to_learn, run_of
from mlsh_mpi.config import methods
from mlsh_mpi.config.adaptation import AdaptConfig, Film
from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi.job import Job, job
from mlsh_mpi.networks.actor_critic import Array
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.output import format_value, say
from mlsh_mpi.policies.hierarchy import read_hierarchy
from mlsh_mpi.sampling import seeding
from mlsh_mpi.sampling.environment_check import check_draws
from mlsh_mpi.sampling.environment_choice import EnvironmentChoice
from mlsh_mpi.sampling.rollout import Rollout, constant_primitive
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.sampling.vector_env import fault_of_closing
from mlsh_mpi.tracking.run_names import experiment_name
from mlsh_mpi.tracking.session import parse_on_rank0

FILMED_TASKS = 4
"""Largest number of tasks to film if none are named."""
DRAWN_TASKS = 12
"""Largest number of tasks whose paths to draw if none are named."""


def main() -> None:
    """Entry point of ``python -m mlsh_mpi replay``."""
    from mlsh_mpi.commands.cli import parse_replay_args

    with job() as current:
        if current.world.size > 1:
            raise UserError.of_all("a film is made by one process: start it without mpirun, or with mpirun -np 1")
        parsed = parse_on_rank0(current, parse_replay_args)
        if parsed is not None:
            replay(current, *parsed)


def replay(current: Job, config: AdaptConfig, choice: EnvironmentChoice, film: Film) -> None:
    """Learns the tasks, and films one episode of each before and after, with the same random numbers.

    Args:
        current: an MPI job with one rank.
        config: the test's configuration.
        choice: what the user, not a file, says about the environment.
        film: what to show, and the file to write.

    Raises:
        UserError: the arguments do not fit together, or the environment cannot be rendered.
    """
    from mlsh_mpi.reporting import video as films

    torch.set_num_threads(1)
    current.set_patience(config.run.patience)

    def few(family: TaskFamily) -> tuple[Any, ...]:
        different = different_tasks(chosen_tasks(config, family, 1), family)
        return different if config.test.task else different[: DRAWN_TASKS if film.paths else FILMED_TASKS]

    adaptation_set, policies, learners = ready_to_learn(config, choice, current, few)
    if film.video is not None and film.video.suffix not in films.FORMATS:
        raise UserError(f"--video {film.video} must end in {', '.join(films.FORMATS)}")
    for option, path in (("--video", None if film.paths else film.video), ("--paths", film.paths)):
        if path is not None and path.is_file():
            raise UserError(f"{option} {path} exists already: remove it, or name another file")
    if film.paths is not None and adaptation_set.family.attribute("ground") is None:
        raise UserError(f"--paths draws where ants walk, but {adaptation_set.family.name} has no ground to show from above")
    if film.paths is None:
        check_draws(adaptation_set.family, adaptation_set.tasks[0])
    forced = _forced(config, adaptation_set, learners, policies)
    learned = read_hierarchy(Path(config.source)) if Path(config.source).is_file() else None
    if film.force_primitive is None and learned is not None and isinstance(learners, FreshMasters):
        learners.masters.stack.flat.copy_(learned["master"].expand_as(learners.masters.stack.flat))
        takes = [("learned", learners.collect(0, explore=False), 0)]
    elif film.force_primitive is None:
        takes = _before_and_after(current, learners, config.run.iterations - 1)
    elif film.force_primitive in forced:
        takes = [("alone", forced[film.force_primitive](), 0)]
    else:
        valid = f"0 to {len(forced) - 1}" if forced else "none"
        raise UserError(f"--force-primitive {film.force_primitive} is not one of the primitives of this run ({valid})")
    if film.paths is not None:
        everywhere = [(f"primitive {k} alone", forced[k](), None) for k in forced if film.force_primitive is None]
        name, rollout, _ = takes[-1]
        tasks = [(f"{adaptation_set.family.label(task)}, {name}", rollout, row) for row, task in enumerate(adaptation_set.tasks)]
        _draw_paths(film.paths, adaptation_set, [*everywhere, *tasks], f"{experiment_name(config)}: {adaptation_set.family.name}")
        return

    episodes = [[_episode(adaptation_set, learners, *take, row) for take in takes] for row in range(len(adaptation_set.tasks))]
    _film(current, adaptation_set, episodes, film.video or free_name(run_of(config)), film.fps)


def free_name(folder: Path) -> Path:
    """The first of replay.mp4, replay-2.mp4, ... that is not yet in a folder."""
    names = (folder / f"replay{f'-{i}' if i > 1 else ''}.mp4" for i in itertools.count(1))
    return next(name for name in names if not name.exists())


def _film(current: Job, adaptation_set: AdaptationSet, episodes: Sequence[Sequence[Any]], path: Path, fps: int | None) -> None:
    """Writes the film: the episodes of a task side by side, one task after the other."""
    from mlsh_mpi.reporting import video as films
    from mlsh_mpi.tracking.logs import Bar

    lengths = [max(len(films.frame_steps(len(e.reward))) for e in row) for row in episodes]
    bar, env = Bar("filming", sum(lengths), lines=4), adaptation_set.family.maker.single(render=True)

    def frames() -> Iterator[Array]:
        for row in episodes:
            # an episode is filmed to its end before the next begins, because they share an environment
            yield from films.side_by_side([iter(list(films.render_frames(env, episode))) for episode in row])

    def drawn() -> None:
        _leave_if_asked(current)
        bar.advance("")

    films.write(path, frames(), lengths, fps or int(env.metadata.get("render_fps") or 20), drawn)
    bar.close()
    adaptation_set.family.maker.mention(fault_of_closing(env))
    for row in episodes:
        say(", ".join(f"{episode.title}: return {format_value(float(episode.reward.sum()))}" for episode in row))
    say(f"the film is {path}")


def _forced(
    config: AdaptConfig, adaptation_set: AdaptationSet, learners: AdaptationMethod, policies: PrimitivePolicies | None
) -> dict[int, Callable[[], Rollout]]:
    """For each primitive that can act alone: a function that collects an episode of it in every lane."""
    if policies is None or not methods.supports_forcing(config):
        return {}
    return {
        k: lambda k=k: learners.rollout(constant_primitive(k), policies, 0, adaptation_set.family.episode_length)  # type: ignore[misc]
        for k in range(policies.primitives.n)
    }


def _draw_paths(path: Path, adaptation_set: AdaptationSet, walks: Sequence[tuple[str, Rollout, int | None]], title: str) -> None:
    """Draws one panel for each name and rollout, with the lanes of one task (given its number) or all lanes (None)."""
    from mlsh_mpi.reporting.trajectories import Walks, draw_paths

    panels = []
    for name, rollout, row in walks:
        steps, each = rollout.steps, rollout.steps.reward.shape[1] // len(adaptation_set.tasks)
        lanes = range(steps.reward.shape[1]) if row is None else range(row * each, (row + 1) * each)
        places = [steps.raw_observation[: _length(rollout, lane), lane, :2] for lane in lanes]
        primitives = [steps.primitive[: _length(rollout, lane), lane] for lane in lanes]
        ground = (
            (np.zeros((0, 4)), np.zeros((0, 2)))
            if row is None
            else adaptation_set.family.attribute("ground")(adaptation_set.tasks[row])
        )
        panels.append(Walks(name, places, primitives, *ground))
    try:
        with files.writing(f"--paths {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            draw_paths(path, panels, title)
    except ValueError as error:  # a suffix that matplotlib does not know
        raise UserError(f"--paths {path} cannot be written ({error})") from None
    say(f"the paths are in {path}")


def _before_and_after(current: Job, learners: AdaptationMethod, updates: int) -> list[tuple[str, Rollout, int]]:
    """What to film before and after learning: a name, the rollout, and the update whose random streams it used.

    Both use the same random streams, except for learners with a memory, whose first and last episodes are shown.
    """
    from mlsh_mpi.tracking.logs import Bar

    before, bar = learners.collect(0, explore=False), Bar("learning", updates)
    for update in range(updates):
        rollout = before if learners.remembers and update == 0 else learners.collect(update, explore=True)
        learners.learn(rollout, update)
        _leave_if_asked(current)
        bar.advance(f"return {format_value(float(rollout.steps.reward.sum() / max(1, rollout.steps.end.sum())))}")
    bar.close()
    last = updates if learners.remembers else 0
    after = learners.collect(last, explore=False)
    return [("before", before, 0), (f"after {updates} update{'s' * (updates != 1)}", after, last)]


def _leave_if_asked(current: Job) -> None:
    if current.exit_requested:
        raise UserError(f"ended by {current.exit_requested}; no film was finished")


def _length(rollout: Rollout, lane: int) -> int:
    """Number of steps of a lane's first episode."""
    end = rollout.steps.end[:, lane]
    return int(end.argmax()) + 1 if end.any() else len(end)


def _episode(
    adaptation_set: AdaptationSet, learners: AdaptationMethod, name: str, rollout: Rollout, update: int, row: int
) -> Any:
    """The first episode in a learner's first lane, for a film."""
    from mlsh_mpi.reporting.video import Episode

    steps, lanes = rollout.steps, rollout.steps.reward.shape[1] // len(adaptation_set.tasks)
    lane = row * lanes
    length = _length(rollout, lane)
    action = adaptation_set.family.actions(steps.action[:length, lane])
    primitive = steps.primitive[:length, lane] if learners.behaviours > 1 else None
    seed = int(seeding.episode_seeds(adaptation_set.seed, update, row, lanes)[0])
    title = f"{adaptation_set.family.label(adaptation_set.tasks[row])}, {name}"
    return Episode(title, adaptation_set.tasks[row], seed, action, np.asarray(steps.reward[:length, lane]), primitive)
