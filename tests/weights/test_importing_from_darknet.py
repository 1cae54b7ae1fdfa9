"""Imported Darknet files compute what Darknet computes, written out here apart."""

import numpy as np
import pytest
import tensorflow as tf

from frcnn_core.errors import ModelFileError

from .conftest import pixels


class Network:
    """Darknet's layers on (B, h, w, C) maps, their random weights written in Darknet's order."""

    def __init__(self):
        self.numbers = [np.array([0, 2, 5, 0, 0], "<i4").tobytes()]  # version 0.2.5, 64 bits seen
        self._random = np.random.default_rng(0)

    def conv(self, x, filters, size, stride=1):
        channels = x.shape[-1]
        spread = (6 / (channels * size * size)) ** 0.5
        beta, gamma, mean, variance = (
            self._random.uniform(low, high, filters).astype("<f4")
            for low, high in ((-0.3, 0.3), (0.5, 1.5), (-0.3, 0.3), (0.5, 1.5))
        )
        weights = self._random.uniform(-spread, spread, (filters, channels, size, size))
        weights = weights.astype("<f4")
        self.numbers += [array.tobytes() for array in (beta, gamma, mean, variance, weights)]
        pad = size // 2
        x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        x = tf.nn.conv2d(x, weights.transpose(2, 3, 1, 0), stride, "VALID")
        x = (x - mean) / (np.sqrt(variance) + 1e-6) * gamma + beta
        return tf.nn.leaky_relu(x, 0.1)

    def write(self, path, extra=0):
        path.write_bytes(b"".join([*self.numbers, np.zeros(extra, "<f4").tobytes()]))


def darknet19(net, x):
    def pool(x):
        return tf.nn.max_pool2d(x, 2, 2, "VALID")

    x = pool(net.conv(x, 32, 3))
    x = pool(net.conv(x, 64, 3))
    for filters in (128, 256):
        x = net.conv(net.conv(net.conv(x, filters, 3), filters // 2, 1), filters, 3)
        x = pool(x)
    for filters, size in ((512, 3), (256, 1), (512, 3), (256, 1), (512, 3)):
        x = net.conv(x, filters, size)
    at_16, x = x, pool(x)
    for filters, size in ((1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3)):
        x = net.conv(x, filters, size)
    return at_16, tf.reduce_mean(x, (1, 2))


def darknet53(net, x):
    x, at_16 = net.conv(x, 32, 3), None
    for filters, units in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        x = net.conv(x, filters, 3, stride=2)
        for _ in range(units):
            x = x + net.conv(net.conv(x, filters // 2, 1), filters, 3)
        at_16 = x if filters == 512 else at_16
    return at_16, tf.reduce_mean(x, (1, 2))


def close(found, expected) -> None:
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


@pytest.mark.slow
def test_darknet_53_computes_what_the_source_does(importing, tmp_path):
    images, net = pixels(96, 96), Network()
    expected_map, expected_vector = darknet53(net, images / 255)
    net.write(tmp_path / "darknet53.weights", extra=1000 * 1024 + 1000)
    (features, head), imported, ours = importing(
        tmp_path / "darknet53.weights", "darknet:53", pool_size=3, pool_size_2x=True
    )
    found_map = features(ours.normalize(images))
    close(found_map, expected_map)
    close(head(found_map), expected_vector)
    assert imported.unused == "1,025,000 numbers at the end (a classifier or a detector)"


@pytest.mark.slow
def test_darknet_19_computes_what_the_source_does_up_to_stride_16(importing, tmp_path):
    images, net = pixels(64, 96), Network()
    expected_map, _ = darknet19(net, images / 255)
    net.write(tmp_path / "darknet19.weights")
    (features, _), imported, ours = importing(tmp_path / "darknet19.weights", "darknet:19")
    close(features(ours.normalize(images)), expected_map)
    assert imported.left_out == () and imported.unused == ""


@pytest.mark.slow
def test_the_head_of_darknet_19_halves_by_a_stride_where_the_paper_pools(importing, tmp_path):
    """TLT's head has a stride of 2 in place of the fifth pool; without pool_size_2x neither."""
    images, net = pixels(64, 64), Network()
    darknet19(net, images / 255)
    net.write(tmp_path / "darknet19.weights")
    (features, head), _, ours = importing(tmp_path / "darknet19.weights", "darknet:19", pool_size=4)
    again = Network()
    expected = features(ours.normalize(images))
    darknet19(again, images / 255)  # draws the same weights up to the head
    x = expected
    start = len(again.numbers)
    assert start == 1 + 5 * 18
    weights = [np.frombuffer(one, "<f4") for one in again.numbers[-25:]]
    for i, (filters, size) in enumerate(((1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3))):
        beta, gamma, mean, variance, kernel = weights[5 * i : 5 * i + 5]
        kernel = kernel.reshape(filters, -1, size, size).transpose(2, 3, 1, 0)
        x = tf.nn.conv2d(x, kernel, 1, "SAME")
        x = tf.nn.leaky_relu((x - mean) / (np.sqrt(variance) + 1e-6) * gamma + beta, 0.1)
    close(head(expected), tf.reduce_mean(x, (1, 2)))


@pytest.mark.slow
def test_a_file_that_ends_with_the_feature_extractor_leaves_the_head_out(importing, tmp_path):
    net = Network()
    darknet19(net, pixels(32, 32) / 255)
    net.numbers = net.numbers[: 1 + 5 * 13]
    net.write(tmp_path / "conv.13.weights")
    _, imported, _ = importing(tmp_path / "conv.13.weights", "darknet:19")
    assert imported.left_out == tuple(f"b5_conv{i}" for i in range(1, 6))


@pytest.mark.slow
@pytest.mark.parametrize("cut, message", [(4, "b5_conv5: "), (None, "no darknet:53")])
def test_a_file_that_ends_too_early_is_refused(cut, message, importing, tmp_path):
    net = Network()
    darknet19(net, pixels(32, 32) / 255)
    net.write(tmp_path / "d.weights")
    data = (tmp_path / "d.weights").read_bytes()
    if cut:
        (tmp_path / "d.weights").write_bytes(data[:-cut])
    with pytest.raises(ModelFileError, match=message if cut else "darknet:53|d.weights, "):
        importing(tmp_path / "d.weights", "darknet:19" if cut else "darknet:53")
