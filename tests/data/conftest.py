from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.data import records
from frcnn_core.data.kitti import Object
from frcnn_core.data.sources import Source


def labelled(name, y1, x1, y2, x2, occlusion=0):
    return Object(name, x1=x1, y1=y1, x2=x2, y2=y2, occlusion=occlusion)


@pytest.fixture
def make_source(tmp_path):
    """Writes images and one record file; takes {stem: (height, width, objects)}."""

    def make(images, folder="set", shards=1) -> Source:
        root = tmp_path / folder
        (root / "image_2").mkdir(parents=True)
        examples = []
        for number, (stem, (height, width, objects)) in enumerate(images.items()):
            pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
            path = root / "image_2" / f"{stem}.png"
            path.write_bytes(tf.io.encode_png(pixels).numpy())
            record = records.Record(f"image_2/{stem}", height, width, tuple(objects))
            examples.append(records.to_example(record))
        files = [root / f"records-{shard:05d}-of-{shards:05d}" for shard in range(shards)]
        for shard, file in enumerate(files):
            with tf.io.TFRecordWriter(str(file)) as writer:
                for example in examples[shard::shards]:
                    writer.write(example)
        return Source(tuple(files), root, "png")

    return make


@pytest.fixture
def plain_source(make_source):
    """Seven images of 20 x 30 (height x width), each with one car of 10 x 10 pixels."""
    return make_source({f"{i}": (20, 30, [labelled("car", 5, 5, 15, 15)]) for i in range(7)})


def stems(batches) -> list[str]:
    """Names of all images, without folder and extension, in the order they come."""
    return [Path(name.decode()).stem for batch in batches for name in batch.names.numpy()]
