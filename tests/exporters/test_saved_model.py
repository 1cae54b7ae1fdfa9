import json
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.errors import ModelFileError
from frcnn_core.inference.detect import infer
from frcnn_core.plugin.components import NoOptions
from frcnn_core.structures import Detections
from frcnn_saved_model import SavedModel

CLASS_NAMES = ("car", "person")
SETTINGS = DetectionSettings(
    rpn_pre_nms_top_n=200,
    rpn_nms_max_boxes=20,
    classifier_nms_max_boxes=10,
    object_confidence_thres=0.01,
)


@pytest.fixture(scope="module")
def folder(tiny_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "tiny"
    written = SavedModel().export(tiny_model, path, settings=SETTINGS, options=NoOptions())
    assert written == [path]
    return path


def pictures(batch, height=32, width=48):
    random = np.random.default_rng(0)
    return random.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)


def detect(model, pixels):
    """What the model finds; resized, normalized and detected outside of the SavedModel."""
    fitted = [model.preprocessing.fit(image) for image in pixels]
    images = model.preprocessing.normalize(tf.stack([one.image for one in fitted]))
    sizes = tf.stack([one.size for one in fitted])
    found = model.detector.detect(images, sizes, SETTINGS)
    assert found.counts.numpy().min() > 0, "a test in which nothing is found shows nothing"
    return images, sizes, found


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3])
def test_the_loaded_detector_finds_what_the_model_finds(tiny_model, folder, batch):
    images, sizes, expected = detect(tiny_model, pictures(batch))
    found = SavedModel().load(folder).detect(images, sizes)
    for name in Detections._fields:
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-4)


@pytest.mark.slow
def test_the_loaded_detector_takes_numpy_arrays(tiny_model, folder):
    images, sizes, expected = detect(tiny_model, pictures(1))
    found = SavedModel().load(folder).detect(images.numpy(), sizes.numpy())
    np.testing.assert_array_equal(found.counts, expected.counts)


@pytest.mark.slow
def test_classes_and_preprocessing_come_back(tiny_model, folder):
    runtime = SavedModel().load(folder)
    assert runtime.class_names == CLASS_NAMES
    assert runtime.preprocessing == tiny_model.preprocessing


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signature", "dtype"), [("serving_default", tf.uint8), ("float", tf.float32)]
)
def test_pixels_are_preprocessed_in_the_graph_as_in_training(tiny_model, folder, signature, dtype):
    _, _, expected = detect(tiny_model, pictures(2))
    serve = tf.saved_model.load(str(folder)).signatures[signature]
    served = serve(images=tf.cast(pictures(2), dtype))
    for name in ("boxes", "scores", "classes", "counts"):
        np.testing.assert_allclose(served[name], getattr(expected, name), atol=1e-4)


@pytest.mark.slow
def test_images_of_another_size_are_resized_and_their_boxes_are_in_their_own_pixels(
    tiny_model, folder
):
    pixels = pictures(2, height=64, width=24)
    _, _, expected = detect(tiny_model, pixels)
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    # 32 network pixels are 64 of the image in y, 48 are 24 in x.
    boxes = expected.boxes.numpy() * [2.0, 0.5, 2.0, 0.5]
    np.testing.assert_allclose(serve(images=tf.constant(pixels))["boxes"], boxes, atol=1e-3)


@pytest.fixture(scope="module")
def dynamic(tiny_model, tmp_path_factory):
    """A model of a dynamic shape, and the folder it was exported to."""
    detector = tiny_model.detector
    model = replace(
        tiny_model,
        detector=FasterRCNN(**detector.parts, anchors=detector.anchors, dynamic_shape=True),
        preprocessing=Preprocessing(0, 0, min_side=40, max_side=70, means=(9, 8, 7), scale=50.0),
    )
    path = tmp_path_factory.mktemp("dynamic") / "tiny"
    SavedModel().export(model, path, settings=SETTINGS, options=NoOptions())
    return model, path


@pytest.mark.slow
def test_with_a_dynamic_shape_one_batch_holds_images_of_several_sizes(dynamic):
    model, path = dynamic
    runtime = SavedModel().load(path)
    assert runtime.preprocessing == model.preprocessing
    fitted = [model.preprocessing.fit(pictures(1, *size)[0]) for size in ((30, 45), (90, 40))]
    images = np.zeros((2, 80, 64, 3), "float32")
    for place, one in zip(images, fitted, strict=True):
        height, width = one.image.shape[:2]
        place[:height, :width] = model.preprocessing.normalize(one.image)
    found = runtime.detect(images, np.stack([one.size for one in fitted]))
    for i, one in enumerate(fitted):
        alone = model.preprocessing.normalize(one.image)[None]
        expected = model.detector.detect(alone, one.size[None], SETTINGS)
        assert expected.counts.numpy()[0] > 0
        for name in Detections._fields:
            column = getattr(found, name)[i]
            np.testing.assert_allclose(column, getattr(expected, name)[0], atol=1e-4)


@pytest.mark.slow
def test_with_a_dynamic_shape_pixels_are_preprocessed_in_the_graph_too(dynamic):
    model, path = dynamic
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    for size in ((30, 45), (90, 40)):
        _, _, expected = detect(model, pictures(2, *size))
        served = serve(images=tf.constant(pictures(2, *size)))
        scale = model.preprocessing.resample(pictures(1, *size)[0]).scale.numpy()
        boxes = expected.boxes.numpy() / np.tile(scale, 2)
        np.testing.assert_allclose(served["boxes"], boxes, atol=1e-3)
        np.testing.assert_allclose(served["scores"], expected.scores, atol=1e-4)


class Shift(keras.layers.Layer):
    """Gives each cell what its left neighbour had: no layer that frcnn knows."""

    def call(self, x):
        return tf.roll(x, 1, axis=2)


@pytest.mark.slow
def test_a_network_that_would_mix_images_with_padding_runs_them_one_at_a_time(dynamic, tmp_path):
    model, _ = dynamic
    images = keras.Input((None, None, 3))
    parts = model.detector.parts
    features = keras.Model(images, parts["features"](Shift(name="shift")(images)))
    detector = FasterRCNN(
        **parts | {"features": features}, anchors=model.detector.anchors, dynamic_shape=True
    )
    path = tmp_path / "shifting"
    shifting = replace(model, detector=detector)
    SavedModel().export(shifting, path, settings=SETTINGS, options=NoOptions())
    detect = SavedModel().load(path).detect
    inputs, sizes = np.zeros((2, 48, 64, 3), "float32"), np.float32([[48, 64], [48, 64]])
    assert detect(inputs[:1], sizes[:1]).counts.shape == (1,)
    with pytest.raises(ModelFileError, match=r"one image at a time. The layer shift .*batch_size"):
        detect(inputs, sizes)


@pytest.mark.slow
def test_an_image_file_gives_what_inference_gives(tiny_model, folder, tmp_path):
    paths = [tmp_path / "wide.png", tmp_path / "tall.jpg"]
    for path, size in zip(paths, ((50, 90), (70, 31)), strict=True):
        Image.fromarray(pictures(1, *size)[0]).save(path)
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    seen = []

    def compare(path, pixels, expected):
        served = serve(images=tf.constant(pixels[None]))
        count = int(served["counts"][0])
        assert count == len(expected.boxes) > 0
        np.testing.assert_allclose(served["boxes"][0, :count], expected.boxes, atol=1e-3)
        np.testing.assert_allclose(served["scores"][0, :count], expected.scores, atol=1e-5)
        np.testing.assert_array_equal(served["classes"][0, :count], expected.classes)
        seen.append(path)

    def detect(images, sizes):
        return tiny_model.detector.detect(images, sizes, SETTINGS)

    infer(detect, tiny_model.preprocessing, paths, compare, batch_size=1)
    assert seen == paths


def test_tensorflow_serving_can_answer_row_by_row(folder):
    # Its REST API takes "instances" where the batch is the first dimension of all there is.
    graphs = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    (graph,) = graphs.meta_graphs
    assert list(graph.meta_info_def.tags) == ["serve"]
    default = graph.signature_def["serving_default"]
    assert default.method_name == "tensorflow/serving/predict"
    assert set(default.inputs) == {"images"}
    assert set(default.outputs) == {"boxes", "scores", "classes", "counts"}
    for name in ("serving_default", "float", "preprocessed"):
        signature = graph.signature_def[name]
        tensors = [*signature.inputs.values(), *signature.outputs.values()]
        assert {tensor.tensor_shape.dim[0].size for tensor in tensors} == {-1}


def test_a_description_for_other_programs_is_beside_it(folder):
    description = json.loads((folder / "frcnn.json").read_text())
    assert description["class_names"] == ["car", "person"]
    assert description["settings"]["object_confidence_thres"] == 0.01
    assert description["preprocessing_text"].startswith("stretched to 32x48")
    assert set(description["versions"]) == {"frcnn", "tensorflow", "keras"}
    # sha256 of nothing: the model has no spec
    assert description["spec_sha256"].startswith("e3b0c44298fc")


def test_a_saved_model_is_recognised_by_its_content(folder, tmp_path):
    assert SavedModel().recognises(folder)
    assert not SavedModel().recognises(tmp_path)


@pytest.mark.slow
def test_a_saved_model_of_another_program_says_so(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "other"))
    with pytest.raises(ModelFileError, match=r"lacks frcnn\.json.*frcnn export saved_model"):
        SavedModel().load(tmp_path / "other")
