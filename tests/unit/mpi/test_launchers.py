"""The launcher's processes are found above a rank, and ended when they hang."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mlsh_mpi.mpi import launchers
from mlsh_mpi.mpi.software import differences, fingerprint, software

RANK = """
from mlsh_mpi.mpi import launchers
print([(path / "comm").read_text().strip() for path in launchers.above()], flush=True)
launchers.kill_later(0.5)
"""


def test_nothing_is_above_a_process_without_a_launcher():
    rank = f"{sys.executable} -c 'from mlsh_mpi.mpi import launchers; print(launchers.above()); launchers.kill_later(0)'; true"
    assert subprocess.run(["sh", "-c", rank], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_launcher_that_hangs_is_ended_with_its_proxy(tmp_path):
    """Shell scripts by the names of MPICH's processes; the outer one would wait for a minute."""
    (tmp_path / "rank.py").write_text(RANK)
    bodies = {
        "mpirun": f"{tmp_path}/hydra_pmi_proxy\nsleep 60\n",
        "hydra_pmi_proxy": f"{sys.executable} {tmp_path}/rank.py\nsleep 60\n",
    }
    for name, body in bodies.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}")
        (tmp_path / name).chmod(0o755)
    began = time.monotonic()
    process = subprocess.Popen([tmp_path / "mpirun"], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "['hydra_pmi_proxy', 'mpirun']\n"
    assert process.wait(timeout=30) == -signal.SIGKILL
    process.stdout.close()
    assert time.monotonic() - began < 30
    subprocess.run(["pkill", "-s", str(process.pid), "sleep"], check=False)


WAITS = """
import sys
from mlsh_mpi.mpi import launchers
lifeline = launchers.Lifeline()
print(lifeline.gone(), flush=True)
sys.stdin.readline()
print(lifeline.gone(), flush=True)
"""


@pytest.mark.parametrize(("launcher", "rank", "gone"), [("mpirun", "1", True), ("mpirun", None, False), ("other", "1", False)])
def test_a_rank_knows_when_its_launcher_has_gone_behind_a_wrapper_too(tmp_path, launcher, rank, gone):
    """Without a launcher, or if a script of another name has started it, a process may outlive its parents."""
    (tmp_path / "rank.py").write_text(WAITS)
    (tmp_path / "wrapper").write_text(f"#!/bin/sh\n{sys.executable} {tmp_path}/rank.py <&3\ntrue\n")
    (tmp_path / launcher).write_text(f"#!/bin/sh\nexec 3<&0\n{tmp_path}/wrapper <&3 &\nwait\n")
    for name in ("wrapper", launcher):
        (tmp_path / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in launchers.RANK_VARIABLES}
    environment |= {"PMI_RANK": rank} if rank else {}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([tmp_path / launcher], env=environment, start_new_session=True, **pipes) as process:
        assert process.stdout.readline() == "False\n"
        process.kill()
        process.wait()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == f"{gone}\n"


# What has to be the same on every host


def test_software_is_named_with_its_version():
    found = software()
    assert found["Python"] == sys.version.split()[0]
    assert all(found[name] for name in ("numpy", "torch", "gymnasium", "mujoco"))
    assert found["mlsh_mpi"] == fingerprint("mlsh_mpi") != found["mlsh_envs"] != fingerprint("no_such_package")


def test_differences_are_in_words():
    here = {"torch": "2.13.0", "numpy": "2.4", "mujoco": "4.0.0"}
    assert differences(here, here) == []
    assert differences(here, {"torch": "2.12.0", "numpy": "2.4"}) == [
        "torch 2.12.0 instead of 2.13.0",
        "mujoco none instead of 4.0.0",
    ]
