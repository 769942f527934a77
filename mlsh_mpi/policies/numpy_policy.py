"""A trained policy that needs NumPy and this file alone. It reads what ``mlsh export --format numpy`` has written.

    policy = NumpyPolicy("ant.npz")
    action = policy.act(observation, primitive=2)

A hierarchy keeps the time itself: call ``reset()`` before each episode, then ``act(observation)``.
"""

from __future__ import annotations

import json
from os import PathLike
from typing import Any

import numpy as np

FORMAT = "mlsh_mpi policy"


class NumpyPolicy:
    """Primitives, a master or a whole hierarchy, which always take their most likely action.

    Args:
        path: an .npz file.

    Raises:
        ValueError: it is something else.
        OSError: it cannot be read.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            self.description: dict[str, Any] = json.loads(str(arrays["description"]))
            if self.description["format"] != FORMAT:
                raise KeyError("format")
        except OSError:
            raise
        except Exception:  # a file of another kind can raise anything
            raise ValueError(f"{path} is not a policy: name a file that mlsh export --format numpy has written") from None

        self._offset = arrays["offset"] if arrays["offset"].any() else None
        self._mean, self._scale, self._clip = arrays["mean"], arrays["scale"], arrays["clip"]
        self._master = _layers(arrays, "master")
        stacked = _layers(arrays, "primitives")
        count = len(stacked[0][0]) if stacked else 0
        self._primitives = [[(weight[k], bias[k]) for weight, bias in stacked] for k in range(count)]
        self._columns = _selection(arrays["columns"]) if stacked else slice(None)

        self._continuous = "low" in arrays
        if self._continuous:
            self._middle, self._half_width = arrays["middle"], arrays["half_width"]
            self._low, self._high = arrays["low"], arrays["high"]
            self._type = np.dtype(self.description["outputs"]["action"]["type"])
        self._macro_length = int(self.description.get("macro_length", 0))
        self.primitive = 0
        """The active primitive of a hierarchy."""
        self._steps = 0

    def reset(self) -> None:
        """Starts an episode of a hierarchy: its master decides at the first step."""
        self._steps = 0

    def act(self, observation: Any, primitive: int = 0) -> Any:
        """The action for one observation, (observation,). A hierarchy chooses the primitive itself.

        Raises:
            ValueError: the file holds a master alone.
        """
        if not self._primitives:
            raise ValueError("this file holds a master alone, which does not act: call choose")
        seen = self._seen(observation)
        if self._master:
            if self._steps % self._macro_length == 0:
                self.primitive = int(_forward(self._master, seen).argmax())
            self._steps += 1
            primitive = self.primitive

        out = _forward(self._primitives[primitive], seen[self._columns])
        if not self._continuous:
            return out.argmax()
        action = self._middle + self._half_width * out
        if self._type.kind in "iu":
            np.rint(action, out=action)
        return np.minimum(np.maximum(action, self._low), self._high).astype(self._type)

    def choose(self, observation: Any) -> int:
        """The primitive that a master chooses for one observation, (observation,).

        Raises:
            ValueError: the file holds no master.
        """
        if not self._master:
            raise ValueError("this file holds primitives alone, among which a master would choose")
        return int(_forward(self._master, self._seen(observation)).argmax())

    def _seen(self, observation: Any) -> Any:
        if self._offset is not None:
            observation = np.subtract(observation, self._offset)
        seen = np.subtract(observation, self._mean, dtype=np.float32)
        seen *= self._scale
        np.minimum(seen, self._clip, out=seen)
        return np.maximum(seen, -self._clip, out=seen)


def _layers(arrays: Any, name: str) -> list[tuple[Any, Any]]:
    """Weights and biases, from the first layer to the last; none if the file has no such network."""
    found: list[tuple[Any, Any]] = []
    while f"{name}.{len(found)}.weight" in arrays:
        found.append((arrays[f"{name}.{len(found)}.weight"], arrays[f"{name}.{len(found)}.bias"]))
    return found


def _forward(layers: Any, x: Any) -> Any:
    for number, (weight, bias) in enumerate(layers):
        if number:
            np.tanh(x, out=x)
        x = np.dot(x, weight)
        x += bias
    return x


def _selection(columns: Any) -> Any:
    """Columns as a slice if they are contiguous, which is faster."""
    first, last = int(columns[0]), int(columns[-1])
    return slice(first, last + 1) if np.array_equal(columns, np.arange(first, last + 1)) else columns
