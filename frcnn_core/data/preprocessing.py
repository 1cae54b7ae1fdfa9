"""From an image file to what the network sees: one definition for every command.

Training, evaluation, inference and export all use the same ``Preprocessing``, which is saved
with the model.  An image goes through these steps, in this order:

    decode     JPEG or PNG bytes          -> (H, W, C) uint8, RGB or luma, upright
    resample   stretch or cut             -> (h, w, C) float32 in 0..255
    pad        black at right and bottom  -> (height, width, C); nothing to do after a stretch
    normalize  reorder channels, subtract the means, divide by the scale

Augmentation, where there is any, works between ``resample`` and ``pad``.
Importing this module does not import TensorFlow.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from frcnn_core.data import exif
from frcnn_core.detector import canvas

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import tensorflow as tf

CHANNELS = {"rgb": 3, "bgr": 3, "l": 1}
"""How many channels each channel order has."""


class Resampled(NamedTuple):
    """An image at network resolution, and how it came there."""

    image: Any
    """(h, w, C) float32 in 0..255."""
    size: Any
    """(2,) float32 height and width in pixels of the image, without padding."""
    scale: Any
    """(2,) float32 (y, x): network pixels per pixel of the original image."""


@dataclass(frozen=True)
class Preprocessing:
    """How images become network input.

    ``height`` and ``width`` of 0 mean a dynamic shape: each image keeps its aspect, its short
    side becomes ``min_side`` unless the long side would exceed ``max_side``.
    """

    height: int
    width: int
    min_side: int = 0
    max_side: int = 0
    resize: bool = True
    """Stretch to height x width (``enable_auto_resize``).  False: cut what is beyond the right
    and bottom border, and pad what is smaller, without changing the scale."""
    channels: int = 3
    channel_order: str = "rgb"
    """What the network expects: ``rgb``, ``bgr`` or ``l`` (grayscale)."""
    means: tuple[float, ...] = (0.0, 0.0, 0.0)
    """Subtracted per channel, in the order r, g, b whatever ``channel_order`` says, or (l,)."""
    scale: float = 1.0
    """Divides after the means are subtracted."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "means", tuple(float(mean) for mean in self.means))
        if CHANNELS.get(self.channel_order) != self.channels or len(self.means) != self.channels:
            raise ValueError(
                f"{self.channels} channels, order {self.channel_order!r} and means {self.means} "
                "do not go together."
            )
        if not self.is_dynamic and (self.height <= 0 or self.width <= 0):
            raise ValueError(f"{self.height} x {self.width} is no image size.")
        if self.is_dynamic and not 0 < self.min_side <= self.max_side:
            raise ValueError(f"min_side {self.min_side}, max_side {self.max_side}: no image size.")
        if self.scale <= 0:
            raise ValueError(f"scale {self.scale} must be positive.")

    @property
    def is_dynamic(self) -> bool:
        """Whether the network input has a different size for each image."""
        return self.height == 0 and self.width == 0

    @property
    def shape(self) -> tuple[int | None, int | None, int]:
        """Static shape (height, width, channels) of an image, None where it is dynamic."""
        return (self.height or None, self.width or None, self.channels)

    @property
    def largest_canvas(self) -> tuple[int, int]:
        """Height and width in pixels of what the network sees, of the largest one, lying, if the
        shape is dynamic."""
        if not self.is_dynamic:
            return self.height, self.width
        height, width = canvas([self.min_side, self.max_side]).numpy().tolist()
        return height, width

    def decode(self, data: tf.Tensor) -> tf.Tensor:
        """The pixels of an image file, the way up that its EXIF orientation says.

        Of 16 bits per channel the upper 8 count.  Transparency does not: a pixel has the colour
        that is stored under it.  CMYK becomes RGB.  Of an animation there is the first image.

        Args:
            data: () string, the content of a JPEG or PNG file; the content says which.

        Returns:
            (H, W, C) uint8, RGB, or luma when ``channels`` is 1.

        Raises:
            tf.errors.InvalidArgumentError: the data is no complete image.
        """
        import tensorflow as tf

        image = tf.cond(
            tf.io.is_jpeg(data),
            lambda: self._decode_jpeg(data),
            lambda: tf.io.decode_png(data, channels=self.channels),
        )
        return tf.ensure_shape(exif.upright(image, data), (None, None, self.channels))

    def _decode_jpeg(self, data: tf.Tensor) -> tf.Tensor:
        import tensorflow as tf

        def decode(channels: int) -> tf.Tensor:
            return tf.io.decode_jpeg(data, channels=channels, dct_method="INTEGER_ACCURATE")

        if self.channels == 3:
            return decode(3)
        # The decoder makes luma of anything but CMYK.
        is_cmyk = tf.equal(tf.io.extract_jpeg_shape(data)[2], 4)
        return tf.cond(is_cmyk, lambda: luma(decode(3)), lambda: decode(1))

    def resample(self, image: tf.Tensor) -> Resampled:
        """The image at network resolution, not padded yet.

        Stretching is bilinear with half-pixel centres and no antialiasing, so a box in
        continuous coordinates follows by multiplying with the scale.

        Args:
            image: (H, W, C) uint8 or float, 0..255.
        """
        import tensorflow as tf

        original = tf.shape(image)[:2]
        if self.is_dynamic:
            target = tf.stack(dynamic_size(original[0], original[1], self.min_side, self.max_side))
        elif self.resize:
            target = tf.constant((self.height, self.width))
        else:
            target = tf.minimum(original, (self.height, self.width))
            cut = tf.cast(image[: self.height, : self.width], tf.float32)
            return Resampled(cut, tf.cast(target, tf.float32), tf.ones(2))
        resampled = tf.image.resize(tf.cast(image, tf.float32), target, "bilinear", antialias=False)
        if not self.is_dynamic:
            resampled = tf.ensure_shape(resampled, self.shape)
        size = tf.cast(target, tf.float32)
        return Resampled(resampled, size, size / tf.cast(original, tf.float32))

    def pad(self, image: tf.Tensor) -> tf.Tensor:
        """The image on a black canvas of the network's size, in the top-left corner.

        With a dynamic shape that is ``canvas``, the image's size in whole cells of the feature
        map; a batch pads its images further, to the largest canvas.

        Args:
            image: (h, w, C) float32, no larger than the network input.
        """
        import tensorflow as tf

        size = tf.shape(image)[:2]
        whole = canvas(size) if self.is_dynamic else tf.constant((self.height, self.width))
        missing = whole - size
        image = tf.pad(
            image,
            [[0, missing[0]], [0, missing[1]], [0, 0]],  # type: ignore[list-item]  # it packs them
        )
        return tf.ensure_shape(image, self.shape)

    def fit(self, image: tf.Tensor) -> Resampled:
        """The image at network resolution and size: ``resample``, then ``pad``."""
        resampled = self.resample(image)
        return resampled._replace(image=self.pad(resampled.image))

    def normalize(self, images: tf.Tensor) -> tf.Tensor:
        """Network input from pixels.

        Args:
            images: (..., C) float32 in 0..255, RGB or luma; one image or a batch.

        Returns:
            (..., C) float32, ``(pixel - mean) / scale`` in the channel order of the network.
        """
        import tensorflow as tf

        means = tf.constant(self.means, tf.float32)
        if self.channel_order == "bgr":
            images, means = tf.reverse(images, [-1]), tf.reverse(means, [0])
        # TensorFlow turns a division into this product in some graphs and not in others; written
        # out, every command gets the same bits.
        return (images - means) * tf.constant(1.0 / self.scale, tf.float32)

    def pixels(self, images: np.ndarray) -> np.ndarray:
        """The inverse of ``normalize``, rounded: what can be looked at.

        Args:
            images: (..., C), network input.

        Returns:
            (..., C) uint8, RGB or luma; what is beyond 0 and 255 is cut.
        """
        import numpy as np

        means = np.array(self.means)
        if self.channel_order == "bgr":
            images = np.asarray(images)[..., ::-1]
        pixels = np.asarray(images, np.float64) * self.scale + means
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)

    def as_dict(self) -> dict[str, Any]:
        """Every field, ready for JSON."""
        return asdict(self) | {"means": list(self.means)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Preprocessing:
        """The inverse of ``as_dict``."""
        return cls(**{**fields, "means": tuple(fields["means"])})

    def describe(self) -> str:
        """One line for people."""
        if self.is_dynamic:
            geometry = f"short side {self.min_side}, long side at most {self.max_side}"
        else:
            how = "stretched" if self.resize else "cut or padded"
            geometry = f"{how} to {self.height}x{self.width} (height x width)"
        means = ", ".join(f"{mean:g}" for mean in self.means)
        return f"{geometry}, {self.channel_order}, (pixel - ({means})) / {self.scale:g}"


def luma(image: tf.Tensor) -> tf.Tensor:
    """(H, W, 1) uint8, the luma of an RGB image (H, W, 3) uint8, rounded.

    Source: ITU-R BT.601, which JPEG uses as well.
    """
    import tensorflow as tf

    # In units of 2 ** -16.
    weighted = tf.cast(image, tf.int32) * tf.constant((19595, 38470, 7471))
    return tf.cast((tf.reduce_sum(weighted, -1, keepdims=True) + 2**15) // 2**16, tf.uint8)


def dynamic_size(height: Any, width: Any, min_side: int, max_side: int) -> tuple[Any, Any]:
    """Size of an image whose aspect is kept.

    The short side becomes ``min_side``, or the long side ``max_side`` where that is smaller;
    the other side is rounded down, to one pixel at least.  Whole numbers only, so nothing depends
    on float rounding.

    Args:
        height, width: () int32, size of the original image in pixels.

    Returns:
        (height, width), each () int32.

    Source: TLT, ``output_image_min`` and ``output_image_max``.
    """
    import tensorflow as tf

    sides = tf.cast(tf.stack([height, width]), tf.int64)  # a product of two may be beyond int32
    short, long = tf.reduce_min(sides), tf.reduce_max(sides)
    sides = tf.minimum(sides * min_side // short, sides * max_side // long)
    height, width = tf.unstack(tf.cast(tf.maximum(sides, 1), tf.int32))
    return height, width
