"""Which devices a command runs on."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import click

from frcnn_core.cli.processes import counted, indices_of
from frcnn_core.errors import FrcnnError
from frcnn_core.processes import Process, num_cores

logger = logging.getLogger(__name__)


def use_one_gpu(gpu_index: Sequence[int]) -> None:
    """Hide all GPUs but the one of ``--gpu_index``; without that flag TensorFlow takes the first.

    Call it before anything runs on a GPU.  Where there is none, the command runs on the CPU.

    Raises:
        click.BadParameter: several are given, or one that is not there.
    """
    import tensorflow as tf

    if not gpu_index:
        return
    if len(gpu_index) > 1:
        raise click.BadParameter("this command runs on one GPU; give one number.")
    gpus = tf.config.list_physical_devices("GPU")
    (chosen,) = gpu_index
    if not gpus:
        logger.warning("--gpu_index has no effect: TensorFlow sees no GPU, so the CPU is used.")
    elif chosen >= len(gpus):
        raise click.BadParameter(f"--gpu_index {chosen}: the GPUs are 0 to {len(gpus) - 1}.")
    else:
        tf.config.set_visible_devices(gpus[chosen], "GPU")


def use_own_devices(
    process: Process | None,
    gpu_index: Sequence[int],
    *,
    devices: int,
    threads: int | None = None,
) -> tuple[str, ...]:
    """Take the devices of one of a training's processes, and hide the others.

    Those are GPUs.  Where TensorFlow sees none they are parts of the CPU, and the cores are shared
    out among the processes of the machine.  Call it before anything runs.

    Args:
        process: None where it is the only one.
        gpu_index: the GPUs that the processes of this machine share; from 0 on unless given.
        devices: how many each process takes.
        threads: of the CPU, that an operation may use; None is a fair share of a CPU that computes
            for several processes, and otherwise TensorFlow's choice.

    Returns:
        TensorFlow's names of the devices, e.g. ``("GPU:0", "GPU:1")``.

    Raises:
        FrcnnError: a GPU is not there, or two processes would have the same one.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    mine = indices_of(process, gpu_index, devices)
    local_size = process.local_size if process else 1
    if threads is None and not gpus and local_size > 1:
        threads = max(1, num_cores() // local_size)
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    if gpus:
        if absent := [index for index in mine if index >= len(gpus)]:
            raise FrcnnError(
                f"There is no GPU {', '.join(map(str, absent))}: the GPUs that TensorFlow sees on "
                f"this machine are 0 to {len(gpus) - 1}. {local_size} processes with {devices} "
                "each need as many; change --gpus or --gpu_index."
            )
        tf.config.set_visible_devices([gpus[index] for index in mine], "GPU")
        return tuple(f"GPU:{number}" for number in range(devices))
    if gpu_index:
        logger.warning("--gpu_index has no effect: TensorFlow sees no GPU, so the CPU is used.")
    if process or devices > 1:
        logger.info("%s", _share_of_the_cpu(process, devices, threads))
    if devices > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(devices)]
        tf.config.set_logical_device_configuration(cpu, parts)
    return tuple(f"CPU:{number}" for number in range(devices))


def _share_of_the_cpu(process: Process | None, devices: int, threads: int | None) -> str:
    said = "TensorFlow sees no GPU: "
    if process:
        said += f"{counted(process.local_size, 'process', 'es')} on this machine's CPU"
        if threads:
            said += f", {counted(threads, 'thread', 's')} each"
    else:
        said += "training on the CPU"
    if devices > 1:
        said += f", the network on {devices} logical devices of it"
    return f"{said}."


def add_in_order() -> None:
    """Make TensorFlow add up in the same order in every run, on a CPU.

    Otherwise the gradient of RoI pooling is a sum whose order the threads decide, and two runs of
    one spec drift apart by rounding.  It costs no time that was measurable.  With a GPU everything
    stays as it is: there TensorFlow refuses what it cannot do in order, and it was not tried.
    """
    import tensorflow as tf

    if not tf.config.get_visible_devices("GPU"):
        tf.config.experimental.enable_op_determinism()
