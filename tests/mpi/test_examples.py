"""The short scripts of launch/examples run as they stand, but for fewer iterations, alone and under mpirun."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlsh_mpi.policies.primitives import load
from mpi.families import ROOT
from mpi.launcher import mpirun

EXAMPLES = ROOT / "launch" / "examples"
BRIEF = {
    "episode_length": 40,
    "macro_length": 20,
    "steps": 40,
    "groups": 2,
    "iterations": 2,
    "whole_episode_iterations": 1,
    "warmup": 1,
    "joint": 1,
}
BRIEF |= {"test_masters": 2, "test_episodes": 1, "primitive": {"epochs": 1, "minibatches": 1}}
TRACKER = """
class Tracker:
    logged = []
    def log(self, metrics, step):
        self.logged.append(step)
    def finish(self):
        print("logged", self.logged)
def init(project, mode):
    assert (project, mode) == ("mlsh", "offline")
    return Tracker()
"""
"""In place of the package wandb, which is large."""
MLFLOW = """
import contextlib
logged = []
set_tracking_uri = lambda uri: None
get_tracking_uri = lambda: f"logged {logged}"
start_run = lambda run_name: contextlib.nullcontext()
def log_metrics(metrics, step):
    assert not [name for name in metrics if "=" in name]
    logged.append(step)
"""
"""In place of MLflow, too."""


def copied(folder, name):
    """An example with fewer iterations, in an empty folder."""
    script = folder / name
    text = (EXAMPLES / name).read_text().replace("iterations=100", "iterations=4, groups=4, test_masters=2")
    script.write_text(re.sub(r"^    length = .*", f"    length = {BRIEF}", text, flags=re.MULTILINE))
    return script


@pytest.mark.parametrize("ranks", [1, 2])
def test_train_adapt_and_act(tmp_path, ranks):
    result = mpirun(ranks, copied(tmp_path, "train_adapt_act.py"), cwd=tmp_path)
    result.succeeded()
    assert result.stdout.count("('goal=0', 'goal=1')") == ranks  # lines of two ranks may be written in any order
    assert len(re.findall(r"return \d+\.0", result.stdout)) == ranks
    assert (tmp_path / "goal0.pt").exists()


OTHERS = [
    ("use_primitives.py", "the ant is at ["),
    ("sb3_master.py", "it chooses walk"),
    ("log_elsewhere.py", "logged [1, 2"),
    ("log_mlflow.py", "logged [1, 2"),
    ("own_mujoco.py", "direction -1 return"),
    ("torchrl_actor.py", "the ant is at ["),
    ("without_torch.py", "the ant is at ["),
    ("control_loop.py", "torques ["),
]


@pytest.mark.parametrize(("name", "said"), OTHERS)
def test_the_others(tmp_path, name, said):
    (tmp_path / "wandb.py").write_text(TRACKER)
    (tmp_path / "mlflow.py").write_text(MLFLOW)
    for suffix in (".npz", ".onnx"):
        load("ant-twowalk").export(tmp_path / f"ant-twowalk{suffix}")
    command = [sys.executable, copied(tmp_path, name)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert said in result.stdout


@pytest.mark.usefixtures("draws")
def test_the_notebook(tmp_path):
    """Its cells as a script: %pip is left out, ! becomes a shell, and IPython is not needed; with fewer updates and steps."""
    lines = [
        "import subprocess, sys, types",
        "shown = types.ModuleType('IPython.display')",
        "shown.Video = lambda *_, **__: None",
    ]
    lines.append("sys.modules |= {'IPython': types.ModuleType('IPython'), 'IPython.display': shown}")
    for cell in json.loads((EXAMPLES / "first_steps.ipynb").read_text())["cells"]:
        code = "".join(cell["source"]).replace("updates=6", "updates=1").replace("8000", "1000")
        for line in code.splitlines() if cell["cell_type"] == "code" else ():
            shell = f"subprocess.run({line[1:]!r}, shell=True, check=True)"
            lines += [] if line.startswith("%pip") else [shell if line.startswith("!") else line]
    (tmp_path / "notebook.py").write_text("\n".join(lines))
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "notebook.py"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("after 6 updates") == 4
    assert (tmp_path / "maze.mp4").stat().st_size > 10_000


def test_every_example_is_tested():
    tested = {"train_adapt_act.py", *(name for name, _ in OTHERS)}
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested
