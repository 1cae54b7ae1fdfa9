"""The counter against numbers worked out by hand."""

import keras
import pytest

from frcnn_core.detector.anchors import Anchors
from frcnn_core.detector.faster_rcnn import FasterRCNN
from frcnn_core.detector.flops import Work, of_detection, of_layers, of_training, work
from frcnn_core.detector.layers import BackboneConfig
from frcnn_core.detector.network import draw
from frcnn_resnet import ResNet


def graph_of(*layers: keras.layers.Layer, channels: int = 3) -> keras.Model:
    inputs = outputs = keras.Input((None, None, channels))
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


def test_a_convolution_is_two_operations_per_tap_and_channel_pair_at_each_output():
    conv = keras.layers.Conv2D(8, 3, strides=2, padding="same")
    # 4 x 5 outputs, 3 x 3 taps, 3 x 8 channels: 4320 products.
    assert work(graph_of(conv), (1, 8, 10, 3)).forward == 8640


def test_a_batch_of_two_is_twice_the_work():
    graph = graph_of(keras.layers.Conv2D(8, 3))
    one, two = (work(graph, (batch, 8, 10, 3)) for batch in (1, 2))
    assert two == Work(2 * one.forward, 2 * one.backward)


def test_a_depthwise_convolution_does_not_mix_channels():
    conv = keras.layers.DepthwiseConv2D(3, padding="same")
    # 2 x 2 outputs, 3 x 3 taps, 4 channels: 144 products.
    assert work(graph_of(conv, channels=4), (1, 2, 2, 4)).forward == 288


def test_a_dense_layer_is_two_operations_per_weight_and_row():
    graph = graph_of(keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10), channels=5)
    # 7 rows, 5 x 10 weights: 350 products.
    assert work(graph, (7, 2, 2, 5)).forward == 700


def test_the_first_convolution_has_a_filter_gradient_and_no_input_gradient():
    counted = work(graph_of(keras.layers.Conv2D(8, 1)), (1, 4, 4, 3))
    assert counted.backward == counted.forward


def test_a_gradient_for_the_inputs_costs_the_forward_pass_again():
    graph = graph_of(keras.layers.Conv2D(8, 1))
    counted = work(graph, (1, 4, 4, 3), inputs_need_gradient=True)
    assert counted.backward == 2 * counted.forward


def test_nothing_flows_back_below_the_first_layer_that_trains():
    frozen, trains = keras.layers.Conv2D(3, 1, trainable=False), keras.layers.Conv2D(3, 1)
    # Each has 16 outputs of 3 x 3 products: 288 operations; only the second's filter is asked for.
    assert work(graph_of(frozen, trains), (1, 4, 4, 3)) == Work(forward=576, backward=288)


def test_a_trainable_gamma_makes_the_gradient_flow_through_frozen_kernels_above_it():
    graph = graph_of(
        keras.layers.Conv2D(3, 1, trainable=False),
        keras.layers.BatchNormalization(),
        keras.layers.Conv2D(3, 1, trainable=False),
    )
    # 288 operations each; backward is the input gradient of the second alone.
    assert work(graph, (1, 4, 4, 3)) == Work(forward=576, backward=288)


def test_a_gradient_flows_through_either_branch_of_a_sum():
    images = keras.Input((None, None, 3))
    learned = keras.layers.Conv2D(3, 1)(images)
    fixed = keras.layers.Conv2D(3, 1, trainable=False)(images)
    last = keras.layers.Conv2D(3, 1, trainable=False)
    graph = keras.Model(images, last(keras.layers.Add()([learned, fixed])))
    # The filter gradient of the learned one and the input gradient of the last.
    assert work(graph, (1, 4, 4, 3)) == Work(forward=3 * 288, backward=2 * 288)


def test_a_layer_that_is_called_twice_is_counted_twice():
    images = keras.Input((None, None, 3))
    shared = keras.layers.Conv2D(3, 1, name="shared")
    graph = keras.Model(images, shared(keras.layers.MaxPooling2D(2)(shared(images))))
    # 288 operations on 4 x 4 and 72 on 2 x 2; backwards the filter of both and one input.
    assert work(graph, (1, 4, 4, 3)) == Work(forward=360, backward=432)


def test_layers_of_a_model_in_the_graph_are_counted_too():
    images, inner = keras.Input((None, None, 3)), keras.Input((None, None, 3))
    model = keras.Model(inner, keras.layers.Conv2D(3, 1)(inner))
    graph = keras.Model(images, model(keras.layers.Conv2D(3, 1)(images)))
    assert work(graph, (1, 4, 4, 3)) == Work(forward=576, backward=864)


def test_arithmetic_between_layers_is_no_obstacle():
    images = keras.Input((None, None, 3))
    graph = keras.Model(images, keras.layers.Conv2D(3, 1)(1.0 - 2.0 * images))
    assert work(graph, (1, 4, 4, 3)).forward == 288


@pytest.fixture(scope="module")
def detector() -> FasterRCNN:
    config = BackboneConfig(variant="10", freeze_bn=True, freeze_blocks=frozenset({0, 1}))
    parts = draw(ResNet(), config, channels=3, anchors_per_cell=9, num_classes=3)
    return FasterRCNN(*parts, anchors=Anchors((64.0,), (1.0,)))


@pytest.mark.slow
def test_the_parts_of_a_detector_are_counted_at_their_own_shapes(detector):
    counted = of_detection(detector, (2, 64, 96, 3), rois_per_image=5)
    cells = 2 * 4 * 6
    assert counted["RPN"] == 2 * cells * (9 * 256 * 512 + 512 * 9 + 512 * 36)
    stage_4 = 49 * (9 * 256 * 512 + 9 * 512 * 512 + 256 * 512)
    assert counted["RoI head"] == 2 * (2 * 5) * (stage_4 + 512 * 4 + 512 * 12)


def test_the_layers_of_a_detector_add_up_to_it(detector):
    settings = {"images": (2, 64, 96, 3), "rois_per_image": 5}
    layers = of_layers(detector, **settings)
    cells = 2 * 4 * 6
    assert layers["rpn/rpn_conv1"] == 2 * cells * 9 * 256 * 512
    assert layers["head/dense_class"] == 2 * (2 * 5) * 512 * 4
    assert sum(layers.values()) == sum(of_detection(detector, **settings).values())


@pytest.mark.slow
def test_training_goes_back_through_all_but_what_frozen_blocks_spare(detector):
    counted = of_training(detector, (1, 64, 64, 3), rois_per_image=4)
    forward = counted["features"] + counted["RPN"] + counted["RoI head"]
    conv1 = 2 * 32 * 32 * 49 * 3 * 64
    block_1 = 2 * 16 * 16 * (2 * 9 * 64 * 64 + 64 * 64)
    # conv1 has neither gradient; block 1 only that of its inputs, for the gamma of bn_conv1.
    assert counted["backward"] == 2 * forward - 2 * conv1 - block_1
