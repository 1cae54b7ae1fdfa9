"""Rules of the proposal settings that training, evaluation and inference each have."""

from __future__ import annotations

from frcnn_core.spec.evaluation_pb2 import EvaluationConfig
from frcnn_core.spec.inference_pb2 import InferenceConfig
from frcnn_core.spec.rules.findings import Findings
from frcnn_core.spec.training_pb2 import TrainingConfig


def check_proposals(
    findings: Findings, path: str, block: TrainingConfig | EvaluationConfig | InferenceConfig
) -> None:
    """As many anchors enter non-maximum suppression as proposals may leave it.

    Args:
        block: ``training_config``, ``evaluation_config`` or ``inference_config``.
        path: its name.
    """
    findings.ranges(
        path, block, {"rpn_nms_max_boxes": "[1, inf)", "rpn_nms_overlap_threshold": "(0, 1)"}
    )
    if block.rpn_pre_nms_top_N < block.rpn_nms_max_boxes:
        findings.error(
            f"{path}.rpn_pre_nms_top_N",
            f"{block.rpn_pre_nms_top_N} is less than rpn_nms_max_boxes. "
            f"Type {block.rpn_nms_max_boxes} or more.",
        )
