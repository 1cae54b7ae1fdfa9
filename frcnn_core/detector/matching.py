"""Which anchors and RoIs learn which ground-truth box, and which of them are sampled.

Everything works on whole batches; randomness comes from a stateless seed, one stream per image.
Shape letters are those of ``frcnn_core.structures``; M is the number of samples per image.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from frcnn_core import boxes as geometry

POSITIVE, NEGATIVE, IGNORE = 1, 0, -1


class Matches(NamedTuple):
    """What each of N candidates should learn."""

    labels: tf.Tensor
    """(B, N) int32: POSITIVE, NEGATIVE or IGNORE."""
    truth: tf.Tensor
    """(B, N) int32 index of the ground-truth box with the largest overlap."""


class Samples(NamedTuple):
    """M candidates per image, positives first."""

    indices: tf.Tensor
    """(B, M) int32 into the candidates."""
    positive: tf.Tensor
    """(B, M) bool."""
    valid: tf.Tensor
    """(B, M) bool; False rows are padding."""


def match_anchors(
    anchors: tf.Tensor, truth: tf.Tensor, sizes: tf.Tensor, *, low: float, high: float
) -> Matches:
    """Label the anchors for training the RPN.

    An anchor is positive at an overlap of ``high`` or more, negative at ``low`` or less, ignored
    in between and where it crosses the image border.  A box that no positive anchor represents
    gets its best anchor, whatever the overlap; the last such box wins a shared anchor.

    Args:
        anchors: (N, 4).
        truth: (B, G, 4), padded with rows of zeros.
        sizes: (B, 2) valid height and width of each image in pixels.
        low: ``rpn_min_overlap``.
        high: ``rpn_max_overlap``.

    Source: Ren et al. 2015, section 3.1.2.
    """
    inside = _inside(anchors, sizes)  # (B, N)
    overlaps = geometry.iou(anchors, truth)  # (B, N, G)
    overlaps = tf.where(inside[:, :, None], overlaps, 0.0)
    best = tf.reduce_max(overlaps, axis=2)
    best_truth = tf.argmax(overlaps, axis=2, output_type=tf.int32)
    labels = tf.where(best >= high, POSITIVE, tf.where(inside & (best <= low), NEGATIVE, IGNORE))

    num_truth = tf.shape(truth)[1]
    represented = _scatter_max(tf.cast(labels == POSITIVE, tf.int32), best_truth, num_truth)
    orphan = (represented == 0) & (tf.reduce_max(overlaps, axis=1) > 0.0)  # (B, G)
    rescuer = tf.argmax(overlaps, axis=1, output_type=tf.int32)  # (B, G) anchors
    order = tf.range(1, num_truth + 1) * tf.cast(orphan, tf.int32)  # 0 where no rescue is due
    last = _scatter_max(order, rescuer, tf.shape(anchors)[0])  # (B, N), counted from 1
    return Matches(
        labels=tf.where(last > 0, POSITIVE, labels),
        truth=tf.where(last > 0, last - 1, best_truth),
    )


def match_rois(rois: tf.Tensor, truth: tf.Tensor, *, low: float, high: float) -> Matches:
    """Label the proposals for training the head.

    Positive at an overlap of ``high`` or more, negative in [low, high), else ignored; rows of
    zeros are padding and ignored.

    Args:
        rois: (B, P, 4).
        truth: (B, G, 4), padded with rows of zeros.
        low: ``classifier_min_overlap``.
        high: ``classifier_max_overlap``.
    """
    overlaps = geometry.iou(rois, truth)  # (B, P, G)
    best = tf.reduce_max(overlaps, axis=2)
    labels = tf.where(best >= high, POSITIVE, tf.where(best >= low, NEGATIVE, IGNORE))
    real = geometry.area(rois) > 0.0
    return Matches(
        labels=tf.where(real, labels, IGNORE),
        truth=tf.argmax(overlaps, axis=2, output_type=tf.int32),
    )


def sample_anchors(
    labels: tf.Tensor, seed: tf.Tensor, *, num: int, places: tf.Tensor | None = None
) -> Samples:
    """Up to ``num`` anchors per image, at most half of them positive, the rest negative.

    Args:
        labels: (B, N) as from match_anchors.
        seed: (B, 2) int32, one stateless stream per image.
        num: ``rpn_mini_batch``.
        places: (B, N) int32, where in its own image's order an anchor is, in a batch that pads
            images of different sizes (``Anchors.places``).  The choice does not depend on the
            padding, then.
    """
    positives, num_positives = _shuffled(labels == POSITIVE, seed, limit=num // 2, places=places)
    negatives, num_negatives = _shuffled(labels == NEGATIVE, _fold(seed), limit=num, places=places)
    num_positives = tf.minimum(num_positives, num // 2)
    num_negatives = tf.minimum(num_negatives, num - num_positives)
    return _positives_then_negatives(
        positives, num_positives, negatives, num_negatives, num_negatives, num
    )


def sample_rois(
    labels: tf.Tensor, seed: tf.Tensor, *, num: int, positive_share: float = 0.25
) -> Samples:
    """``num`` RoIs per image: a quarter positive where there are that many, the rest negative.

    Too few negatives are repeated; without negatives, positives fill the quota of both, and the
    other way around.  An image with neither (no proposal at all) gets padding only.

    Args:
        labels: (B, P) as from match_rois.
        seed: (B, 2) int32, one stateless stream per image.
        num: ``roi_mini_batch``.
        positive_share: of the samples; 0.25 in the paper and in the original.

    Source: Girshick 2015, section 2.3.
    """
    positives, all_positives = _shuffled(labels == POSITIVE, seed, limit=num)
    negatives, all_negatives = _shuffled(labels == NEGATIVE, _fold(seed), limit=num)
    quota = tf.where(all_negatives > 0, int(num * positive_share), num)
    num_positives = tf.where(
        (all_negatives == 0) & (all_positives > 0), num, tf.minimum(all_positives, quota)
    )
    num_negatives = tf.where(all_negatives > 0, num - num_positives, 0)
    return _positives_then_negatives(
        positives,
        num_positives,
        negatives,
        num_negatives,
        all_negatives,
        num,
        positives_available=all_positives,
    )


def _scatter_max(values: tf.Tensor, columns: tf.Tensor, num_columns: tf.Tensor) -> tf.Tensor:
    """(B, num_columns) largest of the non-negative values (B, N) sent to each column; else 0."""
    rows = tf.broadcast_to(tf.range(tf.shape(columns)[0])[:, None], tf.shape(columns))
    return tf.tensor_scatter_nd_max(
        tf.zeros([tf.shape(columns)[0], num_columns], tf.int32),
        tf.stack([rows, columns], axis=-1),
        tf.broadcast_to(values, tf.shape(columns)),
    )


def _inside(anchors: tf.Tensor, sizes: tf.Tensor) -> tf.Tensor:
    """(B, N) whether each anchor lies within its image."""
    y1, x1, y2, x2 = tf.unstack(anchors, axis=-1)
    height, width = sizes[:, :1], sizes[:, 1:]
    return (y1 >= 0.0) & (x1 >= 0.0) & (y2 <= height) & (x2 <= width)


def _fold(seed: tf.Tensor) -> tf.Tensor:
    """An independent stream for each stream of (B, 2)."""
    return seed + tf.constant([0, 1], tf.int32)


def _shuffled(
    mask: tf.Tensor, seed: tf.Tensor, *, limit: int, places: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """A random choice among the True columns of each row.

    Args:
        places: (B, N) int32, which of a row's random numbers decides about a column; the one at
            its own place unless given.

    Returns:
        (B, min(limit, N)) int32 columns in random order, the True ones first, and (B,) how many
        columns of the whole row are True.
    """
    num_columns = tf.shape(mask)[1]
    keys = tf.map_fn(
        lambda stream: tf.random.stateless_uniform(
            [num_columns],  # type: ignore[list-item]  # TensorFlow packs it
            stream,
        ),
        seed,
        fn_output_signature=tf.float32,
    )
    if places is not None:
        # The first random numbers of a stream are the same however many are drawn.
        keys = tf.gather(keys, places, batch_dims=1)
    keys = tf.where(mask, keys, -1.0)
    _, columns = tf.math.top_k(keys, k=tf.minimum(limit, num_columns))
    return columns, tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)


def _positives_then_negatives(
    positives: tf.Tensor,
    num_positives: tf.Tensor,
    negatives: tf.Tensor,
    num_negatives: tf.Tensor,
    negatives_available: tf.Tensor,
    num: int,
    *,
    positives_available: tf.Tensor | None = None,
) -> Samples:
    """Rows of ``num`` columns: positives, negatives (both repeated where too few), padding."""
    slot = tf.range(num)[None, :]  # (1, M)
    num_positives, num_negatives = num_positives[:, None], num_negatives[:, None]
    positive = slot < num_positives
    valid = slot < num_positives + num_negatives
    from_positives = _cycled(positives, slot, positives_available)
    from_negatives = _cycled(negatives, tf.maximum(slot - num_positives, 0), negatives_available)
    return Samples(
        indices=tf.where(positive, from_positives, from_negatives),
        positive=positive,
        valid=valid,
    )


def _cycled(columns: tf.Tensor, slot: tf.Tensor, available: tf.Tensor | None) -> tf.Tensor:
    """Entry ``slot`` of each row, starting over after ``available`` entries."""
    count = tf.shape(columns)[1]
    if available is not None:
        count = tf.clip_by_value(available, 1, count)[:, None]
    slot = tf.broadcast_to(tf.math.floormod(slot, count), [tf.shape(columns)[0], tf.shape(slot)[1]])
    return tf.gather(columns, slot, batch_dims=1)
