"""Random changes to a training image, and the same changes to its boxes.

Everything happens at network resolution, in this order: flips, then one affine warp (translate,
zoom, rotate), then one colour matrix.  Each image gets one draw of every parameter, a pure
function of its seed.  A grayscale image changes as the gray RGB image of the same luma would:
brightness and contrast act on it, hue and saturation do not.

Source of the parameters and their distributions: TLT, DetectNet_v2 ``AugmentationConfig``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

FILL = 127.5
"""Grey level of what the image does not cover after a warp."""

# Colour (r, g, b) as a row vector times LUMA is its grey; times A and B its two chroma parts,
# which rotate into each other with the hue.  LUMA + A is the identity.  Source: TLT.
_LUMA = ((0.299, 0.299, 0.299), (0.587, 0.587, 0.587), (0.114, 0.114, 0.114))
_A = ((0.701, -0.299, -0.299), (-0.587, 0.413, -0.587), (-0.114, -0.114, 0.886))
_B = ((0.168, -0.328, 1.25), (0.330, 0.035, -1.05), (-0.497, 0.292, -0.203))


class Draw(NamedTuple):
    """The parameters drawn for one image; all float32 but for the flips."""

    hflip: tf.Tensor
    """() bool: mirror left and right."""
    vflip: tf.Tensor
    """() bool: mirror top and bottom."""
    translate: tf.Tensor
    """(2,) (y, x) pixels, whole numbers."""
    zoom: tf.Tensor
    """() content becomes 1 / zoom as large."""
    offset: tf.Tensor
    """(2,) (y, x) pixels: where the zoomed image's top-left corner comes."""
    angle: tf.Tensor
    """() radians, clockwise as seen."""
    contrast: tf.Tensor
    """() 0 changes nothing, -1 leaves none."""
    hue: tf.Tensor
    """() radians."""
    saturation: tf.Tensor
    """() 1 changes nothing, 0 is grey."""
    brightness: tf.Tensor
    """() added to every channel, 1 is from black to white."""


class Affine(NamedTuple):
    """The map p -> linear p + shift of points p = (y, x) in continuous pixel coordinates."""

    linear: tf.Tensor
    """(2, 2) float32."""
    shift: tf.Tensor
    """(2,) float32."""


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training image.  The defaults change nothing.

    The fields are those of ``spatial_augmentation`` and ``color_augmentation`` and mean what
    their names say, also where the original ignored them (``vflip_probability``) or took them
    for something else (``rotate_rad_max`` for degrees).
    """

    hflip_probability: float = 0.0
    vflip_probability: float = 0.0
    zoom_min: float = 1.0
    """The ratio is uniform in [zoom_min, zoom_max].  Above 1 the content shrinks and lies
    anywhere on grey; below 1 it grows, and any part of it is seen."""
    zoom_max: float = 1.0
    translate_max_x: float = 0.0
    """Pixels; uniform among the whole numbers in [-max, max]."""
    translate_max_y: float = 0.0
    rotate_rad_max: float = 0.0
    """Radians; uniform in [-max, max], about the centre."""
    rotate_probability: float = 1.0
    color_shift_stddev: float = 0.0
    """Standard deviation of a normal cut at twice that, in units of white."""
    hue_rotation_max: float = 0.0
    """Degrees; a normal of half that deviation, cut at the maximum."""
    saturation_shift_max: float = 0.0
    """The factor is uniform in [1 - max, 1 + max]."""
    contrast_scale_max: float = 0.0
    """A normal of half that deviation, cut at the maximum; c stretches by 1 + c."""
    contrast_center: float = 0.5
    """The grey level, 0 to 1, that a change of contrast leaves as it is."""
    min_visibility: float = 0.25
    """A box is dropped when less than this share of its area is still in the image."""

    def __post_init__(self) -> None:
        if not 0 < self.zoom_min <= self.zoom_max:
            raise ValueError(f"zoom_min {self.zoom_min}, zoom_max {self.zoom_max}: no range.")

    @property
    def warps(self) -> bool:
        """Whether images are resampled: anything spatial but flips."""
        still = (self.zoom_min, self.zoom_max, self.translate_max_x, self.translate_max_y)
        return still != (1.0, 1.0, 0.0, 0.0) or self.rotate_rad_max > 0

    @property
    def recolours(self) -> bool:
        """Whether colours change."""
        return any(
            (
                self.color_shift_stddev,
                self.hue_rotation_max,
                self.saturation_shift_max,
                self.contrast_scale_max,
            )
        )

    def draw(self, seed: tf.Tensor, size: tf.Tensor) -> Draw:
        """Parameters for one image.

        Args:
            seed: (2,) int; equal seeds give equal draws.
            size: (2,) float32 height and width of the image in pixels.
        """
        # one for each field, and one for whether to rotate at all
        seeds = iter(tf.unstack(tf.random.split(seed, len(Draw._fields) + 1)))

        def uniform(
            low: float | tf.Tensor = 0.0,
            high: float | tf.Tensor = 1.0,
            shape: tuple[int, ...] = (),
        ) -> tf.Tensor:
            return low + (high - low) * tf.random.stateless_uniform(shape, next(seeds))

        def normal(deviation: float) -> tf.Tensor:  # cut at twice the deviation
            return tf.random.stateless_truncated_normal((), next(seeds), stddev=deviation)

        most = tf.floor(tf.constant((self.translate_max_y, self.translate_max_x), tf.float32))
        zoom = uniform(self.zoom_min, self.zoom_max)
        rotated = tf.cast(uniform() < self.rotate_probability, tf.float32)
        return Draw(
            hflip=uniform() < self.hflip_probability,
            vflip=uniform() < self.vflip_probability,
            # floor of a uniform in [-max, max + 1) gives every whole number the same share
            translate=tf.minimum(tf.floor(uniform(-most, most + 1, shape=(2,))), most),
            zoom=zoom,
            offset=uniform(shape=(2,)) * (size - size / zoom),
            angle=rotated * uniform(-self.rotate_rad_max, self.rotate_rad_max),
            contrast=normal(self.contrast_scale_max / 2),
            hue=normal(self.hue_rotation_max / 2) * (math.pi / 180),
            saturation=uniform(1 - self.saturation_shift_max, 1 + self.saturation_shift_max),
            brightness=normal(self.color_shift_stddev),
        )

    def apply(
        self,
        image: tf.Tensor,
        boxes: tf.Tensor,
        classes: tf.Tensor,
        difficult: tf.Tensor,
        seed: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """The image changed at random, and its objects as far as they are still visible.

        Args:
            image: (H, W, C) float32 in 0..255, RGB or luma.
            boxes: (G, 4) float32 in pixels, inside of the image.
            classes: (G,) int32.
            difficult: (G,) bool.
            seed: (2,) int.

        Returns:
            The same four; the boxes are clipped to the image and may be fewer.
        """
        size = tf.cast(tf.shape(image)[:2], tf.float32)
        drawn = self.draw(seed, size)
        if self.hflip_probability or self.vflip_probability:
            image, boxes = flip(image, boxes, drawn)
        if self.warps:
            affine = spatial(drawn, size)
            image, moved = warp(image, affine), move(boxes, affine)
            boxes = tf.clip_by_value(moved, 0.0, tf.tile(size, [2]))
            seen = _area(boxes) >= self.min_visibility * _area(moved)
            boxes, classes, difficult = boxes[seen], classes[seen], difficult[seen]
        if self.recolours:
            matrix, offset = colour(drawn, self.contrast_center)
            if image.shape[-1] == 1:
                matrix, offset = of_gray(matrix, offset)
            image = recolour(image, matrix, offset)
        return image, boxes, classes, difficult


def flip(image: tf.Tensor, boxes: tf.Tensor, drawn: Draw) -> tuple[tf.Tensor, tf.Tensor]:
    """Image (H, W, C) and boxes (G, 4) mirrored as drawn: x becomes W - x, y becomes H - y."""
    height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
    y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
    y1, y2 = tf.where(drawn.vflip, height - y2, y1), tf.where(drawn.vflip, height - y1, y2)
    x1, x2 = tf.where(drawn.hflip, width - x2, x1), tf.where(drawn.hflip, width - x1, x2)
    image = tf.cond(drawn.vflip, lambda: tf.reverse(image, [0]), lambda: image)
    image = tf.cond(drawn.hflip, lambda: tf.reverse(image, [1]), lambda: image)
    return image, tf.stack([y1, x1, y2, x2], axis=-1)


def spatial(drawn: Draw, size: tf.Tensor) -> Affine:
    """Where a point of the image comes: translated, then zoomed, then rotated about the centre.

    Args:
        size: (2,) float32 height and width in pixels.
    """
    centre = size / 2
    rotation = _rotation(drawn.angle)
    zoomed = drawn.translate / drawn.zoom + drawn.offset
    return Affine(rotation / drawn.zoom, tf.linalg.matvec(rotation, zoomed - centre) + centre)


def warp(image: tf.Tensor, affine: Affine) -> tf.Tensor:
    """The image with its content moved; bilinear, grey where there was nothing.

    Args:
        image: (H, W, C) float32.
    """
    # The op wants the way back, from output to source, in pixel indices: pixel i is at i + 0.5.
    back = tf.linalg.inv(affine.linear)
    shift = tf.linalg.matvec(back, 0.5 - affine.shift) - 0.5
    (yy, yx), (xy, xx) = (tf.unstack(row) for row in tf.unstack(back))
    transform = tf.stack([xx, xy, shift[1], yx, yy, shift[0], 0.0, 0.0])
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=transform[None],
        output_shape=tf.shape(image)[:2],
        fill_value=FILL,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(warped[0], image.shape)


def move(boxes: tf.Tensor, affine: Affine) -> tf.Tensor:
    """The smallest upright boxes (G, 4) around the four moved corners of each box (G, 4)."""
    y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
    corners = tf.stack([y1, x1, y1, x2, y2, x1, y2, x2], axis=-1)
    corners = tf.reshape(corners, (-1, 4, 2))
    moved = tf.linalg.matvec(affine.linear, corners) + affine.shift  # (G, 4, 2)
    return tf.concat([tf.reduce_min(moved, axis=1), tf.reduce_max(moved, axis=1)], axis=-1)


def colour(drawn: Draw, contrast_center: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Contrast, then hue and saturation, then brightness, as one matrix and an offset.

    Returns:
        (3, 3) matrix for (r, g, b) as a row vector, and (3,) offset in units of white.
    """
    chroma = tf.cos(drawn.hue) * tf.constant(_A) + tf.sin(drawn.hue) * tf.constant(_B)
    turned = tf.constant(_LUMA) + drawn.saturation * chroma
    darker = -drawn.contrast * contrast_center * tf.ones(3)
    offset = tf.linalg.matvec(turned, darker, transpose_a=True) + drawn.brightness
    return (1 + drawn.contrast) * turned, offset


def of_gray(matrix: tf.Tensor, offset: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(1, 1) and (1,): what ``colour``'s matrix and offset do to the luma of gray colours."""
    luma = tf.constant(_LUMA)[:, :1]  # (3, 1)
    gray = tf.reduce_sum(matrix, axis=0, keepdims=True)  # (1, 3): where (1, 1, 1) comes
    return gray @ luma, (offset[None] @ luma)[0]


def recolour(image: tf.Tensor, matrix: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """The image (H, W, C), 0..255, with every colour sent through a (C, C) matrix.

    Args:
        offset: (C,) in units of white, added afterwards.
    """
    return tf.clip_by_value(tf.tensordot(image, matrix, 1) + 255 * offset, 0.0, 255.0)


def _rotation(angle: tf.Tensor) -> tf.Tensor:
    """(2, 2) for (y, x); y points down, so a positive angle turns clockwise as seen."""
    cos, sin = tf.cos(angle), tf.sin(angle)
    return tf.stack([tf.stack([cos, sin]), tf.stack([-sin, cos])])


def _area(boxes: tf.Tensor) -> tf.Tensor:
    y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
    return (y2 - y1) * (x2 - x1)
