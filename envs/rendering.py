"""Pictures of simulations, on a screen or without one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium
import mujoco
import numpy as np

from mlsh_envs.window import primitive_colour

PIXELS = 480
"""Height and width of a picture."""


@contextlib.contextmanager
def coloured(model: mujoco.MjModel, root: int, primitive: int | None) -> Iterator[None]:
    """The agent in the colour of a primitive; lanes share models, so it is given back its own."""
    if primitive is None:
        yield
        return
    own, materials = model.geom_rgba.copy(), model.geom_matid.copy()
    mine = model.body_rootid[model.geom_bodyid] == model.body_rootid[root]
    model.geom_rgba[mine, :3] = np.array(primitive_colour(primitive)) / 255
    model.geom_matid[mine] = -1
    try:
        yield
    finally:
        model.geom_rgba[:], model.geom_matid[:] = own, materials


def renderer(model: mujoco.MjModel, data: mujoco.MjData, camera: str) -> Any:
    """Gymnasium's renderer.

    Raises:
        gymnasium.error.DependencyNotInstalled: there is no screen, and nothing that draws without one.
    """
    if not {"MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys() and sys.platform == "linux":
        os.environ["MUJOCO_GL"] = _headless()
    from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

    number = model.camera(camera).id
    fixed = {"type": mujoco.mjtCamera.mjCAMERA_FIXED, "fixedcamid": number}
    return MujocoRenderer(model, data, fixed, PIXELS, PIXELS, camera_id=number)


def _headless() -> str:
    """What draws without a screen here: MuJoCo's name for it."""
    for library, name in (("libEGL.so.1", "egl"), ("libOSMesa.so.8", "osmesa")):
        with contextlib.suppress(OSError):
            ctypes.CDLL(library)
            return name
    raise gymnasium.error.DependencyNotInstalled(
        "without a screen, pictures need EGL or OSMesa: on Debian and Ubuntu `apt-get install libosmesa6`, "
        "or `apt-get install libegl1 libgl1-mesa-dri`"
    )
