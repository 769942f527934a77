"""Plain numbers in the `info` that environments return, such as is_success, read at the end of an episode."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def numbers_of(info: Any) -> dict[str, float]:
    """The finite numbers and truth values of a single environment's `info`, by name; everything else is left out."""
    if not isinstance(info, Mapping):
        return {}
    numbers = ((name, _number(value)) for name, value in info.items() if isinstance(name, str))
    return {name: value for name, value in numbers if value is not None}


def numbers_of_lane(info: Any, lane: int) -> dict[str, float]:
    """The same for one lane of a vector environment, which returns an array with a value for each lane as `name`, and a mask of
    the lanes that have one as `_name` (Gymnasium's convention)."""
    if not isinstance(info, Mapping):
        return {}
    return numbers_of(
        {
            name: values[lane]
            for name, values in info.items()
            if isinstance(values, np.ndarray) and values.ndim and lane < len(values) and _has(info, name, lane)
        }
    )


def _has(info: Mapping[Any, Any], name: Any, lane: int) -> bool:
    if not isinstance(name, str) or name.startswith("_"):
        return False
    mask = info.get(f"_{name}")
    return mask is None or bool(np.ravel(mask)[lane])


def _number(value: Any) -> float | None:
    if isinstance(value, (np.ndarray, np.generic)):
        if value.size != 1 or value.dtype.kind not in "fiub":
            return None
        value = value.item()
    if not isinstance(value, (bool, int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond a float's range
        return None
    return number if math.isfinite(number) else None
