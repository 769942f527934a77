"""A table of all methods: what learns a task after which training, and the baselines that experiments are compared with.

A baseline is one module in `mlsh_mpi/baselines` and one row of :data:`METHODS`. Rows name code as entry points, ``module:name``,
so that this module needs neither torch nor MPI.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from mlsh_mpi.errors import UserError

Config = Any
"""A :class:`mlsh_mpi.config.settings.Config`, which is built on this table and so cannot be imported here."""

BASELINE_LEARNING_RATE = 1e-3
"""Learning rate of Adam for RL² and MAML. On the bandits RL² learns faster with 0.003 and an entropy bonus of 0.01."""
LONGEST = 3000
"""Steps of the longest episode of any preset."""


def whole_episodes(config: Config, episode_length: int) -> int:
    """Environment steps of a worker in an iteration: as many whole episodes as fit into D, or D if none fits."""
    lanes, steps = config.sampling.shape(episode_length)
    return lanes * steps


def updates_of_a_master(config: Config) -> int:
    """Number of updates on a task by default: W, or U - 1 without a warm-up."""
    return max(1, config.hierarchy.warmup or config.hierarchy.joint - 1)


@dataclass(frozen=True)
class Training:
    """An algorithm that trains."""

    train: str
    """Entry point, called like :func:`mlsh_mpi.algorithm.mlsh.train`."""
    check_resumable: str
    """Entry point, called like :func:`mlsh_mpi.algorithm.training_state.check_resumable`."""
    policies: str = ""
    """Entry point: given what a file holds and an environment, the policy that acts; by default `PhiCheckpoint.policies`."""
    one_policy: bool = True
    """Whether it trains one policy for all tasks, from whole episodes, without an observation filter."""
    recurrent: bool = False
    """Whether its policy has a memory, so that one loaded from a file cannot act step by step."""
    steps: Callable[[Config, int], int] = whole_episodes
    """Environment steps of a worker in an iteration, given the episode length."""


@dataclass(frozen=True)
class Baseline:
    """What an experiment is compared with; `of` derives its configuration from the experiment's."""

    summary: str
    of: Callable[[Config], Config]


@dataclass(frozen=True)
class Method:
    """How a task is learned after training, and the training algorithm that needs this method, if there is one."""

    summary: str
    """What learns, as the tables name it."""
    learner: str
    """Entry point: given an adaptation set and the trained policies (None if untrained), the learners."""
    source: Literal["primitives", "policy", "nothing"]
    """What must be trained before: K primitives, one policy, or nothing."""
    training: Training | None = None
    baseline: Baseline | None = None
    """The variant of a preset that trains with it; its suffix is the method's name."""
    updates: Callable[[Config], int] = updates_of_a_master


# --- RL² and MAML ---


def episodes_of_a_trial(config: Config, episode_length: int) -> int:
    """Episodes of a trial of RL²: as configured, or else as many as fit into D, up to ten.

    Raises:
        UserError: they do not fit into D.
    """
    most = config.sampling.steps // episode_length
    if config.algorithm.trial is not None and config.algorithm.trial > most:
        raise UserError(
            f"a trial of RL² has --trial {config.algorithm.trial} episodes of {episode_length} steps, but --steps is "
            f"{config.sampling.steps}: use --steps {config.algorithm.trial * episode_length} or more, or a shorter --trial"
        )
    return config.algorithm.trial or min(10, most)


def lanes_before_and_after(config: Config, episode_length: int) -> int:
    """MAML: lanes of a worker before its gradient step, and as many after it: half of the episodes that fit into D, or one."""
    return max(1, config.sampling.steps // 2 // episode_length)


def _without_hierarchy(config: Config) -> Config:
    """One policy for all tasks, trained by all workers in every iteration."""
    cycle = config.hierarchy.warmup + config.hierarchy.joint
    one = replace(config.hierarchy, primitives=1, warmup=0, joint=cycle, exploration=0.0, whole_episode_iterations=0)
    return replace(config, hierarchy=one)


def _without_warmup(config: Config) -> Config:
    cycle = config.hierarchy.warmup + config.hierarchy.joint
    return replace(config, hierarchy=replace(config.hierarchy, warmup=0, joint=cycle))


def _trained_by(algorithm: str, minibatches: int) -> Callable[[Config], Config]:
    """Another algorithm for a single policy, with whole episodes, and without standardising observations or values."""

    def of(config: Config) -> Config:
        whole = config.sampling.steps if config.sampling.steps >= 2000 else 2 * LONGEST
        return replace(
            _without_hierarchy(config),
            sampling=replace(config.sampling, steps=whole),
            algorithm=replace(config.algorithm, algorithm=algorithm),
            network=replace(config.network, filter_observations=False),
            primitive=replace(
                config.primitive,
                learning_rate=BASELINE_LEARNING_RATE,
                decay=0.0,
                minibatches=minibatches,
                standardise_values=False,
                critic_inputs=(),
            ),
        )

    return of


# --- The tables ---

METHODS: dict[str, Method] = {
    "master": Method(
        "fresh masters over the frozen primitives",
        learner="mlsh_mpi.adaptation.fresh_masters:FreshMasters",
        source="primitives",
    ),
    "fine-tune": Method(
        "fine-tuned copies of the trained policy",
        learner="mlsh_mpi.baselines.single_policy:SinglePolicyAdaptation",
        source="policy",
    ),
    "scratch": Method(
        "policies from scratch",
        learner="mlsh_mpi.baselines.single_policy:SinglePolicyAdaptation",
        source="nothing",
    ),
    "rl2": Method(
        "tasks for the recurrent policy, one episode per update",
        learner="mlsh_mpi.baselines.rl2:RL2Adaptation",
        source="policy",
        training=Training(
            "mlsh_mpi.baselines.rl2:train",
            "mlsh_mpi.baselines.rl2:check_resumable",
            policies="mlsh_mpi.baselines.rl2:policies_of",
            recurrent=True,
            steps=lambda config, length: whole_episodes(config, length * episodes_of_a_trial(config, length)),
        ),
        baseline=Baseline("RL² (Duan et al. 2016): one recurrent policy", _trained_by("rl2", minibatches=4)),
        updates=lambda config: max(1, (config.algorithm.trial or 10) - 1),
    ),
    "maml": Method(
        "copies of the trained policy after gradient steps",
        learner="mlsh_mpi.baselines.maml:MAMLAdaptation",
        source="policy",
        training=Training(
            "mlsh_mpi.baselines.maml:train",
            "mlsh_mpi.baselines.maml:check_resumable",
            steps=lambda config, length: 2 * lanes_before_and_after(config, length) * length,
        ),
        baseline=Baseline(
            "MAML (Finn et al. 2017): one policy to start gradient steps on a task from", _trained_by("maml", minibatches=1)
        ),
    ),
    "option-critic": Method(
        "Option-Critics from scratch",
        learner="mlsh_mpi.baselines.option_critic:option_critics",
        source="nothing",
    ),
    "actor-critic": Method(
        "Actor-Critics from scratch",
        learner="mlsh_mpi.baselines.option_critic:actor_critics",
        source="nothing",
    ),
}
"""Every method by its name for --method."""

ALGORITHMS: dict[str, Training] = {
    "mlsh": Training("mlsh_mpi.algorithm.mlsh:train", "mlsh_mpi.algorithm.training_state:check_resumable", one_policy=False)
} | {name: method.training for name, method in METHODS.items() if method.training}
"""Every training algorithm by its name for --algorithm."""

BASELINES: dict[str, Baseline] = {
    "shared": Baseline("one policy for all tasks, by the same workers (paper, Figures 4 and 7)", _without_hierarchy),
    "no-warmup": Baseline("MLSH with W = 0", _without_warmup),
    "n1": Baseline(
        "MLSH with N = 1",
        lambda config: replace(config, hierarchy=replace(config.hierarchy, macro_length=1, whole_episode_iterations=0)),
    ),
} | {name: method.baseline for name, method in METHODS.items() if method.baseline}
"""Baselines by the suffix of a preset's name: moving-bandits-shared."""

UNTRAINED = tuple(name for name, method in METHODS.items() if method.source == "nothing")
"""Methods that need no training run."""

if TYPE_CHECKING:
    AlgorithmName = str
    MethodName = str
else:  # so that the command line offers the names in the tables
    AlgorithmName, MethodName = Literal[tuple(ALGORITHMS)], Literal[tuple(METHODS)]


def load_entry_point(entry_point: str) -> Any:
    """Imports what an entry point, ``module:name``, names."""
    module, name = entry_point.split(":")
    return getattr(import_module(module), name)


def default_method(config: Config) -> str:
    """The method that learns tasks after a training run with this configuration."""
    if ALGORITHMS[config.algorithm.algorithm].one_policy:
        return config.algorithm.algorithm
    return "master" if config.hierarchy.primitives > 1 else "fine-tune"


def method_of(config: Config) -> str:
    """The method that learns a task: the test's --method, or else the default."""
    test = getattr(config, "test", None)
    return (test and test.method) or default_method(config)


def default_updates(config: Config) -> int:
    """Number of updates on a task by default."""
    return METHODS[method_of(config)].updates(config)


def supports_forcing(config: Config) -> bool:
    """Whether each trained primitive can act alone, which a policy with a memory cannot."""
    return not ALGORITHMS[config.algorithm.algorithm].recurrent


def steps_of_a_worker(config: Config, episode_length: int) -> int:
    """Environment steps that a worker takes in an iteration of training.

    Raises:
        UserError: its D steps are too few for the algorithm.
    """
    return ALGORITHMS[config.algorithm.algorithm].steps(config, episode_length)
