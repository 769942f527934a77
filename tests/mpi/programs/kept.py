"""Runs that were damaged between two starts, one after another in one process; says of each whether all was as it should be.

python kept.py
"""

import contextlib
import io
import json
import shutil
import sys
import traceback
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch

import mlsh_mpi
from mlsh_mpi.commands import adapt

SIZES = {
    "steps": 100,
    "groups": 2,
    "warmup": 1,
    "test_masters": 2,
    "test_episodes": 1,
    "checkpoint_interval": 1,
    "primitive": {"epochs": 1, "minibatches": 2},
    "iterations": 3,
}
PRESETS = ("moving-bandits", "moving-bandits-rl2", "moving-bandits-maml")


class Named(gym.Env):
    """Its tasks have names that others would read as markup."""

    observation_space, action_space = gym.spaces.Box(-1, 1, (1,), np.float32), gym.spaces.Discrete(2)
    names = ("[left]", "maze[/a]", "$x^$", "_x", ":star:", "%s {x}", "two\nlines\x1b[2J")

    def tasks(self, split="train"):
        return self.names

    def sample_task(self, rng, split="train"):
        return self.names[rng.integers(len(self.names))]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.task = options["task"]
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), float(action), False, False, {}


class Unclosable(Named):
    """Raises when it is closed, as one without a viewer does."""

    def close(self):
        raise AttributeError("no attribute 'viewer'")


class Leaves(Named):
    """Ends the process when it is closed."""

    def close(self):
        sys.exit(3)


def said(call):
    """What a call says on standard error."""
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        call()
    return stderr.getvalue()


def newest(folder):
    return max(Path(folder).glob("checkpoints/*.pt"))


def learned(folder):
    """What the last checkpoint holds of phi and, where there are masters, of theta."""
    saved = torch.load(newest(folder), weights_only=True)
    return [values for part in ("primitives", "masters") for values in saved.get(part, {}).values()]


def same(one, other):
    return len(one) == len(other) and all(map(torch.equal, one, other))


def altered(folder, change):
    """Changes the contents of the newest checkpoint, which stays a whole archive."""
    saved = torch.load(newest(folder), weights_only=True)
    change(saved)
    torch.save(saved, newest(folder))


def longer():
    """A run that is made longer equals one in one go with the whole-episode iterations with which it began."""
    sizes = SIZES | {"primitive_decay": 2.0}
    mlsh_mpi.run(**sizes | {"iterations": 7}, folder="cut")
    note = said(lambda: mlsh_mpi.run(**sizes | {"iterations": 12}, folder="cut"))
    assert "continues with the --whole-episode-iterations 5 that it began with; a new one would have 8" in note, note
    again = said(lambda: mlsh_mpi.run(**sizes | {"iterations": 12}, folder="cut"))
    assert again == "", again
    mlsh_mpi.run(**sizes | {"iterations": 12}, whole_episode_iterations=5, folder="whole")
    assert same(learned("cut"), learned("whole"))


def unfit(preset):
    """A checkpoint that a job cannot go on from is named and passed over; what is missing of a finished run is made again."""
    folder = mlsh_mpi.run(preset, **SIZES, folder=f"unfit-{preset}").folder
    right, phi = learned(folder), (folder / "phi.pt").read_bytes()
    (folder / "phi.pt").unlink()
    (folder / "summary.json").write_text("null")
    assert said(lambda: mlsh_mpi.run(preset, **SIZES, folder=str(folder))) == ""
    assert (folder / "phi.pt").read_bytes() == phi
    assert json.loads((folder / "summary.json").read_text())["iterations"] == 3

    def lacks(saved):
        del saved["primitives"]

    def nan(saved):
        saved["primitives"]["parameters"][0, 3] = float("nan")

    changes = (lacks, nan, lambda saved: saved["masters"].pop("mean"), lambda saved: saved.update(groups="two"))
    for change in changes if preset == PRESETS[0] else changes[:1]:
        altered(folder, change)
        name = newest(folder).name
        told = said(lambda: mlsh_mpi.run(preset, **SIZES, folder=str(folder)))
        assert f"{name} cannot be used: " in told, told
        assert told.count("\n") == 1, told
        assert same(learned(folder), right)


def log_lost():
    """A run is finished from its checkpoints, whatever its log says."""
    folder = mlsh_mpi.run(**SIZES, folder="log").folder
    log, phi = folder / "metrics.jsonl", (folder / "phi.pt").read_bytes()
    lines = log.read_bytes().splitlines(keepends=True)
    one, *others = lines
    for data in (one + others[0].replace(b"1", b"2") + others[1], None):
        log.unlink()
        if data is not None:
            log.write_bytes(data)
        (folder / "summary.json").unlink()
        told = said(lambda: mlsh_mpi.run(**SIZES, folder=str(folder)))
        assert f"are missing in {log}" in told, told
        assert ("line 2 cannot be read" in told) == (data is not None), told
        summary = json.loads((folder / "summary.json").read_text())
        assert (summary["iterations"], summary["environment_steps"]) == (3, 600)
        assert (folder / "phi.pt").read_bytes() == phi
    assert mlsh_mpi.Run(folder).curves == {}


def names():
    """Text of users is shown as it is, and on one line."""
    env = {"env": Named, "episode_length": 10, "macro_length": 5, "folder": "names"}
    mlsh_mpi.run(**SIZES | {"steps": 20, "groups": 7, "test_masters": 7}, **env)
    text = Path("names/summary.txt").read_text()
    for name in (*Named.names[:-1], r"two\nlines\x1b[2J"):
        assert text.count(f"│ {name} ") == 2, (name, text)


def closing(env):
    """What goes wrong when an environment is closed ends nothing, and is said once."""
    how = {"env": env, "episode_length": 10, "macro_length": 5, "folder": env.__name__}
    told = said(lambda: mlsh_mpi.run(**SIZES | {"steps": 20}, **how))
    assert told.count(" when it was closed, after its work was done") == told.count("\n") == 1, told
    assert (Path(env.__name__) / "summary.json").exists()


def a_test():
    """A test goes on from the last checkpoint that it can use, and what is missing of it is made again."""
    mlsh_mpi.run(**SIZES, folder="trained")
    sys.argv = ["adapt", "trained", "--updates", "2", "--checkpoint-interval", "1"]
    adapt.main()
    (folder,) = Path("trained/adapt").iterdir()
    kept = {path: path.read_bytes() for path in (folder / "adaptation.json", *(folder / "hierarchies").iterdir())}
    assert len(kept) == 3

    def nan(saved):
        next(iter(saved["learners"].values()))[0] = float("nan")

    for change in (None, nan):
        if change is not None:
            altered(folder, change)
        (folder / "adaptation.json").unlink()
        shutil.rmtree(folder / "hierarchies")
        told = said(adapt.main)
        assert ("cannot be used" in told) == (change is not None), told
        assert kept == {path: path.read_bytes() for path in kept}


def main():
    scenes = {"longer": longer, "log": log_lost, "names": names, "test": a_test}
    scenes |= {f"unfit {preset}": lambda preset=preset: unfit(preset) for preset in PRESETS}
    scenes |= {f"closing {env.__name__}": lambda env=env: closing(env) for env in (Unclosable, Leaves)}
    for name, scene in scenes.items():
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                scene()
            print(f"{name}: as it should be", flush=True)
        except BaseException:
            print(f"{name}: {traceback.format_exc()}", flush=True)


main()
