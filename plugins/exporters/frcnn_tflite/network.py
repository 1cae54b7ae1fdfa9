"""A whole detector as one TensorFlow function of one image, in operators of TensorFlow Lite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import keras
import tensorflow as tf

from frcnn_core.detector import DetectionSettings, folding
from frcnn_core.detector.quantized_layers import FakeQuantize
from frcnn_core.errors import FrcnnError
from frcnn_core.model_files import Model
from frcnn_tflite import tail
from frcnn_tflite.options import TfliteOptions

IMAGES = "input_image"
"""Input (1, H, W, C) float32, preprocessed, or uint8 pixels; called as in ONNX."""
SIZES = "image_sizes"
"""Input (1, 2) float32, with ``TfliteOptions.image_sizes``."""

Round = Callable[[FakeQuantize, tf.Tensor], tf.Tensor]


class Network(tf.Module):
    """The detector, and the variables that its function reads.

    Args:
        model: of which the layers are not used, only what goes with them.
        parts: its graphs, or copies with ``FakeQuantize`` layers.
        round: what is done in place of such a layer.

    Raises:
        FrcnnError: TensorFlow Lite cannot have such a detector.
    """

    def __init__(
        self,
        model: Model,
        parts: Mapping[str, keras.Model],
        settings: DetectionSettings,
        options: TfliteOptions,
        round: Round,
    ):
        super().__init__()
        if model.preprocessing.is_dynamic:
            raise FrcnnError(
                "tflite needs a fixed input size, and the model's input_image_config has size_min. "
                "Export onnx or saved_model, or train with size_height_width."
            )
        self.variables_of_parts = [
            variable.value for part in parts.values() for variable in part.variables
        ]
        self._model, self._parts, self._settings = model, dict(parts), settings
        self._instead: dict[type, Callable[..., tf.Tensor]] = {FakeQuantize: round}
        self._embedded = options.embed_preprocessing
        height, width, channels = model.preprocessing.shape
        self._size = cast("tuple[int, int]", (height, width))  # not dynamic
        _, *cells, _ = model.detector.features.compute_output_shape((1, *model.preprocessing.shape))
        self._anchors = model.detector.anchors.over(*cells).numpy()
        dtype = tf.uint8 if options.embed_preprocessing else tf.float32
        signature = [tf.TensorSpec([1, height, width, channels], dtype, IMAGES)]
        if options.image_sizes:
            signature.append(tf.TensorSpec([1, 2], tf.float32, SIZES))
        self.function = tf.function(
            self._detect, input_signature=signature, autograph=False
        ).get_concrete_function()

    def _detect(
        self, input_image: tf.Tensor, image_sizes: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        detector = self._model.detector
        images = input_image
        if self._embedded:
            images = self._model.preprocessing.normalize(tf.cast(images, tf.float32))
        size = tf.constant(self._size, tf.float32) if image_sizes is None else image_sizes[0]
        features = self._run("features", images)  # (1, h, w, C)
        logits, deltas = self._run("rpn", features)  # (1, h, w, A), (1, h, w, 4A)
        rois = tail.propose(
            tail.apart(tf.reshape(logits, [-1])),
            tail.apart(tf.reshape(deltas, [-1, 4])),
            tf.constant(self._anchors),
            size,
            self._settings,
        )  # (P, 4)
        side = detector.head.inputs[0].shape[1]
        crops = tail.crop_and_resize(features[0], rois, self._size, side=side)  # (P, S, S, C)
        class_logits, refinements = self._run("head", crops)  # (P, K+1), (P, 4K)
        found = tail.detect(
            class_logits,
            refinements,
            rois,
            size,
            self._settings,
            regression_scale=detector.regression_scale,
        )
        return {
            "boxes": found.boxes[None],
            "scores": found.scores[None],
            "classes": found.classes[None],
            "counts": found.count[None],
        }

    def _run(self, part: str, inputs: tf.Tensor) -> Any:
        """The output tensor, or a list of them if there are several."""
        return folding.run(self._parts[part], inputs, training=False, instead=self._instead)
