"""Pure functions: what each group does in each iteration, with warm-up, joint phase and stagger (paper, Algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Phase:
    """What one group does in one iteration."""

    cycle: int
    """Number of the group's cycle, from 0; -1 for the lead-in (see :func:`phase`)."""
    new_task: bool
    """Whether the group starts a new task, with a fresh theta."""
    joint: bool
    """Whether phi learns from this group's data; otherwise only theta learns."""
    updates: int
    """Number of updates that theta has had on this task before this iteration."""


def phase(iteration: int, group: int, groups: int, warmup: int, joint: int) -> Phase:
    """The phase of a group.

    The groups' first cycles are staggered evenly over the W + U iterations of a cycle. If groups * U >= W + U, phi then gets
    gradients in every iteration after the first warm-ups. Until its first cycle starts, a group trains theta on a lead-in task
    from which phi does not learn, so that every cycle has exactly W warm-up and U joint iterations. Without a warm-up the lead-in
    is joint as well: phi learns from all groups in every iteration.

    Args:
        iteration: number of the iteration, from 0.
        group: number of the group, from 0.
        groups: number of groups.
        warmup: W, iterations of a cycle that train theta alone.
        joint: U, iterations of a cycle that train theta and phi.
    """
    length = warmup + joint
    delay = _delay(group, groups, length)
    if iteration < delay:
        return Phase(cycle=-1, new_task=iteration == 0, joint=warmup == 0, updates=iteration)
    cycle, position = divmod(iteration - delay, length)
    return Phase(cycle=cycle, new_task=position == 0, joint=position >= warmup, updates=position)


def phases(iteration: int, groups: int, warmup: int, joint: int) -> list[Phase]:
    """The phase of every group."""
    return [phase(iteration, group, groups, warmup, joint) for group in range(groups)]


def from_which_phi_learns(iteration: int, phases: Sequence[Phase], early: int) -> list[bool]:
    """For each group, whether phi learns from its data: in its joint phase, and in all of the first `early` iterations.

    A warm-up lets theta find the best primitive for its task before phi learns. At first all primitives are alike, and the groups
    are still in their lead-ins and first warm-ups: with W = 8, U = 24, phi would not learn from two thirds of the data of the
    first 32 iterations.
    """
    return [phase.joint or iteration < early for phase in phases]


def turn(cycle: int, group: int, groups: int, length: int) -> int:
    """Position, from 0, of a group's task in the sequence of all groups' tasks, in the order in which they begin.

    Args:
        cycle: number of the group's cycle; -1 for the lead-in.
        group: number of the group, from 0.
        groups: number of groups.
        length: W + U, iterations of a cycle.
    """
    has_lead_in = _delay(group, groups, length) > 0
    return (cycle + has_lead_in) * groups + _place_in_time(groups, length)[group]


@cache
def _place_in_time(groups: int, length: int) -> dict[int, int]:
    """For each group, how many other groups begin their next task, after iteration 0, before it does."""
    delays = [_delay(group, groups, length) for group in range(groups)]
    order = sorted(range(groups), key=lambda group: (delays[group] == 0, delays[group], group))
    return {group: place for place, group in enumerate(order)}


def staged(iteration: int, first_iterations: int, at_first: T, later: T) -> T:
    """The value at an iteration: `at_first` during the first iterations, `later` afterwards."""
    return at_first if iteration < first_iterations else later


def decayed(iteration: int, whole_episode_iterations: int, rate: float, power: float) -> float:
    """The learning rate at an iteration: constant during the whole-episode iterations, then falling as a power of the iteration.

    It does not depend on the total number of iterations, so a run can be extended without a jump in the rate.
    """
    return rate * (whole_episode_iterations / iteration) ** power if iteration > whole_episode_iterations > 0 else rate


def _delay(group: int, groups: int, length: int) -> int:
    """Iterations before a group's first cycle: spread evenly over the length of a cycle, with adjacent groups far apart.

    Adjacent groups are placed on the same rank; if their phases were adjacent too, one rank would do all of a joint update.
    """
    slots = min(groups, length)
    stride = next(s for s in range(round(0.618 * slots), slots + 2) if s > 0 and math.gcd(s, slots) == 1)
    return group * stride % slots * length // slots
