"""Wrote the files in this folder, with frcnn 0.1 as of commit a669416.

    python make.py FOLDER

Kept to tell what is in them.  Run today, it would write files of today.
"""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from frcnn_core.anchors import Anchors
from frcnn_core.layers import BatchNormalization
from frcnn_core.model import Model
from frcnn_core.preprocessing import Preprocessing

from frcnn_core import archive
from frcnn_core.data import index, kitti, records
from frcnn_core.detector import DetectionSettings, FasterRCNN
from frcnn_core.quantization import quantize
from frcnn_core.weights import Origin, write_weights

FOLDER = Path(sys.argv[1])
SETTINGS = DetectionSettings(rpn_pre_nms_top_n=12, rpn_nms_max_boxes=6, classifier_nms_max_boxes=6)


def parts():
    """Every kind of layer that has code of frcnn's, in a network of 1,900 weights."""
    spread = keras.initializers.RandomNormal(stddev=0.05)
    images = keras.Input((None, None, 3), name="input_image")
    x = keras.layers.Conv2D(4, 16, 16, padding="same", kernel_initializer=spread, name="conv1")(
        images
    )
    x = BatchNormalization(frozen_statistics=True, name="bn_conv1")(x)
    x = keras.layers.ReLU(name="relu")(x)
    features = keras.Model(images, x, name="features")
    cells = keras.Input((None, None, 4), name="feature_map")
    objectness = keras.layers.Conv2D(2, 1, kernel_initializer=spread, name="rpn_out_class")(cells)
    deltas = keras.layers.Conv2D(8, 1, name="rpn_out_regress")(cells)
    rpn = keras.Model(cells, [objectness, deltas], name="rpn")
    crops = keras.Input((3, 3, 4), name="pooled_rois")
    vector = keras.layers.Flatten(name="flatten")(crops)
    classes = keras.layers.Dense(3, kernel_initializer=spread, name="dense_class")(vector)
    refinements = keras.layers.Dense(8, name="dense_regress")(vector)
    head = keras.Model(crops, [classes, refinements], name="head")
    return {"features": features, "rpn": rpn, "head": head}


def model(drawn):
    return Model(
        detector=FasterRCNN(**drawn, anchors=Anchors(scales=(12.0, 24.0), ratios=(1.0,))),
        class_names=("car", "person"),
        preprocessing=Preprocessing(
            height=32, width=48, channel_order="bgr", means=(10.0, 20.0, 30.0), scale=50.0
        ),
        arch="resnet:10",
        spec="random_seed: 42\n",
        provenance=(
            {
                "kind": "backbone",
                "name": "resnet",
                "plugin": "resnet",
                "distribution": "frcnn",
                "version": "0.1.0",
            },
        ),
        history=[{"event": "started", "field": "", "file": "", "arch": "resnet:10"}],
    )


keras.utils.set_random_seed(1)
pixels = np.random.default_rng(3).normal(0, 1, (2, 32, 48, 3)).astype("float32")
plain = model(parts())
archive.write(FOLDER / "model.tlt", plain.to_archive(), "")
archive.write(FOLDER / "model_with_key.tlt", plain.to_archive(), "nvidia_tlt")
optimizer = keras.optimizers.Adam(0.001)
optimizer.build(plain.detector.trainable_variables)
optimizer.apply([tf.ones_like(v.value) for v in plain.detector.trainable_variables])
plain.progress = {"epoch": 1, "step": 2, "losses": {}, "images": 8}
archive.write(FOLDER / "checkpoint.tlt", plain.to_archive(optimizer), "")
quantized = model(quantize(parts(), per_channel_weights=True))
archive.write(FOLDER / "quantized.tlt", quantized.to_archive(), "")
detections = {}
for name in ("model", "checkpoint", "quantized"):
    read = Model.from_archive(archive.read(FOLDER / f"{name}.tlt"))
    found = read.detector.detect(
        tf.constant(pixels), tf.constant([[32.0, 48.0], [24.0, 40.0]]), SETTINGS
    )
    detections |= {
        f"{name}_{field}": getattr(found, field).numpy() for field in ("boxes", "scores", "classes")
    }
np.savez_compressed(FOLDER / "detections.npz", pixels=pixels, **detections)

with tf.io.TFRecordWriter(str(FOLDER / "street")) as writer:
    for number in range(3):
        objects = tuple(
            kitti.Object("Car", x1=2.0 + i, y1=3.0, x2=20.0 + i, y2=17.5, occlusion=i)
            for i in range(number)
        )
        writer.write(records.to_example(records.Record(f"images/{number}", 32, 48, objects)))
index.offsets(FOLDER / "street")
write_weights(
    FOLDER / "weights.h5",
    {"conv1": {"kernel": np.arange(12, dtype="float32").reshape(1, 1, 3, 4)}},
    Origin("resnet:10", "a test", "rgb", (1.0, 2.0, 3.0), 4.0, {"use_bias": True}),
)
