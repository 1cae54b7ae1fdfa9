"""What a case has frcnn do, ready to run step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from benchmarks import stages
from frcnn_core import assemble
from frcnn_core.data import Batches, evaluation_batches
from frcnn_core.detector import FasterRCNN, flops
from frcnn_core.plugin import installed
from frcnn_core.spec.load import Spec
from frcnn_core.structures import Batch


@dataclass(frozen=True)
class Job:
    """A case, ready to run."""

    detector: FasterRCNN
    batches: Batches
    """One pass over the pictures."""
    steps: Callable[[Iterable[Batch]], Iterator[object]]
    """A whole step for each batch."""
    prefixes: stages.Prefixes
    last: str
    """The stage after them."""
    work: Callable[[tuple[int, ...]], dict[str, int]]
    """Floating-point operations by stage for images (B, H, W, C)."""


def training_job(spec: Spec, use_amp: bool) -> Job:
    """The trainer of ``frcnn train``."""
    trainer = assemble.training(spec, installed(), use_amp=use_amp).trainer
    detector, settings = trainer.model.detector, trainer.settings
    real = trainer.batches(0, 0)

    def steps(batches: Iterable[Batch]) -> Iterator[object]:
        trainer.batches = lambda epoch, step: batches
        return trainer.run()

    return Job(
        detector,
        real,
        steps,
        prefixes=stages.of_training(detector, settings),
        last="update",
        work=partial(flops.of_training, detector, rois_per_image=settings.roi_mini_batch),
    )


def detection_job(spec: Spec) -> Job:
    """What ``frcnn evaluate`` does with a model, short of scoring."""
    model = assemble.new_model(spec, installed())
    config = spec.message.evaluation_config
    settings = assemble.detection_settings(config)
    detect = assemble.detect_function(model, settings)
    sources, _ = assemble.sources(spec)
    return Job(
        model.detector,
        evaluation_batches(
            sources,
            assemble.class_map(spec),
            model.preprocessing,
            batch_size=config.batch_size,
        ),
        steps=lambda batches: (detect(batch.images, batch.sizes) for batch in batches),
        prefixes=stages.of_detection(model.detector, settings),
        last="RoI head",
        work=partial(flops.of_detection, model.detector, rois_per_image=settings.rpn_nms_max_boxes),
    )
