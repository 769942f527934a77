"""What a run has learned, to be compared with what another has."""

from pathlib import Path
from typing import Any

import numpy as np
import torch


def phi(run: Path) -> np.ndarray:
    """All numbers of its primitives, in a row."""
    found = _numbers(torch.load(run / "phi.pt", weights_only=True))
    assert found.size > 1000
    return found


def _numbers(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        return value.double().numpy().ravel()
    return np.concatenate([np.empty(0), *map(_numbers, value.values())]) if isinstance(value, dict) else np.empty(0)
