import numpy as np
import pytest

from frcnn_onnx.outputs import cut, detections

SIZE = (100, 200)


def test_rows_of_nms_become_boxes_in_pixels():
    rows = np.zeros((1, 1, 3, 7), "float32")
    rows[0, 0, 0] = 0, 2, 0.9, 0.1, 0.2, 0.5, 0.6
    rows[0, 0, 1:] = 0, -1, 0, 0.3, 0.3, 0.3, 0.3
    found = detections({"NMS": rows, "NMS_1": np.array([[[[1]]]], "int32")}, size=SIZE)
    np.testing.assert_allclose(found.boxes, [[[20, 20, 60, 100], [0] * 4, [0] * 4]], rtol=1e-6)
    np.testing.assert_array_equal(found.classes, [[2, -1, -1]])
    np.testing.assert_allclose(found.scores, [[0.9, 0, 0]])
    assert found.counts.tolist() == [1]
    assert found.proposals is None


def test_named_outputs_are_what_they_are_called():
    outputs = {
        "boxes": np.ones((2, 1, 4), "float32"),
        "scores": np.array([[0.5], [0]], "float32"),
        "classes": np.array([[1], [-1]], "int64"),
        "counts": np.array([1, 0], "int64"),
    }
    found = detections(outputs, size=SIZE)
    for name, value in outputs.items():
        np.testing.assert_array_equal(getattr(found, name), value)
    assert found.classes.dtype == found.counts.dtype == np.int32


@pytest.mark.slow
def test_boxes_end_where_the_image_does():
    outputs = {
        "boxes": np.array([[[10, 20, 90, 180]], [[10, 20, 90, 180]]], "float32"),
        "scores": np.ones((2, 1), "float32"),
        "classes": np.zeros((2, 1), "int32"),
        "counts": np.ones(2, "int32"),
    }
    found = cut(detections(outputs, size=SIZE), np.array([[100, 200], [50, 60]]))
    assert found.boxes[:, 0].tolist() == [[10, 20, 90, 180], [10, 20, 50, 60]]
