"""What the paper compares with: which algorithm trains, and what learns a single task afterwards."""

from __future__ import annotations

from collections.abc import Callable

from mlsh_mpi.adaptation import Learners, Trial
from mlsh_mpi.config import AdaptConfig, Config, Method
from mlsh_mpi.errors import UserError
from mlsh_mpi.fresh_masters import FreshMasters
from mlsh_mpi.skills import Phi, Skills
from mlsh_mpi.task_family import Spec

UNTRAINED: tuple[Method, ...] = ("scratch", "option-critic", "actor-critic")
"""Methods that begin from nothing."""


def usual_method(config: Config) -> Method:
    """What learns a task after such a training."""
    if config.algorithm.algorithm != "mlsh":
        return config.algorithm.algorithm
    return "master" if config.hierarchy.primitives > 1 else "fine-tune"


def method_of(config: Config) -> Method:
    """What learns a task: as asked for, else the usual."""
    asked = config.test.method if isinstance(config, AdaptConfig) else None
    return asked or usual_method(config)


def usual_updates(config: Config) -> int:
    """As many as warm-up has; without one, as many as a cycle has before its last iteration."""
    if method_of(config) == "rl2":
        return max(1, (config.algorithm.trial or 10) - 1)
    return max(1, config.hierarchy.warmup or config.hierarchy.joint - 1)


def can_be_forced(config: Config) -> bool:
    """Whether what was trained acts by itself, without a memory."""
    return config.algorithm.algorithm != "rl2"


def steps_of_a_worker(config: Config, spec: Spec) -> int:
    """Environment steps that a worker takes in an iteration of training.

    Raises:
        UserError: its D steps do not hold what the algorithm needs.
    """
    length = spec.episode_length
    if config.algorithm.algorithm == "rl2":
        from mlsh_mpi.baselines.rl2 import episodes_of_a_trial

        length *= episodes_of_a_trial(config, spec)
    if config.algorithm.algorithm == "maml":
        from mlsh_mpi.baselines.maml import lanes_before_and_after

        return 2 * lanes_before_and_after(config, spec) * length
    lanes, steps = config.sampling.shape(length)
    return lanes * steps


def trainer(algorithm: str) -> Callable[..., Skills]:
    """Algorithm 1, or what takes its place: called like :func:`mlsh_mpi.mlsh.train`."""
    if algorithm == "rl2":
        from mlsh_mpi.baselines import rl2

        return rl2.train
    if algorithm == "maml":
        from mlsh_mpi.baselines import maml

        return maml.train
    from mlsh_mpi.mlsh import train

    return train


def skills_of(phi: Phi, spec: Spec) -> Skills:
    """What training left, in an environment.

    Raises:
        UserError: it does not fit there.
    """
    if phi.config.algorithm.algorithm == "rl2":
        from mlsh_mpi.baselines import rl2

        return rl2.skills_of(phi, spec)
    return phi.skills(spec)


def learners(method: Method, trial: Trial, skills: Skills | None) -> Learners:
    """What learns the tasks of a trial.

    Args:
        method: of learning.
        trial: who is here, and on which tasks.
        skills: what training left; None for methods that begin from nothing.

    Raises:
        UserError: the method does not fit the training or the environment.
    """
    if method in ("option-critic", "actor-critic"):
        from mlsh_mpi.baselines.option_critic import OptionCritics

        return OptionCritics(trial, options=4 if method == "option-critic" else 1)
    if method == "scratch":
        from mlsh_mpi.baselines.policies import OwnPolicies

        return OwnPolicies(trial, None)
    assert skills is not None
    trained = trial.config.algorithm.algorithm
    if (method in ("rl2", "maml") or trained == "rl2") and method != trained:
        raise UserError(f"--method {method} does not go with what {trained} has trained: leave it out, or name another run")
    if method == "rl2":
        from mlsh_mpi.baselines.rl2 import Rememberers

        return Rememberers(trial, skills)
    if method == "master":
        return FreshMasters(trial, skills)
    if skills.primitives.n > 1:
        raise UserError(
            f"--method {method} is for one policy, but {skills.primitives.n} primitives were trained here: name a run of a "
            "preset that ends in -shared"
        )
    if method == "maml":
        from mlsh_mpi.baselines.maml import Steppers

        return Steppers(trial, skills)
    from mlsh_mpi.baselines.policies import OwnPolicies

    return OwnPolicies(trial, skills)
