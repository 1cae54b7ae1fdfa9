import numpy as np
import pytest
import tensorflow as tf
from record_sets import labelled

from frcnn_core.data import records
from frcnn_core.data.sources import Source


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
