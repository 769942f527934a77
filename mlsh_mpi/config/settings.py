"""The settings of a run: frozen dataclasses, one for each section."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from mlsh_mpi.config.bounds import (
    Fraction,
    NotNegativeFloat,
    NotNegativeInt,
    OptionalPositiveFloat,
    OptionalPositiveInt,
    PositiveFloat,
    PositiveInt,
    check_bounds,
)
from mlsh_mpi.config.methods import ALGORITHMS, AlgorithmName
from mlsh_mpi.config.ppo_settings import MasterPPO, PrimitivePPO
from mlsh_mpi.errors import UserError

flat: Any = tyro.conf.OmitArgPrefixes[str].__metadata__[0]  # type: ignore[attr-defined]
"""Options of a nested section appear in a group of their own, without its name: --groups, not --sampling.groups."""
FOLDER_NAME = re.compile(r"(?!\.)[^/\\\x00-\x1f]{1,100}")
"""What may be part of a run folder's name."""
LAYERS, UNITS = 16, 65_536
"""Largest number of hidden layers, and of the units of one."""
SHORTENED = re.compile(r"(whole_episode|random_master)_iterations=\d{1,9}")
"""What :attr:`Config.shortened` may hold."""
PREFIXED = ("master", "primitive")
"""Sections whose options keep the section's name, because both have the same options: --master.learning-rate."""


@dataclass(frozen=True)
class EnvironmentConfig:
    """The environment, and how it is made."""

    env: str = "mlsh/MovingBandits-v0"
    """A Gymnasium id, or module:Class (or module:function) of your own."""
    episode_length: OptionalPositiveInt = None
    """T, steps of an episode; by default the time limit with which the environment was registered."""
    env_settings: tuple[str, ...] = ()
    """Settings of the environment, such as integrator=implicitfast upright_interval=200; its page lists them."""
    task_settings: tuple[str, ...] = ()
    """Makes tasks for an environment that has none: each word is a task, the settings with which its environment is made, as in
    g=5.0 g=15.0 or, with two settings, g=5.0,l=1.0 g=15.0,l=0.5."""
    primitive_columns: tuple[int, int] | None = None
    """First and last index of the part of an observation that primitives see; by default the part that the environment declares,
    or else all of it. Masters always see all of it."""


@dataclass(frozen=True)
class HierarchyConfig:
    """The method (paper, section 4)."""

    primitives: PositiveInt = 2
    """K, number of primitives, the shared sub-policies."""
    macro_length: PositiveInt = 10
    """N, steps between two decisions of the master."""
    warmup: NotNegativeInt = 9
    """W, iterations on a new task that train only the master."""
    joint: PositiveInt = 1
    """U, iterations on a task, after those, that train both master and primitives."""
    exploration: Fraction = 0.1
    """Probability that a uniformly random decision replaces the master's (default: the released code's value)."""
    learn_from_explored: bool = True
    """Primitives also learn from macro-actions that exploration chose."""
    whole_episode_iterations: NotNegativeInt = 0
    """Number of first iterations in which a macro-action lasts the whole episode, so that a master can tell primitives apart."""
    random_master_iterations: NotNegativeInt = 0
    """Number of first iterations in which primitives are chosen uniformly at random, and learn from every choice: otherwise one
    that learns more slowly might starve, because no master chooses it."""
    early_joint_iterations: NotNegativeInt = 0
    """Number of first iterations in which primitives also learn from groups in their warm-up: until primitives differ, a master
    has nothing to learn in it."""
    deterministic_primitives: bool = False
    """Once primitives are trained and frozen they take their most likely action, without sampling: only the master explores. A
    single policy, which continues to learn, does so only when it is evaluated."""
    credit: Literal["episode", "macro-action"] = "episode"
    """How far a primitive's advantage looks ahead: to the end of the episode, whichever primitives act in the rest of it, or to
    the end of its macro-action, where it bootstraps from the value of the next primitive."""


@dataclass(frozen=True)
class AlgorithmConfig:
    """What is trained: a shared hierarchy, or one of the baselines (mlsh_mpi/baselines)."""

    algorithm: AlgorithmName = "mlsh"
    """The algorithm; a preset's name followed by a baseline's sets it, and the settings that it needs: moving-bandits-rl2."""
    trial: OptionalPositiveInt = None
    """RL²: episodes of one task over which the policy keeps its hidden state; by default as many as fit into D, up to ten."""
    inner_rate: PositiveFloat = 0.1
    """MAML: step size of the gradient steps on a task."""


@dataclass(frozen=True)
class SamplingConfig:
    """How much data an iteration collects."""

    groups: PositiveInt = 10
    """Number of groups; each has a task and a master of its own. If --workers is 1, there is at least one group for each rank."""
    workers: PositiveInt = 1
    """Number of workers in a group (paper: 12)."""
    steps: PositiveInt = 2000
    """D, environment steps that a worker collects in an iteration: as many whole episodes as fit. If not even one fits, episodes
    continue in the next iteration."""
    stratify_tasks: bool = False
    """Where the environment lists its tasks, which are then equally likely, give them to the groups without replacement, so that
    at any time the groups' tasks differ as much as possible."""

    def shape(self, episode_length: int) -> tuple[int, int]:
        """Number of lanes of a worker, and the steps that each lane takes in an iteration."""
        lanes = self.steps // episode_length
        return (lanes, episode_length) if lanes else (1, self.steps)


@dataclass(frozen=True)
class NetworkConfig:
    """Policy and value networks of masters and primitives."""

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the tanh layers."""
    initial_std: PositiveFloat = 1.0
    """Initial standard deviation of a policy's continuous actions, in half-widths of their range (RLtools: 0.5)."""
    filter_observations: bool = False
    """Standardise observations with their running mean and variance and clip them to +-5."""


@dataclass(frozen=True)
class RunConfig:
    """Length, seed and output of a run. All but the seed may change when a run is resumed."""

    seed: NotNegativeInt = 0
    """Seeds every random stream of the run."""
    iterations: PositiveInt = 100
    """Number of iterations, each one collection and update."""
    folder: str | None = None
    """Run folder; by default runs/PRESET-seedSEED, for an environment of your own runs/ENVIRONMENT-seedSEED."""
    test_masters: PositiveInt = 20
    """Number of fresh masters that the final test trains over the finished primitives; at least one for each rank."""
    test_episodes: PositiveInt = 20
    """Episodes for each of these masters in which the final test runs each primitive alone on a task."""
    sync_interval: PositiveInt = 10
    """Iterations between checks that phi is bitwise identical on all ranks."""
    checkpoint_minutes: NotNegativeFloat = 1.0
    """Minutes between checkpoints."""
    checkpoint_interval: OptionalPositiveInt = None
    """Iterations between checkpoints, in addition to the minutes."""
    evaluation_interval: OptionalPositiveInt = None
    """Iterations between evaluations: fresh masters, as many as there are workers, learn single tasks over the current
    primitives, and the best primitives so far are kept as best.pt. Each takes as many steps as W + 2 iterations, but less time,
    because primitives do not learn from them. By default there are none."""
    tensorboard_films: bool = False
    """Show a short film of all primitives in TensorBoard at checkpoints, but seldom enough to take at most a hundredth of the
    time. The environment must draw pictures on rank 0's host."""
    recover: bool = False
    """Go on without ranks that die, from the iteration before: each rank's state is kept by another rank too. It needs Open MPI 5
    with ULFM: launch/local.sh and launch/hosts.sh start mpirun with --with-ft ulfm then."""
    time_limit: OptionalPositiveFloat = None
    """Minutes after which the job stops with a checkpoint; the same command continues the run."""
    stop_when: str | None = None
    """Ends training early, once a logged metric reaches a value: "return/adapted>39"."""
    patience: PositiveFloat = 600.0
    """Seconds that one environment step or one wait for other ranks may take before the job counts as hanging and is ended."""


@dataclass(frozen=True)
class Config:
    """Everything that defines a run."""

    preset: tyro.conf.Suppress[str] = "moving-bandits"
    environment: Annotated[EnvironmentConfig, flat] = field(default_factory=EnvironmentConfig)
    run: Annotated[RunConfig, flat] = field(default_factory=RunConfig)
    sampling: Annotated[SamplingConfig, flat] = field(default_factory=SamplingConfig)
    hierarchy: Annotated[HierarchyConfig, flat] = field(default_factory=HierarchyConfig)
    algorithm: Annotated[AlgorithmConfig, flat] = field(default_factory=AlgorithmConfig)
    network: Annotated[NetworkConfig, flat] = field(default_factory=NetworkConfig)
    primitive: PrimitivePPO = field(default_factory=PrimitivePPO)
    master: MasterPPO = field(default_factory=MasterPPO)
    shortened: tyro.conf.Suppress[tuple[str, ...]] = ()
    """The requested numbers of first iterations, where --iterations has shortened them: whole_episode_iterations=72."""

    def check_values(self) -> None:
        """Refuses values that would be wrong in any environment.

        Raises:
            UserError: with the option, its value and the rule.
        """
        if not (FOLDER_NAME.fullmatch(self.preset) and self.preset.isprintable()):
            raise UserError(f"a preset's name becomes that of a folder, so it must not be a path, but is {self.preset!r}")
        if not all(SHORTENED.fullmatch(text) for text in self.shortened):
            raise UserError(f"shortened must name first iterations, as in whole_episode_iterations=72, but is {self.shortened}")
        for name, section in vars(self).items():
            if dataclasses.is_dataclass(section):
                check_bounds(section, f"{name}." if name in PREFIXED else "")
        if len(self.network.hidden) > LAYERS or any(not 1 <= width <= UNITS for width in self.network.hidden):
            raise UserError(
                f"hidden layers need at least one unit each and {UNITS:,} at most, and there are at most {LAYERS} of them, not "
                f"--hidden {self.network.hidden}"
            )

    def check(self, episode_length: int) -> None:
        """Refuses settings that are out of range or do not fit together.

        Args:
            episode_length: T, steps of the environment's episodes.

        Raises:
            UserError: with the rule, the values and what to do.
        """
        self.check_values()

        if self.hierarchy.macro_length > episode_length:
            raise UserError(
                f"a macro-action must fit into an episode, but --macro-length is {self.hierarchy.macro_length} and an episode "
                f"has {episode_length} steps: use --macro-length {episode_length} or less"
            )

        algorithm, cycle = self.algorithm.algorithm, self.hierarchy.warmup + self.hierarchy.joint
        one_policy = ALGORITHMS[algorithm].one_policy

        if cycle * self.sampling.steps < episode_length:
            raise UserError(
                f"a group must complete an episode of its task, but --warmup and --joint are {cycle} iterations of --steps "
                f"{self.sampling.steps}, and an episode has {episode_length} steps: use --steps {-(-episode_length // cycle)} or "
                "more"
            )

        # An algorithm for one policy learns from whole episodes, in its own loop.
        if one_policy and self.sampling.steps < episode_length:
            raise UserError(
                f"an iteration of --algorithm {algorithm} must hold a whole episode, but --steps is {self.sampling.steps} and an "
                f"episode has {episode_length} steps: use --steps {episode_length} or more"
            )
        if one_policy and self.run.evaluation_interval is not None:
            raise UserError(
                f"only --algorithm mlsh is evaluated during training, but --algorithm is {algorithm} and --evaluation-interval "
                f"{self.run.evaluation_interval}: leave that out"
            )
        if one_policy and (self.hierarchy.primitives > 1 or self.network.filter_observations):
            raise UserError(
                f"--algorithm {algorithm} trains one policy on observations as they are, but --primitives is "
                f"{self.hierarchy.primitives} and --filter-observations {self.network.filter_observations}: add -{algorithm} "
                "to the preset's name instead"
            )

        # Training must end with the hierarchy as it will be used.
        for name, end in (
            ("whole-episode", f"at N = --macro-length {self.hierarchy.macro_length}"),
            ("random-master", "with the choices of masters"),
        ):
            first = getattr(self.hierarchy, f"{name.replace('-', '_')}_iterations")
            if first >= self.run.iterations:
                raise UserError(
                    f"training must end {end}, but all of --iterations {self.run.iterations} are --{name}-iterations ({first}): "
                    f"use --iterations {first + 1} or more, or fewer --{name}-iterations"
                )
