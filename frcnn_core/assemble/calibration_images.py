"""The images that int8 ranges are measured on, in the order of preference that TLT documents.

An existing tensorfile (``cal_data_file``), else a folder of images (``cal_image_dir``), else the
training images of the spec.  Unlike in the original a folder's images get the model's own
preprocessing, not the means of another network.

Source: TLT 3.0, "Exporting the Model", options 1 and 2 of int8 calibration.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from frcnn_core.assemble.data import class_map, sources
from frcnn_core.assemble.direct import ShowProgress
from frcnn_core.data import BadImages, Preprocessing, Source, tensorfile, training_batches
from frcnn_core.data.tensorfile import Tensorfile
from frcnn_core.errors import DataError, SpecError
from frcnn_core.inference import find_images, read_image, stack
from frcnn_core.model_files import Model
from frcnn_core.plugin import CalibrationImages, Int8Options, Plugins
from frcnn_core.spec.check import check
from frcnn_core.spec.load import Spec
from frcnn_core.spec.problems import refuse

logger = logging.getLogger(__name__)

_ANY_NUMBER = 2**31
_INSTEAD = "Or give a folder of images with --cal_image_dir DIR."


def calibration_images(
    spec: Spec,
    model: Model,
    options: Int8Options,
    plugins: Plugins,
    *,
    progress: ShowProgress | None = None,
) -> CalibrationImages:
    """Batches of images to calibrate ``model`` with.

    Images are read when a batch is asked for; no more than a batch is in memory.  A
    ``cal_data_file`` that does not exist yet is written before this function returns.

    Args:
        spec: its training data is read where ``options`` name no images.
        plugins: read the labels of sources that are in no records.
        progress: shows how far the reading of such labels is.

    Raises:
        FrcnnError: there are no images, or they do not fit the model.
    """
    file = options.cal_data_file
    if file and file.exists():
        if options.cal_image_dir:
            logger.info("%s exists, so --cal_image_dir is not read.", file)
        return _in_tensorfile(file, model.preprocessing, options.batches)
    if file and model.preprocessing.is_dynamic:
        raise SpecError(
            f"--cal_data_file {file}: a tensorfile holds images of one size, and the model takes "
            "images of any size. Leave it out."
        )
    if options.cal_image_dir:
        stream = _in_folder(options.cal_image_dir, model.preprocessing)
    else:
        stream = _in_training_data(spec, model.preprocessing, plugins, progress)
    if file:
        _write(file, stream, options)
        return _in_tensorfile(file, model.preprocessing, options.batches)
    # Images of several sizes in a batch would be calibrated together with their padding.
    batch_size = 1 if model.preprocessing.is_dynamic else options.batch_size
    wanted = options.batches * options.batch_size
    count = _count(stream, wanted, options)
    return CalibrationImages(
        batches=lambda: _batches(islice(stream.images(), count), batch_size),
        num_batches=-(-count // batch_size),
        source=stream.source,
    )


@dataclass(frozen=True)
class _Stream:
    """Images one by one, the same ones in the same order however often they are asked for."""

    images: Callable[[], Iterator[np.ndarray]]
    """Each is (H, W, C) float32, preprocessed."""
    source: str


def _in_tensorfile(path: Path, preprocessing: Preprocessing, limit: int) -> CalibrationImages:
    found = Tensorfile.open(path)
    size = found.shape[1:]
    if any(own not in (None, other) for own, other in zip(preprocessing.shape, size, strict=True)):
        wanted = " x ".join(str(length or "any") for length in preprocessing.shape)
        raise DataError(
            f"{path}: its images are {' x '.join(map(str, size))} (height x width x channels), but "
            f"the model takes {wanted}. Give another --cal_data_file, or one that does not exist "
            "yet, to write it."
        )
    if found.num_batches < limit:
        logger.warning(
            "%s holds %d batches of %d images; --batches asks for %d.",
            *(path, found.num_batches, found.shape[0], limit),
        )
    return CalibrationImages(
        batches=lambda: found.batches(limit),
        num_batches=min(limit, found.num_batches),
        source=str(path),
    )


def _in_folder(folder: Path, preprocessing: Preprocessing) -> _Stream:
    try:
        paths, others = find_images(folder)
    except DataError as error:
        raise DataError(f"--cal_image_dir: {error}") from error
    if others:
        logger.info("%s: %d other file(s) and folder(s) are skipped.", folder, len(others))
    bad: set[Path] = set()

    def images() -> Iterator[np.ndarray]:
        for path in paths:
            if path in bad:
                continue
            try:
                yield read_image(preprocessing, path).input
            except DataError as error:
                bad.add(path)
                logger.warning("Skipped %s: %s", path.name, error)

    return _Stream(images, str(folder))


def _in_training_data(
    spec: Spec, preprocessing: Preprocessing, plugins: Plugins, progress: ShowProgress | None
) -> _Stream:
    """Without augmentation, and in the order of the first epoch of a training."""
    if not spec.message.dataset_config.data_sources:
        raise SpecError(
            "Calibration of int8 needs images, and dataset_config of the spec names no "
            "data_sources. Give a folder of images with --cal_image_dir DIR, or with -e a spec "
            "that has training data."
        )
    own = _without_validation(spec)
    try:
        refuse([p for p in check(own, plugins, "train") if p.field.startswith("dataset_config")])
        training, _ = sources(own, plugins, max_bad=_ANY_NUMBER, progress=progress)
        _require_records(training)
    except (SpecError, DataError) as error:
        raise type(error)(f"{error}\n  {_INSTEAD}") from error
    mapping, bad_images = class_map(own), BadImages(_ANY_NUMBER)

    def images() -> Iterator[np.ndarray]:
        batches = training_batches(
            training,
            mapping,
            preprocessing,
            batch_size=1,
            max_objects=None,
            seed=own.message.random_seed,
            epoch=0,
            bad_images=bad_images,
        )
        for batch in batches:
            if batch.sizes.numpy().any():  # an absent image has no size
                yield batch.images.numpy()[0]

    return _Stream(images, "the training images of the spec")


def _require_records(training: tuple[Source, ...]) -> None:
    if not training:
        raise DataError("dataset_config.data_sources: all records are in the validation fold.")


def _without_validation(spec: Spec) -> Spec:
    """The same spec, whose separate validation data is not looked at."""
    message = type(spec.message)()
    message.CopyFrom(spec.message)
    message.dataset_config.ClearField("validation_data_source")
    return replace(spec, message=message)


def _write(path: Path, stream: _Stream, options: Int8Options) -> None:
    """Write a tensorfile of whole batches: all of its batches have one shape."""
    count = _count(stream, options.batches * options.batch_size, options)
    batch_size = min(options.batch_size, count)
    if left_out := count % batch_size:
        logger.warning(
            "%s gets whole batches of %d only; %d image(s) are left out.",
            *(path, batch_size, left_out),
        )
    kept = islice(stream.images(), count - left_out)
    tensorfile.write(path, _batches(kept, batch_size))
    logger.info("Calibration images of %s are written to %s.", stream.source, path)


def _count(stream: _Stream, wanted: int, options: Int8Options) -> int:
    """How many images there are, up to ``wanted``; each is read, so that all can be.

    Raises:
        DataError: none.
    """
    count = sum(1 for _ in islice(stream.images(), wanted))
    if not count:
        raise DataError(f"Calibration of int8: none of the images of {stream.source} can be used.")
    if count < wanted:
        logger.warning(
            "Calibration of int8: %d batches of %d are %d images, but only %d of %s can be used.",
            *(options.batches, options.batch_size, wanted, count, stream.source),
        )
    return count


def _batches(images: Iterator[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    """(B, H, W, C); the last one may have fewer."""
    while batch := list(islice(images, batch_size)):
        yield stack(batch)
