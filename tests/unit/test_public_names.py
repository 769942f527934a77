"""The names that `import mlsh_mpi` offers, whatever else has been imported before."""

import subprocess
import sys

import pytest

import mlsh_mpi

PROGRAM = """
import importlib, pkgutil, sys
import mlsh_mpi

names = sorted(module.name for module in pkgutil.walk_packages(mlsh_mpi.__path__, "mlsh_mpi."))
for name in names[:: int(sys.argv[1])]:
    importlib.import_module(name)
assert len(names) > 60
for name in mlsh_mpi.__all__:
    thing = getattr(mlsh_mpi, name)
    print(name, callable(thing), thing.__module__.startswith("mlsh_mpi."), thing.__name__ == name)
try:
    mlsh_mpi.load("nothing")
except mlsh_mpi.UserError as error:
    print(error)
"""


@pytest.mark.parametrize("order", ["1", "-1"])
def test_no_module_hides_a_public_name(order, tmp_path):
    told = subprocess.run([sys.executable, "-c", PROGRAM, order], capture_output=True, text=True, cwd=tmp_path)
    *names, refusal = told.stdout.splitlines() or [told.stderr]
    assert names == [f"{name} True True True" for name in mlsh_mpi.__all__]
    assert refusal.startswith("there is no run folder and no phi.pt 'nothing'")
