"""What the presets for ants and humanoids begin with: the paper's settings, and ours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mlsh_mpi.config.ppo_settings import MasterPPO, PrimitivePPO
from mlsh_mpi.config.settings import EnvironmentConfig, HierarchyConfig, NetworkConfig, RunConfig, SamplingConfig

RELEASED_ANT = ("timestep=0.005",)
"""Seconds of a physics step of all released ants but Twowalk's."""
RELEASED_HUMANOID = ("end_interval=200",)
"""Steps between two decisions of the released master: a fall ends an episode only there."""


def paper(env: str, iterations: int, *settings: str, primitives: int = 2, steps: int = 2000) -> dict[str, object]:
    """The paper's settings for its ants and humanoids: 10 groups of 12 workers, N = 200, W = 20, U = 40.

    Args:
        env: Gymnasium id.
        iterations: number of iterations.
        settings: settings that turn the environment into the released one.
        primitives: K.
        steps: D.
    """
    return {
        "environment": EnvironmentConfig(env=env, env_settings=settings),
        "hierarchy": HierarchyConfig(primitives=primitives, macro_length=200, warmup=20, joint=40),
        "sampling": SamplingConfig(groups=10, workers=12, steps=steps),
        "network": NetworkConfig(filter_observations=True),
        "run": RunConfig(iterations=iterations, test_masters=10, test_episodes=2),
    }


TUNED = PrimitivePPO(
    learning_rate=5e-4,
    lam=0.95,
    minibatches=24,
    decay=1.0,
    max_gradient_norm=1.0,
    bootstrap_time_limits=True,
)
"""Settings with which PPO learns ants and humanoids within a million steps, given updates of about 20,000 steps and an
initial_std of 0.5 (tests/bench/learning.md). Each environment scales its rewards so that the return of a good episode is about
ten (7 to 60): with values that are standardised instead, hierarchies form several times more slowly."""
SEEING = replace(TUNED, critic_inputs=("time-left", "task"))
"""The same, with value networks that also see the time left and the task (tests/bench/critics.md)."""
MASTER = MasterPPO(learning_rate=0.005, memory=10, standardise_values=True)
"""Settings for masters that make few decisions in an iteration."""
HUMANOID: dict[str, Any] = {
    "initial_std": 0.75,
    "primitive": replace(TUNED, epochs=6, reward_scale=0.02),
    "deterministic_primitives": True,
}
"""Humanoids crawl only with a larger standard deviation (tests/bench/learning.md), and its noise makes some of them fall."""
SEEING_HUMANOID = HUMANOID | {"primitive": replace(SEEING, epochs=6, standardise_values=True)}
"""With value networks that see the time left and the task, and standardised values: twice the return (tests/bench/critics.md)."""


def tuned(
    env: str,
    iterations: int,
    *,
    forming: int,
    cycle: tuple[int, int] = (10, 20),
    groups: int = 10,
    primitives: int = 2,
    macro_length: int = 200,
    primitive_columns: tuple[int, int] | None = None,
    steps: int = 2000,
    initial_std: float = 0.5,
    primitive: PrimitivePPO = TUNED,
    master: MasterPPO = MASTER,
    uniform: int = 0,
    early_joint: int = 0,
    deterministic_primitives: bool = False,
) -> dict[str, object]:
    """Our settings for MuJoCo tasks: one worker a group, N = `macro_length`, `cycle` = (W, U), and the faster integrator."""
    warmup, joint = cycle
    return {
        "environment": EnvironmentConfig(env, env_settings=("integrator=implicitfast",), primitive_columns=primitive_columns),
        "hierarchy": HierarchyConfig(
            primitives,
            macro_length=macro_length,
            warmup=warmup,
            joint=joint,
            whole_episode_iterations=forming,
            learn_from_explored=False,
            random_master_iterations=uniform,
            early_joint_iterations=early_joint,
            deterministic_primitives=deterministic_primitives,
        ),
        "sampling": SamplingConfig(groups=groups, steps=steps, stratify_tasks=True),
        "network": NetworkConfig(filter_observations=True, initial_std=initial_std),
        "run": RunConfig(iterations=iterations, test_masters=10, test_episodes=2),
        "master": master,
        "primitive": primitive,
    }
