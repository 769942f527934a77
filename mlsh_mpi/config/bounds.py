"""The range of every setting that is a number, by its name."""

from __future__ import annotations

from mlsh_mpi.errors import UserError

_POSITIVE = {
    *("primitives", "macro_length", "joint", "groups", "workers", "steps", "epochs", "trial", "inner_rate"),
    *(
        "minibatch_size",
        "minibatches",
        "min_samples",
        "iterations",
        "test_masters",
        "test_episodes",
        "sync_interval",
        "checkpoint_interval",
        "time_limit",
        "patience",
        "learning_rate",
        "memory",
        "clip",
        "reward_scale",
        "updates",
        "initial_std",
        "max_gradient_norm",
        "adaptive_kl",
        "target_kl",
    ),
}
_NOT_NEGATIVE = {"warmup", "seed", "forming_iterations", "value_coefficient", "decay", "checkpoint_minutes"}
_FRACTIONS = {"exploration", "gamma", "lam"}


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def check_ranges(concern: object, prefix: str) -> None:
    """Refuses settings that are out of their range.

    Args:
        concern: a dataclass of settings.
        prefix: of its options.

    Raises:
        UserError: naming the option, its value and its range.
    """
    for name, value in vars(concern).items():
        option = _option(prefix + name)
        if value is None or isinstance(value, (str, tuple, bool)):
            continue
        if name in _POSITIVE and not value > 0:
            raise UserError(f"{option} must be greater than 0, but is {value}")
        if name in _NOT_NEGATIVE and not value >= 0:
            raise UserError(f"{option} must not be negative, but is {value}")
        if name in _FRACTIONS and not 0 <= value <= 1:
            raise UserError(f"{option} must be between 0 and 1, but is {value}")
