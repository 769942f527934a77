"""What an iteration's sums and broadcasts cost: measured here and over a slow wire, and foretold for a cluster.

python tests/bench/communication.py [host] [wire] [model] [--quick]

host: one sum at 2 to 64 ranks on this machine's cores.

wire: two ranks in two network namespaces joined by a wire that delays every frame (needs root; two TAP devices and a process
between them, for not every kernel has tc's netem): how many delays a sum takes, and whether a trainer's iteration then costs what
the model says. MPICH only.

model: an iteration of Ant Twowalk with one worker a rank on an ordinary cluster.

The model for a network is the usual one (Thakur et al. 2005): a message costs a latency and its bytes; a sum over p ranks takes
log2 p messages of all bytes, or 2 log2 p messages of 2 (p - 1) / p of all bytes together, whichever is less; a broadcast the
same.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import os
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.table import Table

from jobs import Figures, begun, figures, run_program, train_program

CORES = len(os.sched_getaffinity(0))
NETWORKS = {"10 Gb/s Ethernet": (30e-6, 1.1e9), "100 Gb/s InfiniBand": (2e-6, 11e9)}
"""Seconds of a message between two hosts, and bytes a second: what such networks are sold as, less what protocols take."""
SIZES = {
    "8 B": 2,
    "1 kB": 250,
    "buffer of bandits' phi": 18_900,
    "buffer of ants' phi": 25_000,
    "buffer of humanoids' phi": 112_000,
}
"""float32 numbers."""
HOSTS = ("10.78.0.1", "10.78.0.2")
AGENT = f"""#!/bin/sh
# What mpirun takes for ssh: passes over its options and starts the rest in a host's network namespace.
while [ "$1" != {HOSTS[0]} ] && [ "$1" != {HOSTS[1]} ]; do shift; done
host=$1; shift
exec ip netns exec "mlsh${{host##*.}}" unshare --uts sh -c "hostname $host; $*"
"""
JOINT = {"preset": "ant-twowalk-paper", "in_step": True, "warmup": 1, "joint": 8, "iterations": 8}


def sum_seconds(ranks: int, size: float, latency: float, bandwidth: float) -> float:
    """The model of one sum or broadcast of `size` bytes."""
    rounds = math.ceil(math.log2(ranks))
    return min(rounds * (latency + size / bandwidth), 2 * rounds * latency + 2 * (ranks - 1) / ranks * size / bandwidth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="host, wire, model; all by default")
    parser.add_argument("--quick", action="store_true", help="few ranks and delays: to try it out")
    given = parser.parse_args()
    console = Console(width=120)
    parts = {"host": on_host, "wire": over_wire, "model": foretold}
    if unknown := set(given.parts) - set(parts):
        parser.error(f"there is no part {', '.join(unknown)}: choose from {', '.join(parts)}")
    for name in given.parts or parts:
        parts[name](console, given.quick)


def on_host(console: Console, quick: bool) -> None:
    """Ranks beyond the cores meet in shared memory: each is woken once and copies twice, so a sum costs by the rank."""
    counts = (2, 4, 8) if quick else (2, 4, 8, 16, 32, 64)
    rows = {ranks: figures(begun(__file__, "sums", {"repeats": 1000 // ranks}, "-np", str(ranks))) for ranks in counts}
    table = Table(title=f"one sum on {CORES} cores, ms (in brackets: in proportion to 8 ranks)")
    table.add_column("ranks", justify="right")
    for name in SIZES:
        table.add_column(name, justify="right")
    for ranks, row in rows.items():
        told = {name: f" ({1e3 * rows[8][name] * ranks / 8:.2f})" if ranks > CORES else "" for name in SIZES}
        table.add_row(str(ranks), *(f"{1e3 * row[name]:.2f}{told[name]}" for name in SIZES))
    console.print(table)


def over_wire(console: Console, quick: bool) -> None:
    """Constants from sums at several delays, then an iteration of a trainer foretold from them."""
    sums, runs = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        agent = Path(folder) / "agent.sh"
        agent.write_text(AGENT)
        agent.chmod(0o755)
        hosts = ",".join(f"{host}:1" for host in HOSTS)
        options = ["-launcher", "rsh", "-launcher-exec", str(agent), "-hosts", hosts, "-np", "2"]
        where = {"before": ("ip", "netns", "exec", "mlsh1"), "UCX_TLS": "tcp,self"}
        for delay in (0.0, 0.002) if quick else (0.0, 0.0005, 0.001, 0.002, 0.005):
            with wire(delay):
                sums[delay] = figures(begun(__file__, "sums", {"repeats": 100}, *options, **where))
                runs[delay] = joint_iteration(figures(begun(__file__, "train", JOINT, *options, **where)))
    table = Table(title="two ranks over a wire with a delay")
    for heading in ("delay of a frame, ms", *(f"{name}, ms" for name in SIZES), "iteration, ms", "foretold"):
        table.add_column(heading, justify="right")
    delays = {name: slope(sums, name) for name in SIZES}
    undelayed = runs[0.0]
    for delay, run in runs.items():
        per_call = delays["buffer of ants' phi"] * delay
        told = undelayed["milliseconds"] + 1e3 * per_call * undelayed["calls"]
        table.add_row(
            f"{1e3 * delay:.1f}",
            *(f"{1e3 * sums[delay][name]:.2f}" for name in SIZES),
            f"{run['milliseconds']:.0f}",
            f"{told:.0f}",
        )
    console.print(table)
    console.print("delays in a sum: " + ", ".join(f"{name} {value:.2f}" for name, value in delays.items()))


def slope(sums: dict[float, dict[str, float]], name: str) -> float:
    """How many delays a sum takes: least squares over the delays that were tried."""
    mean_delay, mean_time = (statistics.mean(values) for values in (sums, [row[name] for row in sums.values()]))
    covariance = sum((delay - mean_delay) * (row[name] - mean_time) for delay, row in sums.items())
    return covariance / sum((delay - mean_delay) ** 2 for delay in sums)


def foretold(console: Console, _: bool) -> None:
    """Calls and bytes as the trainer counts them at 2 ranks, the model's price at 64 and 1,024."""
    run = joint_iteration(figures(begun(__file__, "train", JOINT, "-np", "2")))
    table = Table(title="Ant Twowalk, a group of one worker a rank: communication of a joint iteration")
    for heading in ("network", "ranks", "calls", "MB", "a call, us", "an iteration, ms", "of its time"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    each = run["bytes"] / run["calls"]
    for network, constants in NETWORKS.items():
        for ranks in (2, 64, 1024):
            seconds = sum_seconds(ranks, each, *constants)
            whole = run["calls"] * seconds
            table.add_row(
                *(network, f"{ranks:,}", f"{run['calls']:.0f}", f"{run['bytes'] / 1e6:.1f}", f"{1e6 * seconds:.0f}"),
                *(f"{1e3 * whole:.0f}", f"{whole / (whole + run['work']):.0%}"),
            )
    console.print(table)
    console.print(f"An iteration's own work, sampling and learning of 2000 steps: {1e3 * run['work']:.0f} ms.")


def joint_iteration(run: Figures) -> dict[str, float]:
    """Of a run of JOINT, medians of its joint iterations but the first: what communication took, and seconds of the rest."""
    joint = run["rows"][2:]
    names = ("calls", "bytes", "milliseconds")
    found = {name: statistics.median(row[f"communication/{name}"] for row in joint) for name in names}
    wall = statistics.median(b - a for a, b in itertools.pairwise(run["seconds"][1:]))
    return {**found, "work": wall - found["milliseconds"] / 1e3}


def sums_program(setting: Figures) -> None:
    """Median seconds of a sum of each size, of the slowest rank."""
    import numpy as np

    from mlsh_mpi.mpi.job import job

    with job() as current:
        world, medians = current.world, {}
        for name, count in SIZES.items():
            values, times = np.zeros(count, np.float32), []
            for _ in range(max(setting["repeats"], 10)):
                entered = time.perf_counter()
                world.allreduce(values)
                times.append(time.perf_counter() - entered)
            medians[name] = max(world.allgather(statistics.median(times)))
        if world.rank == 0:
            print(json.dumps(medians))


@contextmanager
def wire(delay: float) -> Iterator[None]:
    """Two namespaces, mlsh1 and mlsh2, and between them a wire that passes every frame on after `delay` seconds."""
    command = [sys.executable, __file__, "--program", "wire", json.dumps({"delay": delay})]
    forwarder = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert forwarder.stdout is not None
        forwarder.stdout.readline()
        for number, host in enumerate(HOSTS, 1):
            space, device = f"mlsh{number}", f"mlshtap{number}"
            for command in (
                f"ip netns add {space}",
                f"ip link set {device} netns {space}",
                f"ip -n {space} addr add {host}/24 dev {device}",
                f"ip -n {space} link set {device} mtu 60000 up",
                f"ip -n {space} link set lo up",
            ):
                subprocess.run(command.split(), check=True)
        yield
    finally:
        forwarder.kill()
        forwarder.wait()
        for number in (1, 2):
            subprocess.run(["ip", "netns", "del", f"mlsh{number}"], check=False)


def wire_program(setting: Figures) -> None:
    """Passes frames on between two TAP devices, until it is ended."""
    import fcntl

    ends, delay = [], setting["delay"]
    for number in (1, 2):
        ends.append(os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK))
        fcntl.ioctl(ends[-1], 0x400454CA, struct.pack("16sH", f"mlshtap{number}".encode(), 0x0002 | 0x1000))  # TAP, plain frames
    print("ready", flush=True)
    waiting: list[tuple[float, int, int, bytes]] = []
    count = 0
    while True:
        patience = max(0.0, waiting[0][0] - time.perf_counter()) if waiting else None
        for end in select.select(ends, [], [], patience)[0]:
            count += 1
            heapq.heappush(waiting, (time.perf_counter() + delay, count, ends[1 - ends.index(end)], os.read(end, 65536)))
        while waiting and waiting[0][0] <= time.perf_counter():
            _, _, to, frame = heapq.heappop(waiting)
            with suppress(OSError):  # a device that is not up yet loses it
                os.write(to, frame)


if __name__ == "__main__":
    run_program({"sums": sums_program, "train": train_program, "wire": wire_program}, main)
