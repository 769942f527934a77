"""Renders simulations, on a screen or without one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import gymnasium
import mujoco
import numpy as np

from mlsh_envs.window import primitive_colour

PIXELS = 480
"""Height and width of a picture."""
FAR = 40.0
"""Metres above the ground from which a camera hardly sees the agent, so that it gets a disc around it."""
DISC = 0.018
"""Radius of the disc, as a share of the camera's height."""


class Renderer:
    """Draws simulations with Gymnasium's renderer.

    Args:
        camera: name of the model's camera.
        root: the body whose descendants are the agent.
        fps: frames per second in a window.
    """

    def __init__(self, camera: str, root: int, fps: int) -> None:
        self._camera, self._root, self._fps = camera, root, fps
        self._renderer: Any = None
        self._due = 0.0

    def draw(self, model: mujoco.MjModel, data: mujoco.MjData, primitive: int | None, mode: str) -> Any:
        """Renders a simulation as it is now, with the agent in the primitive's colour.

        Args:
            model: the simulation's model.
            data: the simulation's state; nothing that affects the next physics step is changed.
            primitive: the primitive; None for the agent's own colours.
            mode: ``"rgb_array"``, or ``"human"`` for a window that shows it in real time.

        Raises:
            gymnasium.error.DependencyNotInstalled: there is nothing to render with, or no screen for a window.
        """
        if self._renderer is None or self._renderer.model is not model:
            self.close()
            self._renderer = _renderer(model, data, self._camera, mode)
        elif self._renderer.data is not data:
            self._renderer.data = self._renderer.viewer.data = data
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        if mode == "human":
            time.sleep(max(0.0, self._due - time.monotonic()))
            self._due = time.monotonic() + 1 / self._fps
        self._mark(model, data, primitive, mode)
        with _coloured(model, self._root, primitive):
            return self._renderer.render(mode)

    def _mark(self, model: mujoco.MjModel, data: mujoco.MjData, primitive: int | None, mode: str) -> None:
        """Puts a disc of the primitive's colour under the agent if the camera is far above it."""
        height = float(model.camera(self._camera).pos[2])
        if self._camera != "overview" or height < FAR:
            return
        x, y, _ = data.xpos[self._root]
        colour = (0.9, 0.5, 0.1) if primitive is None else np.array(primitive_colour(primitive)) / 255
        self._renderer._get_viewer(mode).add_marker(
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            pos=np.array([x, y, 0.02]),
            size=np.array([DISC * height, DISC * height, 0.01]),
            rgba=np.array([*colour, 0.6]),
        )

    def close(self) -> None:
        """Frees the renderer, and closes its window."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


@contextlib.contextmanager
def _coloured(model: mujoco.MjModel, root: int, primitive: int | None) -> Iterator[None]:
    """Gives the agent the colour of a primitive, and restores its own afterwards, because simulations share models."""
    if primitive is None:
        yield
        return
    own, materials = model.geom_rgba.copy(), model.geom_matid.copy()
    of_agent = model.body_rootid[model.geom_bodyid] == model.body_rootid[root]
    model.geom_rgba[of_agent, :3] = np.array(primitive_colour(primitive)) / 255
    model.geom_matid[of_agent] = -1
    try:
        yield
    finally:
        model.geom_rgba[:], model.geom_matid[:] = own, materials


def _renderer(model: mujoco.MjModel, data: mujoco.MjData, camera: str, mode: str) -> Any:
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        if mode == "human":  # glfw would end the whole process
            raise gymnasium.error.DependencyNotInstalled(
                'a window needs a screen, and neither DISPLAY nor WAYLAND_DISPLAY is set: use render_mode="rgb_array" or xvfb-run'
            )
        if "MUJOCO_GL" not in os.environ:
            os.environ["MUJOCO_GL"] = _headless()
    from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

    number = model.camera(camera).id
    fixed = {"type": mujoco.mjtCamera.mjCAMERA_FIXED, "fixedcamid": number}
    return MujocoRenderer(model, data, fixed, PIXELS, PIXELS, camera_id=number)


def _headless() -> str:
    """MuJoCo's name for the library that can render here without a screen."""
    for library, name in (("libEGL.so.1", "egl"), ("libOSMesa.so.8", "osmesa")):
        with contextlib.suppress(OSError):
            ctypes.CDLL(library)
            return name
    raise gymnasium.error.DependencyNotInstalled(
        "without a screen, pictures need EGL or OSMesa: on Debian and Ubuntu `apt-get install libegl1 libgl1-mesa-dri`, "
        "or `apt-get install libosmesa6`"
    )
