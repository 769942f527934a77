"""A user's own environment from a script: the README's lines as they stand, and what rank 0 alone knows."""

import json
import re
import sys
from pathlib import Path

import pytest

from mpi.launcher import Job, mpirun, mpirun_path, python

pytestmark = pytest.mark.mpi
README = Path(__file__).resolve().parents[2] / "README.md"
SMALL = 'steps=100, groups=3, iterations=3, warmup=1, whole_episode_iterations=0, test_masters=3, folder="out"'


def readme_lines():
    section = README.read_text().split("## Your own environment")[1]
    return re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)


def test_the_readme_example_is_short_and_runs_as_it_stands(tmp_path):
    example = readme_lines()
    assert len(example.splitlines()) <= 15
    (tmp_path / "corridor.py").write_text(example)
    mpirun(2, "corridor.py", cwd=tmp_path).succeeded()
    assert not mpirun(1, "-c", "import corridor", cwd=tmp_path).stdout
    summary = json.loads((tmp_path / "runs/Corridor-seed0/summary.json").read_text())
    assert set(summary["tasks"]) == {"-1", "1"}
    assert min(task["adapted"] for task in summary["tasks"].values()) > 5


def test_the_installed_command_finds_a_module_of_the_current_folder(tmp_path):
    (tmp_path / "corridor.py").write_text(readme_lines())
    mlsh, *options = Path(sys.executable).parent / "mlsh", *"--episode-length 20 --macro-length 5 --steps 100".split()
    command = [mpirun_path(), "-np", "1", mlsh, "train", "ant-mazes", "--env", "corridor:Corridor", *options, "--smoke"]
    with Job(command, tmp_path) as job:
        assert "Everything is in runs/" in job.wait().succeeded().stdout


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
    definition = readme_lines().split("if __name__")[0]
    call = f"mlsh_mpi.run(env={env}, episode_length=20, macro_length=5, {SMALL})"
    (tmp_path / "script.py").write_text(f"{definition}\nfrom mpi4py import MPI\n{call}\n")
    said = mpirun(3, "script.py", cwd=tmp_path).succeeded().stdout
    assert said.count("has no preset: discrete actions, so the settings of moving-bandits\n") == 1
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["environment"]["env"].startswith("script:")
    assert (tmp_path / "out/summary.json").exists()


FAMILY = """
import mlsh_envs, mlsh_mpi
reward = lambda task, observation, action, info: float(-task * observation[0])
family = mlsh_envs.with_tasks("CartPole-v1", [1, -1], reward=reward, held_out=[2])
run = mlsh_mpi.run(env=family, episode_length=20, macro_length=5, %s)
adapted = mlsh_mpi.adapt(run, env=family, updates=1, held_out=True)
from mpi4py import MPI
with open(f"seen-{MPI.COMM_WORLD.rank}", "w") as file:  # what two ranks print may be mixed
    print(sorted(run.summary["tasks"]), set(adapted.tasks), file=file)
"""


def test_a_family_in_a_line_reaches_every_rank(tmp_path):
    (tmp_path / "script.py").write_text(FAMILY % SMALL)
    mpirun(2, "script.py", cwd=tmp_path).succeeded()
    assert [path.read_text() for path in tmp_path.glob("seen-*")] == ["['-1', '1'] {'2'}\n"] * 2
    assert json.loads((tmp_path / "out/config.json").read_text())["environment"]["env"] == "script:CartPole-v1"


def test_tasks_that_are_settings_can_be_named_on_the_command_line(tmp_path):
    tasks = "--env Pendulum-v1 --task-settings g=5.0 g=15.0 --episode-length 20 --macro-length 5 --folder out".split()
    sizes = (
        "--steps 40 --groups 2 --iterations 2 --warmup 1 --whole-episode-iterations 0 --test-masters 2 --test-episodes 1".split()
    )
    mpirun(2, "-m", "mlsh_mpi.train", *tasks, *sizes, cwd=tmp_path).succeeded()
    assert set(json.loads((tmp_path / "out/summary.json").read_text())["tasks"]) == {"g=5.0", "g=15.0"}
    result = mpirun(1, "-m", "mlsh_mpi", "adapt", "out", "--task", "g=15.0", "--updates", "1", cwd=tmp_path).succeeded()
    assert "g=15.0" in result.stdout


LOOP = """
import mlsh_mpi
from mlsh_mpi import run
from mlsh_mpi.commands.train import main
from corridor import Corridor, SIZES
for seed in range(2):
    for call in (run, mlsh_mpi.run):
        assert str(call(env=Corridor, seed=seed, folder=f"run{seed}", **SIZES).folder) == f"run{seed}"
assert mlsh_mpi.run is run and callable(run)
"""

MISTAKES = """
import os, signal, threading
import mlsh_mpi
from corridor import Corridor, SIZES

class Leaves(Corridor):
    steps = 0
    def reset(self, seed=None, options=None):
        self.is_trial = seed < 8  # one of the episodes that are tried before a run
        return super().reset(seed, options)
    def step(self, action):
        self.steps += not self.is_trial
        if self.steps > 30:
            raise SystemExit(0)
        return super().step(action)

class NamesLeave(Corridor):
    def task_to_json(self, task):
        if os.path.exists("names/metrics.jsonl"):
            raise SystemExit(0)
        return task

class Signalled(Corridor):
    def step(self, action):
        os.kill(os.getpid(), signal.SIGUSR1)
        return super().step(action)

def caught(kind, **more):
    try:
        mlsh_mpi.run(**{"env": Corridor, "folder": "caught", **SIZES, **more})
    except kind as error:
        return error
    raise AssertionError(f"no {kind}")

assert "did you mean iterations?" in str(caught(mlsh_mpi.UserError, iteration=3))
assert "no environment 'Corridoor'" in str(caught(mlsh_mpi.UserError, env="Corridoor"))
assert "worker 0" in str(caught(mlsh_mpi.EnvironmentFault, env=Leaves, folder="leaves"))
assert "worker 0" in str(caught(mlsh_mpi.EnvironmentFault, env=Leaves, folder="leaves"))  # nobody holds its folder
assert "SystemExit: 0 (mistakes.py" in str(caught(mlsh_mpi.EnvironmentFault, env=NamesLeave, folder="names"))
assert caught(SystemExit, env=Signalled, folder="signalled").code == 75
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

found = []
other = threading.Thread(target=lambda: found.append(mlsh_mpi.run(env=Corridor, folder="thread", **SIZES | {"iterations": 30})))
other.start()
while not os.path.exists("thread/metrics.jsonl"):
    pass
assert "one job at a time" in str(caught(mlsh_mpi.UserError))
other.join()
assert str(found[0]) == "thread"
mlsh_mpi.run(env=Corridor, folder="after", **SIZES)
assert {thread.name for thread in threading.enumerate()} == {"MainThread"}
print("all caught")
"""

TOGETHER = """
import threading
import mlsh_mpi
from corridor import Corridor, SIZES
lock = threading.Lock()
{call}
"""


@pytest.fixture
def corridor(tmp_path):
    """A folder with README's environment in a module."""
    sizes = f"SIZES = dict({SMALL.replace(', folder=' + chr(34) + 'out' + chr(34), '')}, episode_length=20, macro_length=5)"
    (tmp_path / "corridor.py").write_text(readme_lines().split("if __name__")[0] + sizes)
    return tmp_path


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_script_may_run_as_often_as_it_likes(corridor, ranks):
    (corridor / "loop.py").write_text(LOOP)
    result = mpirun(ranks, "loop.py", cwd=corridor).succeeded()
    assert result.stdout.count("Everything is in run") == 2
    assert result.stdout.count("holds this run, finished") == 2


def test_an_environment_with_a_preset_begins_with_its_settings(tmp_path):
    (tmp_path / "script.py").write_text(f"import mlsh_mpi\nmlsh_mpi.run(env='mlsh/Allwalk-v0', {SMALL})\n")
    result = mpirun(2, "script.py", cwd=tmp_path).succeeded()
    assert result.stdout.count("mlsh/Allwalk-v0 begins with the settings of the preset allwalk\n") == 1
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert (config["preset"], config["hierarchy"]["primitives"]) == ("allwalk", 4)


def test_an_environment_typed_into_an_interpreter_needs_no_file(corridor):
    call = "from corridor import SIZES\nmlsh_mpi.run(env=Corridor, folder='run', **SIZES)"
    typed = f"{readme_lines().split('if __name__')[0]}\n{call}"
    python("-c", typed, cwd=corridor).succeeded()
    assert (corridor / "run" / "summary.json").exists()


def test_a_lone_script_gets_exceptions_and_its_process_back(corridor):
    (corridor / "mistakes.py").write_text(MISTAKES)
    assert "all caught" in python("mistakes.py", cwd=corridor).succeeded().stdout


@pytest.mark.parametrize(
    ("call", "says", "code"),
    [
        ("mlsh_mpi.run(env=Corridor, iteration=5)", "did you mean iterations?", 2),
        ("mlsh_mpi.run(env=lambda: (lock, Corridor())[1], **SIZES)", "because of the variable lock, a lock (", 2),
    ],
)
def test_in_a_script_with_several_ranks_a_mistake_ends_the_job_in_a_sentence(corridor, call, says, code):
    (corridor / "together.py").write_text(TOGETHER.format(call=call))
    result = mpirun(2, "together.py", cwd=corridor)
    assert result.code == code
    (line,) = result.told
    assert says in line


def test_an_environment_by_name_is_kept_by_name_and_can_be_tested_afterwards(corridor):
    text = 'import gymnasium as gym\ngym.register("my/Many-v0", "corridor:Corridor", max_episode_steps=20)\n'
    (corridor / "my_envs.py").write_text(text)
    (corridor / "script.py").write_text(
        "import mlsh_mpi\nfrom corridor import SIZES\nmlsh_mpi.run(env='my_envs:my/Many-v0', folder='named', **SIZES)\n"
    )
    mpirun(2, "script.py", cwd=corridor).succeeded()
    assert json.loads((corridor / "named/config.json").read_text())["environment"]["env"] == "my_envs:my/Many-v0"
    python("-m", "mlsh_mpi", "adapt", "named", "--trust", "--updates", 1, "--test-masters", 2, cwd=corridor).succeeded()
    result = python("-m", "mlsh_mpi", "adapt", "named", "--env", "my/Many-v0", cwd=corridor)
    assert result.code == 2
    assert "module:id for one that your module registers" in result.stderr
