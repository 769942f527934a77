"""Pure: what each group does at each iteration. Owns the warm-up, the joint phase and the stagger (paper, Algorithm 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Phase:
    """What one group does at one iteration."""

    cycle: int
    """Counts the group's tasks; -1 is the lead-in (see :func:`phase`)."""
    new_task: bool
    """This iteration starts on a new task with a fresh theta."""
    joint: bool
    """phi learns from this group's data; else only theta learns."""
    updates: int
    """How many updates theta has had on this task before this iteration collects."""


def phase(iteration: int, group: int, groups: int, warmup: int, joint: int) -> Phase:
    """The phase of a group.

    Groups start their first cycle evenly staggered over the W + U iterations of a cycle, so that phi receives gradients at
    every iteration once the first warm-ups are over, if groups * U >= W + U. Until its first cycle starts, a group
    practises on a lead-in task whose data never reach phi: every cycle has exactly W warm-up and U joint iterations. Without a
    warm-up the lead-in is joint as well: phi learns from all groups in every iteration.

    Args:
        iteration: from 0.
        group: from 0 to `groups` - 1.
        groups: number of groups.
        warmup: W, iterations that train theta alone.
        joint: U, iterations that train theta and phi.
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


def turn(cycle: int, group: int, groups: int, length: int) -> int:
    """How many tasks have begun before a group's cycle, over all groups in the order of time; those of one iteration in the order
    of their groups.

    Args:
        cycle: -1 for the lead-in.
        group: from 0 to `groups` - 1.
        groups: number of groups.
        length: W + U.
    """
    has_lead_in = _delay(group, groups, length) > 0
    return (cycle + has_lead_in) * groups + _place_in_time(groups, length)[group]


@cache
def _place_in_time(groups: int, length: int) -> dict[int, int]:
    """For each group, how many of the others begin their next task before it does, after iteration 0."""
    delays = [_delay(group, groups, length) for group in range(groups)]
    order = sorted(range(groups), key=lambda group: (delays[group] == 0, delays[group], group))
    return {group: place for place, group in enumerate(order)}


def staged(iteration: int, forming_iterations: int, forming: T, settled: T) -> T:
    """What holds at an iteration: `forming` for the first iterations, while the primitives form; `settled` afterwards."""
    return forming if iteration < forming_iterations else settled


def decayed(iteration: int, forming_iterations: int, rate: float, power: float) -> float:
    """A learning rate at an iteration: constant while the primitives form, then falling as a power of the time gone by.

    It does not depend on when training is to end, so a run that is extended goes on as if it had been meant to.
    """
    return rate * (forming_iterations / iteration) ** power if iteration > forming_iterations > 0 else rate


def _delay(group: int, groups: int, length: int) -> int:
    """Iterations before a group's first cycle: even over the cycle's length, and neighbours far apart.

    Ranks host neighbouring groups; were their phases neighbours too, one rank would do all the work of a joint update.
    """
    slots = min(groups, length)
    stride = next(s for s in range(round(0.618 * slots), slots + 2) if s > 0 and math.gcd(s, slots) == 1)
    return group * stride % slots * length // slots
