import pytest
import toy

from frcnn_core import assemble
from frcnn_core.assemble.evaluation import rois_per_image
from frcnn_core.spec.load import loads


def small(text):
    return loads(text, "spec.txt")


def test_detection_settings_are_those_of_the_config_that_is_given():
    spec = small(
        "evaluation_config { object_confidence_thres: 0.2 rpn_pre_nms_top_N: 7 }"
        "inference_config { object_confidence_thres: 0.4 }"
    )
    evaluation = assemble.detection_settings(spec.message.evaluation_config)
    inference = assemble.detection_settings(spec.message.inference_config)
    assert (evaluation.object_confidence_thres, evaluation.rpn_pre_nms_top_n) == (0.2, 7)
    assert (inference.object_confidence_thres, inference.rpn_pre_nms_top_n) == (0.4, 6000)


def test_an_iou_range_ends_before_its_end():
    spec = small(
        "evaluation_config { gt_matching_iou_threshold_range { start: 0.5 end: 1.0 step: 0.05 } }"
    )
    expected = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    assert assemble.iou_thresholds(spec) == pytest.approx(expected)
    assert assemble.iou_thresholds(small("")) == (0.5,)


def test_metrics_are_voc_2012_unless_the_spec_names_others():
    def names(text):
        spec = small(f"evaluation_config {{ {text} }}")
        return list(assemble.accumulators(spec, toy.plugins(), ("car",)))

    assert names("") == ["voc12"]
    assert names("use_voc07_11point_metric: True") == ["voc07"]
    assert names('metric: "coco" metric: "voc07"') == ["coco", "voc07"]


def test_a_detection_has_as_many_rois_as_the_models_own_spec_lets_through():
    assert rois_per_image("inference_config { rpn_nms_max_boxes: 77 }") == 77


def test_a_spec_that_this_version_cannot_read_counts_as_the_defaults():
    assert rois_per_image("inference_config { a_field_of_tomorrow: 77 }") == 300
