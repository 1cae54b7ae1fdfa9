"""A model and a file that was exported from it, opened so that like is compared with like."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from frcnn_core.assemble.data import EvaluationSet
from frcnn_core.assemble.evaluation import detect_function, open_runtime
from frcnn_core.assemble.models import open_model
from frcnn_core.data import BadImages, Preprocessing
from frcnn_core.detector import DetectionSettings
from frcnn_core.errors import DataError, ModelFileError
from frcnn_core.inference import InputImage, Skipped, read_image, stack
from frcnn_core.plugin import CalibrationImages, Exporter, LayerCost, Plugins, Runtime
from frcnn_core.structures import Batch, Detections


@dataclass(frozen=True)
class Pair:
    """Two detectors of the same classes, which take the same images."""

    model: Runtime
    exported: Runtime
    settings: DetectionSettings
    """How both make detections."""
    path: Path
    """Of the exported one."""
    exporter: Exporter | None
    """Who can run it; None for a model file of ours."""

    def layer_costs(self, images: CalibrationImages) -> Sequence[LayerCost]:
        """What int8 costs in each layer of the exported one, the costliest first.

        Nothing where it has none, or where its layers cannot be told apart.
        """
        return self.exporter.layer_costs(self.path, images) if self.exporter else ()


def open_pair(
    model: Path, exported: Path, key: str, plugins: Plugins, settings: DetectionSettings
) -> Pair:
    """The detectors in two files.

    Both detect with the settings that are fixed in the exported file, where it tells them.  Where
    the file takes pixels of 8 bits, both see images rounded to these.

    Args:
        model: a model file of ours.
        exported: what an exporter wrote, or another model file of ours.
        key: of both, where they are encrypted.
        settings: how both detect otherwise.

    Raises:
        ModelFileError: one cannot be opened, or they do not belong together.
    """
    exporter = next(
        (e.component for e in plugins.exporters if e.component.recognises(exported)), None
    )
    other = open_runtime(exported, key, plugins, settings)
    settings = other.settings or settings
    opened = open_model(model, key, plugins)
    own = Runtime(
        detect_function(opened, settings), opened.class_names, opened.preprocessing, settings
    )
    _require_same(own, other, model, exported)
    if other.rounds_pixels:
        own = _rounded(own)
    return Pair(own, other, settings, exported, exporter)


def _rounded(runtime: Runtime) -> Runtime:
    """The same, which sees images as another one does that rounds their pixels."""
    preprocessing = runtime.preprocessing

    def detect(images: Any, sizes: Any) -> Detections:
        pixels = preprocessing.pixels(np.asarray(images)).astype(np.float32)
        return runtime.detect(preprocessing.normalize(tf.constant(pixels)), sizes)

    return replace(runtime, detect=detect)


def _require_same(own: Runtime, other: Runtime, model: Path, exported: Path) -> None:
    """Refuse detectors that cannot be compared.

    Raises:
        ModelFileError: says in what they differ.
    """
    problems = []
    if own.class_names != other.class_names:
        problems.append(
            f"Its classes are {', '.join(other.class_names)}, but those of {model} "
            f"{', '.join(own.class_names)}."
        )
    if own.preprocessing != other.preprocessing:
        problems.append(
            f"It takes images {other.preprocessing.describe()}, but {model} "
            f"{own.preprocessing.describe()}."
        )
    if problems:
        problems.append("Give the model that it was exported from, or export again.")
        raise ModelFileError("\n  ".join([f"{exported} is not an export of {model}.", *problems]))


# Images -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VerificationImages:
    """The images that both detectors see."""

    batches: Callable[[], Iterator[Batch]]
    """The same batches in the same order, however often they are asked for."""
    count: int
    source: str
    """Where they come from, for people."""

    def calibration(self, count: int) -> CalibrationImages:
        """The first ``count`` images, one by one, for what measures layers on images."""
        count = min(count, self.count)

        def single() -> Iterator[np.ndarray]:
            for batch in self.batches():
                for index in np.flatnonzero(np.any(np.asarray(batch.sizes), axis=1)):
                    yield np.asarray(batch.images[index : index + 1])

        return CalibrationImages(lambda: islice(single(), count), count, self.source)


def labelled_images(
    data: EvaluationSet,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    bad_images: BadImages,
    source: str,
    count: int,
) -> VerificationImages:
    """The first ``count`` validation images of a spec.

    Args:
        bad_images: is told which of them are skipped.
    """

    def batches() -> Iterator[Batch]:
        return _first(data.batches(preprocessing, batch_size, bad_images), count)

    return VerificationImages(batches, count, source)


def folder_images(
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    skipped: list[Skipped],
    source: str,
) -> VerificationImages:
    """Image files without labels.

    Args:
        skipped: gets those that cannot be read.
    """

    bad: set[Path] = set()

    def batches() -> Iterator[Batch]:
        batch = []
        for path in paths:
            if path in bad:
                continue
            try:
                batch.append(read_image(preprocessing, path))
            except DataError as error:
                bad.add(path)
                skipped.append(Skipped(path, str(error)))
            if len(batch) == batch_size:
                yield _unlabelled(batch)
                batch = []
        if batch:
            yield _unlabelled(batch)

    return VerificationImages(batches, len(paths), source)


def _unlabelled(images: Sequence[InputImage]) -> Batch:
    count = len(images)
    return Batch(
        images=stack([image.input for image in images]),
        sizes=np.stack([image.size for image in images]),
        scales=np.stack([image.scale for image in images]),
        boxes=np.zeros((count, 0, 4), np.float32),
        classes=np.zeros((count, 0), np.int32),
        difficult=np.zeros((count, 0), bool),
        names=np.array([str(image.path) for image in images], object),
    )


def _first(batches: Iterable[Batch], count: int) -> Iterator[Batch]:
    """Batches of the first ``count`` images."""
    for batch in batches:
        size = len(batch.images)
        yield batch if size <= count else Batch(*(part[:count] for part in batch))
        count -= size
        if count <= 0:
            return
