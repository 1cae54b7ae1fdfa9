"""What training starts from."""

import logging

import numpy as np
import pytest
import toy

from frcnn_core import weights
from frcnn_core.assemble.start import start
from frcnn_core.spec.load import loads
from frcnn_core.weights import Origin


@pytest.fixture
def begin(tmp_path, caplog):
    """Start a toy model from weights of an origin; the warnings that this causes."""

    def begin(*, model="", **origin):
        path = tmp_path / "weights.h5"
        given = {"arch": "toy", "source": "a test", "channel_order": "rgb"}
        given |= {"means": (40.0, 40.0, 40.0), "scale": 60.0}
        layers = {"conv0": {"kernel": np.ones((3, 3, 3, 8), "float32")}}
        weights.write_weights(path, layers, Origin(**{**given, **origin}))
        text = toy.spec_text(tmp_path, training=f'pretrained_weights: "{path}"', model=model)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            _, report, _ = start(loads(text), toy.plugins(), "", "float32")
        assert report.count("Yes") == 1
        return [record.getMessage() for record in caplog.records]

    return begin


def test_weights_that_fit_the_spec_cause_no_warning(begin):
    assert begin() == []


def test_other_means_or_channel_order_are_told_with_what_to_write(begin):
    (message,) = begin(channel_order="bgr", scale=1.0)
    assert message.endswith(
        "trained otherwise than the spec says. Write:\n"
        "  model_config { input_image_config {\n"
        '      image_channel_order: "bgr"\n'
        '      image_channel_mean { key: "r" value: 40 }\n'
        '      image_channel_mean { key: "g" value: 40 }\n'
        '      image_channel_mean { key: "b" value: 40 }\n'
        "      image_scaling_factor: 1\n"
        "  } }"
    )


def test_fields_of_the_network_that_the_weights_need_are_told(begin):
    (message,) = begin(model_config={"use_pooling": True})
    assert "use_pooling: True" in message and "image_channel_order" not in message
    assert begin(model="use_pooling: True", model_config={"use_pooling": True}) == []


def test_weights_of_another_arch_are_told(begin):
    (message,) = begin(arch="mobilenet_v2", scale=1.0, backbone_options={"relu6": "true"})
    assert message.endswith('Write:\n  model_config { arch: "mobilenet_v2" }')


def test_what_to_write_is_a_spec(begin):
    (message,) = begin(scale=1.0, model_config={"use_pooling": True, "all_projections": True})
    written = loads(message.partition("Write:\n")[2]).message.model_config
    assert written.use_pooling and written.all_projections
    assert written.input_image_config.image_scaling_factor == 1
