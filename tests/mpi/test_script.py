"""A user's own environment from a script: the README's lines as they stand, and what rank 0 alone knows."""

import json
import re
from pathlib import Path

import pytest

from mpi.launcher import mpirun

pytestmark = pytest.mark.mpi
README = Path(__file__).resolve().parents[2] / "README.md"
SMALL = 'steps=100, groups=3, iterations=3, warmup=1, forming_iterations=0, test_masters=3, folder="out"'


def readme_lines():
    section = README.read_text().split("## Your own environment")[1]
    return re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)


def test_the_readme_example_is_short_and_runs_as_it_stands(tmp_path):
    example = readme_lines()
    assert len(example.splitlines()) < 15
    (tmp_path / "corridor.py").write_text(example)
    mpirun(2, "corridor.py", cwd=tmp_path).succeeded()
    summary = json.loads((tmp_path / "runs/corridor/summary.json").read_text())
    assert set(summary["tasks"]) == {"-1", "1"}
    assert min(task["adapted"] for task in summary["tasks"].values()) > 5


@pytest.mark.parametrize(
    "env",
    [
        "lambda: Corridor()",
        "(lambda: Corridor()) if MPI.COMM_WORLD.rank == 0 else None",
        "type('Longer', (Corridor,), {'factor': 2}) if MPI.COMM_WORLD.rank == 0 else None",
    ],
    ids=["lambda", "lambda on rank 0 only", "class on rank 0 only"],
)
def test_what_a_script_passes_reaches_every_rank(tmp_path, env):
    definition = readme_lines().split("mlsh_mpi.run(")[0]
    call = f"mlsh_mpi.run(env={env}, episode_length=20, macro_length=5, {SMALL})"
    (tmp_path / "script.py").write_text(f"{definition}\nfrom mpi4py import MPI\n{call}\n")
    mpirun(3, "script.py", cwd=tmp_path).succeeded()
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["environment"]["env"].startswith("script:")
    assert (tmp_path / "out/summary.json").exists()
