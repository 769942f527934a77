"""Lanes of MuJoCo: many simulations of one kind stepped in one process, and what all of them share around the physics."""

from __future__ import annotations

import numbers
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import mujoco
import numpy as np
from numpy.typing import NDArray

from mlsh_envs.mujoco_models import INTEGRATORS, Integrator, Stepping
from mlsh_envs.rendering import Renderer
from mlsh_envs.world_env import Array, World, WorldBase, all_within

STATE = mujoco.mjtState.mjSTATE_INTEGRATION
NOISE = 0x6D6C7368
"""Seeds the generator together with an episode's seed, so that a start is independent of a task drawn with the same seed."""
LONGEST = 0.1
"""Longest step of the physics, in seconds: these bodies blow up with much less."""
LIMIT = 1e6
"""Positions and velocities reach this size only if the physics has blown up."""


class PhysicsWorld(World):
    """L lanes, each with the state of a simulation of its own; lanes with the same task share one model.

    Args:
        lanes: L, number of lanes.
        frame_skip: physics steps in an environment step, during which the control is constant; None for the family's own.
        integrator: MuJoCo's integrator.
        timestep: seconds of a physics step; None for the family's own.
        camera: name of the camera: ``"follow"`` follows the body, ``"overview"`` shows all of its world.

    Raises:
        ValueError: a setting is out of range.
    """

    agent_body: ClassVar[str] = "torso"
    """The root of the agent's bodies."""
    qpos_noise: ClassVar[float]
    """Half-width of the uniform noise on every position at the start of an episode."""
    frame_skip: int
    """Physics steps in an environment step."""
    derives: ClassVar[bool] = False
    """Whether the family reads quantities derived from positions and velocities at the end of a step: see :meth:`derive`."""

    def __init__(
        self,
        lanes: int,
        *,
        frame_skip: int | None = None,
        integrator: Integrator = "RK4",
        timestep: float | None = None,
        camera: str = "follow",
    ) -> None:
        super().__init__(lanes)
        if frame_skip is not None:
            self.frame_skip = at_least_one("frame_skip", frame_skip)
        if integrator not in INTEGRATORS:
            raise ValueError(f"integrator must be one of {', '.join(INTEGRATORS)}, not {integrator!r}")
        if camera not in ("follow", "overview"):
            raise ValueError(f"camera must be 'follow' or 'overview', not {camera!r}")
        self.stepping, self.camera = Stepping(integrator, seconds("timestep", timestep)), camera
        model = self.model_of(None)
        self.dt = model.opt.timestep * self.frame_skip
        """Seconds of an environment step."""
        self.start_qpos = model.qpos0.copy()
        self._agent = model.body(self.agent_body).id
        self.state = np.zeros((lanes, model.nq + model.nv))
        """(L, nq + nv) current positions and velocities."""
        self._generators: list[np.random.Generator] = [np.random.default_rng(0)] * lanes
        self._tasks: list[Any] = [None] * lanes
        self._painter: Renderer | None = None
        self._simulate([model] * lanes)

    @abstractmethod
    def model_of(self, task: Any) -> mujoco.MjModel:
        """The model for a task (None: any task), made once. All environments of a process share it and must not change it."""

    def _simulate(self, models: Sequence[mujoco.MjModel]) -> None:
        self.models = list(models)
        self.datas = [mujoco.MjData(model) for model in models]
        self.halfway = [False] * len(models)
        """For each lane, whether the first half of its next physics step is done; must be set to False if the world changes."""
        self._watch()

    def _watch(self) -> None:
        """Keeps views of every simulation: getting them at each step would take longer than copying the data."""
        self._lanes = [
            (model, data, data.ctrl, data.qpos, qpos, data.qvel, qvel)
            for model, data, qpos, qvel in zip(self.models, self.datas, self.qpos, self.qvel, strict=True)
        ]
        self._centres = [data.subtree_com[self._agent] for data in self.datas]
        self._sensors = [self.sensors_of(data) for data in self.datas]
        self.mocap = [data.mocap_pos for data in self.datas]
        """For each lane, writable (bodies, 3) positions of the bodies that the environment moves."""

    def sensors_of(self, data: mujoco.MjData) -> tuple[Array, ...]:
        """Views of further data that a family reads from a simulation at every step; kept for each lane in `_sensors`."""
        return ()

    @property
    def qpos(self) -> Array:
        """(L, nq), a view of the state."""
        return self.state[:, : len(self.start_qpos)]

    @property
    def qvel(self) -> Array:
        """(L, nv), a view of the state."""
        return self.state[:, len(self.start_qpos) :]

    def start(self, lanes: Sequence[int], seeds: Sequence[int], tasks: Sequence[Any]) -> None:
        self.steps[lanes] = 0
        for lane, seed, task in zip(lanes, seeds, tasks, strict=True):
            self._tasks[lane] = task
            self._generators[lane] = rng = np.random.default_rng((seed, NOISE))
            model = self.model_of(task)
            if model is self.models[lane]:
                mujoco.mj_resetData(model, self.datas[lane])
            else:
                self.models[lane], self.datas[lane] = model, mujoco.MjData(model)
                self._watch()
            self.place(lane, self.start_pose(rng), self.qvel_noise(rng))
            self.begin(lane, task)

    def start_pose(self, rng: np.random.Generator) -> Array:
        """(nq,) positions at the start of an episode, with their noise."""
        return self.start_qpos + rng.uniform(-self.qpos_noise, self.qpos_noise, len(self.start_qpos))

    def qvel_noise(self, rng: np.random.Generator) -> Array:
        """(nv,) velocities at the start of an episode."""
        return rng.uniform(-self.qpos_noise, self.qpos_noise, (self.qvel.shape[1],))

    def place(self, lane: int, qpos: Array, qvel: Array) -> None:
        """Puts a lane into a state, and computes everything that depends on it."""
        data = self.datas[lane]
        data.qpos[:], data.qvel[:] = qpos, qvel
        mujoco.mj_normalizeQuat(self.models[lane], data.qpos)  # noise changes the norms of quaternions
        data.qacc_warmstart[:] = 0
        mujoco.mj_forward(self.models[lane], data)
        self.halfway[lane] = False
        self.qpos[lane], self.qvel[lane] = data.qpos, data.qvel

    def begin(self, lane: int, task: Any) -> None:
        """What a family does in addition at the start of an episode, after the lane has been placed."""

    def advance(self, actions: Array) -> Array:
        """One environment step of the physics in every lane.

        Args:
            actions: (L, nu) controls, clipped to their range by the actuators.

        Returns:
            (L,) bool, lanes whose physics blew up; these are reset to their start.
        """
        skip = self.frame_skip
        for lane, (model, data, control, position, qpos, velocity, qvel) in enumerate(self._lanes):
            control[:] = actions[lane]
            if self.halfway[lane]:
                mujoco.mj_step2(model, data)
                if skip > 1:
                    mujoco.mj_step(model, data, skip - 1)
            else:
                mujoco.mj_step(model, data, skip)
            qpos[:] = position
            qvel[:] = velocity
            if self.derives:  # now, while the simulation is in the processor's cache
                self.derive(lane)
        self.steps += 1
        if all_within(self.state, LIMIT):
            return np.zeros(self.lanes, np.bool_)
        diverged = np.logical_not((np.abs(self.state) < LIMIT).all(axis=1))  # true for NaN, too
        for lane in np.flatnonzero(diverged).tolist():
            self.place(lane, self.start_qpos, np.zeros(self.models[lane].nv))
        return diverged

    def observe(self) -> Array:
        """Positions and velocities."""
        return self.state.astype(np.float32)

    def derive(self, lane: int) -> None:
        """Computes centres of mass, inertias and velocities of bodies, which `mj_step` leaves as they were before integration.

        The next physics step begins with the same computation, so `mj_step1` does it for both. Runge-Kutta steps have no such
        half.
        """
        model, data = self.models[lane], self.datas[lane]
        if self.stepping.integrator == "RK4":
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_comVel(model, data)
        else:
            mujoco.mj_step1(model, data)
            self.halfway[lane] = True

    def centres_of_mass(self) -> Array:
        """(L, 3) centre of mass of the agent in each lane, for families that derive it."""
        return np.array(self._centres)

    @property
    def render_fps(self) -> int:  # type: ignore[override]
        """Frames per second at which a window shows real time."""
        return round(1 / self.dt)

    def render_frame(self, lane: int, primitive: int | None) -> NDArray[np.uint8]:
        return np.ascontiguousarray(self._drawn(lane, primitive, "rgb_array"))

    def show(self, lane: int, primitive: int | None) -> None:
        self._drawn(lane, primitive, "human")

    def _drawn(self, lane: int, primitive: int | None, mode: str) -> Any:
        if self._painter is None:
            self._painter = Renderer(self.camera, self._agent, self.render_fps)
        return self._painter.draw(self.models[lane], self.datas[lane], primitive, mode)

    def close(self) -> None:
        if self._painter is not None:
            self._painter.close()

    def __getstate__(self) -> dict[str, Any]:
        """Keeps simulations as state vectors from which they can continue; models are made anew."""
        attributes = super().__getstate__()
        for name in ("models", "datas", "halfway", "mocap", "_lanes", "_centres", "_sensors", "_painter"):
            del attributes[name]
        attributes["_states"] = states = []
        for model, data in zip(self.models, self.datas, strict=True):
            states.append(np.empty(mujoco.mj_stateSize(model, STATE)))
            mujoco.mj_getState(model, data, states[-1], STATE)
        return attributes

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        states = attributes.pop("_states")
        self.__dict__.update(attributes)
        self._painter = None
        self._simulate([self.model_of(task) for task in self._tasks])
        for model, data, state in zip(self.models, self.datas, states, strict=True):
            mujoco.mj_setState(model, data, state, STATE)


class PhysicsFamily(WorldBase):
    """Attributes that the trainer reads from every MuJoCo family."""

    unclipped_actions: ClassVar[bool] = True
    """The actuators clip actions, and the family's page says which actions have a cost."""


class PlacedFamily(PhysicsFamily):
    """The same for families whose observation begins with x and y."""

    primitive_observation: ClassVar[slice] = slice(2, None)
    """Primitives do not see their place in the world, so that they also work in places where they were not trained."""

    def ground(self, task: Any) -> tuple[Array, Array]:
        """Obstacles and goals, seen from above.

        Returns:
            (n, 4) walls, each as west, east, south and north, and (m, 2) goals, in metres.
        """
        world: PhysicsWorld = self.world  # type: ignore[attr-defined]
        model = world.model_of(task)
        fixed = np.flatnonzero((model.geom_bodyid == 0) & (model.geom_type != mujoco.mjtGeom.mjGEOM_PLANE))
        place, half = model.geom_pos[fixed, :2], model.geom_size[fixed, :2]
        solid = (model.geom_contype[fixed] | model.geom_conaffinity[fixed]) > 0
        edges = np.stack((place - half, place + half), axis=-1).reshape(-1, 4)
        named = np.array([model.geom(geom).name == "goal" for geom in fixed.tolist()], np.bool_)
        return edges[solid], place[named]


def seconds(name: str, value: Any) -> float | None:
    """Checks a setting that is the length of a physics step, or None.

    Raises:
        ValueError: it is neither None nor a number of seconds up to `LONGEST`.
    """
    if value is None:
        return None
    if not isinstance(value, numbers.Real) or not 0 < float(value) <= LONGEST:
        raise ValueError(f"{name} must be greater than 0 and at most {LONGEST:g} seconds, not {value!r}")
    return float(value)


def at_least_one(name: str, value: Any) -> int:
    """Checks a setting that counts steps.

    Raises:
        ValueError: it is not an integer of at least 1.
    """
    if not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{name} must be an integer, at least 1, not {value!r}")
    return int(value)
