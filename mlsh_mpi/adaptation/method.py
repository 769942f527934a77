"""From the name of a method to its learners."""

from __future__ import annotations

from typing import cast

from mlsh_mpi.adaptation.loop import AdaptationMethod, AdaptationSet
from mlsh_mpi.config.methods import ALGORITHMS, METHODS, load_entry_point
from mlsh_mpi.errors import UserError
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.policies.phi_file import PhiCheckpoint
from mlsh_mpi.sampling.task_family import TaskFamily


def trained_skills(phi: PhiCheckpoint, family: TaskFamily) -> PrimitivePolicies:
    """The trained primitives or policy, for an environment.

    Raises:
        UserError: they do not fit the environment.
    """
    own = ALGORITHMS[phi.config.algorithm.algorithm].policies
    return cast(PrimitivePolicies, load_entry_point(own)(phi, family)) if own else phi.policies(family)


def make_method(name: str, adaptation_set: AdaptationSet, policies: PrimitivePolicies | None) -> AdaptationMethod:
    """A method, with the learners for the tasks of an adaptation set.

    Args:
        name: as in :data:`~mlsh_mpi.config.methods.METHODS`.
        adaptation_set: the tasks and the placement of their learners.
        policies: the trained primitives or policy; None for methods that need no training run.

    Raises:
        UserError: the method does not fit the training or the environment.
    """
    method, trained = METHODS[name], adaptation_set.config.algorithm.algorithm
    if method.source != "nothing":
        assert policies is not None

        if name != trained and (method.training is not None or ALGORITHMS[trained].recurrent):
            raise UserError(f"--method {name} cannot use what {trained} has trained: leave it out, or name another run")

        if method.source == "policy" and policies.primitives.n > 1:
            raise UserError(
                f"--method {name} is for one policy, but {policies.primitives.n} primitives were trained here: name a run of a "
                "preset that ends in -shared"
            )

    made: AdaptationMethod = load_entry_point(method.learner)(adaptation_set, policies)
    return made
