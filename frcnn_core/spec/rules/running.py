"""Rules of ``evaluation_config`` and ``inference_config``: how a trained model is run."""

from __future__ import annotations

from frcnn_core.plugin import Plugins
from frcnn_core.spec.evaluation_pb2 import EvaluationConfig
from frcnn_core.spec.inference_pb2 import InferenceConfig
from frcnn_core.spec.rules.findings import Findings
from frcnn_core.spec.rules.proposals import check_proposals

EVALUATION = "evaluation_config"
INFERENCE = "inference_config"

_RANGES = {
    "classifier_nms_max_boxes": "[1, inf)",
    "classifier_nms_overlap_threshold": "(0, 1)",
    "object_confidence_thres": "[0, 1)",
}


def check_evaluation(findings: Findings, plugins: Plugins) -> None:
    """Detections can be scored."""
    evaluation: EvaluationConfig = findings.spec.message.evaluation_config
    check_proposals(findings, EVALUATION, evaluation)
    findings.ranges(EVALUATION, evaluation, _RANGES | {"gt_matching_iou_threshold": "(0, 1)"})
    if evaluation.HasField("gt_matching_iou_threshold_range"):
        _check_thresholds(findings, evaluation)
    if evaluation.visualize_pr_curve:
        findings.warning(
            f"{EVALUATION}.visualize_pr_curve", "has no effect: curves are not drawn yet."
        )
    for index, name in enumerate(evaluation.metric):
        findings.component(f"{EVALUATION}.metric[{index}]", name, plugins.metrics)


def check_validation_period(findings: Findings) -> None:
    """Validation during training happens at all."""
    epochs = findings.spec.message.training_config.num_epochs
    period = findings.spec.message.evaluation_config.validation_period_during_training
    if period > epochs > 0:
        findings.warning(
            f"{EVALUATION}.validation_period_during_training",
            f"is more than training_config.num_epochs ({epochs}): "
            "only the final epoch is validated.",
        )


def check_detection(findings: Findings) -> None:
    """The thresholds of inference and of exported models make sense."""
    inference: InferenceConfig = findings.spec.message.inference_config
    check_proposals(findings, INFERENCE, inference)
    findings.ranges(
        INFERENCE,
        inference,
        _RANGES | {"bbox_visualize_threshold": "[0, 1)", "nms_score_bits": "[0, 10]"},
    )


def check_images(findings: Findings) -> None:
    """There is a folder of images to run the model on."""
    folder = findings.spec.message.inference_config.images_dir
    field = f"{INFERENCE}.images_dir"
    if not folder:
        findings.error(field, "is missing. Type the path of a folder of images.")
    else:
        findings.folder(field, folder)
    if findings.spec.message.inference_config.nms_score_bits:
        findings.warning(
            f"{INFERENCE}.nms_score_bits", "has no effect except in the export format trt_onnx."
        )


def check_model_file(findings: Findings, section: str, engine: str) -> None:
    """There is a model to run.

    Args:
        section: ``evaluation_config`` or ``inference_config``.
        engine: the section's field that names a TensorRT engine instead.
    """
    block = getattr(findings.spec.message, section)
    if block.HasField(engine):
        field, path = f"{section}.{engine}.trt_engine", getattr(block, engine).trt_engine
        findings.warning(f"{section}.{engine}", "is deprecated: name the engine in model instead.")
    else:
        field, path = f"{section}.model", block.model
    if not path:
        findings.error(field, "is missing. Type the path of a model file, or give it with -m.")
    else:
        findings.file_or_folder(field, path)  # a SavedModel is a folder


def _check_thresholds(findings: Findings, evaluation: EvaluationConfig) -> None:
    path = f"{EVALUATION}.gt_matching_iou_threshold_range"
    thresholds = evaluation.gt_matching_iou_threshold_range
    findings.ranges(path, thresholds, {"start": "(0, 1)", "end": "(0, 1]", "step": "(0, 1)"})
    if thresholds.start >= thresholds.end:
        findings.error(
            f"{path}.start",
            f"{thresholds.start:g} is not below end ({thresholds.end:g}). Type a smaller number.",
        )
