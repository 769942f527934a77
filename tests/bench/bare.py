"""Bare physics: what a trainer's environments did, done again by nothing but mj_step. Needs only MuJoCo."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

STATE = mujoco.mjtState.mjSTATE_INTEGRATION


def state_of(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
    """All that a simulation can be continued from."""
    state = np.empty(mujoco.mj_stateSize(model, STATE))
    mujoco.mj_getState(model, data, state, STATE)
    return state


def seconds_of(model: mujoco.MjModel, frame_skip: int, state: np.ndarray, actions: Sequence[Any], untimed: int = 0) -> float:
    """Seconds that an episode's physics takes, after its first `untimed` actions; to set the first state does not count."""
    data = mujoco.MjData(model)
    mujoco.mj_setState(model, data, state, STATE)
    control = data.ctrl
    entered = time.perf_counter()
    for number, action in enumerate(actions):
        if number == untimed:
            entered = time.perf_counter()
        control[:] = action
        mujoco.mj_step(model, data, frame_skip)
    return time.perf_counter() - entered if len(actions) > untimed else 0.0
