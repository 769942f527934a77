"""What lands in site-packages, and under which names."""

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "checkout"
    left_out = shutil.ignore_patterns(".git", ".venv*", ".*_cache", "__pycache__", "runs", "build", "*.egg-info")
    shutil.copytree(ROOT, copy, ignore=left_out)
    command = "-m pip wheel -q --disable-pip-version-check --no-index --no-deps --no-build-isolation -w".split()
    subprocess.run([sys.executable, *command, folder, copy], check=True)
    (path,) = folder.glob("*.whl")
    return path


def test_only_the_two_packages_are_shipped(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"mlsh_mpi", "mlsh_envs", "mlsh_mpi-0.1.0.dist-info"}
    assert {"mlsh_mpi/py.typed", "mlsh_envs/py.typed"} <= set(names)


@pytest.mark.parametrize("folder", ["mlsh_mpi", "envs/mlsh_envs"])
def test_every_module_is_shipped(wheel, folder):
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if name.endswith(".py")}
    modules = {path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).rglob("*.py")}
    assert modules == {name.partition("/")[2] for name in shipped if name.startswith(f"{Path(folder).name}/")}


@pytest.mark.parametrize("installed_as", ["wheel", "checkout"])
def test_a_users_own_envs_folder_shadows_nothing(wheel, tmp_path, installed_as):
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").write_text("mine = True")
    path = [str(wheel)] if installed_as == "wheel" else []
    program = f"import sys; sys.path[1:1] = {path!r}; import envs, mlsh_envs; assert envs.mine; print(mlsh_envs.__file__)"
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = wheel / "mlsh_envs" if installed_as == "wheel" else ROOT / "envs/mlsh_envs"
    assert Path(result.stdout.strip()).parent == expected


def lower_bounds():
    """(package, version) of every `package>=version` in setup.py, and of the build system's in pyproject.toml."""
    build_system = (ROOT / "pyproject.toml").read_text().split("requires = ", 1)[1].split("\n", 1)[0]
    setup = ast.walk(ast.parse((ROOT / "setup.py").read_text()))
    keywords = {node.arg: node.value for node in setup if isinstance(node, ast.keyword)}
    extras = ast.literal_eval(keywords["extras_require"]).values()
    for listed in (ast.literal_eval(build_system), ast.literal_eval(keywords["install_requires"]), *extras):
        for requirement in map(Requirement, listed):
            bounds = [Version(part.version) for part in requirement.specifier if part.operator == ">="]
            assert len(bounds) == 1, f"{requirement} has no lower bound"
            yield requirement.name, bounds[0]


def test_the_lowest_versions_that_are_tested_are_the_lower_bounds():
    lines = (line.partition("#")[0].strip() for line in (ROOT / "launch" / "lowest.txt").read_text().splitlines())
    pins = {pin.name: Version(str(pin.specifier).removeprefix("==")) for pin in map(Requirement, filter(None, lines))}
    bounds = list(lower_bounds())
    assert {"torch", "mpich", "pytest", "setuptools"} <= {name for name, _ in bounds}
    assert [(name, version, pins.get(name)) for name, version in bounds if pins.get(name) != version] == []
