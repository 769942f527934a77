"""The bounds of numeric settings, as annotations of their fields."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from mlsh_mpi.errors import UserError


@dataclass(frozen=True)
class Bound:
    """A rule that a number must follow."""

    rule: str
    """The rule in words, to complete the sentence "--option ..."."""
    holds: Callable[[float], bool]


LARGEST = 10**18
"""Largest whole number: beyond it machine integers overflow."""


def _is_finite(value: float) -> bool:
    return abs(value) <= LARGEST if isinstance(value, int) else math.isfinite(value)


POSITIVE = Bound("must be greater than 0 and finite", lambda value: value > 0 and _is_finite(value))
NOT_NEGATIVE = Bound("must not be negative, and finite", lambda value: value >= 0 and _is_finite(value))
FRACTION = Bound("must be between 0 and 1", lambda value: 0 <= value <= 1)
ANY = Bound("must be a finite number", _is_finite)

PositiveInt = Annotated[int, POSITIVE]
PositiveFloat = Annotated[float, POSITIVE]
OptionalPositiveInt = Annotated[int | None, POSITIVE]
OptionalPositiveFloat = Annotated[float | None, POSITIVE]
NotNegativeInt = Annotated[int, NOT_NEGATIVE]
NotNegativeFloat = Annotated[float, NOT_NEGATIVE]
Fraction = Annotated[float, FRACTION]
AnyFloat = Annotated[float, ANY]


def bounds_of(section: type) -> Iterator[tuple[str, Bound | None]]:
    """Every numeric setting of a dataclass with its bound; None if it has none, which a test refuses."""
    for name, annotation in get_type_hints(section, include_extras=True).items():
        declared = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
        kinds = get_args(declared[0]) if get_origin(declared[0]) in (Union, types.UnionType) else declared[:1]
        if {int, float} & {kind for kind in kinds if isinstance(kind, type)}:
            yield name, next((extra for extra in declared[1:] if isinstance(extra, Bound)), None)


def check_bounds(section: Any, prefix: str) -> None:
    """Refuses numbers that are out of bounds.

    Args:
        section: a dataclass of settings.
        prefix: prefix of their options, such as "master.".

    Raises:
        UserError: a number is out of bounds; the message names the option, its value and the rule.
    """
    for name, bound in bounds_of(type(section)):
        value = getattr(section, name)
        if value is not None and bound is not None and not bound.holds(value):
            raise UserError(f"--{(prefix + name).replace('_', '-')} {bound.rule}, but is {value}")
