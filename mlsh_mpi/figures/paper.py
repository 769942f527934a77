"""What each figure of the paper shows, and the runs that reproduce it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Axis = Literal["iterations", "cycles", "updates", "environment steps"]


@dataclass(frozen=True)
class Series:
    """One curve: the runs whose folders differ only in the seed."""

    runs: str
    """Name of their folders without the seed, below runs/paper/."""
    label: str
    digitised: str = ""
    """The paper's curve to compare it with, as launch/paper/paper-curves.csv names it."""
    cycle: int = 1
    """W + U, where the axis counts cycles."""
    method: str = ""
    """Whose colour it has (`figures/style.py`); the last part of the runs' name if empty."""
    printed: float | None = None
    """The number in the paper's table, where it has one."""
    jump: int = 0
    """The iteration after which N falls from a whole episode to its value; 0 for never."""


@dataclass(frozen=True)
class PaperFigure:
    """One panel of the paper's figures."""

    title: str
    panel: str
    """As launch/paper/paper-curves.csv names it; empty if the paper has no curve."""
    axis: Axis
    """What the paper's horizontal axis counts."""
    steps: float
    """Environment steps of the paper's run per unit of its axis, over all workers."""
    series: tuple[Series, ...]
    caption: str
    """What was scaled, for the reader of the figure."""
    every: int = 1
    """Number of iterations averaged to one point of a training curve; those of a cycle where the axis counts cycles."""
    small_multiples: bool = False
    """Whether each curve has a panel of its own, because together they hide one another."""
    separated: tuple[float, float] | None = None
    """Where primitives are for one task each: least return of a primitive alone on its own task, and largest on any other, with
    which a seed counts as separated."""
    mean_of_tasks: bool = False
    """Whether to average the tasks of each seed first: where chance decides which task a collapsed seed serves, tasks are no
    strata."""

    def averaged(self, runs: str) -> int:
        """Number of iterations averaged to one point of these runs' curves."""
        return next((of.cycle for of in self.series if of.runs == runs and self.axis == "cycles"), self.every)


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper, drawn as bars: what learners on a task have reached after their last update."""

    title: str
    series: tuple[Series, ...]
    caption: str


WORKERS = 240_000.0
"""Environment steps of an iteration of the paper's runs: 2000 for each of 120 workers."""
GROUP = 24_000.0
"""Environment steps of an update on a single task: 2000 for each of the 12 workers of a group."""
ANT = (
    "10 groups of 1 worker (paper: 12), D = 2000; our ant of 40 kg; physics by implicitfast; the first 130 of 190 iterations "
    "with one macro-action an episode, then N = 200; W = 8, U = 24 (paper: 20, 40)."
)
"""What was scaled in the runs on Twowalk."""

FIGURES: dict[str, PaperFigure | PaperTable] = {
    "fig4a": PaperFigure(
        title="2D Moving Bandits, full training (paper, Figure 4a)",
        panel="fig4a_MovementBandits_full_training",
        axis="iterations",
        steps=WORKERS,
        series=(
            Series("bandits/ours", "MLSH, our setting", "MLSH", jump=72),
            Series("bandits/paper", "MLSH, the paper's setting", "MLSH"),
            Series("bandits/twelve", "the paper's, 12 workers a group", "MLSH"),
            Series("bandits/no-warmup", "no warm-up", "nowarm"),
            Series("bandits/n1", "N = 1", "nodiff"),
            Series("bandits/shared", "shared policy", "shared"),
            Series("bandits/rl2", "RL²", "RL2"),
        ),
        caption="10 groups of 1 worker (paper: 12) unless said otherwise, D = 2000; our setting: 30 groups of 1 worker.",
        every=10,
        small_multiples=True,
        separated=(33.0, 10.0),
    ),
    "fig4a-schedule": PaperFigure(
        title="2D Moving Bandits, W = U = 20 (paper, Figure 4a, at the schedule that it shows)",
        panel="fig4a_MovementBandits_full_training",
        axis="iterations",
        steps=WORKERS,
        series=(
            Series("schedule/paper", "MLSH", "MLSH"),
            Series("schedule/twelve", "MLSH, 12 workers a group", "MLSH"),
        ),
        caption=(
            "The paper's settings but for W = U = 20 in place of its text's W = 9 and U = 1; 10 groups of 1 worker (paper: 12) "
            "unless said otherwise, D = 2000."
        ),
        every=40,
        small_multiples=True,
        separated=(33.0, 10.0),
    ),
    "fig4b": PaperFigure(
        title="2D Moving Bandits, one sampled task (paper, Figure 4b)",
        panel="fig4b_MovementBandits_sampled_task",
        axis="updates",
        steps=GROUP,
        series=(
            Series("bandits-task/ours", "fresh master over our primitives"),
            Series("bandits-task/paper", "fresh master, the paper's setting", "MLSH"),
            Series("bandits-task/shared", "shared policy, fine-tuned", "shared"),
            Series("bandits-task/scratch", "single policy from scratch", "single"),
        ),
        caption="A seed is the mean of 20 learners on both goals, each with one worker of D = 2000 (paper: 12 workers).",
        mean_of_tasks=True,
    ),
    "fig4c": PaperFigure(
        title="2D Moving Bandits, K and W (paper, Figure 4c)",
        panel="fig4c_MovementBandits_hyperparams",
        axis="cycles",
        steps=10 * WORKERS,
        series=(
            Series("bandits/paper", "K = 2, W = 9", "K2", cycle=10),
            Series("bandits/k1", "K = 1", "K1", cycle=10),
            Series("bandits/k4", "K = 4", "K4", cycle=10),
            Series("bandits/w1", "W = 1", "W1", cycle=2),
            Series("bandits/w20", "W = 20", "W20", cycle=21),
        ),
        caption="The paper's settings with 10 groups of 1 worker (paper: 12). A cycle is W + U iterations on one task.",
        separated=(33.0, 10.0),
    ),
    "fig4c-ours": PaperFigure(
        title="2D Moving Bandits, K and W at our setting (paper, Figure 4c, at its own)",
        panel="",
        axis="iterations",
        steps=WORKERS,
        series=(
            Series("sweep/ours", "K = 2, W = 9", jump=72),
            Series("sweep/k1", "K = 1", jump=72),
            Series("sweep/k4", "K = 4", jump=72),
            Series("sweep/k8", "K = 8", jump=72),
            Series("sweep/w1", "W = 1", jump=72),
            Series("sweep/w5", "W = 5", method="w2", jump=72),
            Series("sweep/w20", "W = 20", jump=72),
        ),
        caption="The preset moving-bandits with one number changed, 6 million steps.",
        every=10,
        separated=(33.0, 10.0),
    ),
    "fig4d": PaperFigure(
        title="Four Rooms, unseen goals (paper, Figure 4d)",
        panel="fig4d_FourRooms_sampled_task",
        axis="environment steps",
        steps=1.0,
        series=(
            Series("rooms-task/folds", "MLSH, our setting, 17 or 18 goals to train on"),
            Series("rooms-task/ours", "MLSH, our setting, 11 goals to train on"),
            Series("rooms-task/paper", "MLSH, the paper's setting, 11 goals", "MLSH"),
            Series("rooms-task/ppo", "PPO from scratch", "PPO"),
            Series("rooms-task/option-critic", "Option-Critic", "OC"),
            Series("rooms-task/actor-critic", "Actor-Critic", "AC"),
        ),
        caption="A seed is the mean of 10 goals that training never drew (paper: one), 3 learners on each.",
        mean_of_tasks=True,
    ),
    "fig4d-released": PaperFigure(
        title="Four Rooms, goal 103 in training and test (paper, Figure 4d)",
        panel="fig4d_FourRooms_sampled_task",
        axis="environment steps",
        steps=1.0,
        series=(
            Series("rooms-103/released", "MLSH, the paper's setting, trained on goal 103 alone", "MLSH"),
            Series("rooms-103/ppo", "PPO from scratch", "PPO"),
        ),
        caption="As in the released code, which puts 103 in place of the goal drawn; 10 groups of 1 worker; 10 learners a seed.",
    ),
    "fig6": PaperFigure(
        title="Ant mazes, full training (paper, Figure 6 shows paths only)",
        panel="",
        axis="iterations",
        steps=WORKERS,
        series=(Series("mazes/ours", "MLSH, K = 3"), Series("mazes/shared", "shared policy")),
        caption=(
            "Nine mazes, 9 groups of 1 worker (paper: 10 of 12), D = 2000, N = 200; physics by implicitfast; W = 4, U = 20 "
            "(paper: 20, 40); chance chooses in the first 40 iterations."
        ),
        every=6,
    ),
    "fig7a": PaperFigure(
        title="Ant Twowalk, full training (paper, Figure 7a)",
        panel="fig7a_AntTwowalk_full_training",
        axis="iterations",
        steps=WORKERS,
        series=(
            Series("twowalk/ours", "MLSH, our setting", "MLSH", jump=130),
            Series("twowalk/no-warmup", "no warm-up", "nowarm", jump=130),
            Series("twowalk/shared", "shared policy", "shared"),
        ),
        caption=ANT,
        every=5,
    ),
    "fig7b": PaperFigure(
        title="Ant Twowalk, one sampled task (paper, Figure 7b)",
        panel="fig7b_AntTwowalk_sampled_task",
        axis="updates",
        steps=GROUP,
        series=(
            Series("twowalk-task/ours", "fresh master over our primitives", "MLSH"),
            Series("twowalk-task/shared", "shared policy, fine-tuned", "shared"),
            Series("twowalk-task/scratch", "single policy from scratch", "single"),
        ),
        caption=f"A seed is the mean of 10 learners on both targets, each with one worker of D = 2000 (paper: 12 workers). {ANT}",
        mean_of_tasks=True,
    ),
    "fig7c": PaperFigure(
        title="Ant Twowalk, K and W (paper, Figure 7c)",
        panel="fig7c_AntTwowalk_hyperparams",
        axis="cycles",
        steps=60 * WORKERS,
        series=(
            Series("twowalk/ours", "K = 2, W = 8", "K2", cycle=32, jump=130),
            Series("twowalk/shared", "K = 1, the shared policy", "K1", cycle=32, method="k1"),
            Series("twowalk/k4", "K = 4", "K4", cycle=32, jump=130),
            Series("twowalk/k8", "K = 8", "K8", cycle=32, jump=130),
            Series("twowalk/no-warmup", "W = 0", "W0", cycle=32, jump=130),
            Series("twowalk/w2", "W = 2", "W5", cycle=26, jump=130),
            Series("twowalk/w16", "W = 16", "W40", cycle=40, jump=130),
        ),
        caption=f"A cycle is W + U iterations: 32 here for W = 8, 60 in the paper for W = 20. {ANT}",
    ),
    "fig7d": PaperFigure(
        title="Humanoid Walk/Crawl, full training (paper, Figure 7d)",
        panel="fig7d_WalkCrawl_full_training",
        axis="iterations",
        steps=WORKERS,
        series=(
            Series("humanoid/ours", "MLSH, our setting", "MLSH", jump=200),
            Series("humanoid/long", "MLSH, primitives form for 550 iterations", jump=550),
            Series("humanoid/shared", "shared policy", "shared"),
        ),
        caption=(
            "8 groups of 1 worker (paper: 10 of 12), D = 2000; physics by implicitfast; the first 200 iterations with one "
            "macro-action an episode unless said otherwise, then N = 200; W = 4, U = 20 (paper: 20, 40)."
        ),
        every=10,
    ),
    "table1": PaperTable(
        title="Humanoid Walk/Crawl combination, transfer (paper, Table 1)",
        series=(
            Series("combination/ours", "MLSH transfer", printed=14_333),
            Series("combination/shared", "shared-policy transfer", printed=6_055),
            Series("combination/scratch", "single policy", printed=-643),
        ),
        caption="In one episode a humanoid walks ahead and crawls back under a slab.",
    ),
    "table2": PaperTable(
        title="Ant obstacle course, transfer (paper, Table 2)",
        series=(
            Series("course/mazes", "MLSH transfer, primitives of the mazes", printed=193),
            Series("course/scratch", "single policy (PPO)", printed=0),
        ),
        caption="A step on the square of the goal earns 1, and all others nothing.",
    ),
}
