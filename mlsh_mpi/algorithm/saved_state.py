"""Whether a job can continue from a checkpoint: nothing is missing, has another shape or is NaN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mlsh_mpi.errors import UserError

LATER = {"adapted", "returns"}
"""Tensors of a stack that are missing in checkpoints of earlier versions."""


def check_tensors(saved: Mapping[str, Tensor], fresh: Mapping[str, Tensor], what: str, rows: int | None = None) -> None:
    """Refuses tensors if one is missing, has another shape, or holds NaN; parameters must not be infinite either.

    Args:
        saved: the tensors of a checkpoint, by name.
        fresh: those of the new job.
        what: their name for the message.
        rows: length of the saved tensors' first dimension; by default that of the fresh ones.

    Raises:
        UserError: the message names the first of them.
    """
    for name, values in fresh.items():
        if name not in saved and name in LATER:
            continue
        if name not in saved:
            raise UserError(f"{what}.{name} is missing in it")
        shape = (len(values) if rows is None else rows, *values.shape[1:]) if values.dim() else ()
        if saved[name].shape != shape:
            raise UserError(f"{what}.{name} has the shape {tuple(saved[name].shape)} instead of {shape}")
        if name == "parameters" and not torch.isfinite(saved[name]).all():
            raise UserError(f"{what}.{name} is NaN or infinite")
        check_no_nan(saved[name], f"{what}.{name}")


def check_no_nan(value: Any, what: str) -> None:
    """Refuses NaN in a tensor, or in any tensor in mappings and lists.

    Raises:
        UserError: the message names the first of them.
    """
    if isinstance(value, Tensor):
        if torch.isnan(value).any():
            raise UserError(f"{what} is NaN")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            check_no_nan(item, f"{what}.{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            check_no_nan(item, f"{what}.{number}")
