"""``frcnn train``: train a detector as a spec says."""

from __future__ import annotations

import logging
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from frcnn_core.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable

    from frcnn_core.assemble import Training
    from frcnn_core.cli.processes import Layout
    from frcnn_core.processes import Process
    from frcnn_core.spec.load import Spec
    from frcnn_core.training import EpochDone, StepDone, TrainingLog


@click.command()
@options.experiment_spec
@options.key
@options.results_dir
@options.gpus
@options.num_processes
@options.gpu_index
@options.hosts
@options.network_interface
@options.compress_gradients
@options.threads
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
@click.pass_context
def train(
    ctx: click.Context,
    experiment_spec: Path,
    key: str | None,
    results_dir: Path | None,
    gpus: int | None,
    num_processes: int,
    gpu_index: tuple[int, ...],
    hosts: str | None,
    network_interface: str | None,
    compress_gradients: bool,
    threads: int | None,
    use_amp: bool,
    max_bad: int,
) -> None:
    """Train a detector as a spec says.

    Writes checkpoints, status.json and, if the visualizer is enabled, TensorBoard logs.  Ctrl-C
    saves a checkpoint first; it says what to type to go on.

    With --gpus N, or on other machines with --hosts, it starts a process for each GPU and trains in
    all of them together; docs/scaling.md tells more.
    """
    from frcnn_core.cli import launcher, outcomes, processes
    from frcnn_core.cli.running import announce
    from frcnn_core.errors import SpecError
    from frcnn_core.plugin import installed
    from frcnn_core.processes import this_process
    from frcnn_core.spec import check, load

    process = this_process(os.environ)
    is_launched = launcher.LAUNCHED in os.environ
    with outcomes.reported() if is_launched else nullcontext():
        spec = load.load(experiment_spec)
        warnings = check.require(spec, installed(), "train")
        if not is_launched and (process is None or process.rank == 0):
            announce(warnings)
        if not results_dir and not spec.message.training_config.output_model:
            raise SpecError(
                "Where should the model go? Give a folder with -r, or training_config.output_model."
            )
        parts = len(spec.message.training_config.model_parallelism)
        if process is None:
            layout = processes.layout(
                gpus=gpus,
                num_processes=num_processes,
                gpu_index=gpu_index,
                hosts=hosts,
                parts=parts,
            )
            if layout.processes > 1 or hosts:
                ctx.exit(_launch(ctx, layout, spec, network_interface))
        else:
            processes.check_agrees(process, gpus, num_processes, parts or 1)
        _train(
            spec,
            process,
            key=key or spec.message.enc_key,
            results_dir=results_dir,
            gpu_index=gpu_index,
            parts=parts,
            threads=threads,
            compress=compress_gradients,
            use_amp=use_amp,
            max_bad=max_bad,
        )


def _launch(ctx: click.Context, layout: Layout, spec: Spec, network_interface: str | None) -> int:
    """Train in several processes; the exit code, once the user knows how they ended."""
    from frcnn_core.cli import launcher
    from frcnn_core.model_files import Naming, how_to_resume
    from frcnn_core.training import StatusLog

    naming = Naming.of(
        arch=spec.message.model_config.arch,
        output_model=spec.message.training_config.output_model,
        results_dir=ctx.params["results_dir"] or "",
    )
    status = StatusLog(naming.directory / "status.json")
    before = _size(status.path)
    command = [
        *launcher.FRCNN,
        "train",
        *options.typed(ctx, but={"hosts", "network_interface", "log_file"}),
    ]
    ending = launcher.launch(command, layout, network_interface=network_interface)
    if not ending.message:
        return ending.exit_code
    message = ending.message
    if ending.kind in ("killed", "lost") and (existing := naming.existing()):
        message += f"\n  The last checkpoint is {existing[max(existing)].name}. "
        message += how_to_resume(existing[max(existing)])
    if ending.kind == "interrupted":
        click.echo(message, err=True)
    else:
        click.secho(f"Error: {message}", fg="red", err=True)
    told = ending.rank == 0 and ending.kind in ("error", "bug")
    if not told and _size(status.path) > before:
        # The first process, which keeps this file, did not know why it had to end.
        status.write(f"training failed: {ending.message}", status="FAILURE", verbosity="ERROR")
    return ending.exit_code


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _train(
    spec: Spec,
    process: Process | None,
    *,
    key: str,
    results_dir: Path | None,
    gpu_index: tuple[int, ...],
    parts: int,
    threads: int | None,
    compress: bool,
    use_amp: bool,
    max_bad: int,
) -> None:
    """Train in this process, alone or as one of several.

    Args:
        parts: how many devices ``model_parallelism`` splits the network over; 0 where it does not.
    """
    from frcnn_core.cli import launcher
    from frcnn_core.cli.terminal import load_tensorflow
    from frcnn_core.plugin import installed

    first = process is None or process.rank == 0
    if not first:
        _show_only_warnings()
    if launcher.LAUNCHED in os.environ:
        launcher.join()
    load_tensorflow()
    from frcnn_core import assemble
    from frcnn_core.cli.devices import add_in_order, use_own_devices
    from frcnn_core.cli.progress import progress_of
    from frcnn_core.processes import distributed
    from frcnn_core.training import TrainingLog

    names = use_own_devices(process, gpu_index, devices=parts or 1, threads=threads)
    add_in_order()
    training = assemble.training(
        spec,
        installed(),
        key=key,
        results_dir=results_dir,
        use_amp=use_amp,
        max_bad=max_bad,
        on_reading=progress_of if first else None,
        workers=distributed.connect(compress=compress),
        devices=names if parts else (),
    )
    try:
        if first:
            _introduce(training, verbose=spec.message.verbose)
            log = TrainingLog(training.results_dir, training.trainer, training.visualizer)
            with log.running():
                _run(training, log)
        else:
            _follow(training)
    except KeyboardInterrupt:
        click.get_current_context().exit(130)  # as a shell reports a command ended by Ctrl-C


def _show_only_warnings() -> None:
    root = logging.getLogger()
    if not root.isEnabledFor(logging.DEBUG):
        root.setLevel(logging.WARNING)


def _follow(training: Training) -> None:
    """Train along with the first process, which writes and tells."""
    from frcnn_core.cli.signals import calling
    from frcnn_core.training import Interrupted

    with calling(training.trainer.stop):
        for event in training.trainer.run():
            if isinstance(event, Interrupted):
                raise KeyboardInterrupt


def _introduce(training: Training, *, verbose: bool) -> None:
    """What is about to be trained, on what."""
    trainer, model, data = training.trainer, training.trainer.model, training.data
    counts = ", ".join(f"{name} {data.objects[name]}" for name in model.class_names)
    click.echo(f"Network: {model.arch}, {model.num_parameters:,} parameters, {training.precision}")
    click.echo(f"Input: {model.preprocessing.describe()}")
    click.echo(f"Training: {data.count} images; objects: {counts}")
    if data.num_empty:
        click.echo(f"  {data.num_empty} images have no object of these classes.")
    if (size := trainer.workers.size) > 1:
        click.echo(
            f"{size} processes: {trainer.batch_size * size} images a step, {size} times the "
            "learning rate of one"
        )
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


def _run(training: Training, log: TrainingLog) -> None:
    from frcnn_core.cli.signals import calling
    from frcnn_core.model_files import how_to_resume
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


def _show_epoch(event: EpochDone, num_epochs: int) -> None:
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
        self._open: AbstractContextManager[Callable[..., None]] | None = None

    def __enter__(self) -> _EpochBar:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def step(self, event: StepDone) -> None:
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
