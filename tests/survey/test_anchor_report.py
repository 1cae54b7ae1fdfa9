import pytest

from frcnn_core.data.classes import ClassMap
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.anchors import Anchors
from frcnn_core.errors import DataError
from frcnn_core.spec.load import loads
from frcnn_core.survey.anchor_report import report_on
from frcnn_core.survey.objects import gather
from frcnn_core.survey.view import NetworkView

from .test_objects import file, item, split

VIEW = NetworkView(
    Preprocessing(128, 128), ClassMap.of({"car": "car", "bus": "bus"}), min_box_size=(10, 10)
)


def table_of(*objects):
    return gather([split("training", file(*objects, size=(128, 128)))], VIEW)


def test_objects_that_are_left_out_for_their_size_do_not_count():
    table = table_of(item("car", 16, 16, 32, 32), item("car", 16, 16, 32, 25))
    report = report_on(table, VIEW, Anchors((16.0,), (1.0,)), 0.7)
    assert report.given.covers.all.num_boxes == 1
    assert report.given.covers.all.covered == 1


def test_where_the_anchors_fit_nothing_is_suggested():
    report = report_on(table_of(item("car", 16, 16, 32, 32)), VIEW, Anchors((16.0,), (1.0,)), 0.7)
    assert report.suggested is None
    assert report.as_dict()["suggested"] is None


def test_what_is_suggested_is_text_for_the_spec():
    report = report_on(table_of(item("car", 16, 16, 32, 32)), VIEW, Anchors((64.0,), (2.0,)), 0.7)
    message = loads(f"model_config {{ {report.suggested.text()} }}").message
    config = message.model_config.anchor_box_config
    assert tuple(config.scale) == report.suggested.anchors.scales
    assert tuple(config.ratio) == pytest.approx(report.suggested.anchors.ratios)
    assert report.suggested.covers.all.covered == 1


def test_zoomed_is_the_share_over_all_sizes_of_the_range():
    # Its side is 32, 25.6, 21.3, 18.3 and 16.  The first two are inside of an anchor of 32, or the
    # same, and 25.6 * 25.6 / (32 * 32) is 0.64; the others have less than half of its area.
    table = table_of(item("car", 56, 56, 88, 88))
    report = report_on(table, VIEW, Anchors((32.0,), (1.0,)), 0.6, (1.0, 2.0))
    assert report.given.covers.all.covered == 1
    assert report.given.zoomed.all.num_boxes == 5
    assert report.given.zoomed.all.covered == pytest.approx(2 / 5)
    assert report.given.zoomed.classes[1].covered == pytest.approx(2 / 5)


def test_each_class_is_told_also_without_objects():
    report = report_on(table_of(item("car", 16, 16, 32, 32)), VIEW, Anchors((16.0,), (1.0,)), 0.7)
    assert report.class_names == ("bus", "car")
    assert [cover.num_boxes for cover in report.given.covers.classes] == [0, 1]
    assert report.as_dict()["given"]["classes"]["bus"]["covered"] is None


def test_anchors_that_fit_into_no_image_are_named():
    report = report_on(
        table_of(item("car", 16, 16, 32, 32)), VIEW, Anchors((16.0, 256.0), (1.0,)), 0.7
    )
    assert report.never_inside == ((256.0, 256.0),)


@pytest.mark.slow
def test_no_object_is_an_error():
    with pytest.raises(DataError, match="no object to train on"):
        report_on(table_of(item("car", 16, 16, 32, 25)), VIEW, Anchors((16.0,), (1.0,)), 0.7)
