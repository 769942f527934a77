"""The settings of proximal policy optimisation, for masters and for primitives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlsh_mpi.config.bounds import (
    AnyFloat,
    Fraction,
    NotNegativeFloat,
    OptionalPositiveFloat,
    PositiveFloat,
    PositiveInt,
)

CriticInput = Literal["time-left", "task", "whole-observation"]


@dataclass(frozen=True)
class PPO:
    """Proximal policy optimisation (Schulman et al. 2017) on one timescale."""

    learning_rate: PositiveFloat
    """Step size of Adam (paper: 0.01 for the master, 0.0003 for the primitives)."""
    epochs: PositiveInt = 10
    """Passes over the data of an iteration."""
    clip: PositiveFloat = 0.2
    """Clips the probability ratio to 1 -+ clip."""
    gamma: Fraction = 0.99
    """Discount factor per step of this timescale."""
    lam: Fraction = 0.98
    """Lambda of generalised advantage estimation."""
    value_coefficient: NotNegativeFloat = 0.5
    """Weight of the value's squared error in the loss."""
    entropy_coefficient: NotNegativeFloat = 0.0
    """Weight of the policy's entropy in the loss, against premature convergence (paper: none; Stable-Baselines3 and CleanRL: 0
    to 0.01)."""
    reward_shift: AnyFloat = 0.0
    """Added to every reward before learning. If all episodes have the same length, it does not change which policy is best; with
    rewards around zero, returns depend less on the time left, which value networks do not see (reward centring, Naik et al.
    2024)."""
    reward_scale: PositiveFloat = 1.0
    """Multiplies every reward after the shift. Choose it so that the return of a good episode is about ten (presets that scale: 7
    to 60); reported returns are neither shifted nor scaled."""
    standardise_values: bool = False
    """Value networks learn returns standardised by running moments, so that rewards need no scale of their own (PopArt: van
    Hasselt et al. 2016)."""
    max_gradient_norm: OptionalPositiveFloat = None
    """Scales the gradient of a minibatch down to this norm if it is larger (CleanRL and Stable-Baselines3: 0.5, rl_games: 1)."""
    adaptive_kl: OptionalPositiveFloat = None
    """Adapts the learning rate to the KL divergence between the policy that collected the data and the one in the last epoch: 1.5
    times lower after an update with more than twice this many nats, 1.5 times higher after less than half, between 1e-6 and 1e-2
    (rl_games: 0.008, rsl_rl: 0.01, both per minibatch)."""
    target_kl: OptionalPositiveFloat = None
    """Ends the epochs of an iteration once that divergence exceeds this (Spinning Up: 0.015; Stable-Baselines3: often 0.03)."""

    def learned(self, reward: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rewards as they are learned from: shifted and scaled."""
        return (reward + np.float32(self.reward_shift)) * np.float32(self.reward_scale)


@dataclass(frozen=True)
class MasterPPO(PPO):
    """PPO for theta, on the 1/N timescale."""

    learning_rate: PositiveFloat = 0.01
    minibatch_size: PositiveInt = 64
    """Decisions of one worker in a minibatch."""
    memory: PositiveInt = 1
    """Number of iterations on its task whose decisions a master learns from, including the latest (paper: 1). A worker makes only
    D / N decisions in an iteration; probability ratios of earlier decisions are relative to the policy that made them."""


@dataclass(frozen=True)
class PrimitivePPO(PPO):
    """PPO for phi, on the full timescale."""

    learning_rate: PositiveFloat = 3e-4
    decay: NotNegativeFloat = 0.0
    """After F whole-episode iterations the learning rate falls as (F / iteration)^decay; 0 keeps it constant."""
    critic_inputs: tuple[CriticInput, ...] = ()
    """What the value networks see in addition to the policies' input: how much of the episode is left (Pardo et al. 2018), which
    task it is, if the environment lists its tasks, and the part of an observation that primitives do not see (asymmetric
    actor-critic, Pinto et al. 2017). Policies do not change: only training needs values."""
    bootstrap_time_limits: bool = False
    """If only the time limit ends an episode, bootstrap from the value of its last state (Pardo et al. 2018); otherwise V = 0
    there, although an observation does not show how much time is left."""
    minibatches: PositiveInt = 15
    """Number of minibatches in an epoch."""
    min_samples: PositiveInt = 64
    """A primitive with fewer samples in an iteration, over all ranks, skips the update: with so few, Adam would still take a full
    step."""
