"""Detects in image files and writes what was found: annotated pictures and KITTI labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from frcnn_core.data import Preprocessing, image_files
from frcnn_core.errors import DataError, FrcnnError
from frcnn_core.evaluation import detections_per_image
from frcnn_core.files import whole, write_whole
from frcnn_core.inference.drawing import draw
from frcnn_core.structures import Detections, ImageDetections

SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
"""Lower-case file name endings of images, and the format a picture of that name is written in."""


class Skipped(NamedTuple):
    """A file that was left out, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class InferenceReport:
    """What became of the files."""

    num_images: int
    """Read and shown to the detector."""
    skipped: tuple[Skipped, ...]
    seconds: float
    images_per_second: float | None
    """After the first batch, whose time is mostly compiling; None if there was no other."""


def find_images(folder: Path) -> tuple[list[Path], list[Skipped]]:
    """The image files of a folder, sorted by name, and what else is in it.

    Raises:
        DataError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder of images.")
    images, skipped = [], []
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            skipped.append(Skipped(path, "a folder; images inside of it are not looked for."))
        elif path.suffix.lower() not in SUFFIXES:
            skipped.append(Skipped(path, f"its name is no image's: {', '.join(SUFFIXES)}."))
        else:
            images.append(path)
    if not images:
        raise DataError(f"{folder}: holds no image named {', '.join(f'*{s}' for s in SUFFIXES)}.")
    return images, skipped


def infer(
    detect: Callable[[Any, Any], Detections],
    preprocessing: Preprocessing,
    paths: Iterable[Path],
    on_image: Callable[[Path, np.ndarray, ImageDetections], None],
    *,
    batch_size: int,
    progress: Callable[[int], None] | None = None,
) -> InferenceReport:
    """Detect in every file that is an image; files that are not are left out and reported.

    Args:
        detect: (images (B, H, W, C), sizes (B, 2)) -> detections in network pixels.
        preprocessing: of the model, as in training.
        paths: image files.
        on_image: called with each path, its pixels (H, W, 1 or 3) uint8, and what was detected
            in them, in pixels of the original image; in the order of ``paths``.
        batch_size: images per call of ``detect``; the last call may have fewer.
        progress: called now and then with the number of files done since, skipped ones included.
    """
    skipped: list[Skipped] = []
    num_images = first_batch = told = 0
    started = warm = time.perf_counter()
    for batch in _batches(preprocessing, paths, batch_size, skipped):
        sizes = np.stack([image.size for image in batch])
        scales = np.stack([image.scale for image in batch])
        detections = detect(stack([image.input for image in batch]), sizes)
        for image, found in zip(
            batch, detections_per_image(detections, sizes, scales), strict=True
        ):
            on_image(image.path, image.pixels, found)
        num_images += len(batch)
        if not first_batch:
            first_batch, warm = num_images, time.perf_counter()
        if progress:
            progress(num_images + len(skipped) - told)
            told = num_images + len(skipped)
    ended = time.perf_counter()
    if progress:
        progress(num_images + len(skipped) - told)  # files skipped after the last batch
    return InferenceReport(
        num_images=num_images,
        skipped=tuple(skipped),
        seconds=ended - started,
        images_per_second=(
            (num_images - first_batch) / (ended - warm) if num_images > first_batch else None
        ),
    )


class InputImage(NamedTuple):
    """An image file, and what the network sees of it."""

    path: Path
    pixels: np.ndarray
    """(H, W, C) uint8, as decoded, upright."""
    input: np.ndarray
    """(h, w, C) float32, as the network sees it."""
    size: np.ndarray
    """(2,) valid height and width of ``input``."""
    scale: np.ndarray
    """(2,) (y, x) network pixels per original pixel."""


def _batches(
    preprocessing: Preprocessing, paths: Iterable[Path], batch_size: int, skipped: list[Skipped]
) -> Iterator[list[InputImage]]:
    """Images in batches; files that cannot be read are added to ``skipped``."""
    batch = []
    for path in paths:
        try:
            batch.append(read_image(preprocessing, path))
        except DataError as error:
            skipped.append(Skipped(path, str(error)))
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def read_image(preprocessing: Preprocessing, path: Path) -> InputImage:
    """One image, by the very steps of training.

    Raises:
        DataError: why it cannot be used; the message does not repeat the path.
    """
    import tensorflow as tf

    try:
        image_files.size(path)  # the rules of dataset_convert
        pixels = preprocessing.decode(tf.constant(path.read_bytes()))
    except DataError as error:
        raise DataError(str(error).removeprefix(f"{path}: ")) from error
    except (OSError, tf.errors.InvalidArgumentError) as error:
        raise DataError("cannot be decoded: damaged, or changed while it was read.") from error
    fitted = preprocessing.fit(pixels)
    return InputImage(
        path,
        pixels.numpy(),
        preprocessing.normalize(fitted.image).numpy(),
        fitted.size.numpy(),
        fitted.scale.numpy(),
    )


def stack(images: Sequence[np.ndarray]) -> np.ndarray:
    """(B, H, W, C) of images (h, w, C); smaller ones are padded as the training pipeline does."""
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    return np.stack(
        [
            np.pad(image, [(0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)])
            for image in images
        ]
    )


# What is written ------------------------------------------------------------------------------


def kitti_label(
    detections: ImageDetections, class_names: Sequence[str], *, min_score: float = 0.0
) -> str:
    """Label text in the original's form: 16 fields a line, what is not known is 0.

    ``class 0 0 0 x1 y1 x2 y2 0 0 0 0 0 0 0 score``, boxes in pixels, best first.

    Args:
        detections: with boxes in pixels of the original image.
        class_names: K names; a blank in one becomes an underscore, since blanks part the fields.
        min_score: write the detections scored at least this.
    """
    lines = []
    for box, score, index in zip(
        detections.boxes, detections.scores, detections.classes, strict=True
    ):
        if score >= min_score:
            y1, x1, y2, x2 = box
            name = "_".join(class_names[int(index)].split())
            lines.append(
                f"{name} 0 0 0 {x1:.2f} {y1:.2f} {x2:.2f} {y2:.2f} 0 0 0 0 0 0 0 {score:.7f}\n"
            )
    return "".join(lines)


@dataclass(frozen=True)
class Destination:
    """Where the results of each image go; a folder that is None gets nothing."""

    pictures: Path | None
    """Annotated images, named as their originals."""
    labels: Path | None
    """KITTI labels, ``<stem>.txt``."""

    def picture_path(self, image: Path) -> Path | None:
        return self.pictures / image.name if self.pictures else None

    def label_path(self, image: Path) -> Path | None:
        return self.labels / f"{image.stem}.txt" if self.labels else None

    def require_free(self, images: Sequence[Path], *, overwrite: bool) -> None:
        """See that writing the results of ``images`` destroys nothing.

        Args:
            images: what will be read.
            overwrite: existing results may be replaced; the images themselves never.

        Raises:
            FrcnnError: a result would replace an existing file, an image, or another result.
        """
        sources = {image.resolve() for image in images}
        owners: dict[Path, Path] = {}
        existing = []
        for image in images:
            for path in filter(None, (self.picture_path(image), self.label_path(image))):
                if path.resolve() in sources:
                    raise FrcnnError(
                        f"The picture {path} would replace the image it is made of. Choose another"
                        " inference_config.detection_image_output_dir."
                    )
                if path in owners:
                    raise FrcnnError(
                        f"{owners[path].name} and {image.name} would both be written to {path}."
                        " Rename one of them, or put it into a folder of its own."
                    )
                owners[path] = image
                if path.exists():
                    existing.append(path)
        if existing and not overwrite:
            named = ", ".join(str(path) for path in existing[:3])
            more = f" and {len(existing) - 3} more" if len(existing) > 3 else ""
            raise FrcnnError(
                f"These files exist: {named}{more}. Give another folder, or --overwrite to replace"
                " them."
            )


@dataclass(frozen=True)
class DetectionWriter:
    """Writes the results of image after image; ``write`` is an ``on_image`` of ``infer``."""

    destination: Destination
    class_names: tuple[str, ...]
    picture_threshold: float
    """Detections scored at least this are drawn."""
    label_threshold: float
    """Detections scored at least this are written to labels."""
    caption: bool
    """Whether class and score are written at each box."""

    def write(self, image: Path, pixels: np.ndarray, detections: ImageDetections) -> None:
        """Write the picture and the label of one image, each whole or not at all."""
        if path := self.destination.picture_path(image):
            picture = draw(
                pixels,
                detections,
                self.class_names,
                min_score=self.picture_threshold,
                caption=self.caption,
            )
            with whole(path) as temporary:
                # Few artefacts around thin lines; PNG ignores the quality.
                picture.save(temporary, format=SUFFIXES[image.suffix.lower()], quality=95)
        if path := self.destination.label_path(image):
            text = kitti_label(detections, self.class_names, min_score=self.label_threshold)
            write_whole(path, text)
