"""Every algorithm that trains and every method that learns a task, by name: the only module that knows them all."""

from __future__ import annotations

from collections.abc import Callable

from mlsh_mpi.adaptation.fresh_masters import FreshMasters
from mlsh_mpi.adaptation.loop import AdaptationMethod, AdaptationSet
from mlsh_mpi.algorithm import training_state
from mlsh_mpi.config.adaptation import Method
from mlsh_mpi.errors import UserError
from mlsh_mpi.networks.actor_critic import Network
from mlsh_mpi.networks.inference import Skills
from mlsh_mpi.policies.phi_file import Phi
from mlsh_mpi.sampling.experiment import Experiment
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.tracking.checkpoint import Checkpoint


def trainer(algorithm: str) -> Callable[..., Skills]:
    """The training function of an algorithm, which is called like :func:`mlsh_mpi.algorithm.mlsh.train`."""
    if algorithm == "rl2":
        from mlsh_mpi.baselines import rl2

        return rl2.train
    if algorithm == "maml":
        from mlsh_mpi.baselines import maml

        return maml.train
    from mlsh_mpi.algorithm.mlsh import train

    return train


def refuse_unfit(saved: Checkpoint, experiment: Experiment) -> None:
    """Raises an exception if training cannot go on from a checkpoint: see :func:`training_state.refuse_unfit`."""
    algorithm = experiment.config.algorithm.algorithm
    if algorithm == "mlsh":
        training_state.refuse_unfit(saved, experiment)
        return
    from mlsh_mpi.baselines import maml, rl2, training_loop

    network_for: Callable[..., Network] = rl2.network_for if algorithm == "rl2" else maml.network_for
    training_loop.refuse_unfit(saved, experiment, network_for(experiment.config, experiment.family))


def skills_of(phi: Phi, family: TaskFamily) -> Skills:
    """The trained primitives or policy, for an environment.

    Raises:
        UserError: they do not fit the environment.
    """
    if phi.config.algorithm.algorithm == "rl2":
        from mlsh_mpi.baselines import rl2

        return rl2.skills_of(phi, family)
    return phi.skills(family)


def learners(method: Method, adaptation_set: AdaptationSet, skills: Skills | None) -> AdaptationMethod:
    """A method, with the learners for the tasks of an adaptation set.

    Args:
        method: name of the method.
        adaptation_set: the tasks and the placement of their learners.
        skills: the trained primitives or policy; None for methods that need no training run.

    Raises:
        UserError: the method does not fit the training or the environment.
    """
    if method in ("option-critic", "actor-critic"):
        from mlsh_mpi.baselines.option_critic import OptionCritics

        return OptionCritics(adaptation_set, options=4 if method == "option-critic" else 1)
    if method == "scratch":
        from mlsh_mpi.baselines.single_policy import SinglePolicyAdaptation

        return SinglePolicyAdaptation(adaptation_set, None)
    assert skills is not None
    trained = adaptation_set.config.algorithm.algorithm
    if (method in ("rl2", "maml") or trained == "rl2") and method != trained:
        raise UserError(f"--method {method} does not go with what {trained} has trained: leave it out, or name another run")
    if method == "rl2":
        from mlsh_mpi.baselines.rl2 import RL2Adaptation

        return RL2Adaptation(adaptation_set, skills)
    if method == "master":
        return FreshMasters(adaptation_set, skills)
    if skills.primitives.n > 1:
        raise UserError(
            f"--method {method} is for one policy, but {skills.primitives.n} primitives were trained here: name a run of a "
            "preset that ends in -shared"
        )
    if method == "maml":
        from mlsh_mpi.baselines.maml import MAMLAdaptation

        return MAMLAdaptation(adaptation_set, skills)
    from mlsh_mpi.baselines.single_policy import SinglePolicyAdaptation

    return SinglePolicyAdaptation(adaptation_set, skills)
