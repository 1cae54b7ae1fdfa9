"""What the network of a spec will see of its data: images after all preprocessing, with objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from frcnn_core.assemble.data import augmentation, sources, validation_sources
from frcnn_core.assemble.direct import ShowProgress
from frcnn_core.assemble.survey import network_view
from frcnn_core.data import (
    BadImages,
    Batches,
    Preprocessing,
    Source,
    evaluation_batches,
    training_batches,
)
from frcnn_core.data.excerpt import excerpt
from frcnn_core.errors import DataError, SpecError
from frcnn_core.plugin import Plugins
from frcnn_core.spec.check import check
from frcnn_core.spec.load import Spec
from frcnn_core.spec.problems import Problem, refuse
from frcnn_core.structures import GroundTruth

Split = Literal["training", "validation"]

_SECTIONS = (
    "dataset_config",
    "augmentation_config",
    "model_config.input_image_config",
    "training_config.enable_augmentation",
)
"""What is shown depends on nothing else; what is wrong elsewhere does not hold it up."""


@dataclass(frozen=True)
class Seen:
    """One image as it comes to the network."""

    number: int
    """From 1, in the order of the names; that of an image is the same in every draw."""
    draw: int | None
    """From 1, which draw of the augmentation it is; None without augmentation."""
    pixels: np.ndarray
    """(H, W, 1 or 3) uint8, all of the network input with its padding, no longer normalized."""
    size: tuple[int, int]
    """Height and width of what is not padding."""
    truth: GroundTruth
    """Boxes are in pixels of ``pixels``, unlike those of an evaluation."""


def require_shown(spec: Spec, plugins: Plugins, *, split: Split, augmented: bool) -> list[Problem]:
    """The warnings about a spec whose data can be shown.

    Raises:
        SpecError: it cannot; the message lists every error.
    """
    warnings = refuse(
        [problem for problem in check(spec, plugins) if problem.field.startswith(_SECTIONS)]
    )
    config = spec.message.dataset_config
    if split == "validation" and config.WhichOneof("dataset_split_type") is None:
        raise SpecError(
            f"{spec.where('dataset_config')}: dataset_config: there is no validation data. Set"
            " validation_fold or validation_data_source."
        )
    if augmented and augmentation(spec) is None:
        raise SpecError(
            f"{spec.where('training_config.enable_augmentation')}:"
            " training_config.enable_augmentation: is off, so training changes no image. Set it"
            " to True, or leave out --augmented."
        )
    return warnings


def seen_by_network(
    spec: Spec,
    plugins: Plugins,
    *,
    split: Split,
    count: int,
    draws: int = 0,
    seed: int | None = None,
    progress: ShowProgress | None = None,
) -> Iterator[Seen]:
    """Some images of a split, each as it is and then ``draws`` times augmented.

    They come from the batches that training and evaluation are made of.  Draws are of the same
    distributions as those of a training, but not the same ones: these depend on the place of an
    image among all of an epoch.

    Args:
        spec: checked by ``require_shown``.
        count: images, drawn from all of the split.
        draws: 0 for validation, where nothing is random.
        seed: of the choice of images and of the augmentation; None is that of the spec.
        progress: shows how far the reading of labels that are in no records is.

    Raises:
        DataError: records, labels or all of the images cannot be used.  Single images are left
            out with a warning.
    """
    seed = spec.message.random_seed if seed is None else seed
    if split == "validation":
        whole = validation_sources(spec, plugins, progress=progress)
    else:
        whole, _ = sources(spec, plugins, progress=progress)
    bad_images = BadImages(count)
    with TemporaryDirectory(prefix="frcnn-") as folder:
        chosen = excerpt(whole, count, Path(folder), seed=seed)
        shown = 0
        for draw in (None, *range(1, draws + 1)):
            batches = _batches(spec, split, chosen, draw, seed, bad_images)
            for seen in _images(batches, network_view(spec).preprocessing, draw):
                shown += 1
                yield seen
    if not shown:
        reasons = sorted(bad_images.reasons.items())
        listed = "\n".join(f"{path}: {reason}" for path, reason in reasons)
        raise DataError(f"None of these images can be used:\n{listed}")


def _batches(
    spec: Spec,
    split: Split,
    chosen: tuple[Source, ...],
    draw: int | None,
    seed: int,
    bad_images: BadImages,
) -> Batches:
    view, message = network_view(spec), spec.message
    if split == "validation":
        return evaluation_batches(
            chosen,
            view.class_map,
            view.preprocessing,
            batch_size=message.evaluation_config.batch_size,
            bad_images=bad_images,
        )
    return training_batches(
        chosen,
        view.class_map,
        view.preprocessing,
        None if draw is None else augmentation(spec),
        batch_size=message.training_config.batch_size_per_gpu,
        max_objects=view.max_objects,
        seed=seed,
        epoch=draw or 0,
        min_box_size=view.min_box_size,
        bad_images=bad_images,
    )


def _images(batches: Batches, preprocessing: Preprocessing, draw: int | None) -> Iterator[Seen]:
    """Every image of an epoch that can be used, in the order of the names."""
    found = []
    for batch in batches:
        pixels = preprocessing.pixels(batch.images.numpy())
        for image, name in enumerate(batch.names.numpy().tolist()):
            real = batch.classes[image].numpy() >= 0
            truth = GroundTruth(
                name.decode(),
                batch.boxes[image].numpy()[real],
                batch.classes[image].numpy()[real],
                batch.difficult[image].numpy()[real],
            )
            height, width = batch.sizes[image].numpy().astype(int).tolist()
            found.append((pixels[image], (height, width), truth))
    found.sort(key=lambda one: one[2].name)
    for number, (image, size, truth) in enumerate(found, start=1):
        if size != (0, 0):  # a bad image, which the batches have warned of
            yield Seen(number, draw, image, size, truth)
