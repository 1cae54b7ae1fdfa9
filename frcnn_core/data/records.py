"""TFRecords of labelled images: the feature keys, and one image's record as bytes and tensors.

Keys and kinds are those of TLT's and TAO's ``dataset_convert``, so their records are read here
and ours there.  Pixels are not in a record; ``frame/id`` says where they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from frcnn_core.data.labels import Object
from frcnn_core.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf

FRAME_ID = "frame/id"
FRAME_HEIGHT = "frame/height"
FRAME_WIDTH = "frame/width"
FRAME_EXTENSION = "frame/extension"
"""Not in TLT, whose loader passes over it: written where a data set mixes extensions."""
CLASS = "target/object_class"
OCCLUSION = "target/occlusion"
CROWD = "target/crowd"
"""Not in TLT; written where an image has such objects."""
BOX = tuple(f"target/coordinates_{side}" for side in ("x1", "y1", "x2", "y2"))

_FLOATS = {
    "target/truncation": "truncation",
    "target/observation_angle": "observation_angle",
    "target/coordinates_x1": "x1",
    "target/coordinates_y1": "y1",
    "target/coordinates_x2": "x2",
    "target/coordinates_y2": "y2",
    "target/world_bbox_h": "height",
    "target/world_bbox_w": "width",
    "target/world_bbox_l": "length",
    "target/world_bbox_x": "x",
    "target/world_bbox_y": "y",
    "target/world_bbox_z": "z",
    "target/world_bbox_rot_y": "rotation_y",
}
"""Float lists, one value an object: feature key -> field of ``Object``."""


@dataclass(frozen=True, slots=True)
class Record:
    """What one record says of one image."""

    frame_id: str
    """Path of the image without extension, relative to ``image_directory_path``."""
    height: int
    """Pixels of the upright image."""
    width: int
    objects: tuple[Object, ...] = ()
    extension: str = ""
    """Ending of the image file with the dot, as it is on disk; empty: the spec says it."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """One an object."""
        return tuple(item.class_name for item in self.objects)


class ParsedRecord(NamedTuple):
    """The same inside a TensorFlow graph, as far as training and evaluation use it."""

    frame_id: Any
    """() string."""
    size: Any
    """(2,) int32 height and width of the image file in pixels."""
    boxes: Any
    """(G, 4) float32 (y1, x1, y2, x2) in pixels of the image file."""
    class_names: Any
    """(G,) string, lower case when a converter wrote them."""
    occlusion: Any
    """(G,) int32, see ``Object``."""
    crowd: Any
    """(G,) bool, see ``Object``."""
    extension: Any
    """() string, with the dot, or empty: the spec says it."""


def to_example(record: Record) -> bytes:
    """The record as a serialised ``tf.train.Example``."""
    import tensorflow as tf

    def texts(values: Iterable[str]) -> tf.train.Feature:
        return tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[value.encode() for value in values])
        )

    def integers(values: Iterable[int]) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def floats(values: Iterable[float]) -> tf.train.Feature:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    features = {
        FRAME_ID: texts([record.frame_id]),
        FRAME_HEIGHT: integers([record.height]),
        FRAME_WIDTH: integers([record.width]),
        CLASS: texts(item.class_name for item in record.objects),
        OCCLUSION: integers(item.occlusion for item in record.objects),
    }
    for key, field in _FLOATS.items():
        features[key] = floats(getattr(item, field) for item in record.objects)
    if any(item.crowd for item in record.objects):
        features[CROWD] = integers(int(item.crowd) for item in record.objects)
    if record.extension:
        features[FRAME_EXTENSION] = texts([record.extension])
    example = tf.train.Example(features=tf.train.Features(feature=features))
    # Maps have no order of their own: without this, the same record may give other bytes.
    return example.SerializeToString(deterministic=True)


def from_example(serialized: bytes) -> Record:
    """The inverse of ``to_example``; features that are neither image nor object are left out.

    Raises:
        DataError: the bytes are no Example, or one that does not describe an image's objects.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        features = tf.train.Example.FromString(serialized).features.feature
    except DecodeError as error:
        raise DataError("not a serialised tf.train.Example.") from error

    def values(key: str) -> list[Any]:
        # Reading a key of a protobuf map would add it.
        feature = features[key] if key in features else tf.train.Feature()
        kind = feature.WhichOneof("kind")
        return list(getattr(feature, kind).value) if kind else []

    frame_id, height, width = (values(key) for key in (FRAME_ID, FRAME_HEIGHT, FRAME_WIDTH))
    if not (len(frame_id) == len(height) == len(width) == 1):
        raise DataError(
            f"a record without {FRAME_ID}, {FRAME_HEIGHT} and {FRAME_WIDTH};"
            " it was not written by dataset_convert."
        )
    name = frame_id[0].decode()
    class_names = values(CLASS)
    columns = {key: values(key) for key in (OCCLUSION, CROWD)} | {
        key: values(key) for key in _FLOATS
    }
    for key, column in columns.items():
        # Only the box cannot be done without.
        if len(column) != len(class_names) and (column or key in BOX):
            raise DataError(
                f"record {name}: {len(class_names)} classes, but {len(column)} values in {key}."
            )
    objects = tuple(
        Object(
            class_name=class_name.decode(),
            occlusion=columns[OCCLUSION][i] if columns[OCCLUSION] else 0,
            crowd=bool(columns[CROWD] and columns[CROWD][i]),
            **{field: columns[key][i] for key, field in _FLOATS.items() if columns[key]},
        )
        for i, class_name in enumerate(class_names)
    )
    extension = b"".join(values(FRAME_EXTENSION)).decode()
    return Record(name, height[0], width[0], objects, extension)


def parse(serialized: tf.Tensor) -> ParsedRecord:
    """One record inside a graph, e.g. in ``tf.data.Dataset.map``.

    The kinds are fixed, never guessed from a first record: empty lists are as good as any.

    Args:
        serialized: () string.
    """
    import tensorflow as tf

    features = tf.io.parse_single_example(
        serialized,
        {
            FRAME_ID: tf.io.FixedLenFeature((), tf.string),
            FRAME_HEIGHT: tf.io.FixedLenFeature((), tf.int64),
            FRAME_WIDTH: tf.io.FixedLenFeature((), tf.int64),
            FRAME_EXTENSION: tf.io.FixedLenFeature((), tf.string, default_value=""),
            CLASS: tf.io.VarLenFeature(tf.string),
            OCCLUSION: tf.io.VarLenFeature(tf.int64),
            CROWD: tf.io.VarLenFeature(tf.int64),
            **{key: tf.io.VarLenFeature(tf.float32) for key in BOX},
        },
    )
    x1, y1, x2, y2 = (features[key].values for key in BOX)
    class_names = features[CLASS].values
    occlusion, crowd = (tf.cast(features[key].values, tf.int32) for key in (OCCLUSION, CROWD))

    def or_zeros(column: tf.Tensor) -> tf.Tensor:
        return tf.pad(column, [[0, tf.size(class_names) - tf.size(column)]])

    size = tf.stack([features[FRAME_HEIGHT], features[FRAME_WIDTH]])
    return ParsedRecord(
        frame_id=features[FRAME_ID],
        size=tf.cast(size, tf.int32),
        boxes=tf.stack([y1, x1, y2, x2], axis=-1),
        class_names=class_names,
        # A record that says nothing of occlusion has only fully visible objects.
        occlusion=or_zeros(occlusion),
        crowd=or_zeros(crowd) > 0,
        extension=features[FRAME_EXTENSION],
    )
