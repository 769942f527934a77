"""Hosts on this machine: each a network namespace with a name, an address, a shared memory and an sshd of its own, on one bridge.

They share the filesystem, but for what :meth:`Machines.hide` takes from one of them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

TOOLS = ("ip", "sshd", "ssh", "ssh-keygen", "unshare", "nsenter", "mount")
NAMESPACES = ("--net", "--uts", "--mount", "--ipc")
SSHD = """\
Port 22
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
"""
SSH = """\
IdentityFile {folder}/key
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
LogLevel ERROR
"""


def missing() -> str:
    """Why there can be no such hosts here; empty if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [name for name in TOOLS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if absent:
        return f"no {', '.join(absent)}: `apt-get install iproute2 openssh-server openssh-client` (Debian, Ubuntu)"
    tried = subprocess.run(["unshare", *NAMESPACES, "true"], capture_output=True, text=True, check=False)
    return f"no namespaces: {tried.stderr.strip()}" if tried.returncode else ""


class Machines:
    """Running hosts, ended with all their processes when the ``with`` block is left.

    Args:
        folder: empty.
        names: of the hosts.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names = folder, tuple(names)
        self._mark, self._network = f"mlsh{os.getpid() % 100000}", f"10.77.{os.getpid() % 250}"
        self._anchors: dict[str, subprocess.Popen[bytes]] = {}
        self.ssh = f"ssh -F {folder}/ssh_config"
        """A command that reaches them."""
        for key in ("key", "host_key"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key)
        (folder / "sshd_config").write_text(SSHD.format(folder=folder))
        (folder / "ssh_config").write_text(SSH.format(folder=folder))
        lines = [f"{self._network}.{i} {name}\n" for i, name in enumerate(self.names, 1)]
        (folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(lines))
        Path("/run/sshd").mkdir(exist_ok=True)

    def __enter__(self) -> Machines:
        try:
            _run("ip", "link", "add", self._mark, "type", "bridge")
            _run("ip", "link", "set", self._mark, "up")
            for index, name in enumerate(self.names, 1):
                self._begin(index, name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.names:
            self.kill(name)
        with contextlib.suppress(subprocess.CalledProcessError):
            _run("ip", "link", "delete", self._mark)

    def inside(self, name: str, *command: object) -> list[str]:
        """The command line that runs a command on a host."""
        return ["nsenter", f"--target={self._anchors[name].pid}", *NAMESPACES, "--wd=.", *map(str, command)]

    def hide(self, name: str, path: Path) -> None:
        """Makes an empty folder of one, on one host only."""
        _run(*self.inside(name, "mount", "-t", "tmpfs", "tmpfs", path))

    def replace(self, name: str, path: Path, other: Path) -> None:
        """Puts another file in the place of one, on one host only."""
        _run(*self.inside(name, "mount", "--bind", other, path))

    def show(self, name: str, path: Path) -> None:
        """Takes :meth:`hide` or :meth:`replace` back."""
        _run(*self.inside(name, "umount", path))

    def cut(self, name: str) -> None:
        """Nothing gets to the host or from it."""
        _run("ip", "link", "set", self._port(name), "down")

    def mend(self, name: str) -> None:
        """Takes :meth:`cut` back."""
        _run("ip", "link", "set", self._port(name), "up")

    def processes(self, name: str, chosen: Callable[[list[str]], bool] = bool) -> list[int]:
        """Living processes on a host, but for its init, whose command line is chosen."""
        anchor = self._anchors[name].pid
        if self._anchors[name].poll() is not None:
            return []
        network, found = os.readlink(f"/proc/{anchor}/ns/net"), []
        for path in Path("/proc").iterdir():
            if path.name.isdigit() and int(path.name) != anchor:
                with contextlib.suppress(OSError):
                    words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
                    if words[0] and chosen(words) and os.readlink(path / "ns" / "net") == network:
                        found.append(int(path.name))
        return found

    def kill(self, name: str) -> None:
        """The host loses its power: no process of it says goodbye."""
        anchor = self._anchors.get(name)
        if anchor is None or anchor.poll() is not None:
            return
        with contextlib.suppress(subprocess.CalledProcessError):
            self.cut(name)
        while processes := self.processes(name):
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.02)
        anchor.kill()
        anchor.wait()

    def restart(self, name: str) -> None:
        """A host that was killed is back, with nothing running."""
        self._begin(self.names.index(name) + 1, name)

    def _begin(self, index: int, name: str) -> None:
        setup = f"hostname {name} && mount --make-rprivate / && mount -t tmpfs tmpfs /dev/shm && exec sleep infinity"
        anchor = subprocess.Popen(["unshare", *NAMESPACES, "sh", "-c", setup], start_new_session=True, stdin=subprocess.DEVNULL)
        self._anchors[name] = anchor
        deadline = time.monotonic() + 60
        while Path(f"/proc/{anchor.pid}/comm").read_text() != "sleep\n":
            assert time.monotonic() < deadline, f"the host {name} does not start"
            time.sleep(0.02)
        port, inner = self._port(name), f"{self._port(name)}i"
        with contextlib.suppress(subprocess.CalledProcessError):
            _run("ip", "link", "delete", port)
        _run("ip", "link", "add", port, "type", "veth", "peer", "name", inner)
        _run("ip", "link", "set", inner, "netns", anchor.pid)
        _run("ip", "link", "set", port, "master", self._mark, "up")
        _run(*self.inside(name, "ip", "link", "set", inner, "address", f"02:00:0a:4d:00:{index:02x}"))  # others remember it
        for command in (f"address add {self._network}.{index}/24 dev eth0", "link set eth0 up", "link set lo up"):
            if command.startswith("address"):
                _run(*self.inside(name, "ip", "link", "set", inner, "name", "eth0"))
            _run(*self.inside(name, "ip", *command.split()))
        # As where containers run: a network that has the same address on every host and leads nowhere.
        for command in ("link add docker0 type bridge", "address add 172.17.0.1/16 dev docker0", "link set docker0 up"):
            _run(*self.inside(name, "ip", *command.split()))
        _run(*self.inside(name, "mount", "--bind", self.folder / "hosts", "/etc/hosts"))
        _run(*self.inside(name, "/usr/sbin/sshd", "-f", self.folder / "sshd_config"))

    def _port(self, name: str) -> str:
        return f"{self._mark}p{self.names.index(name) + 1}"


def _run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
