"""The smallest detector that can learn, scenes to learn from, and a spec that says so.

This module is also a plugin: it provides the backbone ``toy``.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import numpy as np

from frcnn_core import Backbone, hookimpl

CLASSES = ("blue", "red")
SIDE = 64
"""Height and width of every scene, in pixels."""


class Toy(Backbone):
    name = "toy"
    summary = "four narrow convolutions"
    freeze_ids = range(0, 4)
    honours = frozenset({"dropout_rate"})

    def features(self, images, blocks):
        x = images
        for block, filters in enumerate((8, 8, 16, 16)):
            x = blocks.conv_bn(x, filters, 3, name=f"conv{block}", block=block, strides=2)
        return x

    def head(self, rois, blocks):
        import keras

        strides = 2 if blocks.config.pool_size_2x else 1
        x = blocks.conv_bn(rois, 16, 3, name="head_conv", block=None, strides=strides)
        x = blocks.dropout(x, name="head_dropout")
        return keras.layers.Flatten(name="head_flatten")(x)


@hookimpl
def frcnn_register_backbones():
    return [Toy()]


@cache
def plugins():
    """Everything that is installed, and ``toy``."""
    from frcnn_core.plugin.discovery import Plugins

    toy = EntryPoint(name="toy", value="toy", group="frcnn")
    return Plugins([*entry_points(group="frcnn"), toy])


def detector(seed: int = 1, precision: str = "float32", **config):
    """A detector of two classes with random weights and anchors of 16 and 32 pixels.

    Args:
        config: fields of ``BackboneConfig``.
    """
    import keras

    from frcnn_core.detector.anchors import Anchors
    from frcnn_core.detector.faster_rcnn import FasterRCNN
    from frcnn_core.detector.layers import BackboneConfig
    from frcnn_core.detector.network import draw

    keras.utils.set_random_seed(seed)
    anchors = Anchors(scales=(16.0, 32.0), ratios=(1.0,))
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        parts = draw(
            Toy(),
            BackboneConfig(pool_size=3, **config),
            channels=3,
            anchors_per_cell=anchors.per_cell,
            num_classes=len(CLASSES),
        )
    finally:
        keras.config.set_dtype_policy(before)
    return FasterRCNN(*parts, anchors=anchors)


def model(seed: int = 1, precision: str = "float32", **config):
    """A whole ``Model`` of such a detector."""
    from frcnn_core.data.preprocessing import Preprocessing
    from frcnn_core.model_files.model import Model

    return Model(
        detector=detector(seed, precision, **config),
        class_names=CLASSES,
        preprocessing=Preprocessing(height=SIDE, width=SIDE, means=(40.0,) * 3, scale=60.0),
        arch="toy",
        spec="",
    )


def write_scenes(folder: Path, name: str, count: int, *, seed: int, empty: int = 0) -> None:
    """Scenes with one red or blue square each on dark noise, and a record file ``name``.

    Args:
        folder: gets ``images/`` and the records.
        empty: so many of the scenes, the first ones, have no square.
    """
    import tensorflow as tf

    from frcnn_core.data import kitti, records

    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / name)) as writer:
        for number in range(count):
            pixels = random.integers(0, 80, (SIDE, SIDE, 3), np.uint8)
            objects = []
            if number >= empty:
                side = int(random.integers(14, 34))
                y, x = (int(start) for start in random.integers(0, SIDE - side, 2))
                label = CLASSES[int(random.integers(2))]
                pixels[y : y + side, x : x + side] = (
                    (30, 30, 230) if label == "blue" else (230, 30, 30)
                )
                objects.append(kitti.Object(label, x1=x, y1=y, x2=x + side, y2=y + side))
            path = folder / "images" / f"{name}_{number}.png"
            path.write_bytes(tf.io.encode_png(pixels).numpy())
            record = records.Record(f"images/{path.stem}", SIDE, SIDE, tuple(objects))
            writer.write(records.to_example(record))


SPEC = """
random_seed: {seed}
dataset_config {{
  data_sources {{ tfrecords_path: "{folder}/train" image_directory_path: "{folder}" }}
  image_extension: "png"
  target_class_mapping {{ key: "red" value: "red" }}
  target_class_mapping {{ key: "blue" value: "{blue}" }}
  {validation}
}}
model_config {{
  arch: "toy"
  input_image_config {{
    image_type: RGB
    image_channel_order: "rgb"
    size_height_width {{ height: 64 width: 64 }}
    image_channel_mean {{ key: "r" value: 40 }}
    image_channel_mean {{ key: "g" value: 40 }}
    image_channel_mean {{ key: "b" value: 40 }}
    image_scaling_factor: 60
    max_objects_num_per_image: 4
  }}
  anchor_box_config {{ scale: [16.0, 32.0] ratio: [1.0] }}
  roi_mini_batch: 16
  rpn_stride: 16
  roi_pooling_config {{ pool_size: 3 }}
  {model}
}}
augmentation_config {{
  preprocessing {{ output_image_width: 64 output_image_height: 64 output_image_channel: 3 }}
  spatial_augmentation {{ hflip_probability: 0.5 }}
}}
training_config {{
  enable_augmentation: True
  batch_size_per_gpu: {batch_size}
  num_epochs: {epochs}
  gt_as_roi: True
  rpn_max_overlap: 0.5
  rpn_mini_batch: 16
  rpn_pre_nms_top_N: 32
  rpn_nms_max_boxes: 16
  regularizer {{ type: L2 weight: 1e-5 }}
  optimizer {{ {optimizer} }}
  learning_rate {{
    soft_start {{
      base_lr: {rate} soft_start: 0.1 annealing_points: [0.7] annealing_divider: 10
    }}
  }}
  {training}
}}
evaluation_config {{
  batch_size: 8
  validation_period_during_training: {period}
  rpn_pre_nms_top_N: 32
  rpn_nms_max_boxes: 16
  object_confidence_thres: 0.01
}}
"""


def spec_text(
    folder: Path,
    *,
    epochs: int = 4,
    batch_size: int = 4,
    rate: float = 0.003,
    seed: int = 42,
    blue: str = "blue",
    optimizer: str = "adam { }",
    validation: str = "",
    period: int = 1,
    model: str = "",
    training: str = "",
) -> str:
    """A spec to train on ``train``, the scenes in ``folder``.

    Args:
        blue: what blue squares are learnt as.
        validation: more of ``dataset_config``; ``model`` and ``training`` likewise.
    """
    return SPEC.format(**locals())


def validated_on(folder: Path, name: str) -> str:
    """For ``spec_text``: validation on the record file ``name``."""
    return (
        f'validation_data_source {{ tfrecords_path: "{folder}/{name}" '
        f'image_directory_path: "{folder}" }}'
    )


def run(made, stop_at: tuple[int, int] | None = None) -> list:
    """The events of a training that ``assemble`` made, stopped after a (epoch, step)."""
    from frcnn_core.training import StepDone

    events = []
    for event in made.trainer.run():
        events.append(event)
        if isinstance(event, StepDone) and (event.epoch, event.step) == stop_at:
            made.trainer.stop()
    return events


def noise(count: int = 2, seed: int = 0):
    """A batch of noise, with one object in each image."""
    import tensorflow as tf

    from frcnn_core.structures import Batch

    random = np.random.default_rng(seed)
    return Batch(
        images=tf.constant(random.normal(3.0, 2.0, (count, SIDE, SIDE, 3)), tf.float32),
        sizes=tf.fill([count, 2], float(SIDE)),
        scales=tf.ones([count, 2]),
        boxes=tf.tile(tf.constant([[[8.0, 8.0, 30.0, 30.0]]]), [count, 1, 1]),
        classes=tf.zeros([count, 1], tf.int32),
        difficult=tf.zeros([count, 1], tf.bool),
        names=tf.fill([count], "a.png"),
    )
