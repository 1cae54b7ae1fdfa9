"""Imported state dicts compute what torchvision's networks compute, written out here apart."""

import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.errors import ModelFileError

from .conftest import pixels, write_safetensors

MEANS, DEVIATIONS = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
EPSILON = 1e-5


class Network:
    """PyTorch's layers on (B, h, w, C) maps, each with random weights under torchvision's keys."""

    def __init__(self):
        self.tensors: dict[str, np.ndarray] = {}
        self._random = np.random.default_rng(0)

    def _new(self, key, shape, low, high):
        return self.tensors.setdefault(key, self._random.uniform(low, high, shape).astype("f4"))

    def conv(self, x, key, filters, size, stride=1, groups=1, bias=False):
        channels = x.shape[-1] // groups
        spread = (6 / (channels * size * size)) ** 0.5
        weight = self._new(f"{key}.weight", (filters, channels, size, size), -spread, spread)
        pad = size // 2
        x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        if groups == 1:
            x = tf.nn.conv2d(x, weight.transpose(2, 3, 1, 0), stride, "VALID")
        else:
            kernel = weight.transpose(2, 3, 0, 1)
            x = tf.nn.depthwise_conv2d(x, kernel, [1, stride, stride, 1], "VALID")
        return x + self._new(f"{key}.bias", (filters,), -0.3, 0.3) if bias else x

    def norm(self, x, key):
        shape = (x.shape[-1],)
        gamma = self._new(f"{key}.weight", shape, 0.5, 1.5)
        beta = self._new(f"{key}.bias", shape, -0.3, 0.3)
        mean = self._new(f"{key}.running_mean", shape, -0.3, 0.3)
        variance = self._new(f"{key}.running_var", shape, 0.5, 1.5)
        self.tensors[f"{key}.num_batches_tracked"] = np.zeros((), "f4")
        return (x - mean) / np.sqrt(variance + EPSILON) * gamma + beta

    def linear(self, x, key, units):
        spread = (3 / x.shape[-1]) ** 0.5
        weight = self._new(f"{key}.weight", (units, x.shape[-1]), -spread, spread)
        return x @ weight.T + self._new(f"{key}.bias", (units,), -0.3, 0.3)


def resnet(net, x, units):
    """Map of stride 16 and vector of a ResNet of basic blocks."""
    x = tf.nn.relu(net.norm(net.conv(x, "conv1", 64, 7, stride=2), "bn1"))
    x = tf.nn.max_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "VALID")
    at_16 = None
    for stage, count in enumerate(units, start=1):
        for unit in range(count):
            key, width = f"layer{stage}.{unit}", 64 * 2 ** (stage - 1)
            stride = 2 if unit == 0 and stage > 1 else 1
            shortcut = x
            x = tf.nn.relu(net.norm(net.conv(x, f"{key}.conv1", width, 3, stride), f"{key}.bn1"))
            x = net.norm(net.conv(x, f"{key}.conv2", width, 3), f"{key}.bn2")
            if stride == 2:
                shortcut = net.norm(
                    net.conv(shortcut, f"{key}.downsample.0", width, 1, stride),
                    f"{key}.downsample.1",
                )
            x = tf.nn.relu(x + shortcut)
        at_16 = x if stage == 3 else at_16
    net.linear(tf.reduce_mean(x, (1, 2)), "fc", 2)
    return at_16, tf.reduce_mean(x, (1, 2))


def vgg(net, x, convolutions, normalized):
    """Map before the last pool, and vector before the classifier."""
    index = 0
    for block, count in enumerate(convolutions):
        for _ in range(count):
            x = net.conv(x, f"features.{index}", min(64 * 2**block, 512), 3, bias=True)
            index += 1
            if normalized:
                x = net.norm(x, f"features.{index}")
                index += 1
            x, index = tf.nn.relu(x), index + 1
        at_16 = x
        x, index = tf.nn.max_pool2d(x, 2, 2, "VALID"), index + 1
    flat = tf.reshape(tf.transpose(x, (0, 3, 1, 2)), (1, -1))
    x = tf.nn.relu(net.linear(flat, "classifier.0", 4096))
    x = tf.nn.relu(net.linear(x, "classifier.3", 4096))
    net.linear(x, "classifier.6", 2)
    return at_16, x


def mobilenet_v2(net, x):
    """Map of stride 16 after the stage of 96 channels, and vector before the classifier."""
    x = tf.nn.relu6(net.norm(net.conv(x, "features.0.0", 32, 3, 2), "features.0.1"))
    index, at_16 = 1, None
    for expand, filters, count, first_stride in (
        *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
        *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
    ):
        for unit in range(count):
            key, shortcut, stride = f"features.{index}.conv", x, first_stride if unit == 0 else 1
            part, wide = 0, x.shape[-1] * expand
            if expand > 1:
                x = tf.nn.relu6(net.norm(net.conv(x, f"{key}.0.0", wide, 1), f"{key}.0.1"))
                part = 1
            x = net.conv(x, f"{key}.{part}.0", wide, 3, stride, groups=wide)
            x = tf.nn.relu6(net.norm(x, f"{key}.{part}.1"))
            x = net.norm(net.conv(x, f"{key}.{part + 1}", filters, 1), f"{key}.{part + 2}")
            x = x + shortcut if unit else x
            index += 1
        at_16 = x if filters == 96 else at_16
    x = tf.nn.relu6(net.norm(net.conv(x, "features.18.0", 1280, 1), "features.18.1"))
    net.linear(tf.reduce_mean(x, (1, 2)), "classifier.1", 2)
    return at_16, tf.reduce_mean(x, (1, 2))


@pytest.mark.slow
@pytest.mark.parametrize(
    "arch, network, size",
    [
        ("resnet:18", lambda net, x: resnet(net, x, (2, 2, 2, 2)), 96),
        pytest.param(
            "resnet:34",
            lambda net, x: resnet(net, x, (3, 4, 6, 3)),
            96,
            marks=pytest.mark.conformance,
        ),
        ("mobilenet_v2", mobilenet_v2, 96),
        pytest.param(
            "vgg:16",
            lambda net, x: vgg(net, x, (2, 2, 3, 3, 3), False),
            224,
            marks=pytest.mark.conformance,
        ),
        pytest.param(
            "vgg:16",
            lambda net, x: vgg(net, x, (2, 2, 3, 3, 3), True),
            224,
            marks=pytest.mark.conformance,
        ),
        pytest.param(
            "vgg:19",
            lambda net, x: vgg(net, x, (2, 2, 4, 4, 4), False),
            224,
            marks=pytest.mark.conformance,
        ),
        pytest.param(
            "vgg:19",
            lambda net, x: vgg(net, x, (2, 2, 4, 4, 4), True),
            224,
            marks=pytest.mark.conformance,
        ),
    ],
)
def test_the_imported_network_computes_what_the_source_does(
    arch, network, size, importing, tmp_path
):
    images, net = pixels(size, size), Network()
    expected_map, expected_vector = network(
        net, (images - np.array(MEANS, "f4")) / np.array(DEVIATIONS, "f4")
    )
    write_safetensors(tmp_path / "theirs.safetensors", net.tensors)

    (features, head), imported, ours = importing(
        tmp_path / "theirs.safetensors", arch, pool_size=size // 32, pool_size_2x=True
    )
    found_map = features(ours.normalize(images))
    close(found_map, expected_map)
    close(head(found_map), expected_vector)
    assert imported.unused.startswith("2 of its layers or tensors: ")  # the classifier


def close(found, expected) -> None:
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize(
    "arch, reason",
    [
        ("resnet:50", "stride"),
        ("googlenet", "pool"),
        ("mobilenet_v1", "torchvision"),
        ("efficientnet:b0", "zeros of a stride"),
        ("darknet:53", "darknet has no counterpart there"),
    ],
)
def test_what_cannot_be_represented_is_refused_with_the_reason(arch, reason, importing, tmp_path):
    write_safetensors(tmp_path / "w.safetensors", {"bn1.running_mean": np.zeros(1)})
    with pytest.raises(ModelFileError, match=f"(?s)none can become {arch}: .*{reason}"):
        importing(tmp_path / "w.safetensors", arch)


@pytest.mark.slow
def test_a_state_dict_of_another_network_is_refused_by_the_first_key_it_lacks(importing, tmp_path):
    net = Network()
    mobilenet_v2(net, pixels(32, 32))
    write_safetensors(tmp_path / "w.safetensors", net.tensors)
    with pytest.raises(ModelFileError, match=r"no resnet:18: it has no tensor 'conv1\.weight'"):
        importing(tmp_path / "w.safetensors", "resnet:18")


@pytest.mark.slow
def test_a_narrower_network_is_refused_by_its_shapes(importing, tmp_path):
    net = Network()
    mobilenet_v2(net, pixels(32, 32))
    narrow = {
        key: array[:8] if array.ndim and key.startswith("features.0") else array
        for key, array in net.tensors.items()
    }
    write_safetensors(tmp_path / "w.safetensors", narrow)
    with pytest.raises(ModelFileError, match=r"conv1's kernel is \(3, 3, 3, 8\) in the file"):
        importing(tmp_path / "w.safetensors", "mobilenet_v2")
