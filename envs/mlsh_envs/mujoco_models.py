"""Gymnasium's own models, and what a world adds to them: walls, marks, cameras and light."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import gymnasium
import mujoco
import numpy as np

from mlsh_envs.rendering import PIXELS

Integrator = Literal["RK4", "Euler", "implicit", "implicitfast"]
INTEGRATORS = {name: getattr(mujoco.mjtIntegrator, f"mjINT_{name.upper()}") for name in get_args(Integrator)}


class Stepping(NamedTuple):
    """How the physics is stepped."""

    integrator: Integrator
    timestep: float | None
    """Seconds of a physics step; None for the model's own."""


Colour = tuple[float, float, float, float]
WALL: Colour = (0.80, 0.72, 0.58, 1)
GOAL: Colour = (0.36, 0.62, 0.25, 1)
THICKNESS, HEIGHT = 0.3, 2.0
"""Half the thickness of a wall, and its height above and depth below the ground, in metres."""


def settings(skip: int, timestep: float) -> str:
    """The settings that all MuJoCo environments have, as text for their pages."""
    return f"""
        - `frame_skip` ({skip}): physics steps of {timestep:g} s in one environment step.
        - `integrator` ("RK4"): or "Euler", "implicit", "implicitfast", which are 2 to 4 times as fast but change the dynamics.
        - `timestep` ({timestep:g}): seconds of a physics step.
        - `camera` ("follow"): or "overview", for pictures.
        """


def asset(name: str, stepping: Stepping) -> mujoco.MjSpec:
    """One of Gymnasium's own models, to be extended.

    Args:
        name: name of its file.
        stepping: how the physics is stepped.
    """
    spec = mujoco.MjSpec.from_file(str(Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / name))
    spec.option.integrator = INTEGRATORS[stepping.integrator]
    spec.option.timestep = stepping.timestep or spec.option.timestep
    # By default MuJoCo silently resets a simulation that has blown up.
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    spec.visual.global_.offwidth = spec.visual.global_.offheight = 2 * PIXELS
    _dress(spec)
    return spec


def _dress(spec: mujoco.MjSpec) -> None:
    """Gives a model an appearance that suits worlds of any size: an endless floor and even light."""
    checks, material, floor = spec.texture("texplane"), spec.material("MatPlane"), spec.geom("floor")
    checks.rgb1, checks.rgb2 = (0.66, 0.66, 0.66), (0.80, 0.80, 0.80)
    material.reflectance, material.specular, material.texuniform, material.texrepeat = 0, 0, True, (0.5, 0.5)
    floor.rgba, floor.size = (1, 1, 1, 1), (0, 0, 1)  # a size of 0 is infinite
    spec.visual.headlight.ambient = spec.visual.headlight.diffuse = (0.35, 0.35, 0.35)
    for light in spec.lights:
        light.castshadow, light.diffuse, light.specular = False, (0.5, 0.5, 0.5), (0, 0, 0)


def add_box(spec: mujoco.MjSpec, name: str, centre: Sequence[float], half: Sequence[float]) -> None:
    """Adds a wall: a fixed solid box."""
    box = mujoco.mjtGeom.mjGEOM_BOX
    spec.worldbody.add_geom(name=name, type=box, pos=centre, size=half, contype=1, conaffinity=1, rgba=WALL)


def add_mark(spec: mujoco.MjSpec, name: str, centre: Sequence[float], half: Sequence[float], rgba: Colour = GOAL) -> None:
    """Adds a visible mark without contact: a box or, with a radius and half a height, a disc."""
    shape = mujoco.mjtGeom.mjGEOM_BOX if len(half) == 3 else mujoco.mjtGeom.mjGEOM_CYLINDER
    size = [*half, *(0,) * (3 - len(half))]
    spec.worldbody.add_geom(name=name, type=shape, pos=centre, size=size, contype=0, conaffinity=0, rgba=rgba)


def add_target(spec: mujoco.MjSpec, radius: float) -> None:
    """Adds a visible disc without contact, positioned by the environment: the first of a lane's `mocap` bodies."""
    disc = spec.worldbody.add_body(name="target", mocap=True)
    shape = mujoco.mjtGeom.mjGEOM_CYLINDER
    disc.add_geom(name="target", type=shape, size=(radius, 0.02, 0), mass=0, contype=0, conaffinity=0, rgba=GOAL)


def add_cameras(spec: mujoco.MjSpec, body: str, distance: float, overview: tuple[float, float, float]) -> None:
    """Adds the cameras that every model has.

    Args:
        spec: the model.
        body: the body that the camera ``follow`` follows.
        distance: distance in metres of ``follow`` behind the body; its height above the body is two thirds of that.
        overview: x, y and height of the camera ``overview``, which looks straight down.
    """
    tilt = np.arctan2(1, 2 / 3) / 2
    spec.body(body).add_camera(
        name="follow",
        mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM,
        pos=(0, -distance, 2 / 3 * distance),
        quat=(np.cos(tilt), np.sin(tilt), 0, 0),
    )
    spec.worldbody.add_camera(name="overview", pos=overview)
