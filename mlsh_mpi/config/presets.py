"""A preset for each of the paper's experiments, and baselines to compare each of them with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from mlsh_mpi.config.settings import Config, Environment, Hierarchy, MasterPPO, Network, PrimitivePPO, Run, Sampling
from mlsh_mpi.errors import UserError, nearest

BASELINE_LEARNING_RATE = 1e-3
"""Learning rate of Adam for RL² and MAML; no other value was tried."""
LONGEST = 3000
"""Steps of the longest episode of any preset."""


@dataclass(frozen=True)
class Preset:
    """A named configuration to start from."""

    summary: str
    config: Config


def _preset(name: str, summary: str, **concerns: object) -> tuple[str, Preset]:
    return name, Preset(summary, replace(Config(preset=name), **concerns))  # type: ignore[arg-type]


def _paper(env: str, iterations: int, primitives: int = 2, steps: int = 2000) -> dict[str, object]:
    """The paper's settings for its ants and humanoids: 10 groups of 12 workers, N = 200, W = 20, U = 40."""
    return {
        "environment": Environment(env=env),
        "hierarchy": Hierarchy(primitives=primitives, macro_length=200, warmup=20, joint=40),
        "sampling": Sampling(groups=10, workers=12, steps=steps),
        "network": Network(filter_observations=True),
        "run": Run(iterations=iterations, test_masters=10, test_episodes=2),
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
initial_std of 0.5 (tests/bench/README.md). Each environment scales its rewards so that returns are about ten: with values
that are standardised instead, hierarchies form several times more slowly."""
HUMANOID: dict[str, Any] = {
    "initial_std": 0.75,
    "primitive": replace(TUNED, epochs=6, reward_scale=0.02),
}
"""Humanoids crawl only with a larger deviation (tests/bench/README.md)."""


def _tuned(
    env: str,
    iterations: int,
    *,
    forming: int,
    cycle: tuple[int, int] = (10, 20),
    groups: int = 10,
    primitives: int = 2,
    primitive_columns: tuple[int, int] | None = None,
    steps: int = 2000,
    initial_std: float = 0.5,
    primitive: PrimitivePPO = TUNED,
) -> dict[str, object]:
    """Our settings for ants and humanoids: one worker a group, N = 200, `cycle` = (W, U), and the faster integrator."""
    warmup, joint = cycle
    return {
        "environment": Environment(env, env_settings=("integrator=implicitfast",), primitive_columns=primitive_columns),
        "hierarchy": Hierarchy(
            primitives, macro_length=200, warmup=warmup, joint=joint, forming_iterations=forming, learn_from_explored=False
        ),
        "sampling": Sampling(groups=groups, steps=steps, deal_tasks=True),
        "network": Network(filter_observations=True, initial_std=initial_std),
        "run": Run(iterations=iterations, test_masters=10, test_episodes=2),
        "master": MasterPPO(learning_rate=0.005, memory=10, standardise_values=True),
        "primitive": primitive,
    }


PRESETS: dict[str, Preset] = dict(
    [
        _preset(
            "moving-bandits",
            "2D Moving Bandits, settings that separate the primitives with every seed",
            hierarchy=Hierarchy(forming_iterations=72, learn_from_explored=False),
            sampling=Sampling(groups=30),
            primitive=PrimitivePPO(learning_rate=7e-4, decay=2.0),
            run=Run(iterations=100),
        ),
        _preset(
            "moving-bandits-paper",
            "2D Moving Bandits, the paper's settings: 10 groups of 12 workers, N = 10 from the start",
            sampling=Sampling(groups=10, workers=12),
            run=Run(iterations=1000),
        ),
        _preset(
            "four-rooms",
            "Four Rooms, the paper's settings: N = 25, K = 4, W = 20, U = 30",
            environment=Environment(env="mlsh/FourRooms-v0"),
            hierarchy=Hierarchy(primitives=4, macro_length=25, warmup=20, joint=30),
            sampling=Sampling(groups=10, workers=12),
            run=Run(iterations=500),
        ),
        _preset(
            "four-rooms-blind",
            "Four Rooms for goals never trained on: primitives do not see the place; K = 8, N = 5, W = 9, U = 1",
            environment=Environment(env="mlsh/FourRooms-v0", primitive_columns=(0, 0)),  # a corner that is never visited
            hierarchy=Hierarchy(primitives=8, macro_length=5, warmup=9, joint=1),
            sampling=Sampling(groups=30),
            run=Run(iterations=300),
        ),
        _preset(
            "ant-twowalk",
            "Ant Twowalk, settings that part the primitives within 4 million steps",
            # Primitives also see the position: otherwise they could not stop at a target.
            **_tuned(
                "mlsh/AntTwowalk-v0",
                190,
                forming=130,
                cycle=(8, 24),
                primitive_columns=(0, 28),
                primitive=replace(TUNED, reward_shift=0.00075, reward_scale=60.0),  # standing still is worth 0
            ),
        ),
        _preset("ant-twowalk-paper", "Ant Twowalk, the paper's settings", **_paper("mlsh/AntTwowalk-v0", iterations=1020)),
        _preset(
            "ant-mazes",
            "the nine ant mazes, settings that walk in three directions within 3 million steps",
            **_tuned("mlsh/AntMaze-v0", 150, forming=60, groups=9, primitives=3, primitive=replace(TUNED, reward_scale=0.05)),
        ),
        _preset("ant-mazes-paper", "the nine mazes, the paper's settings", **_paper("mlsh/AntMaze-v0", 600, primitives=3)),
        _preset(
            "ant-obstacle-course",
            "the ant's obstacle course from nothing, where a reward is hard to come by",
            **_tuned("mlsh/AntObstacleCourse-v0", 240, forming=0, primitive=replace(TUNED, reward_scale=0.05)),
        ),
        _preset(
            "ant-obstacle-course-paper",
            "the obstacle course from nothing, the paper's settings",
            **_paper("mlsh/AntObstacleCourse-v0", iterations=240),
        ),
        _preset(
            "humanoid-walk-crawl",
            "Humanoid Walk/Crawl, settings that walk and crawl within 5 million steps",
            **_tuned("mlsh/HumanoidWalkCrawl-v0", 320, forming=200, cycle=(4, 20), groups=8, **HUMANOID),
        ),
        _preset(
            "humanoid-walk-crawl-paper",
            "Humanoid Walk/Crawl, the paper's settings",
            **_paper("mlsh/HumanoidWalkCrawl-v0", iterations=240),
        ),
        _preset(
            "humanoid-combination",
            "the humanoid's walk there and crawl back from nothing",
            **_tuned("mlsh/HumanoidCombination-v0", 240, forming=0, steps=3000, **HUMANOID),
        ),
        _preset(
            "humanoid-combination-paper",
            "the combination from nothing, the paper's settings",
            **_paper("mlsh/HumanoidCombination-v0", iterations=240, steps=3000),
        ),
    ]
)


@dataclass(frozen=True)
class Baseline:
    """What an experiment is compared with; `of` derives its configuration from the experiment's."""

    summary: str
    of: Callable[[Config], Config]


def _without_hierarchy(config: Config) -> Config:
    """One policy for all tasks, trained by all workers in every iteration."""
    cycle = config.hierarchy.warmup + config.hierarchy.joint
    one = replace(config.hierarchy, primitives=1, warmup=0, joint=cycle, exploration=0.0, forming_iterations=0)
    return replace(config, hierarchy=one)


def _single_policy_algorithm(config: Config, algorithm: Literal["rl2", "maml"], minibatches: int) -> Config:
    """Another algorithm for a single policy, with observations and values as they are, not standardised, and whole episodes."""
    whole = config.sampling.steps if config.sampling.steps >= 2000 else 2 * LONGEST
    return replace(
        _without_hierarchy(config),
        sampling=replace(config.sampling, steps=whole),
        algorithm=replace(config.algorithm, algorithm=algorithm),
        network=replace(config.network, filter_observations=False),
        primitive=replace(
            config.primitive, learning_rate=BASELINE_LEARNING_RATE, decay=0.0, minibatches=minibatches, standardise_values=False
        ),
    )


def _without_warmup(config: Config) -> Config:
    cycle = config.hierarchy.warmup + config.hierarchy.joint
    return replace(config, hierarchy=replace(config.hierarchy, warmup=0, joint=cycle))


BASELINES: dict[str, Baseline] = {
    "shared": Baseline("one policy for all tasks, by the same workers (paper, Figures 4 and 7)", _without_hierarchy),
    "no-warmup": Baseline("MLSH with W = 0", _without_warmup),
    "n1": Baseline(
        "MLSH with N = 1",
        lambda config: replace(config, hierarchy=replace(config.hierarchy, macro_length=1, forming_iterations=0)),
    ),
    "rl2": Baseline("RL² (Duan et al. 2016): one recurrent policy", lambda config: _single_policy_algorithm(config, "rl2", 4)),
    "maml": Baseline(
        "MAML (Finn et al. 2017): one policy from which gradient steps on a task begin",
        lambda config: _single_policy_algorithm(config, "maml", 1),
    ),
}
"""Baselines by the suffix of a preset's name: moving-bandits-shared."""


def smoke(config: Config) -> Config:
    """A small version that runs from end to end in half a minute: a few iterations that learn nothing worth keeping."""
    whole = config.algorithm.algorithm != "mlsh"  # the baselines need whole episodes
    return replace(
        config,
        preset=f"{config.preset}-smoke",
        hierarchy=replace(config.hierarchy, warmup=min(config.hierarchy.warmup, 2), joint=2, forming_iterations=1),
        sampling=replace(config.sampling, groups=2, workers=1, steps=config.sampling.steps if whole else 1000),
        run=replace(config.run, iterations=4, test_masters=2, test_episodes=1),
    )


def fitted(config: Config, default: Config) -> Config:
    """Shortens the forming phase in proportion to the iterations, if it would otherwise take all of them.

    Args:
        config: the configuration that was asked for.
        default: the preset that it was made from.
    """
    forming, iterations = config.hierarchy.forming_iterations, config.run.iterations
    if forming != default.hierarchy.forming_iterations or forming < iterations:
        return config
    shorter = forming * iterations // default.run.iterations
    return replace(config, hierarchy=replace(config.hierarchy, forming_iterations=shorter))


def preset_config(name: str) -> Config:
    """The configuration of a preset, or of a baseline of one. The last words of a name are enough if they are unique.

    Raises:
        UserError: there is no such preset.
    """
    if name in PRESETS:
        return PRESETS[name].config
    of_baselines = {f"{preset}-{baseline}": (preset, baseline) for preset in PRESETS for baseline in BASELINES}
    if len(ending := [known for known in (*PRESETS, *of_baselines) if known.endswith(f"-{name}")]) == 1:
        return preset_config(ending[0])
    if name not in of_baselines:
        hint, behind = nearest(name, [*PRESETS, *of_baselines]), ", ".join(f"-{baseline}" for baseline in BASELINES)
        raise UserError(f"there is no preset {name!r}{hint}: choose from {', '.join(PRESETS)}, with or without one of {behind}")
    preset, baseline = of_baselines[name]
    return replace(BASELINES[baseline].of(PRESETS[preset].config), preset=name)
