"""Files written byte by byte as Darknet's ``save_weights`` does."""

import struct

import numpy as np
import pytest

from frcnn_core.errors import ModelFileError
from frcnn_core.model_files.darknet_files import DarknetFile, is_darknet

HEADER = struct.pack("<3iq", 0, 2, 5, 32_013_312)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "yolo.weights"


def write(path, numbers, header=HEADER):
    path.write_bytes(header + np.asarray(numbers, "<f4").tobytes())


def test_a_normalized_convolution_is_beta_gamma_mean_variance_and_then_weights(path):
    write(path, range(10))
    convolution = DarknetFile(path).convolution(2, 1, 1, normalized=True)
    assert convolution.beta.tolist() == [0, 1]
    assert convolution.gamma.tolist() == [2, 3]
    assert convolution.mean.tolist() == [4, 5]
    assert convolution.variance.tolist() == [6, 7]
    assert convolution.kernel.tolist() == [[[[8, 9]]]]


def test_a_convolution_without_normalization_has_a_bias_alone(path):
    write(path, range(4))
    convolution = DarknetFile(path).convolution(2, 1, 1, normalized=False)
    assert convolution.beta.tolist() == [0, 1]
    assert convolution.gamma is convolution.mean is convolution.variance is None
    assert convolution.kernel.ravel().tolist() == [2, 3]


def test_kernels_are_in_the_layout_of_keras(path):
    filters, channels, size = 2, 4, 3
    weights = np.arange(filters * channels * size * size, dtype=np.float32)
    write(path, [*np.zeros(filters), *weights])
    kernel = DarknetFile(path).convolution(filters, channels, size, normalized=False).kernel
    assert kernel.shape == (size, size, channels, filters)
    assert kernel.flags.c_contiguous
    for y, x, channel, one in np.ndindex(kernel.shape):
        # Darknet: weights[filter][channel][y][x], in C.
        assert (
            kernel[y, x, channel, one]
            == weights[((one * channels + channel) * size + y) * size + x]
        )


def test_convolutions_are_read_one_after_the_other(path):
    write(path, range(16))
    file = DarknetFile(path)
    assert file.remaining == 16
    file.convolution(1, 3, 1, normalized=True)
    assert file.remaining == 9
    second = file.convolution(1, 1, 2, normalized=False)
    assert second.beta.tolist() == [7]
    assert second.kernel[:, :, 0, 0].tolist() == [[8, 9], [10, 11]]
    assert file.remaining == 4


@pytest.mark.parametrize(
    "header", [struct.pack("<3ii", 0, 1, 0, 5), struct.pack("<3iq", 0, 2, 0, 5), HEADER]
)
def test_the_count_of_images_is_shorter_in_version_0_1(path, header):
    write(path, [7, 8], header)
    assert is_darknet(path.read_bytes())
    assert DarknetFile(path).convolution(1, 1, 1, normalized=False).beta.tolist() == [7]


def test_a_file_that_ends_within_a_convolution_says_how_many_numbers_are_missing(path):
    write(path, range(1000))
    file = DarknetFile(path)
    file.convolution(32, 3, 3, normalized=True)  # 32 * (4 + 27) = 992
    with pytest.raises(ModelFileError, match=r"18,680 of its 18,688 numbers are missing"):
        file.convolution(64, 32, 3, normalized=True)  # 64 * (4 + 288)


def test_reading_out_of_step_with_the_file_is_noticed_by_its_variances(path):
    # Two 1x1 convolutions of one filter, read as if the first had two channels, not one: beta of
    # the second, -1, lands in the first kernel, and the second variance is its weight, -2.
    first, second = [0, 1, 0, 1, 3], [-1, 1, 0, 1, -2, 0]
    write(path, first + second)
    file = DarknetFile(path)
    file.convolution(1, 2, 1, normalized=True)
    with pytest.raises(ModelFileError, match=r"variances below 0.*another network"):
        file.convolution(1, 1, 1, normalized=True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"layers = [conv1, conv2, conv3]\n",
        HEADER,
        HEADER[:12] + bytes(4),
        struct.pack("<3iq", 2000, 1, 0, 0) + bytes(4),  # transposed, says Darknet
        struct.pack("<3iq", -1, 2, 0, 0) + bytes(4),
    ],
)
def test_what_does_not_begin_like_a_darknet_file_is_refused(path, data):
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=r"yolo\.weights is no Darknet file"):
        DarknetFile(path)


def test_a_file_that_ends_within_a_number_is_refused(path):
    path.write_bytes(HEADER + bytes(7))
    with pytest.raises(ModelFileError, match="ends within a number"):
        DarknetFile(path)


@pytest.mark.slow
def test_a_missing_file_says_so(path):
    with pytest.raises(ModelFileError, match="there is no such file"):
        DarknetFile(path)
