"""A small detector on its way to int8, each step made once for all tests of it."""

from functools import cache

import keras
import numpy as np
import onnx
import toy

from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.model_files.model import Model
from frcnn_core.plugin.int8 import CalibrationImages
from frcnn_core.quantization import quantize
from frcnn_onnx.int8.building import layer_paths, marked_parts
from frcnn_onnx.int8.calibration import session
from frcnn_onnx.int8.markers import Markers
from frcnn_onnx.joined import join
from frcnn_onnx.options import OnnxOptions

SETTINGS = DetectionSettings(rpn_pre_nms_top_n=30, rpn_nms_max_boxes=6, classifier_nms_max_boxes=5)


def of(detector):
    """A model of the detector."""
    return Model(
        detector=detector,
        class_names=toy.CLASSES,
        preprocessing=Preprocessing(height=toy.SIDE, width=toy.SIDE),
        arch="toy",
        spec="",
    )


def lively(detector):
    """The detector with normalizations whose statistics, factors and signs are of any kind."""
    random = np.random.default_rng(2)
    for part in detector.parts.values():
        for layer in part.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                size = layer.gamma.shape
                layer.gamma.assign(random.uniform(0.5, 2, size) * random.choice([-1, 1], size))
                layer.beta.assign(random.normal(0, 0.5, size))
                layer.moving_mean.assign(random.normal(0, 0.2, size))
                layer.moving_variance.assign(random.uniform(0.2, 2, size))
    return detector


@cache
def float_model():
    return of(lively(toy.detector()))


@cache
def marked():
    """The marked graph of the float model, and the paths of its markers."""
    model = float_model()
    parts, _ = marked_parts(model.detector.parts)
    markers = Markers(parts)
    return join(model, parts, SETTINGS, OnnxOptions(), markers.mark), markers.paths


@cache
def trained_model(*, per_channel):
    """A model with trained ranges: those of two batches of noise."""
    detector = float_model().detector
    parts = quantize(detector.parts, per_channel_weights=per_channel)
    trained = FasterRCNN(*parts.values(), anchors=detector.anchors)
    for batch in noise().batches():
        maps = trained.features(batch, training=True)
        trained.rpn(maps, training=True)
        side = trained.head.inputs[0].shape[1]
        trained.head(np.asarray(maps)[:, :side, :side], training=True)
    # Training moved the statistics of normalizations too.
    lively(trained)
    return of(trained)


def noise(*, batches=2, images=2, seed=0):
    """Images to calibrate with, preprocessed."""
    made = np.random.default_rng(seed).standard_normal((batches, images, toy.SIDE, toy.SIDE, 3))
    return CalibrationImages(lambda: iter(made.astype(np.float32)), batches, "noise")


def channels_first(images):
    return np.ascontiguousarray(np.transpose(images, (0, 3, 1, 2)))


def layers(model):
    """As ``part/layer``."""
    return layer_paths(model.detector.parts)


@cache
def float_graph():
    """The float detector, without markers."""
    model = float_model()
    return join(model, model.detector.parts, SETTINGS, OnnxOptions())


def run(proto, batch):
    """What ONNX Runtime makes of a batch (N, C, H, W)."""
    return session(proto).run(None, {proto.graph.input[0].name: batch})


def tensor(proto, name, given):
    """A float tensor within a graph."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return session(copy).run([name], given)[0]
