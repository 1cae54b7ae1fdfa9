import numpy as np
import pytest
import toy

from frcnn_core import Exporter, assemble
from frcnn_core.assemble.evaluation import rois_per_image
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector.settings import DetectionSettings
from frcnn_core.errors import ModelFileError, PluginError
from frcnn_core.model_files import archive
from frcnn_core.plugin.components import Runtime
from frcnn_core.plugin.discovery import Plugins
from frcnn_core.plugin.registry import Registered
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


class Engine(Exporter):
    """Loads files that begin with ENGINE and end with their key."""

    name = "engine"

    def __init__(self, requires=()):
        self.requires = requires

    def export(self, model, output, *, settings, options, images=None):
        return [output]

    def recognises(self, path):
        return path.read_bytes().startswith(b"ENGINE")

    def load(self, path, *, key=""):
        if not path.read_bytes().endswith(key.encode()):
            raise ModelFileError(f"{path} cannot be read: the key is wrong.")
        return Runtime(None, ("car",), Preprocessing(8, 8), DetectionSettings(7, 7))


def with_engine(**given):
    found = Plugins([])
    found.exporters.add(Registered(Engine(**given), "engine", "frcnn 0.1"))
    found.backbones.add(Registered(toy.Toy(), "toy", "toy 1.0"))
    return found


@pytest.fixture
def engine(tmp_path):
    path = tmp_path / "by_its_content.bin"
    path.write_bytes(b"ENGINE secret")
    return path


def test_a_file_is_run_by_the_exporter_that_recognises_it(engine):
    runtime = assemble.open_runtime(engine, "secret", with_engine(), DetectionSettings())
    assert runtime.class_names == ("car",)
    assert runtime.settings == DetectionSettings(7, 7), "its own, not those asked for"


def test_a_wrong_key_for_an_exported_file_is_one_line(engine):
    with pytest.raises(ModelFileError, match=r"^.*by_its_content\.bin cannot be read: the key"):
        assemble.open_runtime(engine, "guess", with_engine(), DetectionSettings())


def test_an_exported_file_whose_libraries_are_missing_says_what_to_install(engine):
    lacking = with_engine(requires=("a_library_that_is_not_there",))
    with pytest.raises(PluginError, match=r"cannot be run: engine needs .*frcnn\[engine\]"):
        assemble.open_runtime(engine, "", lacking, DetectionSettings())


@pytest.mark.slow
def test_any_other_file_is_a_model_that_detects_as_it_is_told(tmp_path):
    archive.write(tmp_path / "toy.tlt", toy.model().to_archive())
    settings = DetectionSettings(20, 10, classifier_nms_max_boxes=3)
    runtime = assemble.open_runtime(tmp_path / "toy.tlt", "", with_engine(), settings)
    assert runtime.class_names == toy.CLASSES
    assert runtime.settings == settings
    image = np.zeros((1, toy.SIDE, toy.SIDE, 3), np.float32)
    found = runtime.detect(image, np.float32([[toy.SIDE, toy.SIDE]]))
    assert found.boxes.shape == (1, 3, 4)
    assert found.proposals.shape == (1, 10, 4)
