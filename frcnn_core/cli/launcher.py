"""Starts the processes of a training, here and on other machines.

The processes meet through Horovod's rendezvous server, which runs here, and get the environment
that ``horovodrun --gloo`` would give them.  They are started here all the same: horovodrun imports
TensorFlow to see how it was built, marks every line with a rank, tells neither which signal killed
a process nor with which code it ended, and gives five seconds to save a checkpoint.

Processes of this machine are children, and those of other machines are children of an ssh;
``watching.py`` follows both.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from frcnn_core.cli.processes import Host, Layout
from frcnn_core.cli.watching import Ending, Watch, Worker
from frcnn_core.errors import FrcnnError

LAUNCHED = "FRCNN_LAUNCHED"
"""Set in the environment of processes that were started here."""

FRCNN = (sys.executable, "-P", "-c", "from frcnn_core.cli import main; main(prog_name='frcnn')")
"""The command ``frcnn``, as it runs in this process.  -P: the folder it runs in is no place to
import from, as with the installed script."""

_CARRIED = (
    "PATH",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "DATA_BASE_PATH",
    *("CUDA_", "CUDNN_", "FRCNN_", "GLOO_", "HOROVOD_", "KERAS_", "NCCL_", "OMP_", "TF_", "XLA_"),
)
"""Beginnings of the names of variables that other machines are given."""


def launch(
    command: Sequence[str], layout: Layout, *, network_interface: str | None = None
) -> Ending:
    """Run a command in several processes, to their common end.

    The first one's output is shown.  Of the others, warnings and errors are.  Ctrl-C or SIGTERM
    ask for an orderly end, which may take as long as a step; a second Ctrl-C kills.

    Args:
        command: e.g. ``[*FRCNN, "train", "-e", "spec.txt"]``; calls ``join``.
        layout: the processes.
        network_interface: which they talk over, e.g. ``eth0``; the one that leads to the launcher
            unless given.

    Raises:
        FrcnnError: Horovod is not installed, or a machine cannot be reached.
    """
    if find_spec("horovod") is None:
        raise FrcnnError(
            "Training in several processes needs Horovod, which is not installed. In a clone of "
            "frcnn, `make horovod` builds and installs it; docs/scaling.md says how elsewhere."
        )
    hosts = layout.hosts or (Host("localhost", layout.processes),)
    with _meeting(hosts, network_interface) as (slots, environment, remote):
        workers = [
            _start(command, slot, environment, remote=slot.hostname in remote) for slot in slots
        ]
        return Watch(workers, several_machines=len(hosts) > 1).to_the_end()


@contextmanager
def _meeting(
    hosts: Sequence[Host], network_interface: str | None
) -> Iterator[tuple[list[Any], dict[str, str], set[str]]]:
    """Where processes find each other: their slots, variables, and the hosts that are not here."""
    from horovod.runner.common.util.hosts import HostInfo, get_host_assignments
    from horovod.runner.gloo_run import create_run_env_vars
    from horovod.runner.http.http_server import RendezvousServer
    from horovod.runner.util.network import filter_local_addresses

    remote = set(filter_local_addresses([host.name for host in hosts]))
    address = "127.0.0.1"
    if remote:
        if not shutil.which("ssh"):
            raise FrcnnError("--hosts needs ssh, which is not installed here.")
        address = (
            _address_of(network_interface)
            if network_interface
            else _address_towards(next(host.name for host in hosts if host.name in remote))
        )
    slots = get_host_assignments(
        [HostInfo(host.name, host.processes) for host in hosts],
        sum(host.processes for host in hosts),
    )
    server = RendezvousServer()
    port = server.start()
    try:
        server.init(slots)
        # The interface may have another name on each machine, so each finds its own; see `join`.
        environment = create_run_env_vars(address, [network_interface or ""], port)
        yield slots, {name: str(value) for name, value in environment.items() if value}, remote
    finally:
        server.stop()


def _address_towards(host: str) -> str:
    """This machine's own address on the way to another one.

    Raises:
        FrcnnError: nothing leads there.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # sends nothing
        try:
            probe.connect((host, 9))
        except OSError as error:
            raise FrcnnError(
                f"--hosts: nothing leads to {host} ({error.strerror}). Where only ssh knows the "
                "name, give --network_interface."
            ) from error
        return probe.getsockname()[0]


def _address_of(interface: str) -> str:
    """The IPv4 address of one of this machine's network interfaces."""
    import psutil

    found = psutil.net_if_addrs()
    for address in found.get(interface, ()):
        if address.family == socket.AF_INET:
            return address.address
    raise FrcnnError(
        f"--network_interface {interface}: this machine has no such interface with an IPv4 "
        f"address; it has {', '.join(sorted(found))}."
    )


def join() -> None:
    """Prepare this process, which ``launch`` started, to talk to the launcher and to the others.

    From now on it ends when the launcher does, and the launcher can ask it to stop.
    """
    import psutil

    address = os.environ["HOROVOD_GLOO_RENDEZVOUS_ADDR"]
    if not os.environ.get("HOROVOD_GLOO_IFACE"):
        mine = _address_towards(address)
        interface = next(
            name
            for name, addresses in psutil.net_if_addrs().items()
            if any(found.address == mine for found in addresses)
        )
        os.environ["HOROVOD_GLOO_IFACE"] = interface
        os.environ.setdefault("NCCL_SOCKET_IFNAME", interface)
    threading.Thread(target=_listen, name="launcher", daemon=True).start()


def _listen() -> None:
    # Not sys.stdin: a thread that waits in it holds a lock that the interpreter's end needs.
    while words := os.read(0, 64):
        if b"stop" in words:
            os.kill(os.getpid(), signal.SIGTERM)
    # Nobody is left to tell, and the others end likewise.
    os._exit(1)


def _start(
    command: Sequence[str], slot: Any, environment: Mapping[str, str], *, remote: bool
) -> Worker:
    from horovod.runner.gloo_run import create_slot_env_vars

    variables = {
        **environment,
        **create_slot_env_vars(slot),
        LAUNCHED: "1",
        "PYTHONUNBUFFERED": "1",
        # What Horovod says when a process is lost; the launcher says which and why.
        "HOROVOD_LOG_LEVEL": os.environ.get("HOROVOD_LOG_LEVEL", "fatal"),
    }
    if remote:
        command = _over_ssh(slot.hostname, command, variables)
    process = subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # Ctrl-C reaches all processes of a session; these are asked to stop in another way.
        start_new_session=True,
    )
    return Worker(slot.rank, slot.size, slot.hostname, process, remote)


def _over_ssh(host: str, command: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """``command`` on another machine, in the folder of the same name."""
    carried = {name: value for name, value in os.environ.items() if name.startswith(_CARRIED)}
    carried.pop("CUDA_VISIBLE_DEVICES", None)  # of this machine
    assigned = [f"{name}={value}" for name, value in {**carried, **variables}.items()]
    there = f"cd {shlex.quote(os.getcwd())} && exec {shlex.join(['env', *assigned, *command])}"
    # BatchMode: fail where ssh would ask for a password.
    return ["ssh", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=15", host, there]
