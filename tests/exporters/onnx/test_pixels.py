import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.testing.exporter import small_model
from frcnn_onnx import metadata
from frcnn_onnx.build import build
from frcnn_onnx.options import OnnxOptions
from frcnn_onnx.pixels import detach, embed

HEIGHT, WIDTH = 64, 96
STRETCHED = Preprocessing(HEIGHT, WIDTH, means=(103.5, 116.75, 123.0), scale=58.5)
PADDED = dataclasses.replace(STRETCHED, resize=False)
DYNAMIC = dataclasses.replace(STRETCHED, height=0, width=0, min_side=40, max_side=70)
SIZES = [(50, 131), (HEIGHT, WIDTH), (7, 5), (203, 97)]
BOX = (8.0, 12.0, 32.0, 48.0)
"""y1, x1, y2, x2 in network pixels: what the network below finds in every image."""


def network(preprocessing, outputs="named", *, batch="N", sizes=False):
    """A network that finds BOX, and gives what it reads as ``seen`` and ``told``."""
    channels = preprocessing.channels
    size = ("H", "W") if preprocessing.is_dynamic else (HEIGHT, WIDTH)
    given = {"input_image": [batch, channels, *size]}
    seen = {"seen": ("input_image", given["input_image"])}
    if sizes:
        given["image_sizes"] = [batch, 2]
        seen["told"] = ("image_sizes", [batch, 2])
    y1, x1, y2, x2 = np.divide(BOX, (HEIGHT, WIDTH) * 2)
    answer, dims, row = (
        ("boxes", [batch, 1, 4], [[BOX]])
        if outputs == "named"
        else ("NMS", [batch, 1, 1, 7], [[[[0, 1, 0.5, x1, y1, x2, y2]]]])
    )
    proto = helper.make_model(
        helper.make_graph(
            [
                *(helper.make_node("Identity", [a], [b]) for b, (a, _) in seen.items()),
                helper.make_node("Identity", ["row"], [answer]),
            ],
            "network",
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, d)
                for name, d in given.items()
            ],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, d)
                for name, d in {answer: dims, **{k: d for k, (_, d) in seen.items()}}.items()
            ],
            [onnx.numpy_helper.from_array(np.array(row, np.float32), "row")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    said = metadata.Metadata(("car", "van"), preprocessing, DetectionSettings(), "tiny", outputs)
    metadata.write(proto, said)
    return proto


def floats(shapes):
    return [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shapes.items()]


def pictures(height, width, channels=3, batch=2):
    random = np.random.default_rng(0)
    return random.integers(0, 256, (batch, height, width, channels), dtype=np.uint8)


def run(proto, images):
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": images}), strict=True))


def preprocessed(preprocessing, images):
    """(N, C, H, W), as every command of frcnn makes it."""
    fitted = [preprocessing.normalize(preprocessing.fit(image).image) for image in images]
    return np.stack(fitted).transpose(0, 3, 1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize(
    "geometry", [STRETCHED, PADDED, DYNAMIC], ids=["stretched", "padded", "dynamic"]
)
def test_the_network_sees_what_preprocessing_makes(geometry, order, size):
    preprocessing = dataclasses.replace(geometry, channel_order=order)
    images = pictures(*size)
    seen = run(embed(network(preprocessing), preprocessing), images)["seen"]
    np.testing.assert_allclose(seen, preprocessed(preprocessing, images), atol=1e-4)


def test_grayscale_images_have_one_channel():
    preprocessing = Preprocessing(
        HEIGHT, WIDTH, channels=1, channel_order="l", means=(117.0,), scale=50.0
    )
    images = pictures(31, 200, channels=1)
    seen = run(embed(network(preprocessing), preprocessing), images)["seen"]
    np.testing.assert_allclose(seen, preprocessed(preprocessing, images), atol=1e-4)


def test_boxes_are_in_pixels_of_the_given_images():
    found = run(embed(network(STRETCHED), STRETCHED), pictures(HEIGHT * 2, WIDTH // 2))
    np.testing.assert_allclose(found["boxes"][0, 0], [16, 6, 64, 24], rtol=1e-6)


def test_boxes_are_in_pixels_of_the_given_images_with_a_dynamic_shape():
    # 40 of 80 and 60 of 120 are left: a half.
    found = run(embed(network(DYNAMIC), DYNAMIC), pictures(80, 120))
    np.testing.assert_array_equal(found["boxes"][0, 0], [16, 24, 64, 96])


def test_boxes_of_images_that_are_not_stretched_stay_as_they_are():
    found = run(embed(network(PADDED), PADDED), pictures(33, 55))
    np.testing.assert_array_equal(found["boxes"][0, 0], BOX)


@pytest.mark.parametrize(
    ("preprocessing", "size", "box"),
    [
        (STRETCHED, (HEIGHT * 2, WIDTH // 2), (12 / 96, 8 / 64, 48 / 96, 32 / 64)),
        # The same pixels are another fraction of a smaller or larger image.
        (PADDED, (50, 60), (12 / 60, 8 / 50, 48 / 60, 32 / 50)),
        (PADDED, (200, 300), (12 / 300, 8 / 200, 48 / 300, 32 / 200)),
        # 40 x 60 pixels on a canvas of 48 x 64, which the fractions were of.
        (DYNAMIC, (80, 120), (12 / 96 * 64 / 60, 8 / 64 * 48 / 40, 0.5 * 64 / 60, 0.5 * 48 / 40)),
    ],
)
def test_rows_of_nms_are_fractions_of_the_given_images(preprocessing, size, box):
    found = run(embed(network(preprocessing, "nms"), preprocessing), pictures(*size))
    np.testing.assert_allclose(found["NMS"][0, 0, 0], [0, 1, 0.5, *box], rtol=1e-6)


@pytest.mark.parametrize(
    ("preprocessing", "size"),
    # 131 would become 104 with a short side of 40, so the long one is 70, and 50 * 70 // 131 is 26.
    [(STRETCHED, (HEIGHT, WIDTH)), (PADDED, (50, WIDTH)), (DYNAMIC, (26, 70))],
    ids=["stretched", "padded", "dynamic"],
)
def test_the_network_is_told_what_is_no_padding(preprocessing, size):
    found = run(embed(network(preprocessing, sizes=True), preprocessing), pictures(50, 131))
    np.testing.assert_array_equal(found["told"], [size, size])


@pytest.mark.parametrize("outputs", ["named", "nms"])
@pytest.mark.parametrize("preprocessing", [STRETCHED, PADDED], ids=["stretched", "padded"])
def test_detached_it_is_the_network_as_it_was(preprocessing, outputs):
    before = network(preprocessing, outputs, sizes=True)
    assert detach(embed(before, preprocessing)) == before


def test_a_batch_of_fixed_size_stays_one_of_any_image_size():
    proto = embed(network(STRETCHED, batch=2), STRETCHED)
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims] == [2, 0, 0, 3]
    assert [given.name for given in proto.graph.input] == ["images"]


def test_the_metadata_say_that_it_is_embedded():
    proto = embed(network(STRETCHED), STRETCHED)
    assert metadata.of_proto(proto, "it").embedded_preprocessing
    assert not metadata.of_proto(detach(proto), "it").embedded_preprocessing


@pytest.mark.slow
@pytest.mark.parametrize("resize", [True, False], ids=["stretched", "padded"])
def test_a_detector_finds_in_pixels_what_it_finds_in_preprocessed_images(resize):
    preprocessing = Preprocessing(HEIGHT, WIDTH, resize=resize, means=(128.0,) * 3, scale=64.0)
    model = dataclasses.replace(small_model(), preprocessing=preprocessing)
    settings = DetectionSettings(rpn_pre_nms_top_n=200, rpn_nms_max_boxes=20)
    options = OnnxOptions(outputs="named", embed_preprocessing=True)
    images = pictures(49, 131)

    fitted = [preprocessing.fit(image) for image in images]
    expected = model.detector.detect(
        preprocessing.normalize(np.stack([one.image for one in fitted])),
        np.stack([one.size for one in fitted]),
        settings,
    )
    assert expected.counts.numpy().min() > 0
    found = run(build(model, settings, options).proto, images)
    scale = np.tile([one.scale for one in fitted], 2)[:, None, :]
    np.testing.assert_array_equal(found["counts"], expected.counts)
    np.testing.assert_allclose(found["boxes"], expected.boxes / scale, atol=2e-3)
    np.testing.assert_allclose(found["scores"], expected.scores, atol=1e-4)
