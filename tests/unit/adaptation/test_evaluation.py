"""Evaluation during training: when it is done, what it adds to the metrics, and which primitives are kept."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mlsh_mpi.adaptation.evaluation import Best, EvaluatedState, Evaluator
from mlsh_mpi.adaptation.method import make_method
from mlsh_mpi.commands.adapt import default_folder
from mlsh_mpi.config.adaptation import AdaptConfig
from mlsh_mpi.config.overrides import with_options
from mlsh_mpi.config.presets import PRESETS
from mlsh_mpi.config.settings import Config
from mlsh_mpi.errors import UserError
from mlsh_mpi.mpi.ranks import Meter
from mlsh_mpi.mpi.watchdog import Watchdog
from mlsh_mpi.networks.actor_critic import Network, StackedActorCritic
from mlsh_mpi.networks.distributions import head_for
from mlsh_mpi.networks.inference import PrimitivePolicies
from mlsh_mpi.policies.phi_file import BEST, load_phi
from mlsh_mpi.sampling.environment_maker import EnvironmentMaker
from mlsh_mpi.sampling.experiment import Experiment
from mlsh_mpi.sampling.task_family import TaskFamily
from mlsh_mpi.tracking.checkpoint import Checkpoint

OPTIONS = {"groups": 2, "steps": 50, "evaluation_interval": 3}


class Alone:
    """A job of one rank."""

    rank, size, watch, meter = 0, 1, Watchdog(), Meter()

    @property
    def world(self):
        return self

    def split(self, colour):
        return self

    def allgather(self, value):
        return [value]

    def allreduce(self, values):
        """Leaves the only rank's sum as it is."""


class State:
    """In place of the state of training."""

    shared = np.zeros(1)

    def __init__(self, policies):
        self.policies = policies

    def gather_state_dict(self, world):
        return {"groups": 2}


def experiment():
    config = with_options(PRESETS["moving-bandits"].config, OPTIONS)
    return Experiment(config, Alone(), TaskFamily.from_maker(EnvironmentMaker("mlsh/MovingBandits-v0", None)))


def state_of(family, seed):
    """Primitives of random weights."""
    stack = StackedActorCritic(2, Network(len(family.primitive_columns), head_for(family.action_space), (64, 64)))
    for row in range(2):
        stack.initialise(row, np.random.default_rng((seed, row)))
    return State(PrimitivePolicies(stack, family.primitive_columns, None))


def evaluator_of(found, kept, saved=None):
    return Evaluator(found, 2, 1, lambda tasks, policies: make_method("master", tasks, policies), kept.append, saved)


def test_the_best_of_the_evaluations_is_kept_and_survives_a_resume(tmp_path):
    found, kept = experiment(), []
    evaluator, states = evaluator_of(found, kept), [state_of(found.family, seed) for seed in range(4)]
    values = []
    for iteration in range(1, 13):
        metrics, state = {"iteration": iteration}, states[(iteration - 1) // 3]
        told = evaluator(metrics, state)
        assert isinstance(told, EvaluatedState)
        assert told.policies is state.policies
        assert ("evaluation/return" in metrics) == (iteration % 3 == 0)
        values += [metrics["evaluation/return"]] if iteration % 3 == 0 else []

    assert metrics["evaluation/return"] == pytest.approx(np.mean([metrics[f"evaluation/return/goal={goal}"] for goal in (0, 1)]))
    assert metrics["evaluation/environment_steps"] == 2 * (2 + 1) * 50  # masters x (before, after and without exploration) x D
    rising = [i for i, value in enumerate(values) if value > max(values[:i], default=-np.inf)]
    assert [best.iteration for best in kept] == [3 * i + 3 for i in rising]
    assert [best.value for best in kept] == [values[i] for i in rising]

    torch.save(told.gather_state_dict(Alone()), tmp_path / "checkpoint.pt")
    gathered = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    again = []
    resumed = evaluator_of(found, again, Checkpoint(12, gathered, {}, {}, None))
    assert [(best.iteration, best.value) for best in again] == [(kept[-1].iteration, kept[-1].value)]  # written anew
    metrics = {"iteration": 15}
    resumed(metrics, states[rising[-1]])
    assert metrics["evaluation/return"] == values[rising[-1]]  # the same streams each time
    assert len(again) == 1


def test_a_file_of_the_best_is_a_file_of_primitives(tmp_path):
    found, kept = experiment(), []
    evaluator_of(found, kept)({"iteration": 3}, state_of(found.family, 0))
    torch.save({**kept[0].phi, "evaluation": {"iteration": 3, "return": kept[0].value}}, tmp_path / BEST)
    assert load_phi(tmp_path / BEST).policies(found.family).primitives.n == 2
    config = AdaptConfig(**vars(found.config), source=str(tmp_path / BEST))
    assert default_folder(config) == tmp_path / "adapt" / "master-best-seed0"


def test_without_evaluations_nothing_is_added_to_a_checkpoint():
    assert EvaluatedState(State(None), None).gather_state_dict(Alone()) == {"groups": 2}
    assert Best.in_checkpoint(None) is None
    assert Best.in_checkpoint(Checkpoint(1, {"groups": 2}, {}, {}, None)) is None


def test_the_baselines_are_not_evaluated():
    config = replace(with_options(Config(), {"evaluation_interval": 5, "primitives": 1}), algorithm=Config().algorithm)
    config = replace(config, algorithm=replace(config.algorithm, algorithm="maml"))
    with pytest.raises(UserError, match=r"only --algorithm mlsh is evaluated .* --evaluation-interval 5: leave that out"):
        config.check(50)
