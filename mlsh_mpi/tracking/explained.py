"""What a run logs, keeps and exits with, in words: the source of the tables on the reference pages."""

from __future__ import annotations

METRICS: dict[str, dict[str, tuple[str, str]]] = {
    "Progress": {
        "iteration": ("", "number of the iteration, from 1; in a test, one more than `updates`"),
        "environment_steps": (
            "steps",
            "taken in training so far by all workers, without those of evaluations and the final test",
        ),
        "seconds": ("s", "wall time of the run so far, over all its jobs, including evaluations and checkpoints"),
        "updates": ("", "in a test: number of updates of each learner before these episodes were collected"),
    },
    "Returns": {
        "return/mean": (
            "return",
            "of the episodes that ended in this iteration, with exploration: mean over the groups of each group's mean",
        ),
        "return/adapted": (
            "return",
            "the same, only for groups in their joint phase, whose masters have already learned for at least W iterations",
        ),
        "return/adapted/TASK": ("return", "the same, only for groups with that task, if the environment lists its tasks"),
        "return/fresh_master": ("return", "the same, only for groups whose master has had no update yet"),
        "return/without_exploration": (
            "return",
            (
                "in a test: [without exploration](../mlsh_mpi/glossary.md#glossary): no choice of a primitive is "
                "replaced by a random one; masters still sample, and so do primitives without `--deterministic-primitives`"
            ),
        ),
        "return/mean/TASK, return/without_exploration/TASK": (
            "return",
            "in a test: mean over the learners of one task, if several have the same task",
        ),
        "return/before": ("return", "MAML: before the gradient step on the task"),
        "episode/length": ("steps", "mean over the episodes that ended in this iteration"),
        "info/NAME": (
            "the environment's",
            (
                "a number in `info` at the last step of an episode, such as `is_success`: mean over the groups of "
                "each group's mean (in a test, without exploration)"
            ),
        ),
        "info/NAME/adapted": ("the environment's", "the same, only for groups in their joint phase"),
        "info/NAME/TASK": ("the environment's", "in a test: mean over the learners of one task, if several have the same task"),
    },
    "Evaluation": {
        "evaluation/return": ("return", "after W updates, without exploration: mean over all masters"),
        "evaluation/return/TASK": ("return", "the same, only for the masters with that task, if the environment lists its tasks"),
        "evaluation/environment_steps": ("steps", "taken by this evaluation"),
        "evaluation/seconds": ("s", "wall time of this evaluation"),
    },
    "Schedule": {
        "schedule/macro_length": ("steps", "N in this iteration; during the whole-episode iterations, a whole episode"),
        "schedule/joint_groups": (
            "groups",
            "in their joint phase: primitives learn from these (in the first `--early-joint-iterations` from all groups)",
        ),
        "schedule/groups_without_an_end": ("groups", "in which no episode ended, so that they have no return in this iteration"),
    },
    "Who acts": {
        "master/entropy": ("nats", "of a master's policy, without exploration: ln K if it is uniform, 0 if it is deterministic"),
        "primitive/usage_k": ("share", "of all steps in which primitive k was active; in a test, without exploration"),
        "primitive/samples_k": ("samples", "available to primitive k for learning, over all ranks"),
        "primitive/sat_out": (
            "primitives",
            "that skipped the update because they had fewer samples than `--primitive.min-samples`",
        ),
    },
    "Learning": {
        "master/policy_loss, primitive/policy_loss_k": (
            "",
            "the clipped surrogate loss, with advantages normalised to a standard deviation of 1",
        ),
        "master/value_loss, primitive/value_loss_k": (
            "scaled return, squared",
            (
                "squared error of the value network, for shifted and scaled rewards; with `standardise-values`, for "
                "standardised returns"
            ),
        ),
        "master/approximate_kl, primitive/approximate_kl_k": (
            "nats",
            "divergence from the policy that collected the data; if it is well above 0.05, the learning rate is too large",
        ),
        "master/clip_fraction, primitive/clip_fraction_k": ("share", "of samples whose probability ratio is clipped"),
        "master/gradient_norm, primitive/gradient_norm_k": ("", "of a minibatch, before it is clipped"),
        "master/learning_rate, primitive/learning_rate_k": ("", "Adam's step size, after decay and `adaptive-kl`"),
        "master/explained_variance, primitive/explained_variance_k": (
            "share",
            "of the variance of returns that the value network explained before the update: 1 means all of it, 0 or less none",
        ),
        "primitive/entropy_k": ("nats", "of primitive k's actions"),
        "primitive/standard_deviation_k": (
            "half-widths of the action's range",
            "of primitive k's actions, if they are continuous",
        ),
    },
    "Speed": {
        "speed/steps_per_second": (
            "steps/s",
            (
                "of all workers, per second of the iteration's wall time (collecting, learning and waiting, without "
                "checkpoints and evaluations)"
            ),
        ),
        "speed/steps_per_cpu_second": ("steps/s", "of all workers, per second of the CPU time of all ranks"),
        "time/environment, time/policy, time/learning, time/communication": (
            "share",
            "of a rank's wall time in the iteration, mean over the ranks; communication includes waiting for other ranks",
        ),
        "communication/milliseconds": ("ms", "that a rank spends in allreduces and broadcasts, including waiting"),
        "communication/calls": ("", "number of allreduces and broadcasts of a rank, among several ranks"),
        "communication/bytes": ("bytes", "size of their arrays"),
    },
}
"""Sections of the page on metrics: unit and meaning by name, or by several names with commas between them. `k` stands for the
number of a primitive, `TASK` for the label of a task, `NAME` for the name of a number in `info`."""
FILES = {
    "config.json": "the resolved configuration; `--config config.json` starts from it",
    "metrics.jsonl": (
        "one flat JSON object per iteration ([every metric explained](METRICS.md)), whose last entry, "
        "`check`, is a checksum of the others; the same numbers as TensorBoard events (`tensorboard --logdir "
        "runs`), with all settings under Text"
    ),
    "plot.png": "the learning curve, and where each primitive goes or what it earns alone on each task",
    "report.html": "the page of the run for a browser: all of this, and what pictures and films the folder holds, in one file",
    "summary.txt, summary.json": "the final tables",
    "checkpoints/": "the three newest checkpoints",
    "best.pt": (
        "the primitives of the best [evaluation](#evaluation-during-training), if there was any, in the format of `phi.pt`"
    ),
    "phi.pt": 'the primitives; `torch.load("phi.pt", weights_only=True)` reads it',
    "jobs.jsonl, job.sbatch": (
        "a line for each job that worked on the run (when, from which iteration, on which hosts), and the batch script"
    ),
    "traceback.txt": "the error that ended the last job, if it failed",
    "lock": "held by the job that is writing here, so that there is only one",
    "adapt/": (
        "tests, in a folder each: the same files, `adaptation.json` with every learner's curve, and for each "
        "task the best master with its primitives, `hierarchies/TASK.pt`, for `replay` and `Hierarchy.load`"
    ),
}
"""What a run folder contains, by name."""
EXIT_CODES = {
    "0": "finished",
    "1": "an environment, or the job itself, failed",
    "2": "a request that cannot be met: one sentence says why, and what to do",
    "75": "stopped early, in an orderly way; the same command continues. This tells a batch script that there is more to do",
    "130": "interrupted while starting, or by a second INT",
    "other": "the launcher's own, when a rank was killed",
}
"""What the exit codes of a job mean."""
