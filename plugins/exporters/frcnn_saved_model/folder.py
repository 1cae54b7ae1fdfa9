"""A detector as a SavedModel folder, and back.

Signatures, all of any batch size; boxes are (y1, x1, y2, x2), rows of zeros are padding:

``serving_default``
    ``images`` (B, H, W, C) uint8 as decoded from files, RGB or luma, of any size.  They are resized
    and normalized as in training.  Gives ``boxes`` (B, D, 4) in pixels of these images, ``scores``
    (B, D), ``classes`` (B, D) with -1 for padding, and ``counts`` (B,).
``float``
    The same for float32 pixels, 0..255.
``preprocessed``
    ``images`` (B, H, W, C) as the network sees them and ``sizes`` (B, 2), their valid height and
    width.  Gives also ``proposals`` (B, P, 4), and all boxes in network pixels.

Where images have sizes of their own and the network has a layer that would mix them with a batch's
padding (``FasterRCNN.only_single_images``), a batch has one image.

``frcnn.json`` beside the SavedModel's own files names the classes, describes the preprocessing, and
says where the model came from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tensorflow as tf

from frcnn_core.data import Preprocessing, Resampled
from frcnn_core.detector import DetectionSettings
from frcnn_core.errors import ModelFileError
from frcnn_core.files import whole
from frcnn_core.model_files import Model
from frcnn_core.plugin import Runtime
from frcnn_core.structures import Detections

DESCRIPTION = "frcnn.json"


def write(model: Model, output: Path, settings: DetectionSettings) -> list[Path]:
    """Write ``model`` to the folder ``output``; ``settings`` are fixed in it."""
    module: Any = tf.Module()
    module.variables_of_parts = [
        variable.value for part in model.detector.parts.values() for variable in part.variables
    ]
    height, width, channels = model.preprocessing.shape
    on_pixels = tf.function(_on_pixels(model, settings))
    on_preprocessed = tf.function(_on_preprocessed(model, settings))
    any_size = [None, None, None, channels]
    signatures = {
        "serving_default": on_pixels.get_concrete_function(
            images=tf.TensorSpec(any_size, tf.uint8, "images")
        ),
        "float": on_pixels.get_concrete_function(
            images=tf.TensorSpec(any_size, tf.float32, "images")
        ),
        "preprocessed": on_preprocessed.get_concrete_function(
            images=tf.TensorSpec([None, height, width, channels], tf.float32, "images"),
            sizes=tf.TensorSpec([None, 2], tf.float32, "sizes"),
        ),
    }
    description = {
        "arch": model.arch,
        "class_names": list(model.class_names),
        "preprocessing": model.preprocessing.as_dict(),
        "preprocessing_text": model.preprocessing.describe(),
        "settings": asdict(settings),
        "only_single_images": model.detector.only_single_images,
        "spec_sha256": hashlib.sha256(model.spec.encode()).hexdigest(),
        "versions": {name: version(name) for name in ("frcnn", "tensorflow", "keras")},
    }
    with whole(output) as temporary:
        tf.saved_model.save(module, str(temporary), signatures)
        (temporary / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
    return [output]


def load(path: Path) -> Runtime:
    """A runtime for a folder that ``write`` wrote.

    Raises:
        ModelFileError: another program wrote it, or it is damaged.
    """
    try:
        description = json.loads((path / DESCRIPTION).read_text())
        class_names = tuple(description["class_names"])
        preprocessing = Preprocessing.from_dict(description["preprocessing"])
        settings = DetectionSettings(**description["settings"])
        only_single_images = description.get("only_single_images", "")
        saved = tf.saved_model.load(str(path))
        signature = saved.signatures["preprocessed"]
    except FileNotFoundError as error:
        raise ModelFileError(
            f"{path} lacks {Path(error.filename or DESCRIPTION).name}: it was not written by "
            "`frcnn export saved_model`, or not copied whole."
        ) from error
    except (OSError, ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        raise ModelFileError(f"{path} cannot be loaded: {error}") from error

    # A signature does not keep the module alive that owns its variables.
    signature.module = saved

    def detect(images: tf.Tensor, sizes: tf.Tensor) -> Detections:
        if only_single_images and len(images) > 1:
            raise ModelFileError(
                f"{path} takes one image at a time. {only_single_images}, so images of different "
                "sizes would be mixed with their padding. Set batch_size to 1."
            )
        return Detections(**signature(images=tf.constant(images), sizes=tf.constant(sizes)))

    return Runtime(detect, class_names, preprocessing, settings, "fp32")


def _on_preprocessed(model: Model, settings: DetectionSettings) -> Callable:
    def preprocessed(images: tf.Tensor, sizes: tf.Tensor) -> dict[str, tf.Tensor]:
        return model.detector.detect(images, sizes, settings)._asdict()

    return preprocessed


def _on_pixels(model: Model, settings: DetectionSettings) -> Callable:
    preprocessing = model.preprocessing
    fitted = Resampled(
        image=tf.TensorSpec(preprocessing.shape, tf.float32),
        size=tf.TensorSpec([2], tf.float32),
        scale=tf.TensorSpec([2], tf.float32),
    )

    def pixels(images: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs: Resampled = tf.map_fn(  # type: ignore[type-var]  # a tuple of tensors is none to it
            preprocessing.fit, images, fn_output_signature=fitted
        )
        found = model.detector.detect(preprocessing.normalize(inputs.image), inputs.size, settings)
        to_original = 1.0 / tf.tile(inputs.scale, [1, 2])[:, None, :]  # (B, 1, 4)
        return {
            "boxes": found.boxes * to_original,
            "scores": found.scores,
            "classes": found.classes,
            "counts": found.counts,
        }

    return pixels
