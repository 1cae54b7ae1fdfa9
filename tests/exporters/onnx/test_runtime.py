import numpy as np
import pytest

from frcnn_core.structures import Detections
from frcnn_onnx.runtime import in_batches


def test_batches_of_another_size_are_cut_and_filled():
    seen = []

    def run(images, sizes):
        seen.append(images[:, 0].tolist())
        boxes = np.repeat(images[:, None, None, 0], 4, -1)
        return Detections(boxes, boxes[..., 0], boxes[..., 0], sizes[:, 0], None)

    images = np.arange(1, 6, dtype=np.float32)[:, None]
    found = in_batches(run, images, np.tile(images, 2), least=2, most=2)
    assert seen == [[1, 2], [3, 4], [5, 0]]
    assert found.boxes[:, 0, 0].tolist() == found.counts.tolist() == [1, 2, 3, 4, 5]
    assert found.proposals is None


def test_a_batch_smaller_than_the_profile_is_filled_up():
    seen = []

    def run(images, sizes):
        seen.append(len(images))
        assert len(sizes) == len(images)
        values = images.reshape(len(images), 1)
        return Detections(values, values, values, values[:, 0], None)

    answer = in_batches(run, np.arange(1.0, 6.0).reshape(5, 1), np.zeros((5, 2)), least=3, most=4)
    assert seen == [4, 3]
    assert answer.boxes.tolist() == [[1], [2], [3], [4], [5]]
    assert answer.counts.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_a_batch_that_fits_is_run_as_it_is():
    answer = Detections(*np.zeros((4, 3)), None)
    assert in_batches(lambda *given: answer, np.ones((3, 1)), np.ones((3, 2)), least=1, most=3) is (
        answer
    )
