"""What lands in site-packages, and under which names."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


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


@pytest.mark.parametrize("folder", ["mlsh_mpi", "envs"])
def test_every_module_is_shipped(wheel, folder):
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if name.endswith(".py")}
    modules = {path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).rglob("*.py")}
    assert modules == {name.partition("/")[2] for name in shipped if name.startswith(f"{folder.replace('envs', 'mlsh_envs')}/")}


@pytest.mark.parametrize("installed_as", ["wheel", "checkout"])
def test_a_users_own_envs_folder_shadows_nothing(wheel, tmp_path, installed_as):
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").write_text("mine = True")
    path = [str(wheel)] if installed_as == "wheel" else []
    program = f"import sys; sys.path[1:1] = {path!r}; import envs, mlsh_envs; assert envs.mine; print(mlsh_envs.__file__)"
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = wheel / "mlsh_envs" if installed_as == "wheel" else ROOT / "envs"
    assert Path(result.stdout.strip()).parent == expected
