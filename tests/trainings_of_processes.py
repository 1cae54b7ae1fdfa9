"""A program that several processes run: toy trainings, and what each process saw of them.

    horovodrun -np 2 python trainings_of_processes.py SCENES RESULTS NAME...

``NAME`` is a function of this module.  Without a launcher it is what one process does.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import tensorflow as tf
import toy
from training import test_trainer

from frcnn_core import assemble
from frcnn_core.errors import TrainingError
from frcnn_core.processes.distributed import Workers, connect
from frcnn_core.spec.load import loads
from frcnn_core.training import EpochDone, StepDone

MOMENTUM = "sgd { momentum: 0.9 }"
"""Adam divides by the size of gradients, and so makes as much of rounding as of anything else."""


def training(scenes: Path, results: Path, workers: Workers, **given) -> assemble.Training:
    """Two epochs over the scenes, 4 images per step of all processes together."""
    augmented = given.pop("augmented", True)
    text = toy.spec_text(
        scenes,
        **{
            "epochs": 2,
            "batch_size": 4 // workers.size,
            "rate": 0.02 / workers.size,
            "optimizer": MOMENTUM,
            "period": 2,
            **given,
        },
    )
    if not augmented:
        text = text.replace("enable_augmentation: True", "enable_augmentation: False")
    return assemble.training(
        loads(text, "spec.txt"), toy.plugins(), results_dir=results, max_bad=2, workers=workers
    )


def run(made: assemble.Training, stop_at: tuple[int, int] | None = None) -> dict:
    """What came of a training, with all variables, ready to be compared.

    Args:
        stop_at: (epoch, step) after which this process wants to stop.
    """
    steps, epochs, last = [], [], None
    for last in made.trainer.run():
        if isinstance(last, StepDone):
            steps.append((last.epoch, last.step, last.images, last.learning_rate, last.losses))
            if (last.epoch, last.step) == stop_at:
                made.trainer.stop()
        elif isinstance(last, EpochDone):
            epochs.append((last.losses, last.is_best, last.checkpoint, last.num_bad_images))
            last = last.validation
    return {
        "steps": steps,
        "epochs": epochs,
        "last": last,
        "weights": made.trainer.model.to_archive(made.trainer.optimizer).weights,
        "optimizer": made.trainer.model.to_archive(made.trainer.optimizer).optimizer,
        "best": made.trainer.checkpoints.best,
    }


def frozen(scenes, results, workers):
    """No augmentation, statistics that stay as they were measured, validation at the end."""
    validation = toy.validated_on(scenes, "val")
    given = {"augmented": False, "model": "freeze_bn: True", "validation": validation}
    return run(training(scenes, results, workers, **given))


def augmented(scenes, results, workers):
    """The same with augmentation, and without validation."""
    return run(training(scenes, results, workers, model="freeze_bn: True"))


MOVING = "dropout_rate: 0.2"


def moving(scenes, results, workers):
    """Statistics that move, and dropout."""
    return run(training(scenes, results, workers, model=MOVING))


def stopped(scenes, results, workers):
    """The same, but the second process wants to stop after the first step; then the rest."""
    stop_at = (1, 1) if workers.rank == 1 else None
    first = run(training(scenes, results, workers, model=MOVING), stop_at)
    resume = f'resume_from_model: "{first["last"].checkpoint}"'
    return first, run(training(scenes, results, workers, model=MOVING, training=resume))


def failures(scenes, results, workers):
    """What ends a training in all processes: messages."""
    over = results.with_name("stopped")  # where there are checkpoints
    return {
        "refused": message_of(training(scenes, over, workers, model=MOVING).trainer),
        "not finite": message_of(pursuit(results, workers)),
        "different": message_of(pursuit(results, workers, num_epochs=1 + workers.rank)),
    }


def pursuit(results, workers, **given):
    """The trainer of ``test_trainer``'s detector; the second process has an image of infinity."""
    pixels = [[3.0, 4.0], [5.0, float("inf")]][workers.rank]
    return test_trainer.training(results, [pixels], workers=workers, **given).trainer


def message_of(trainer):
    try:
        list(trainer.run())
    except TrainingError as error:
        return str(error)


def main() -> None:
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    scenes, results, *names = sys.argv[1:]
    workers = connect()
    for name in names:
        outcome = globals()[name](Path(scenes), Path(results) / name, workers)
        path = Path(results) / f"{name}.{workers.rank}_of_{workers.size}.pickle"
        path.write_bytes(pickle.dumps(outcome))


if __name__ == "__main__":
    main()
