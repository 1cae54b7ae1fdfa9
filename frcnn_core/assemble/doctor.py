"""Whether the weights in a file fit the network and the images of a spec."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from frcnn_core import weights
from frcnn_core.assemble.models import new_model
from frcnn_core.assemble.start import load_pretrained
from frcnn_core.data import Preprocessing
from frcnn_core.errors import DataError
from frcnn_core.inference.detect import SUFFIXES
from frcnn_core.plugin import Plugins
from frcnn_core.spec import paths
from frcnn_core.spec.load import Spec
from frcnn_core.weights import fingerprint
from frcnn_core.weights.fingerprint import Fit, Guess


@dataclass(frozen=True)
class Examination:
    """What was found out about weights."""

    loaded: weights.LoadReport
    fits: tuple[Fit, ...]
    """Of the normalizations that the file has statistics for, in data-flow order."""
    guesses: tuple[Guess, ...]
    """Preprocessings, the likeliest first; empty for grayscale images, and where the file has
    nothing for the first normalization."""


def examine_weights(
    spec: Spec, plugins: Plugins, images: Sequence[Path], *, key: str = ""
) -> Examination:
    """Load ``training_config.pretrained_weights`` and look at what they make of some images.

    Args:
        images: JPEG or PNG files; labels are not needed.

    Raises:
        FrcnnError: the weights cannot be loaded, or an image cannot be read.
    """
    model = new_model(spec, plugins)
    report = load_pretrained(spec, plugins, model, key)
    loaded = {row.layer for row in report.layers if row.status == "Yes"}
    preprocessing = model.preprocessing
    pixels = list(_pixels(images, preprocessing))
    features, head = model.detector.features, model.detector.head
    inputs = (preprocessing.normalize(tf.constant(image)).numpy() for image in pixels)
    norms = [n for n in features.layers if isinstance(n, keras.layers.BatchNormalization)]
    can_guess = preprocessing.channels == 3 and norms and norms[0].name in loaded
    return Examination(
        loaded=report,
        fits=tuple(fit for fit in fingerprint.fits(features, head, inputs) if fit.layer in loaded),
        guesses=tuple(fingerprint.guesses(features, preprocessing, pixels)) if can_guess else (),
    )


def images_of(spec: Spec, count: int, folder: Path | None = None) -> list[Path]:
    """Image files, evenly picked.

    Args:
        count: as many, or all if there are fewer.
        folder: where they are, at any depth; below the folders of
            ``dataset_config.data_sources`` unless given.

    Raises:
        DataError: there are none.
    """
    sources = spec.message.dataset_config.data_sources
    folders = [folder] if folder else [paths.locate(s.image_directory_path) for s in sources]
    found = sorted(
        path
        for one in dict.fromkeys(folders)
        for path in one.rglob("*")
        if path.suffix.lower() in SUFFIXES
    )
    if not found:
        where = ", ".join(map(str, folders)) or "dataset_config, which names no data_sources"
        raise DataError(f"No image was found in {where}. Give a folder of images with -i.")
    step = max(len(found) / count, 1.0)
    return [found[int(i * step)] for i in range(min(count, len(found)))]


def _pixels(images: Sequence[Path], preprocessing: Preprocessing) -> Iterator[np.ndarray]:
    for path in images:
        try:
            yield preprocessing.fit(
                preprocessing.decode(tf.constant(path.read_bytes()))
            ).image.numpy()
        except (tf.errors.InvalidArgumentError, OSError) as error:
            raise DataError(f"{path} cannot be read as an image: {error}") from error
