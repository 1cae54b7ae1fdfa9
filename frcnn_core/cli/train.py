"""``frcnn train``: train a detector as a spec says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from frcnn_core.cli import options

if TYPE_CHECKING:
    from frcnn_core.assemble import Training


@click.command()
@options.experiment_spec
@options.key
@options.results_dir
@options.gpus
@options.num_processes
@options.gpu_index
@options.use_amp
@click.option(
    "--max-bad",
    "--max_bad",
    "max_bad",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    metavar="N",
    help="Image files that may be missing, damaged or of another size, and are skipped.",
)
@options.terminal
def train(
    experiment_spec: Path,
    key: str | None,
    results_dir: Path | None,
    gpus: int,
    num_processes: int,
    gpu_index: tuple[int, ...],
    use_amp: bool,
    max_bad: int,
) -> None:
    """Train a detector as a spec says.

    Writes checkpoints, status.json and, if the visualizer is enabled, TensorBoard logs.  Ctrl-C
    saves a checkpoint first; it says what to type to go on.
    """
    from frcnn_core.cli.running import announce
    from frcnn_core.cli.terminal import load_tensorflow
    from frcnn_core.errors import FrcnnError, SpecError
    from frcnn_core.plugins import installed
    from frcnn_core.spec import check, load

    spec = load.load(experiment_spec)
    announce(check.require(spec, installed(), "train"))
    if not results_dir and not spec.message.training_config.output_model:
        raise SpecError(
            "Where should the model go? Give a folder with -r, or training_config.output_model."
        )
    if gpus > 1 or num_processes > 1:
        raise FrcnnError(
            f"This version of frcnn trains on one device: --gpus {gpus} and --num_processes "
            f"{num_processes} are not available. Leave both out; --gpu_index chooses the GPU."
        )

    load_tensorflow()
    from frcnn_core import assemble
    from frcnn_core.cli.devices import add_in_order, use_one_gpu
    from frcnn_core.cli.progress import progress_of
    from frcnn_core.training_log import TrainingLog

    use_one_gpu(gpu_index)
    add_in_order()
    training = assemble.training(
        spec,
        installed(),
        key=key or spec.message.enc_key,
        results_dir=results_dir,
        use_amp=use_amp,
        max_bad=max_bad,
        on_reading=progress_of,
    )
    _introduce(training, verbose=spec.message.verbose)
    log = TrainingLog(training.results_dir, training.trainer, training.visualizer)
    try:
        with log.running():
            _run(training, log)
    except KeyboardInterrupt:
        click.get_current_context().exit(130)  # as a shell reports a command ended by Ctrl-C


def _introduce(training: Training, *, verbose: bool) -> None:
    """What is about to be trained, on what."""
    trainer, model, data = training.trainer, training.trainer.model, training.data
    counts = ", ".join(f"{name} {data.objects[name]}" for name in model.class_names)
    click.echo(f"Network: {model.arch}, {model.num_parameters:,} parameters, {training.precision}")
    click.echo(f"Input: {model.preprocessing.describe()}")
    click.echo(f"Training: {data.count} images; objects: {counts}")
    if data.num_empty:
        click.echo(f"  {data.num_empty} images have no object of these classes.")
    if training.validation:
        found = training.validation.summary
        click.echo(f"Validation: {found.count} images, {sum(found.objects.values())} objects")
    else:
        click.echo("No validation: dataset_config has neither validation_fold nor data for it.")
    if training.loaded:
        click.echo(training.loaded.table() if verbose else training.loaded.summary())
    if trainer.progress.epoch or trainer.progress.step:
        click.echo(f"Going on after epoch {trainer.progress.epoch}, step {trainer.progress.step}.")
    click.echo(f"Results: {training.results_dir}")


def _run(training: Training, log) -> None:
    from frcnn_core.checkpoints import how_to_resume
    from frcnn_core.cli.signals import calling
    from frcnn_core.training import EpochDone, Interrupted, StepDone

    trainer = training.trainer
    bar = _EpochBar(training)
    with bar, calling(trainer.stop):
        for event in trainer.run():
            log.take(event)
            match event:
                case StepDone():
                    bar.step(event)
                case EpochDone():
                    bar.close()
                    _show_epoch(event, trainer.num_epochs)
                case Interrupted():
                    bar.close()
                    click.echo(f"Saved {event.checkpoint}.\n{how_to_resume(event.checkpoint)}")
                    raise KeyboardInterrupt  # which status.json tells from a failure
    if bad := trainer.bad_images.summary():
        click.secho(bad, fg="yellow")
    best = trainer.checkpoints.best
    final = trainer.checkpoints.path(trainer.progress.epoch)
    click.echo(f"Final model: {final}")
    if best:
        path = trainer.checkpoints.path(best.epoch)
        click.echo(f"Best model: {path} (epoch {best.epoch}, mAP {best.mAP:.4f})")


def _show_epoch(event, num_epochs: int) -> None:
    terms = ", ".join(f"{term} {value:.4f}" for term, value in event.losses.items())
    click.echo(f"Epoch {event.epoch}/{num_epochs}: {terms}, {event.seconds:.0f} s")
    if event.validation:
        for result in event.validation.results.values():
            click.echo(result.text)
        for line in event.validation.triage:
            click.echo(line)
    if event.checkpoint:
        click.echo(f"Saved {event.checkpoint}{' (best so far)' if event.is_best else ''}")


class _EpochBar:
    """The progress of one epoch after another; losses are means over the epoch so far."""

    def __init__(self, training: Training):
        self._training = training
        self._open = None

    def __enter__(self) -> _EpochBar:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def step(self, event) -> None:
        from frcnn_core.cli.progress import progress

        trainer = self._training.trainer
        if self._open is None:
            title = f"Epoch {event.epoch}/{trainer.num_epochs}"
            self._open = progress(title, self._training.data.count)
            self._advance = self._open.__enter__()
            self._advance(trainer.progress.images - event.images)
        sums, images = trainer.progress.losses, trainer.progress.images
        self._advance(
            event.images,
            loss=f"{sum(sums.values()) / images:.4f}",
            rpn=f"{(sums['rpn_class'] + sums['rpn_box']) / images:.4f}",
            head=f"{(sums['head_class'] + sums['head_box']) / images:.4f}",
            lr=f"{event.learning_rate:.2g}",
        )

    def close(self) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)
            self._open = None
