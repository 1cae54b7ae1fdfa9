"""How many processes train, on which machines, and with which devices each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from frcnn_core.errors import FrcnnError
from frcnn_core.processes import Process


@dataclass(frozen=True)
class Host:
    """A machine, and how many of the processes run there."""

    name: str
    processes: int


@dataclass(frozen=True)
class Layout:
    """The processes of a training."""

    processes: int
    devices: int
    """That each process splits its layers over; 1 without model parallelism."""
    hosts: tuple[Host, ...] = ()
    """Empty where all processes are on this machine."""

    @property
    def processes_of_a_machine(self) -> int:
        """The most that one machine has."""
        return max((host.processes for host in self.hosts), default=self.processes)


def layout(
    *,
    gpus: int | None = None,
    num_processes: int = -1,
    gpu_index: Sequence[int] = (),
    hosts: str | None = None,
    parts: int = 0,
) -> Layout:
    """What the flags of ``frcnn train`` ask for.

    Args:
        gpus: devices of all machines together; None is what the other flags need.
        num_processes: -1 is as many as there are devices for.
        gpu_index: the GPUs to use on each machine.
        hosts: machines and their processes, e.g. ``a:2,b:2``.
        parts: how many devices the spec splits a network over, ``model_parallelism``; 0 where it
            does not.

    Raises:
        FrcnnError: the flags contradict each other or the spec.
    """
    devices = parts or 1
    machines = _parse_hosts(hosts) if hosts else ()
    if num_processes == 0 or num_processes < -1:
        raise FrcnnError(f"--num_processes {num_processes}: give 1 or more, or -1 for --gpus.")
    if num_processes == -1:
        if gpus is None:
            processes = sum(machine.processes for machine in machines) or 1
        else:
            processes = _divided(gpus, devices)
    else:
        processes = num_processes
        _check_devices(gpus, processes, devices)
    found = Layout(processes, devices, machines)
    if machines and (room := sum(machine.processes for machine in machines)) != processes:
        raise FrcnnError(
            f"--hosts {hosts} names {counted(room, 'process', 'es')}, and the other flags ask for "
            f"{processes}. The number after each name is that of its processes; let them add up "
            f"to {processes}, or leave --gpus and --num_processes out."
        )
    if gpu_index:
        _check_indices(gpu_index, found)
    return found


def check_agrees(process: Process, gpus: int | None, num_processes: int, devices: int) -> None:
    """Make sure that flags ask for the processes that a starter such as horovodrun started.

    Raises:
        FrcnnError: they ask for another number.
    """
    asked = num_processes if num_processes != -1 else None
    if asked is None and gpus is not None:
        asked = _divided(gpus, devices)
    if asked is not None and asked != process.size:
        raise FrcnnError(
            f"--gpus and --num_processes ask for {counted(asked, 'process', 'es')}, but "
            f"{process.size} were started. Leave both out: what started them has said it all."
        )


def indices_of(process: Process | None, gpu_index: Sequence[int], devices: int) -> range | tuple:
    """The GPUs of a process, by their numbers on its machine.

    Args:
        process: None for a training of one process.
        gpu_index: those that the processes of this machine share; from 0 on unless given.
        devices: how many each process takes.

    Raises:
        FrcnnError: ``gpu_index`` has too few.
    """
    local_rank, local_size = (process.local_rank, process.local_size) if process else (0, 1)
    first, end = local_rank * devices, (local_rank + 1) * devices
    if not gpu_index:
        return range(first, end)
    if len(gpu_index) < end:
        raise FrcnnError(
            f"--gpu_index names {counted(len(gpu_index), 'GPU', 's')}; the processes of this "
            f"machine need {max(local_size * devices, end)}."
        )
    return tuple(gpu_index[first:end])


def _parse_hosts(text: str) -> tuple[Host, ...]:
    found = {}
    for word in text.split(","):
        match = re.fullmatch(r"\s*([A-Za-z0-9][\w.-]*):([1-9]\d*)\s*", word)
        if not match:
            raise FrcnnError(
                f"--hosts {text}: {word.strip()!r} is not NAME:PROCESSES. Type e.g. "
                "--hosts a:2,b:2 for two processes on each of the machines a and b."
            )
        if match[1] in found:
            raise FrcnnError(f"--hosts {text}: {match[1]} is named twice.")
        found[match[1]] = Host(match[1], int(match[2]))
    return tuple(found.values())


def _divided(gpus: int, devices: int) -> int:
    """The processes for which there are devices."""
    processes, left = divmod(gpus, devices)
    if left or not processes:
        raise FrcnnError(
            f"--gpus {gpus}: training_config.model_parallelism splits the network over {devices} "
            f"devices, so --gpus has to be a multiple of {devices}."
        )
    return processes


def _check_devices(gpus: int | None, processes: int, devices: int) -> None:
    if gpus is None or gpus == processes * devices:
        return
    if gpus % processes:
        raise FrcnnError(
            f"--gpus {gpus} is not a multiple of --num_processes {processes}: every process takes "
            "as many GPUs as the others."
        )
    if devices > 1:
        raise FrcnnError(
            f"--gpus {gpus} with --num_processes {processes} is {gpus // processes} a process, and "
            f"training_config.model_parallelism has {devices} entries, one a device. Type --gpus "
            f"{processes * devices}, or change the spec."
        )
    raise FrcnnError(
        f"--gpus {gpus} with --num_processes {processes} is {gpus // processes} a process. A "
        f"process takes one GPU, unless training_config.model_parallelism splits the network over "
        f"several; leave --num_processes out to train with {gpus} processes."
    )


def _check_indices(gpu_index: Sequence[int], found: Layout) -> None:
    needed = found.processes_of_a_machine * found.devices
    if len(set(gpu_index)) < len(gpu_index):
        raise FrcnnError(f"--gpu_index {_words(gpu_index)} names a GPU twice.")
    if len(gpu_index) != needed:
        machine = "a machine" if found.hosts else "this training"
        raise FrcnnError(
            f"--gpu_index {_words(gpu_index)} names {counted(len(gpu_index), 'GPU', 's')}, and "
            f"{machine} takes {needed}. Make --gpus and --gpu_index agree."
        )


def _words(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))


def counted(number: int, name: str, plural: str) -> str:
    """E.g. ``2 processes``, with ``es`` for the plural."""
    return f"{number} {name}{'' if number == 1 else plural}"
