from pathlib import Path

import numpy as np
import pytest

from frcnn_core.data.classes import ClassMap
from frcnn_core.data.labels import Labels, Object
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.errors import DataError
from frcnn_core.survey import statistics
from frcnn_core.survey.labelled_files import LabelledFile, Split
from frcnn_core.survey.objects import gather
from frcnn_core.survey.view import NetworkView


def file(*objects: Object, size=(40, 60), name="a.png") -> LabelledFile:
    labels = Labels(objects, tuple(f"a:{i}" for i in range(len(objects))))
    return LabelledFile(Path(name), "a", lambda size: labels, stated_size=size)


def unreadable() -> LabelledFile:
    def read(size):
        raise DataError("a.txt:1: nothing of it")

    return LabelledFile(Path("b.png"), "b", read, stated_size=(40, 60))


def item(name, x1, y1, x2, y2, **more) -> Object:
    return Object(name, x1=x1, y1=y1, x2=x2, y2=y2, **more)


def split(name, *files) -> Split:
    return Split(name, len(files), files)


VIEW = NetworkView(Preprocessing(80, 60), ClassMap.of({"car": "vehicle", "van": "vehicle"}))


def test_boxes_are_as_in_the_labels_and_classes_in_alphabetical_order():
    table = gather(
        [
            split("training", file(item("van", 1, 2, 11, 22)), file(item("car", 0, 0, 4, 8))),
            split("validation", file(item("car", -5, 30, 5, 50))),
        ]
    )
    assert table.class_names == ("car", "van")
    assert table.classes.tolist() == [1, 0, 0]
    assert table.splits.tolist() == [0, 0, 1]
    # The last one is clipped to the image.
    assert table.boxes.tolist() == [[2, 1, 22, 11], [0, 0, 8, 4], [30, 0, 40, 5]]
    assert table.objects(0).tolist() == [1, 1]
    assert statistics.objects_by_split(table) == {
        "training": {"car": 1, "van": 1},
        "validation": {"car": 1, "van": 0},
    }


def test_a_view_maps_classes_and_scales_boxes():
    table = gather(
        [split("training", file(item("van", 1, 2, 11, 22), item("bus", 1, 1, 9, 9)))], VIEW
    )
    assert table.class_names == ("vehicle",)
    assert table.boxes.tolist() == [[4, 1, 44, 11]]
    assert table.sizes.tolist() == [[80, 60]]
    assert table.counts["training"].left_out == {"bus": 1}


def test_what_cannot_be_used_is_counted_and_left_out():
    table = gather(
        [
            split(
                "training",
                file(
                    item("car", 5, 5, 5, 9),
                    item("car", 70, 5, 80, 9),
                    item("car", 5, 5, 15, 15, occlusion=1),
                    item("car", 5, 5, 30, 30, crowd=True),
                ),
                unreadable(),
                file(),
            )
        ]
    )
    count = table.counts["training"]
    assert (count.num_images, count.num_unreadable) == (2, 1)
    assert (count.num_without_area, count.num_difficult, count.num_crowds) == (2, 1, 1)
    assert count.objects_per_image == {0: 1, 1: 1}
    assert len(table.boxes) == 1


def test_quantiles_are_those_of_numpy_and_of_the_class():
    boxes = [item("car", 0, 0, side, 2 * side) for side in (1, 2, 3, 4, 5)]
    table = gather([split("training", file(*boxes, item("bus", 0, 0, 30, 30)))])
    sizes = statistics.sizes_by_class(table)["car"]
    assert sizes["width"] == [1, 1.2, 2, 3, 4, pytest.approx(4.8), 5]
    assert sizes["ratio"] == [0.5] * 7
    np.testing.assert_allclose(sizes["side"], np.array(sizes["width"]) * np.sqrt(2))


def test_samples_are_evenly_spaced():
    files = [file(item("car", 0, 0, 4, 4), name=f"{i}.png") for i in range(10)]
    table = gather([split("training", *files)], num_samples=4)
    assert [sample.file.image.stem for sample in table.samples] == ["0", "2", "5", "7"]


def test_nothing_at_all_is_no_reason_to_fail():
    table = gather([split("training")], VIEW, num_samples=4)
    assert table.boxes.shape == (0, 4)
    assert table.objects(0).tolist() == [0]
    assert np.isnan(statistics.mean_of(table.counts["training"].objects_per_image))
    assert statistics.as_dict(table, "network")["boxes"] == {}


@pytest.mark.slow
def test_progress_counts_the_images_of_all_splits():
    told = []
    gather([split("a", file(), file()), split("b", file())], progress=lambda *n: told.append(n))
    assert told == [(1, 3), (2, 3), (3, 3)]
