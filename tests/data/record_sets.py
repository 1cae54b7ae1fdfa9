"""What the tests of sources, of the pipeline and of its batches share."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from frcnn_core.data.augment import Augmentation
from frcnn_core.data.classes import ClassMap
from frcnn_core.data.labels import Object
from frcnn_core.data.pipeline import training_batches
from frcnn_core.data.preprocessing import Preprocessing

CLASSES = ClassMap.of({"car": "car", "person": "person"})
SAME_SIZE = Preprocessing(20, 30)
RESTLESS = Augmentation(0.5, zoom_min=0.8, zoom_max=1.2, translate_max_x=3, color_shift_stddev=0.1)


def labelled(name, y1, x1, y2, x2, occlusion=0):
    return Object(name, x1=x1, y1=y1, x2=x2, y2=y2, occlusion=occlusion)


def stems(batches) -> list[str]:
    """Names of all images, without folder and extension, in the order they come."""
    return [Path(name.decode()).stem for batch in batches for name in batch.names.numpy()]


def epoch_of(source, *, augmentation=None, batch_size=2, seed=1, epoch=0, **options):
    return training_batches(
        [source],
        CLASSES,
        options.pop("preprocessing", SAME_SIZE),
        augmentation,
        batch_size=batch_size,
        max_objects=options.pop("max_objects", 100),
        seed=seed,
        epoch=epoch,
        **options,
    )


def spoilt(source):
    """Three of seven images are bad, each in its way; path -> what is said of it."""
    missing, damaged, larger = (source.images / "image_2" / f"{i}.png" for i in (1, 3, 4))
    missing.unlink()
    damaged.write_bytes(damaged.read_bytes()[:60])
    larger.write_bytes(tf.io.encode_png(np.zeros((21, 30, 3), np.uint8)).numpy())
    return {
        str(missing): "there is no such image.",
        str(damaged): "not a JPEG or PNG image, or damaged: Invalid PNG data, size 60.",
        str(larger): "is 21 x 30 pixels (height x width) large, but its record says 20 x 30",
    }
