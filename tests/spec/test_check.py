from dataclasses import dataclass

import pytest

from frcnn_core import Backbone, LRSchedule, Metric, Optimizer
from frcnn_core.errors import SpecError
from frcnn_core.plugin.discovery import Plugins, installed
from frcnn_core.plugin.registry import Registered
from frcnn_core.spec.check import (
    TASKS,
    check,
    check_dataset_spec,
    require,
    require_dataset_spec,
)
from frcnn_core.spec.load import loads, loads_dataset_spec

SIZE = "input_image_config { size_height_width { height: 64 width: 96 } }"
GOOD = f"""
model_config {{ {SIZE} }}
dataset_config {{
  data_sources {{ tfrecords_path: 'records/*' image_directory_path: 'images' }}
  target_class_mapping {{ key: 'van' value: 'car' }}
  validation_fold: 0
}}
"""


class Fake:
    """Stands for a component; only its description is looked at."""

    def features(self, images, blocks): ...
    def head(self, rois, blocks): ...
    def learning_rate(self, options, progress): ...
    def build(self, options): ...
    def start(self, class_names, *, iou_thresholds, score_threshold, options=None): ...


class Resnet(Fake, Backbone):
    name = "resnet"
    variants = ("10", "18")
    freeze_ids = range(4)
    honours = frozenset({"use_pooling", "all_projections"})


class Darknet(Fake, Backbone):
    name = "darknet"
    variants = ("19",)

    @dataclass(frozen=True)
    class Options:
        depth: int = 3


class Lamb(Fake, Optimizer):
    name = "lamb"

    @dataclass(frozen=True)
    class Options:
        beta_1: float = 0.9


class Cosine(Fake, LRSchedule):
    name = "cosine"

    @dataclass(frozen=True)
    class Options:
        base_lr: float


def named(base, name):
    return type(name, (Fake, base), {"name": name, "Options": Lamb.Options})()


@pytest.fixture(scope="module")
def plugins():
    found = Plugins([])
    for registry, components in (
        (found.backbones, [Resnet(), Darknet()]),
        (found.optimizers, [Lamb(), *(named(Optimizer, n) for n in ("adam", "sgd", "rmsprop"))]),
        (found.lr_schedules, [Cosine(), *(named(LRSchedule, n) for n in ("soft_start", "step"))]),
        (found.metrics, [named(Metric, n) for n in ("voc12", "coco")]),
    ):
        for component in components:
            registry.add(Registered(component, "fake", "fake 1.0"))
    return found


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The files that GOOD names, in a working directory of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATA_BASE_PATH", raising=False)
    for name in ("records/kitti-fold-000-of-002", "records/kitti-fold-001-of-002", "model.tlt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "images").mkdir()
    return tmp_path


def problems(plugins, text, task=None):
    return [(p.severity, p.field, p.message) for p in check(loads(text), plugins, task)]


def only(plugins, text, task=None):
    """The one problem of a spec that is good otherwise."""
    (found,) = problems(plugins, GOOD + text, task)
    return found


# --- good specs


@pytest.mark.parametrize("name", ["kitti_resnet18.txt", "tao5_resnet50.txt"])
@pytest.mark.parametrize("task", [None, *TASKS])
def test_a_published_spec_is_fine_for_every_task_where_its_files_are(request, files, name, task):
    from frcnn_core.plugin.discovery import installed

    text = (request.config.rootpath / "examples" / "specs" / name).read_text()
    for path, present in (
        ("tlt-experiments/tfrecords/kitti_trainval/kitti_trainval*", "records/*"),
        ("tao-experiments/data/faster_rcnn/tfrecords/kitti_trainval/kitti_trainval*", "records/*"),
        ("tlt-experiments/data/training", "images"),
        ("tao-experiments/data/training", "images"),
        ("tlt-experiments/data/testing/image_2", "images"),
        ("tao-experiments/data/testing/image_2", "images"),
        ("tlt-experiments/data/faster_rcnn/model_1_pruned.tlt", "model.tlt"),
        ("tlt-experiments/data/faster_rcnn/frcnn_kitti_resnet18_retrain.epoch12.tlt", "model.tlt"),
        ("tao-experiments/data/faster_rcnn/resnet_50.hdf5", "model.tlt"),
        ("tao-experiments/data/faster_rcnn/frcnn_resnet_50.epoch_12.hdf5", "model.tlt"),
    ):
        text = text.replace(f"/workspace/{path}", present)
    assert check(loads(text), installed(), task) == []


@pytest.mark.parametrize("task", [None, "train"])
def test_a_spec_of_size_data_and_classes_is_enough_to_train(plugins, files, task):
    assert problems(plugins, GOOD, task) == []


def test_an_empty_spec_is_enough_to_prune_and_export(plugins):
    assert problems(plugins, "", "prune") == problems(plugins, "", "export") == []


# --- each task is held up by what it reads, and by nothing else


def test_training_does_not_look_at_inference_config(plugins, files):
    text = GOOD + "inference_config { rpn_nms_max_boxes: 0 }"
    assert problems(plugins, text, "train") == []
    assert problems(plugins, text, "export")[0][1] == "inference_config.rpn_nms_max_boxes"


def test_evaluating_needs_no_training_images(plugins, files):
    (files / "records" / "kitti-fold-001-of-002").unlink()
    text = GOOD + "evaluation_config { model: 'model.tlt' }"
    assert problems(plugins, text, "evaluate") == []
    assert problems(plugins, text, "train") == [
        (
            "error",
            "dataset_config.validation_fold",
            "all record files are of fold 0: none is left to train with.",
        )
    ]


def test_evaluating_does_not_look_at_training_config(plugins, files):
    text = GOOD + "training_config { num_epochs: 0 } evaluation_config { model: 'model.tlt' }"
    assert problems(plugins, text, "evaluate") == []


def test_a_validation_source_of_ones_own_needs_no_training_source(plugins, files):
    text = """
    dataset_config {
      target_class_mapping { key: 'van' value: 'car' }
      validation_data_source { tfrecords_path: 'records/*' image_directory_path: 'images' }
    }
    evaluation_config { model: 'model.tlt' }
    """
    assert problems(plugins, text, "evaluate") == []


def test_training_without_validation_goes_on_with_a_warning(plugins, files):
    severity, field, message = problems(
        plugins,
        GOOD.replace("validation_fold: 0", "") + "evaluation_config { metric: 'x' }",
        "train",
    )[0]
    assert (severity, field) == ("warning", "dataset_config")
    assert "without validation" in message


def test_inference_needs_images_and_a_model(plugins, files):
    assert [field for _, field, _ in problems(plugins, "", "inference")] == [
        "inference_config.images_dir",
        "inference_config.model",
    ]
    text = "inference_config { images_dir: 'images' model: 'model.tlt' }"
    assert problems(plugins, text, "inference") == []


def test_a_tensorrt_engine_stands_in_for_the_model_and_is_deprecated(plugins, files):
    text = "inference_config { images_dir: 'images' trt_inference { trt_engine: 'model.tlt' } }"
    assert [p[:2] for p in problems(plugins, text, "inference")] == [
        ("warning", "inference_config.trt_inference")
    ]


# --- files


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("training_config { pretrained_weights: 'a.hdf5' }", "training_config.pretrained_weights"),
        ("training_config { resume_from_model: 'a.tlt' }", "training_config.resume_from_model"),
        ("training_config { retrain_pruned_model: 'a' }", "training_config.retrain_pruned_model"),
    ],
)
def test_a_file_that_is_not_there_is_an_error_for_the_task(plugins, files, text, field):
    name = text.split("'")[1]
    message = f"there is no such file: {files / name}."
    assert only(plugins, text, "train") == ("error", field, message)
    assert problems(plugins, GOOD + text) == []


def test_what_is_not_in_the_working_directory_may_be_under_data_base_path(
    plugins, files, monkeypatch
):
    (files / "empty").mkdir()
    monkeypatch.chdir(files / "empty")
    assert [field for _, field, _ in problems(plugins, GOOD, "train")] == [
        "dataset_config.data_sources[0].tfrecords_path",
        "dataset_config.data_sources[0].image_directory_path",
    ]
    monkeypatch.setenv("DATA_BASE_PATH", str(files))
    assert problems(plugins, GOOD, "train") == []


def test_a_fold_that_no_record_has_is_told_from_those_there_are(plugins, files):
    text = GOOD.replace("validation_fold: 0", "validation_fold: 5")
    assert problems(plugins, text, "train") == [
        (
            "error",
            "dataset_config.validation_fold",
            "no record file is of fold 5. The folds are 0, 1.",
        )
    ]


# --- all at once, with places


def test_every_error_is_reported_with_its_line_and_column(plugins):
    spec = loads(
        "model_config {\n"
        f"  {SIZE}\n"
        "  arch: 'resnet:20'\n"
        "  rpn_stride: 8\n"
        "}\n"
        "training_config { num_epochs: 0 }\n"
        "dataset_config { image_extension: '.png' }",
        "spec.txt",
    )
    with pytest.raises(SpecError) as caught:
        require(spec, plugins, "train")
    assert str(caught.value).splitlines() == [
        "spec.txt:3:3: model_config.arch: 'resnet:20' is not available.",
        "  Choose from: resnet:10, resnet:18.",
        "spec.txt:4:3: model_config.rpn_stride: 8 is not supported. Type 16.",
        "spec.txt:6:19: training_config.num_epochs: 0 is not allowed. Type a number of at least 1.",
        "spec.txt:7:1: dataset_config.target_class_mapping: is empty. "
        "Add target_class_mapping { key: 'car' value: 'car' } for each class.",
        "spec.txt:7:1: dataset_config: has no data_sources. "
        "Add data_sources { tfrecords_path: '...' image_directory_path: '...' }.",
        "spec.txt:7:18: dataset_config.image_extension: '.png' is unknown. Type 'png'.",
    ]


def test_require_returns_the_warnings_of_a_good_spec(plugins, files):
    spec = loads(GOOD + "random_seed: 1 random_seed: 2 model_config { rfcn_mode: True }")
    warnings = require(spec, plugins, "train")
    assert [problem.field for problem in warnings] == ["random_seed", "model_config.rfcn_mode"]


# --- values

M, T, D, E, I = (  # noqa: E741
    "model_config",
    "training_config",
    "dataset_config",
    "evaluation_config",
    "inference_config",
)
INPUT = f"{M}.input_image_config"
SPATIAL = "augmentation_config.spatial_augmentation"
COLOR = "augmentation_config.color_augmentation"
PREPROCESSING = "augmentation_config.preprocessing"
SOFT = f"{T}.learning_rate.soft_start"
STEP = f"{T}.learning_rate.step"
ADAM = f"{T}.optimizer.adam"
SGD = f"{T}.optimizer.sgd"


def written(path, value):
    """``a.b: 1`` as ``a { b: 1 }``."""
    *blocks, name = path.split(".")
    text = value if value.startswith("{") else f": {value}"
    return "".join(f"{block} {{ " for block in blocks) + name + text + " }" * len(blocks)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{M}.roi_mini_batch", "0"),
        (f"{M}.roi_pooling_config.pool_size", "0"),
        (f"{M}.activation.activation_type", "'tanh'"),
        (f"{INPUT}.image_scaling_factor", "0"),
        (f"{INPUT}.max_objects_num_per_image", "0"),
        (f"{INPUT}.image_channel_order", "'gbr'"),
        (f"{INPUT}.size_height_width.height", "31"),
        (f"{INPUT}.size_min.min", "31"),
        (f"{T}.batch_size_per_gpu", "0"),
        (f"{T}.rpn_min_overlap", "0"),
        (f"{T}.rpn_min_overlap", "0.7"),
        (f"{T}.rpn_max_overlap", "1.1"),
        (f"{T}.classifier_min_overlap", "0.5"),
        (f"{T}.rpn_mini_batch", "0"),
        (f"{T}.rpn_nms_max_boxes", "0"),
        (f"{T}.rpn_nms_overlap_threshold", "1"),
        (f"{T}.rpn_pre_nms_top_N", "1999"),
        (f"{T}.lambda_cls_class", "-1"),
        (f"{T}.regularizer.weight", "1"),
        (f"{T}.early_stopping.monitor", "'mAP' patience: 1"),
        (f"{T}.early_stopping.patience", "0"),
        (f"{T}.early_stopping.min_delta", "-1 patience: 1"),
        (f"{ADAM}.beta_1", "1"),
        (f"{ADAM}.epsilon", "0"),
        (f"{SGD}.momentum", "1"),
        (f"{SOFT}.base_lr", "0"),
        (f"{SOFT}.start_lr", "0.03"),
        (f"{SOFT}.soft_start", "1 annealing_points: []"),
        (f"{SOFT}.annealing_divider", "0"),
        (f"{STEP}.gamma", "1.5"),
        (f"{STEP}.step_size", "0"),
        (f"{D}.image_extension", "'bmp'"),
        (f"{SPATIAL}.hflip_probability", "1.1"),
        (f"{SPATIAL}.zoom_min", "0"),
        (f"{SPATIAL}.zoom_min", "1.5"),
        (f"{SPATIAL}.translate_max_x", "-1"),
        (f"{SPATIAL}.vflip_probability", "1.1"),
        (f"{SPATIAL}.rotate_rad_max", "-1"),
        (f"{SPATIAL}.rotate_probability", "2"),
        (f"{COLOR}.hue_rotation_max", "361"),
        (f"{COLOR}.saturation_shift_max", "1.5"),
        (f"{COLOR}.color_shift_stddev", "-0.1"),
        (f"{COLOR}.contrast_scale_max", "-0.1"),
        (f"{PREPROCESSING}.min_bbox_width", "-1"),
        (f"{PREPROCESSING}.output_image_height", "65"),
        (f"{PREPROCESSING}.output_image_width", "64"),
        (f"{PREPROCESSING}.output_image_channel", "1"),
        (f"{PREPROCESSING}.output_image_min", "600"),
        (f"{E}.gt_matching_iou_threshold", "1"),
        (f"{E}.object_confidence_thres", "1"),
        (f"{E}.classifier_nms_max_boxes", "0"),
        (f"{E}.gt_matching_iou_threshold_range.step", "0"),
        (f"{E}.rpn_pre_nms_top_N", "299"),
        (f"{I}.bbox_visualize_threshold", "1"),
        (f"{I}.nms_score_bits", "11"),
    ],
)
def test_a_value_out_of_range_is_an_error_at_its_field(plugins, path, value):
    found = problems(
        plugins, GOOD + "training_config { enable_augmentation: 1 }\n" + written(path, value)
    )
    assert ("error", path) in [problem[:2] for problem in found]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{T}.rpn_max_overlap", "1"),
        (f"{T}.classifier_min_overlap", "0"),
        (f"{T}.rpn_pre_nms_top_N", "2000"),
        (f"{T}.lambda_cls_class", "0"),
        (f"{ADAM}.beta_1", "0"),
        (f"{SOFT}.annealing_points", "1"),
        (f"{SOFT}.soft_start", "0"),
        (f"{STEP}.step_size", "100"),
        (f"{D}.image_extension", "'JPG'"),
        (f"{INPUT}.image_channel_mean", "{ key: 'r' value: 0 }"),
        (f"{PREPROCESSING}.output_image_width", "0"),
        (f"{PREPROCESSING}.min_bbox_width", "4"),
        (f"{ADAM}.epsilon", "1e-8"),
        (f"{E}.batch_size", "0"),
        (f"{E}.metric", "['coco', 'voc12']"),
        (f"{I}.object_confidence_thres", "0"),
    ],
)
def test_a_value_at_the_end_of_its_range_is_fine(plugins, path, value):
    text = written(path, value)
    if "mean" in path:
        text += text.replace("'r'", "'g'") + text.replace("'r'", "'b'")
    assert problems(plugins, GOOD + text) == []


def test_an_input_of_32_pixels_is_large_enough(plugins):
    assert problems(plugins, GOOD.replace("height: 64 width: 96", "height: 32 width: 32")) == []


def test_the_size_of_the_input_must_be_given(plugins):
    _, field, message = problems(plugins, GOOD.replace(SIZE, ""))[0]
    assert field == INPUT
    assert "Add size_height_width { height: 384 width: 1248 }" in message


@pytest.mark.parametrize(("block", "shown"), [("4", "4"), ("0.5", "0.5")])
def test_a_block_the_backbone_does_not_have_cannot_be_frozen(plugins, files, block, shown):
    text = written(f"{M}.freeze_blocks", f"[1, {block}]")
    text += "training_config { pretrained_weights: 'model.tlt' }"
    message = f"{shown} is not a block of resnet:18. Type numbers from 0 to 3."
    assert only(plugins, text, "train") == ("error", f"{M}.freeze_blocks[1]", message)


def test_an_angle_in_degrees_is_answered_with_radians(plugins):
    on = "training_config { enable_augmentation: True }"
    path = f"{SPATIAL}.rotate_rad_max"
    message = "10 is more than half a turn, in radians. Type 0.1745 for 10 degrees."
    assert only(plugins, on + written(path, "10")) == ("error", path, message)
    assert problems(plugins, GOOD + on + written(path, "3.1416")) == []


def test_annealing_points_come_in_order_after_the_soft_start(plugins):
    path = f"{SOFT}.annealing_points"
    assert only(plugins, written(path, "[0.05, 0.5]"))[1] == f"{path}[0]"
    assert only(plugins, written(path, "[0.9, 0.8]"))[1] == f"{path}[1]"


def test_the_fractions_of_a_divided_network_are_positive_and_of_any_sum(plugins):
    path = f"{T}.model_parallelism"
    assert problems(plugins, GOOD + written(path, "[30, 70]")) == []
    assert only(plugins, written(path, "[0.5, 0]"))[:2] == ("error", f"{path}[1]")


def test_an_unknown_arch_is_answered_with_those_there_are(plugins):
    _, field, message = only(plugins, written(f"{M}.arch", "'resnt:18'"))
    assert field == f"{M}.arch"
    assert message.startswith("no backbone is called 'resnt'.\n  Did you mean 'resnet'?")


def test_an_unknown_metric_is_an_error_where_it_is_named(plugins):
    _, field, message = only(plugins, written(f"{E}.metric", "['coco', 'voc21']"))
    assert field == f"{E}.metric[1]"
    assert "Did you mean 'voc12'?" in message


# --- plugins


def test_a_plugin_s_options_are_checked_against_its_own(plugins):
    text = "{ name: 'lamb' options { key: 'beta1' value: '1' } }"
    assert only(plugins, written(f"{T}.optimizer.plugin", text)) == (
        "error",
        f"{T}.optimizer.plugin.options[beta1]",
        "unknown option. Did you mean 'beta_1'?",
    )


def test_a_plugin_s_missing_options_are_asked_for(plugins):
    text = written(f"{T}.learning_rate.plugin", "{ name: 'cosine' }")
    assert only(plugins, text) == (
        "error",
        f"{T}.learning_rate.plugin.options",
        "set base_lr.",
    )


def test_an_unknown_plugin_is_answered_with_those_there_are(plugins):
    _, field, message = only(plugins, written(f"{T}.optimizer.plugin", "{ name: 'lamp' }"))
    assert field == f"{T}.optimizer.plugin.name"
    assert "Did you mean 'lamb'?" in message


def test_a_plugin_without_a_name_is_asked_for_one(plugins):
    _, field, message = only(plugins, written(f"{T}.optimizer.plugin", "{}"))
    assert field == f"{T}.optimizer.plugin"
    assert message == "has no name. Add name: with one of adam, lamb, rmsprop, sgd."


def test_backbone_options_are_checked_against_the_backbone_s_own(plugins):
    text = "model_config { arch: 'darknet:19' backbone_options { key: 'depth' value: 'x' } }"
    assert only(plugins, text) == (
        "error",
        f"{M}.backbone_options[depth]",
        "expected a whole number, got 'x'.",
    )


# --- map keys


def test_an_unknown_channel_is_told_from_the_known_ones(plugins):
    text = "".join(
        written(f"{INPUT}.image_channel_mean", f"{{ key: '{key}' value: 1 }}") for key in "Rgb"
    )
    found = problems(plugins, GOOD + text)
    assert ("error", f"{INPUT}.image_channel_mean[R]") == found[0][:2]
    assert found[0][2] == "unknown key 'R'. Did you mean 'r'? The keys are r, g, b."
    assert ("error", f"{INPUT}.image_channel_mean", "no value for r.") in found


def test_a_box_offset_without_its_std_is_missed(plugins):
    text = written(f"{T}.classifier_regr_std", "{ key: 'x' value: 10 }")
    assert only(plugins, text) == ("error", f"{T}.classifier_regr_std", "no value for y, w, h.")


@pytest.mark.parametrize("image", ["'rgb'", "'bgr'"])
def test_a_grayscale_image_has_no_order_of_three(plugins, image):
    gray = written(f"{INPUT}.image_type", f"GRAY_SCALE image_channel_order: {image}")
    assert only(plugins, gray)[:2] == ("error", f"{INPUT}.image_channel_order")
    assert problems(plugins, GOOD + written(f"{INPUT}.image_type", "GRAY_SCALE")) == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("Background", "car", "'background' is what is left when no class fits."),
        ("sky", "background", "'background' is what is left when no class fits."),
        ("bus", "", "both key and value need a name."),
        ("VAN", "bus", "is mapped to 'car' instead of 'bus'."),
    ],
)
def test_a_class_mapping_that_makes_no_sense_is_an_error(plugins, key, value, message):
    text = written(f"{D}.target_class_mapping", f"{{ key: '{key}' value: '{value}' }}")
    severity, _, found = only(plugins, text)
    assert severity == "error"
    assert message in found


def test_a_class_that_is_mapped_twice_to_the_same_is_fine(plugins):
    text = written(f"{D}.target_class_mapping", "{ key: 'VAN' value: 'Car' }")
    assert problems(plugins, GOOD + text) == []


# --- fields without effect


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{M}.rpn_cls_activation_type", "'softmax'"),
        (f"{M}.rfcn_mode", "False"),
        (f"{M}.tf_proposal_layer", "True"),
        (f"{M}.activation.activation_parameters", "{ key: 'a' value: 1 }"),
        (f"{M}.dropout_rate", "0.5"),
        (f"{M}.drop_connect_rate", "0.5"),
        (f"{T}.std_scaling", "2"),
        (f"{T}.checkpoint_interval", "13"),
        (f"{SGD}.lr", "0.1"),
        (f"{SGD}.decay", "0.1"),
        (f"{ADAM}.decay", "0.1"),
        (f"{T}.optimizer.rmsprop.lr", "0.1"),
        (f"{T}.regularizer.weight", "0.1 type: NO_REG"),
        (f"{T}.visualizer.wandb_config", "{ enabled: True }"),
        (f"{T}.visualizer.clearml_config", "{}"),
        (f"{D}.dataloader_mode", "LEGACY"),
        (f"{D}.validation_data_source.source_weight", None),
        (f"{PREPROCESSING}.crop_left", "8"),
        (f"{PREPROCESSING}.crop_right", "95"),
        (f"{PREPROCESSING}.scale_width", "0.5"),
        (f"{E}.visualize_pr_curve", "True"),
        (f"{E}.validation_period_during_training", "13"),
        (f"{M}.freeze_blocks", "0"),
        (f"{T}.qat_config.per_channel_weights", "True"),
    ],
)
def test_a_field_without_effect_is_a_warning(plugins, path, value):
    text = GOOD + "training_config { enable_augmentation: True }\n"
    if value is None:
        source = "{ tfrecords_path: 'a' image_directory_path: 'b' source_weight: 2 }"
        text = text.replace("validation_fold: 0", f"validation_data_source {source}")
    else:
        text += written(path, value)
    found = [problem[:2] for problem in problems(plugins, text)]
    if path == f"{M}.activation.activation_parameters":
        found.remove(("warning", f"{M}.activation"))  # resnet has no activation to choose either
    assert found == [("warning", path)]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{SGD}.lr", "0.02"),
        (f"{SGD}.decay", "0"),
        (f"{T}.std_scaling", "1"),
        (f"{D}.dataloader_mode", "MULTISOURCE"),
        (f"{PREPROCESSING}.crop_right", "96"),
        (f"{PREPROCESSING}.scale_width", "1"),
    ],
)
def test_asking_for_what_happens_anyway_is_no_problem(plugins, path, value):
    text = "training_config { enable_augmentation: True }\n" + written(path, value)
    assert problems(plugins, GOOD + text) == []


def test_a_field_the_backbone_ignores_is_told_from_those_that_obey(plugins):
    text = "model_config { arch: 'darknet:19' use_pooling: False }"
    assert only(plugins, text) == (
        "warning",
        f"{M}.use_pooling",
        "has no effect on darknet (it applies to resnet).",
    )
    assert problems(plugins, GOOD + "model_config { use_pooling: True }") == []


def test_augmentation_that_is_switched_off_has_no_effect(plugins):
    assert only(plugins, written(f"{SPATIAL}.zoom_max", "2")) == (
        "warning",
        SPATIAL,
        "has no effect: training_config.enable_augmentation is False.",
    )


def test_of_several_weights_to_start_from_only_the_first_has_an_effect(plugins):
    text = "training_config { resume_from_model: 'a' pretrained_weights: 'b' }"
    assert only(plugins, text) == (
        "warning",
        f"{T}.pretrained_weights",
        "has no effect: resume_from_model comes first.",
    )


SECOND = "{ tfrecords_path: 'a' image_directory_path: 'b' source_weight: 2 }"


def test_weights_of_several_sources_mean_something(plugins):
    assert problems(plugins, GOOD + written(f"{D}.data_sources", SECOND)) == []
    for mode in ("UNIFORM", "PROPORTIONAL"):
        text = written(f"{D}.data_sources", SECOND) + written(f"{D}.sampling_mode", mode)
        assert only(plugins, text) == (
            "warning",
            f"{D}.data_sources[1].source_weight",
            f"has no effect: sampling_mode is {mode}.",
        )


def test_the_weight_of_the_only_source_has_no_effect(plugins):
    text = GOOD.replace(
        "image_directory_path: 'images'", "image_directory_path: 'b' source_weight: 2"
    )
    assert [problem[:2] for problem in problems(plugins, text)] == [
        ("warning", f"{D}.data_sources[0].source_weight")
    ]


def test_a_source_cannot_come_less_than_never(plugins):
    found = problems(plugins, GOOD + written(f"{D}.data_sources", SECOND.replace("2", "-1")))
    assert [problem[:2] for problem in found] == [("error", f"{D}.data_sources[1].source_weight")]


# --- labels instead of records

DIRECT = "tfrecords_path: 'records/*' image_directory_path: 'images'"


def with_labels(labels, more=""):
    """GOOD, but for the labels that its source has instead of records."""
    source = f"image_directory_path: 'images' labels {{ {labels} }} {more}"
    return loads(GOOD.replace(DIRECT, source), "spec.txt")


def label_problems(labels, more="", task=None):
    found = check(with_labels(labels, more), installed(), task)
    return [(problem.severity, problem.field.removeprefix(f"{D}.")) for problem in found]


@pytest.mark.parametrize(
    ("labels", "more", "field"),
    [
        ("format: 'voc'", "", "data_sources[0].labels"),
        ("path: 'a' format: 'vok'", "", "data_sources[0].labels.format"),
        (
            "path: 'a' format: 'voc' options { key: 'one_baset' value: 'true' }",
            "",
            "data_sources[0].labels.options[one_baset]",
        ),
        ("path: 'a' format: 'voc'", "tfrecords_path: 'b'", "data_sources[0].tfrecords_path"),
        ("path: 'a' format: 'voc'", "image_extension: 'gif'", "data_sources[0].image_extension"),
    ],
)
def test_labels_that_cannot_be_read_are_an_error_at_their_field(labels, more, field):
    assert label_problems(labels, more) == [("error", field)]


def test_a_format_that_is_misspelt_is_suggested():
    (found,) = check(with_labels("path: 'a' format: 'vok'"), installed())
    assert str(found).startswith("spec.txt:4:68: ")
    assert "Did you mean 'voc'?" in found.message


@pytest.mark.parametrize("extension", ["png", ".PNG", "jpeg"])
def test_a_source_with_labels_may_choose_its_images_by_their_ending(extension):
    assert label_problems("path: 'a' format: 'voc'", f"image_extension: '{extension}'") == []


def test_labels_lists_and_a_format_to_recognise_are_looked_for(files):
    more = "image_list: 'list.txt'"
    assert label_problems("path: 'labels'", more, "train") == [
        ("error", "data_sources[0].labels.path"),
        ("error", "data_sources[0].image_list"),
    ]
    (files / "labels").mkdir()
    (files / "list.txt").touch()
    assert label_problems("path: 'labels'", more, "train") == [("error", "data_sources[0].labels")]
    (files / "labels" / "a.xml").write_text("<annotation></annotation>")
    assert label_problems("path: 'labels'", more, "train") == []


def test_options_of_a_format_that_was_recognised_are_checked(files):
    (files / "labels").mkdir()
    (files / "labels" / "a.xml").write_text("<annotation></annotation>")
    labels = "path: 'labels' options { key: 'classes' value: 'a' }"
    assert label_problems(labels, "", "train") == [
        ("error", "data_sources[0].labels.options[classes]")
    ]


def test_a_source_with_labels_has_two_folds(files):
    labels = "path: 'images' format: 'kitti'"
    for fold, found in ((0, []), (1, []), (2, [("error", "validation_fold")])):
        spec = with_labels(labels)
        spec.message.dataset_config.validation_fold = fold
        problems = check(spec, installed(), "train")
        assert [(p.severity, p.field.removeprefix(f"{D}.")) for p in problems] == found


def test_a_list_of_images_does_nothing_for_records(plugins):
    text = GOOD.replace(DIRECT, f"{DIRECT} image_list: 'a'")
    assert [problem[:2] for problem in problems(plugins, text)] == [
        ("warning", f"{D}.data_sources[0].image_list")
    ]


def test_a_source_needs_records_or_labels(plugins):
    text = GOOD.replace(DIRECT, "image_directory_path: 'a'")
    assert problems(plugins, text) == [
        (
            "error",
            f"{D}.data_sources[0]",
            "tfrecords_path is missing, and there are no labels instead.",
        )
    ]


# --- dataset specs

KITTI = "root_directory_path: 'data' image_dir_name: 'images' label_dir_name: 'labels'"


def dataset_problems(text, **options):
    found = check_dataset_spec(loads_dataset_spec(text), installed(), **options)
    return [(problem.severity, problem.field) for problem in found]


def test_a_dataset_spec_of_three_names_is_enough(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = f"kitti_config {{ {KITTI} }}"
    assert dataset_problems(text) == [("error", "kitti_config.root_directory_path")]
    (tmp_path / "data" / "images").mkdir(parents=True)
    assert dataset_problems(text) == [("error", "kitti_config.label_dir_name")]
    (tmp_path / "data" / "labels").mkdir()
    assert require_dataset_spec(loads_dataset_spec(text), installed()) == []


@pytest.mark.parametrize(
    ("text", "severity", "field"),
    [
        ("image_extension: 'png'", "error", "kitti_config.image_extension"),
        ("partition_mode: 'randm'", "error", "kitti_config.partition_mode"),
        ("partition_mode: 'sequence'", "error", "kitti_config"),
        ("num_partitions: 3", "error", "kitti_config.num_partitions"),
        ("val_split: 100", "error", "kitti_config.val_split"),
        ("point_clouds_dir: 'velodyne'", "warning", "kitti_config.point_clouds_dir"),
        ("partition_mode: 'random' split_seed: 1", "warning", "kitti_config.split_seed"),
        (
            "partition_mode: 'sequence' kitti_sequence_to_frames_file: 'a' val_split: 1",
            "warning",
            "kitti_config.val_split",
        ),
    ],
)
def test_a_dataset_spec_is_checked_too(text, severity, field):
    text = f"kitti_config {{ {KITTI} {text} }}"
    assert dataset_problems(text, with_files=False) == [(severity, field)]


COCO = "root_directory_path: 'data' img_dir_names: 'val' annotation_files: 'val.json'"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (COCO.replace("root_directory_path: 'data'", ""), "coco_config"),
        (f"{COCO} img_dir_names: 'train'", "coco_config.img_dir_names[0]"),
        (f"{COCO} num_partitions: 2", "coco_config.num_partitions"),
        (f"{COCO} num_shards: [1, 2]", "coco_config.num_shards[0]"),
        (COCO.replace("'val'", "'../val'"), "coco_config.img_dir_names[0]"),
    ],
)
def test_coco_needs_a_folder_and_a_file_for_each_partition(text, field):
    assert dataset_problems(f"coco_config {{ {text} }}", with_files=False) == [("error", field)]


def test_a_coco_spec_of_three_names_is_enough(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = f"coco_config {{ {COCO} }}"
    assert dataset_problems(text) == [("error", "coco_config.root_directory_path")]
    (tmp_path / "data" / "val").mkdir(parents=True)
    assert dataset_problems(text) == [("error", "coco_config.annotation_files[0]")]
    (tmp_path / "data" / "val.json").touch()
    assert dataset_problems(text) == []


def source(more="", **fields):
    """A dataset spec of VOC labels; ``fields`` replace its own, None takes one out."""
    own = {"root_directory_path": "data", "images": "images", "labels": "xml", "format": "voc"}
    texts = [f"{name}: '{value}'" for name, value in (own | fields).items() if value is not None]
    return f"source {{ {' '.join(texts)} {more} }}"


@pytest.mark.parametrize(
    ("text", "severity", "field"),
    [
        (source(format="yollo"), "error", "source.format"),
        (source("options { key: 'classes' value: 'a' }"), "error", "source.options[classes]"),
        (source(image_extension=".gif"), "error", "source.image_extension"),
        (source(images="/data/images"), "error", "source.images"),
        (source(partition_mode="randm"), "error", "source.partition_mode"),
        (source(partition_mode="lists"), "error", "source"),
        (source(partition_mode="sequence"), "error", "source"),
        (source("num_partitions: 3"), "error", "source.num_partitions"),
        (source("val_split: 100"), "error", "source.val_split"),
        (source("val_split: 1", image_lists="a"), "warning", "source.val_split"),
        (source("num_partitions: 2", image_lists="a"), "warning", "source.num_partitions"),
        (
            source(image_lists="a", partition_mode="random"),
            "warning",
            "source.image_lists[0]",
        ),
        (source(sequence_to_frames_file="a"), "warning", "source.sequence_to_frames_file"),
    ],
)
def test_a_source_of_any_format_is_checked(text, severity, field):
    assert dataset_problems(text, with_files=False) == [(severity, field)]


@pytest.mark.parametrize("extension", ["png", ".JPG", None])
def test_a_good_source_has_no_problems(extension):
    assert dataset_problems(source(image_extension=extension), with_files=False) == []
    assert dataset_problems(source(image_lists="a"), with_files=False) == []


def test_a_source_needs_images_and_labels():
    assert dataset_problems("source {}", with_files=False) == [("error", "source")] * 2
    assert dataset_problems("source { images: 'a' labels: 'b' }", with_files=False) == []


def test_the_files_of_a_source_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = source(format=None, image_lists="list.txt")
    assert dataset_problems(text) == [("error", "source.root_directory_path")]
    (tmp_path / "data" / "images").mkdir(parents=True)
    assert dataset_problems(text) == [
        ("error", "source.labels"),
        ("error", "source.image_lists[0]"),
    ]
    (tmp_path / "data" / "xml").mkdir()
    (tmp_path / "data" / "list.txt").touch()
    assert dataset_problems(text) == [("error", "source")]  # no format can be told
    (tmp_path / "data" / "xml" / "a.xml").write_text("<annotation></annotation>")
    assert dataset_problems(text) == []


def test_fields_of_a_dataset_spec_without_effect_are_warnings():
    text = f"kitti_config {{ {KITTI} }} image_directory_path: 'a'"
    assert dataset_problems(text, with_files=False) == [("warning", "image_directory_path")]


@pytest.mark.slow
def test_how_rare_a_class_is_must_be_above_zero():
    entry = "minimum_target_class_imbalance { key: 'van' value: 0 }"
    text = f"kitti_config {{ {KITTI} }} sample_modifier_config {{ {entry} }}"
    assert dataset_problems(text, with_files=False) == [
        ("error", "sample_modifier_config.minimum_target_class_imbalance[van]")
    ]
