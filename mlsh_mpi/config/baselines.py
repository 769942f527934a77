"""What experiments are compared with: configurations derived from theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from mlsh_mpi.config.settings import Config

BASELINE_LEARNING_RATE = 1e-3
"""Learning rate of Adam for RL² and MAML. On the bandits RL² learns faster with 0.003 and an entropy bonus of 0.01."""
LONGEST = 3000
"""Steps of the longest episode of any preset."""


@dataclass(frozen=True)
class Baseline:
    """What an experiment is compared with; `of` derives its configuration from the experiment's."""

    summary: str
    of: Callable[[Config], Config]


def _without_hierarchy(config: Config) -> Config:
    """One policy for all tasks, trained by all workers in every iteration."""
    cycle = config.hierarchy.warmup + config.hierarchy.joint
    one = replace(config.hierarchy, primitives=1, warmup=0, joint=cycle, exploration=0.0, forming_iterations=0)
    return replace(config, hierarchy=one)


def _single_policy_algorithm(config: Config, algorithm: Literal["rl2", "maml"], minibatches: int) -> Config:
    """Another algorithm for a single policy, with observations and values as they are, not standardised, and whole episodes."""
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


def _without_warmup(config: Config) -> Config:
    cycle = config.hierarchy.warmup + config.hierarchy.joint
    return replace(config, hierarchy=replace(config.hierarchy, warmup=0, joint=cycle))


BASELINES: dict[str, Baseline] = {
    "shared": Baseline("one policy for all tasks, by the same workers (paper, Figures 4 and 7)", _without_hierarchy),
    "no-warmup": Baseline("MLSH with W = 0", _without_warmup),
    "n1": Baseline(
        "MLSH with N = 1",
        lambda config: replace(config, hierarchy=replace(config.hierarchy, macro_length=1, forming_iterations=0)),
    ),
    "rl2": Baseline("RL² (Duan et al. 2016): one recurrent policy", lambda config: _single_policy_algorithm(config, "rl2", 4)),
    "maml": Baseline(
        "MAML (Finn et al. 2017): one policy from which gradient steps on a task begin",
        lambda config: _single_policy_algorithm(config, "maml", 1),
    ),
}
"""Baselines by the suffix of a preset's name: moving-bandits-shared."""
