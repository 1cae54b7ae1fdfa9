"""Which devices a command runs on."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import click

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


def add_in_order() -> None:
    """Make TensorFlow add up in the same order in every run, on a CPU.

    Otherwise the gradient of RoI pooling is a sum whose order the threads decide, and two runs of
    one spec drift apart by rounding.  It costs no time that was measurable.  With a GPU everything
    stays as it is: there TensorFlow refuses what it cannot do in order, and it was not tried.
    """
    import tensorflow as tf

    if not tf.config.get_visible_devices("GPU"):
        tf.config.experimental.enable_op_determinism()
