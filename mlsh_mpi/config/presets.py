"""A preset for each environment and each of the paper's experiments."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlsh_mpi.config.methods import ALGORITHMS, BASELINES
from mlsh_mpi.config.overrides import for_environment
from mlsh_mpi.config.ppo_settings import MasterPPO, PrimitivePPO
from mlsh_mpi.config.settings import Config, EnvironmentConfig, HierarchyConfig, RunConfig, SamplingConfig
from mlsh_mpi.config.tuned import HUMANOID, RELEASED_ANT, RELEASED_HUMANOID, SEEING, SEEING_HUMANOID, TUNED, paper, tuned
from mlsh_mpi.errors import UserError, nearest


@dataclass(frozen=True)
class Preset:
    """A named configuration to start from."""

    summary: str
    config: Config


def _preset(name: str, summary: str, **sections: object) -> tuple[str, Preset]:
    return name, Preset(summary, replace(Config(preset=name), **sections))  # type: ignore[arg-type]


PRESETS: dict[str, Preset] = dict(
    [
        _preset(
            "moving-bandits",
            "2D Moving Bandits, settings with which primitives separate for every seed",
            hierarchy=HierarchyConfig(whole_episode_iterations=72, learn_from_explored=False),
            sampling=SamplingConfig(groups=30),
            primitive=PrimitivePPO(learning_rate=7e-4, decay=2.0),
            run=RunConfig(iterations=100),
        ),
        _preset(
            "moving-bandits-paper",
            "2D Moving Bandits, the paper's settings: 10 groups of 12 workers, N = 10 from the start",
            sampling=SamplingConfig(groups=10, workers=12),
            run=RunConfig(iterations=1000),
        ),
        _preset(
            "moving-bandits-figure4a",
            "2D Moving Bandits, the paper's settings with the schedule of its Figure 4a: W = U = 20, not 9 and 1",
            hierarchy=HierarchyConfig(warmup=20, joint=20),
            sampling=SamplingConfig(groups=10, workers=12),
            run=RunConfig(iterations=1000),
        ),
        _preset(
            "key-door",
            "Key Door, settings that learn the way to each goal via the key within 6 million steps",
            environment=EnvironmentConfig(env="mlsh/KeyDoor-v0"),
            hierarchy=HierarchyConfig(warmup=6, joint=9, whole_episode_iterations=100, learn_from_explored=False),
            sampling=SamplingConfig(groups=20, stratify_tasks=True),
            primitive=replace(TUNED, learning_rate=7e-4, reward_scale=0.3),
            run=RunConfig(iterations=150),
        ),
        _preset(
            "allwalk",
            "Allwalk, settings whose primitives walk to four places, among which masters find the hidden one",
            environment=EnvironmentConfig(env="mlsh/Allwalk-v0"),
            hierarchy=HierarchyConfig(
                primitives=4, macro_length=5, warmup=15, joint=10, whole_episode_iterations=40, learn_from_explored=False
            ),
            sampling=SamplingConfig(groups=20),
            master=MasterPPO(reward_shift=0.04, reward_scale=10.0),
            primitive=replace(TUNED, learning_rate=7e-4, decay=0.5, reward_shift=0.04, reward_scale=10.0),
            run=RunConfig(iterations=120),
        ),
        _preset(
            "four-rooms",
            "Four Rooms, the paper's settings: N = 25, K = 4, W = 20, U = 30",
            environment=EnvironmentConfig(env="mlsh/FourRooms-v0"),
            hierarchy=HierarchyConfig(primitives=4, macro_length=25, warmup=20, joint=30),
            sampling=SamplingConfig(groups=10, workers=12),
            run=RunConfig(iterations=500),
        ),
        _preset(
            "four-rooms-blind",
            "Four Rooms for goals never trained on: primitives do not see the position; K = 8, N = 5, W = 9, U = 1",
            environment=EnvironmentConfig(env="mlsh/FourRooms-v0", primitive_columns=(0, 0)),  # a corner that is never visited
            hierarchy=HierarchyConfig(primitives=8, macro_length=5, warmup=9, joint=1),
            sampling=SamplingConfig(groups=30),
            run=RunConfig(iterations=300),
        ),
        _preset(
            "ant-twowalk",
            "Ant Twowalk, settings with which primitives separate within 4 million steps",
            # Primitives also see the position: otherwise they could not stop at a target.
            **tuned(
                "mlsh/AntTwowalk-v0",
                190,
                forming=130,
                cycle=(8, 24),
                primitive_columns=(0, 28),
                primitive=replace(SEEING, reward_scale=60.0),
                early_joint=32,
            ),
        ),
        _preset("ant-twowalk-paper", "Ant Twowalk, the paper's settings", **paper("mlsh/AntTwowalk-v0", iterations=1020)),
        _preset(
            "ant-movement",
            "Ant Movement, settings with which each primitive runs along one axis within 3 million steps",
            # Primitives also see the position: leaving the axis costs more than running earns.
            **tuned(
                "mlsh/AntMovement-v0",
                155,
                forming=130,
                primitive_columns=(0, 28),
                primitive=replace(TUNED, gamma=0.995, lam=0.9, reward_scale=0.02),
            ),
        ),
        _preset(
            "ant-mazes",
            "the nine ant mazes, settings whose primitives walk in three directions within 3 million steps",
            **tuned(
                "mlsh/AntMaze-v0",
                180,
                forming=0,
                cycle=(4, 20),
                groups=9,
                primitives=3,
                primitive=replace(SEEING, lam=0.8, learning_rate=1e-3, epochs=5, reward_scale=0.05),
                uniform=40,  # else masters starve a primitive that learns to walk later than the others
                early_joint=40,  # the same iterations, in which no master chooses
                # Five decisions an episode, each with a reward of its own.
                master=MasterPPO(learning_rate=0.005, gamma=0.8, lam=0.3, standardise_values=True, entropy_coefficient=0.05),
                deterministic_primitives=True,
            ),
        ),
        _preset(
            "ant-mazes-paper",
            "the nine mazes, the paper's settings",
            **paper("mlsh/AntMaze-v0", 600, *RELEASED_ANT, primitives=3),
        ),
        _preset(
            "ant-obstacle-course",
            "the ant's obstacle course from scratch, where rewards are sparse",
            **tuned("mlsh/AntObstacleCourse-v0", 240, forming=0, primitive=replace(TUNED, reward_scale=0.05)),
        ),
        _preset(
            "ant-obstacle-course-paper",
            "the obstacle course from scratch, the paper's settings",
            **paper("mlsh/AntObstacleCourse-v0", 240, *RELEASED_ANT),
        ),
        _preset(
            "humanoid-walk-crawl",
            "Humanoid Walk/Crawl, settings that learn to walk and crawl within 5 million steps",
            **tuned("mlsh/HumanoidWalkCrawl-v0", 320, forming=200, cycle=(4, 20), groups=8, **SEEING_HUMANOID),
        ),
        _preset(
            "humanoid-walk-crawl-paper",
            "Humanoid Walk/Crawl, the paper's settings",
            **paper("mlsh/HumanoidWalkCrawl-v0", 240, *RELEASED_HUMANOID),
        ),
        _preset(
            "humanoid-combination",
            "walking there and crawling back, from scratch",
            **tuned("mlsh/HumanoidCombination-v0", 240, forming=0, steps=3000, **HUMANOID),
        ),
        _preset(
            "humanoid-combination-paper",
            "walking there and crawling back from scratch, the paper's settings",
            **paper("mlsh/HumanoidCombination-v0", 240, *RELEASED_HUMANOID, steps=3000),
        ),
        _preset(
            "walker-obstacles",
            "Walker Obstacles, settings that get far within 3 million steps unless a bar is in the way",
            **tuned("mlsh/WalkerObstacles-v0", 150, forming=60, primitive=replace(TUNED, reward_scale=0.02)),
        ),
        _preset(
            "swimmer-bandits",
            "Swimmer Bandits, the best of three settings: primitives swim to two places within 2.4 million steps",
            # As in Allwalk, primitives see the position, so that each can swim to a place. With ten decisions an episode
            # instead of two, masters learned nothing in the same number of updates.
            **tuned(
                "mlsh/SwimmerBandits-v0",
                120,
                forming=90,
                primitives=4,
                macro_length=500,
                primitive_columns=(0, 9),
                primitive=replace(TUNED, learning_rate=7e-4, gamma=0.995, lam=0.98, reward_shift=0.0038, reward_scale=20.0),
            ),
        ),
    ]
)

DEFAULT_PRESET = "moving-bandits"
VARIANTS = {"mlsh/AntBigCourse-v0": "ant-obstacle-course", "mlsh/FourRoomsPublished-v0": "four-rooms"}
"""Presets of environments that are variants of another, by their ids."""


def config_for(preset: str | None, env: str | None) -> Config:
    """The configuration to begin with: of the preset, else of the environment's first preset, else of `DEFAULT_PRESET`.

    For an environment of the user's own, it leaves out settings that only fit the preset's environment.

    Raises:
        UserError: there is no such preset.
    """
    of_environment = (name for name, each in PRESETS.items() if each.config.environment.env == env)
    config = preset_config(preset or VARIANTS.get(env or "") or next(of_environment, DEFAULT_PRESET))
    return for_environment(config, env, primitive_columns=None)


def begins_with(env: str, preset: str) -> str:
    """The note for users where the environment's name alone determined the preset."""
    return f"{env} begins with the settings of the preset {preset}"


def smoke(config: Config) -> Config:
    """A small version that runs from end to end in half a minute: a few iterations that learn nothing useful."""
    whole, hierarchy = ALGORITHMS[config.algorithm.algorithm].one_policy, config.hierarchy  # one policy needs whole episodes
    return replace(
        config,
        preset=f"{config.preset}-smoke",
        hierarchy=replace(
            hierarchy,
            warmup=min(hierarchy.warmup, 2),
            joint=2,
            whole_episode_iterations=1,
            random_master_iterations=0,
            early_joint_iterations=min(hierarchy.early_joint_iterations, 1),
        ),
        sampling=replace(config.sampling, groups=2, workers=1, steps=config.sampling.steps if whole else 1000),
        run=replace(config.run, iterations=4, test_masters=2, test_episodes=1),
    )


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
